"""Mosaic recipes: pictures, training, measuring, and a model a theme beside a shared encoder.

A recipe without `encoder` trains E with its themes; one that names a trained encoder keeps that
frozen and adds themes to it. Paths in a recipe are relative to the current folder.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Annotated, Self, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, StringConstraints, model_validator
from torch import Tensor, nn

from vfxswap.color import ColorManager, from_net
from vfxswap.errors import JobError
from vfxswap.files import write_atomically
from vfxswap.io.weights import StoredModel, find_model, load_net, save_model
from vfxswap.nets.mosaic import (
    CODE_PX,
    GrowingGenerator,
    MosaicEncoder,
    MosaicGenerator,
    as_net,
)
from vfxswap.persona import Id, ModelCard
from vfxswap.settings import Settings, nearest
from vfxswap.train.mosaic import MosaicTrainer
from vfxswap.train.mosaic_curves import curves
from vfxswap.train.mosaic_evaluate import evaluate
from vfxswap.train.mosaic_loop import train
from vfxswap.train.mosaic_pictures import PictureSet, read_pictures
from vfxswap.train.mosaic_restored import evaluate_restored
from vfxswap.train.mosaic_training import MosaicTraining
from vfxswap.train.recipe import read_recipe

FEWEST = 8
"""A theme of fewer pictures gives a critic that knows them by heart."""
HELD_OUT_SEED = 1_000_000
"""Added to the seed of drawn pictures that nothing is trained on."""
Progress = Callable[[str, int, int], None]
Net = TypeVar("Net", bound=nn.Module)
ThemeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class MosaicRecipe(Settings):
    """All that makes an encoder with themes, or further themes for one."""

    name: Id = Field(description="Begins the models' names: mosaic gives mosaic-flowers.")
    licence: str = Field(description="SPDX identifier of the weights' licence.")
    training_data: str = Field(description="What the pictures are and where they came from.")
    training_licence: str = Field(description="Under which terms they may be used.")
    encoder: str = Field(
        default="", description="Model of a trained encoder that stays frozen; empty trains one."
    )
    begin: str = Field(
        default="",
        description="For a frozen encoder: the model that a theme begins as, its own earlier one "
        "(mosaic-{theme}) or another's (mosaic-flowers).",
    )
    describe: str = Field(
        default="Mosaic theme: {theme}.", description="The cards' description of {theme}."
    )
    synthetic: bool = Field(default=True, description="Any performers are synthetic.")
    negative_results: tuple[str, ...] = Field(default=(), description="For the themes' cards.")
    held_out: tuple[str, ...] = Field(
        default=(), description="Pictures that are measured on, as for the domain."
    )
    domain: tuple[str, ...] = Field(
        min_length=1, description="Pictures of domain A: files, drawn:THEME, skimage:NAME."
    )
    domain_drawn: int = Field(default=16, ge=1, description="Pictures drawn a theme for A.")
    domain_smallest: float = Field(
        default=0.05, gt=0, le=1, description="Smallest patch of A, share of the shorter side."
    )
    domain_largest: float = Field(
        default=0.5, gt=0, le=1, description="Largest patch of A, share of the shorter side."
    )
    themes: dict[ThemeName, tuple[str, ...]] = Field(
        min_length=1, description="Pictures of each theme, as for the domain."
    )
    drawn: int = Field(default=300, ge=1, description="Pictures drawn a theme.")
    smallest: float = Field(
        default=0.85, gt=0, le=1, description="Smallest patch of a theme, share of its picture."
    )
    training: MosaicTraining = Field(description="How it is trained.")

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        if self.domain_smallest > self.domain_largest:
            raise ValueError("domain_smallest is above domain_largest")
        return self


def load_recipe(name: str | Path) -> MosaicRecipe:
    """A shipped recipe by its name, or one in a `.toml` file. Raises JobError."""
    text = str(name)
    if text.endswith(".toml"):
        return read_recipe(Path(text), MosaicRecipe)
    folder = resources.files("vfxswap.train") / "recipes"
    shipped = sorted(
        p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
    )
    if text not in shipped:
        raise JobError("no such recipe", got=text, wanted=nearest(text, shipped) + " or a .toml")
    with resources.as_file(folder / f"{text}.toml") as file:
        return read_recipe(file, MosaicRecipe)


def domain_of(recipe: MosaicRecipe, folder: Path = Path()) -> PictureSet:
    """The pictures of domain A. Raises JobError, PlateError."""
    return read_pictures(
        recipe.domain,
        smallest=recipe.domain_smallest,
        largest=recipe.domain_largest,
        least=1,
        what="the domain",
        drawn_count=recipe.domain_drawn,
        seed=recipe.training.seed + 1,
        folder=folder,
    )


def theme_of(recipe: MosaicRecipe, theme: str, folder: Path = Path()) -> PictureSet:
    """The pictures of a theme. Raises JobError, PlateError."""
    return read_pictures(
        recipe.themes[theme],
        smallest=recipe.smallest,
        least=FEWEST,
        what=f"theme {theme}",
        drawn_count=recipe.drawn,
        seed=recipe.training.seed,
        folder=folder,
    )


def run(
    name: str | Path,
    *,
    out: Path,
    work: Path,
    command: str,
    device: str = "cpu",
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[StoredModel]:
    """Trains and measures by a recipe, and writes a model a theme, and the encoder where it was
    trained, into folders of `out`.

    `work` keeps checkpoints, log and preview: a second run goes on there. `command` is what the
    cards name as recipe. Raises JobError, PlateError, ModelError, CancelledError.
    """
    recipe = load_recipe(name)
    progress("read pictures", 0, 1)
    trainer = trainer_of(recipe, device=device)
    progress("read pictures", 1, 1)
    train(
        trainer,
        work,
        preview=write_preview,
        stop=stop,
        progress=lambda done, total: progress("train", done, total),
    )
    return export(recipe, trainer, out=out, work=work, command=command, progress=progress)


def trainer_of(recipe: MosaicRecipe, *, device: str = "cpu") -> MosaicTrainer:
    """The recipe's training at its beginning. Raises JobError, PlateError, ModelError."""
    encoder, begin = _trained(recipe)
    themes = {theme: theme_of(recipe, theme) for theme in recipe.themes}
    domain = domain_of(recipe)
    return MosaicTrainer(
        recipe.training, domain, themes, encoder=encoder, begin=begin, device=device
    )


def export(
    recipe: MosaicRecipe,
    trainer: MosaicTrainer,
    *,
    out: Path,
    work: Path,
    command: str,
    progress: Progress = lambda *_: None,
) -> list[StoredModel]:
    """Measures what is trained and writes the models with their cards; weights are rounded to
    half precision first, so that the numbers are those of the files."""
    how = _how(trainer)
    written: list[StoredModel] = []
    if trainer.frozen:
        stored = find_model(recipe.encoder)
    else:
        card = _card(recipe, "encoder", command).model_copy(
            update={
                "description": "Encoder of mosaics: a patch of the plate to its code.",
                "network": "mosaic_encoder",
                "network_settings": trainer.encoder.settings.model_dump(mode="json"),
                "crop_size": CODE_PX,
                "negative_results": how,
            }
        )
        stored = save_model(out / card.name, card, _halved(trainer.encoder).state_dict())
        written.append(stored)
        write_curves(work / "log.jsonl", stored.folder / "curves.jpg")
    nets = {theme: _halved(finished(trainer, theme)) for theme in trainer.themes}
    encoder, damage = _halved(trainer.encoder), recipe.training.damage
    if damage.any:
        found = evaluate_restored(encoder, nets, damage, plates=recipe.held_out, command=command)
    else:
        held_out = {theme: theme_of(_held_out(recipe), theme) for theme in trainer.themes}
        found = evaluate(
            encoder,
            nets,
            trainer.themes,
            held_out,
            domain=trainer.domain,
            plates=recipe.held_out,
            command=command,
            progress=progress,
        )
    for theme, net in nets.items():
        settings = net.settings.model_copy(
            update={"encoder": stored.card.name, "encoder_sha256": stored.card.weights_sha256}
        )
        card = _card(recipe, theme, command).model_copy(
            update={
                "description": recipe.describe.format(theme=theme),
                "network": "mosaic_generator",
                "network_settings": settings.model_dump(mode="json"),
                "crop_size": net.size,
                "metrics": found.get(theme, {}),
                "negative_results": (*recipe.negative_results, *how),
            }
        )
        model = save_model(out / card.name, card, net.state_dict())
        write_thumb(model.folder / "thumbs" / f"{theme}.jpg", trainer, theme)
        written.append(model)
    return written


def finished(trainer: MosaicTrainer, theme: str) -> MosaicGenerator:
    """A theme's generator as it is kept."""
    net = trainer.generator(theme)
    return net.grown() if isinstance(net, GrowingGenerator) else net


def _trained(
    recipe: MosaicRecipe,
) -> tuple[MosaicEncoder | None, dict[str, MosaicGenerator] | None]:
    if not recipe.encoder:
        return None, None
    if not recipe.begin:
        raise JobError("a frozen encoder needs a theme to begin with", wanted="begin = a model")
    model = find_model(recipe.encoder)
    encoder = load_net(model.card, model.folder, device="cpu")
    if not isinstance(encoder, MosaicEncoder):
        raise JobError("model is no encoder of mosaics", got=recipe.encoder)
    begin = {}
    for theme in recipe.themes:
        earlier = find_model(recipe.begin.format(theme=theme))
        net = load_net(earlier.card, earlier.folder, device="cpu")
        if not isinstance(net, MosaicGenerator):
            raise JobError("model is no theme of a mosaic", got=earlier.card.name)
        begin[theme] = net
    return encoder, begin


def _held_out(recipe: MosaicRecipe) -> MosaicRecipe:
    """The same with drawn pictures that nothing was trained on; a theme of files has none, and is
    measured on its own."""
    training = recipe.training.model_copy(update={"seed": recipe.training.seed + HELD_OUT_SEED})
    return recipe.model_copy(update={"training": training, "drawn": max(FEWEST, recipe.drawn // 4)})


def _halved(net: Net) -> Net:
    kept = copy.deepcopy(net).cpu().eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in kept.parameters():
            parameter.copy_(parameter.half().float())
    return kept


def _card(recipe: MosaicRecipe, part: str, command: str) -> ModelCard:
    return ModelCard(
        name=f"{recipe.name}-{part}",
        effect="mosaic",
        network="mosaic_generator",
        licence=recipe.licence,
        synthetic=recipe.synthetic,
        training_data=recipe.training_data,
        training_licence=recipe.training_licence,
        recipe=command,
    )


def _how(trainer: MosaicTrainer) -> tuple[str, ...]:
    """What the card says of the training's size."""
    t = trainer.training
    stage, alpha = t.stage_at(max(0, trainer.iteration - 1))
    said = (
        f"Trained for {trainer.iteration} of {t.total_iterations} iterations of {t.batch} patches "
        f"(code alone {t.code_iterations}, 32 px {t.iterations}, 64 px {t.large_iterations})"
    )
    faded = f"; the 64 px level is faded in to {alpha:.0%}" if stage == "large" else ""
    return (f"{said}{faded}.",)


def write_thumb(file: Path, trainer: MosaicTrainer, theme: str) -> None:
    """Four patches that the theme makes of the domain's, as a JPEG of 128×128, at most 10 KB."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(trainer.training.seed)
    pictures = trainer.domain.patches(4, size=CODE_PX, rng=rng).to(trainer.device)
    pictures = pictures - pictures.mean((2, 3), keepdim=True)  # as mid grey: thumbs are small
    free = trainer.free_elements(4, rng)
    with torch.no_grad():
        made = finished(trainer, theme)(trainer.encoder(pictures), free).cpu()
    tiles = torch.nn.functional.interpolate(made, size=64, mode="bicubic")
    sheet = torch.cat([torch.cat([tiles[0], tiles[1]], 2), torch.cat([tiles[2], tiles[3]], 2)], 1)
    for quality in (90, 80, 70, 60):
        data = cv2.imencode(".jpg", _display(sheet), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if len(data) <= 10_000:
            break
    write_atomically(file, data.tobytes())


def write_curves(log: Path, file: Path) -> None:
    """The losses of a training over its iterations as a small picture."""
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    write_atomically(file, curves(rows))


def write_preview(trainer: MosaicTrainer, file: Path) -> None:
    """A sheet of patches: the domain, decoded, and every theme."""
    write_display(file, trainer.preview())


def write_display(file: Path, patches: Tensor) -> None:
    """[3, H, W] as networks write it to a PNG as a monitor shows it."""
    write_atomically(file, cv2.imencode(".png", _display(patches))[1].tobytes())


def _display(patches: Tensor) -> NDArray[np.uint8]:
    """[H, W, 3] bytes, blue first."""
    linear = from_net(as_net(patches.float())).permute(1, 2, 0).numpy()
    shown = ColorManager().to_display(np.ascontiguousarray(linear, np.float32))
    bytes_: NDArray[np.uint8] = np.rint(np.clip(shown, 0, 1)[..., ::-1] * 255).astype(np.uint8)
    return bytes_
