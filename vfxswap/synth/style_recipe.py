"""Recipes of style networks: pictures, classifier, training, card.

`vfxswap train style <recipe>` runs one; what its work folder holds is kept and gone on from. A
recipe is a TOML file; that of the shipped model lies in `recipes/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from vfxswap.color import DISPLAY_SPACE, ColorManager, to_net
from vfxswap.errors import JobError
from vfxswap.files import atomic_path
from vfxswap.image import Pixels
from vfxswap.io.exr import read_image
from vfxswap.io.weights import StoredModel, find_model, load_net, save_model
from vfxswap.nets.perceptual import Perceptual
from vfxswap.nets.style import StyleNet
from vfxswap.persona import ModelCard
from vfxswap.settings import Settings, nearest, validated
from vfxswap.synth.style_drawings import counterparts, drawn_pictures, held_out, place
from vfxswap.synth.style_pictures import (
    as_net,
    contents,
    labelled,
)
from vfxswap.train import classifier as classifying
from vfxswap.train.classifier import ClassifierTraining
from vfxswap.train.recipe import read_recipe
from vfxswap.train.style import (
    StyleData,
    StyleTrainer,
    StyleTraining,
    contents_of,
    state_hash,
    train,
)
from vfxswap.train.style_add import AddedStyleTrainer
from vfxswap.train.style_losses import StyleTarget
from vfxswap.train.style_media import MEDIA
from vfxswap.train.style_preview import write_style_sheet

RECIPES = Path(__file__).parent / "recipes"
CLASSIFIER = "style-classifier"
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


class StyleRecipe(Settings):
    """All that makes a style network."""

    name: str = Field(description="Name of the model.")
    description: str = Field(description="What the model is, in a sentence.")
    styles: dict[str, tuple[str, ...]] = Field(
        min_length=1,
        description="Pictures by style, relative to the recipe; none: drawn in the medium of that "
        "name.",
    )
    licence: str = Field(
        default="Apache-2.0", description="Of the weights; the pictures' licences must allow it."
    )
    pictures_licence: str = Field(
        default="Apache-2.0 (drawn by vfxswap)", description="Licence of the style pictures."
    )
    classifier: str = Field(
        default=CLASSIFIER, description="Model that judges: the project's own, or converted VGG."
    )
    contents: int = Field(default=120, ge=1, description="Pictures to stylise in training.")
    contents_px: int = Field(default=192, ge=32, description="Their side.")
    contents_folder: str = Field(
        default="", description="Folder of pictures to take instead, relative to the recipe."
    )
    seed: int = Field(default=1, ge=0, description="Seed of the contents.")
    training: StyleTraining = Field(description="How it is trained.")
    remarks: tuple[str, ...] = Field(
        default=(), description="What was tried and failed, and what it cannot do."
    )


def load_recipe(name_or_file: str) -> tuple[StyleRecipe, Path]:
    """A recipe by its name (of the shipped ones) or by its file, and its folder. JobError."""
    file = Path(name_or_file)
    if file.suffix != ".toml":
        shipped = {f.stem: f for f in RECIPES.glob("style-*.toml")}
        if name_or_file not in shipped:
            raise JobError(
                "no such recipe", got=name_or_file, wanted=nearest(name_or_file, shipped)
            )
        file = shipped[name_or_file]
    recipe = read_recipe(file, StyleRecipe)
    for style, pictures in recipe.styles.items():
        if not pictures and style not in MEDIA:
            raise JobError(
                f"style {style} has no pictures and no medium is called so",
                wanted=nearest(style, MEDIA),
                file=file,
            )
    return recipe, file.parent


def run(
    name_or_file: str,
    *,
    out: Path,
    work: Path,
    device: str = "cpu",
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """Draws, trains and writes the model into `out`; `work` keeps what can be resumed, previews
    (`training/preview.png`: every style on held-out pictures) and the drawn styles.

    Raises JobError, ModelError, PlateError, CancelledError.
    """
    recipe, folder = load_recipe(name_or_file)
    net = classifier_of(recipe.classifier)
    data = style_data(recipe, folder, work, net, progress)
    trainer = StyleTrainer(recipe.training, data, net, device=device)
    trained = train(
        trainer,
        work / "training",
        preview=preview(work),
        progress=lambda done, total, _: progress("train", done, total),
        stop=stop,
    )
    return export(recipe, trained, out, command=f"vfxswap train style {name_or_file}")


def add(
    pictures: Sequence[Path],
    name: str,
    *,
    model: str,
    training: StyleTraining,
    out: Path,
    work: Path,
    classifier: str = CLASSIFIER,
    contents: Mapping[str, int | str] | None = None,
    command: str,
    device: str = "cpu",
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """A model like `model` with one style more, learnt from `pictures`; only its γ and β learn.

    `contents` are fields of `StyleRecipe` that say what is stylised in training.

    Raises JobError when the name is taken, or as `run` does.
    """
    stored = find_model(model)
    base = load_net(stored.card, stored.folder, device="cpu")
    if not isinstance(base, StyleNet):
        raise JobError("not a model of styles", got=model)
    judge = classifier_of(classifier)
    said = {"name": stored.card.name, "description": "", "styles": {name: ()}}
    recipe = validated(StyleRecipe, {**said, "training": training, **(contents or {})})
    target = StyleTarget.of([read_picture(p) for p in pictures], judge, training.style_layers)
    data = StyleData(content_pictures(recipe, Path(), work, progress), {name: target})
    trainer = AddedStyleTrainer(training, data, judge, base, device=device)
    grown = train(
        trainer,
        work / f"training-{name}",
        preview=preview(work),
        progress=lambda done, total, _: progress("train", done, total),
        stop=stop,
    )
    trained_on = f"{stored.card.training_data}; style {name}: {len(pictures)} pictures of the user"
    card = stored.card.model_copy(
        update={
            "name": out.name,
            "network_settings": grown.settings.model_dump(mode="json"),
            "training_data": trained_on,
            "recipe": f"{stored.card.recipe}; {command}",
        }
    )
    return save_model(out, card, grown.state_dict())


def train_classifier(
    training: ClassifierTraining,
    *,
    per_class: int,
    out: Path,
    work: Path,
    command: str,
    device: str = "cpu",
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """The project's own classifier: made pictures of materials, media, photographs and performers.

    Raises JobError, CancelledError.
    """
    data = labelled(
        per_class, 160, seed=0, progress=lambda done, total: progress("draw", done, total)
    )
    net, found = classifying.run(
        data,
        work,
        training,
        device=device,
        progress=lambda done, total, _: progress("train", done, total),
        stop=stop,
    )
    return export_classifier(net, data.names, found, training, per_class, out, command=command)


def classifier_of(name: str) -> Perceptual:
    """A classifier by the name of its model. Raises ModelError, JobError."""
    stored = find_model(name)
    net = load_net(stored.card, stored.folder, device="cpu")
    if not isinstance(net, Perceptual):
        raise JobError("not a classifier", got=name)
    return net


def read_picture(path: Path) -> Tensor:
    """Any picture file as net space [3, H, W]; 8- and 16-bit files that do not say otherwise are
    sRGB. Raises PlateError, ColorError."""
    image, color = read_image(path), ColorManager(None)
    coded = image.part.channels[image.rgb_names[0]].dtype.kind == "u"
    found = color.resolve(image, path)
    space = DISPLAY_SPACE if coded and found.assumed else found.space
    net = to_net(color.to_working(image.rgb(), space))
    return torch.from_numpy(net).permute(2, 0, 1).contiguous()


def content_pictures(recipe: StyleRecipe, folder: Path, work: Path, progress: Progress) -> Tensor:
    """[N, 3, S, S] net space, kept in the work folder."""
    if recipe.contents_folder:
        files = sorted(f for f in (folder / recipe.contents_folder).iterdir() if f.is_file())
        return torch.stack([_square(read_picture(f), recipe.contents_px) for f in files])
    file = work / f"contents-{recipe.contents}-{recipe.contents_px}-{recipe.seed}.safetensors"
    if not file.is_file():
        progress("contents", 0, recipe.contents)
        made = contents(recipe.contents, recipe.contents_px, seed=recipe.seed)
        tensor = contents_of([as_net(picture) for picture in made])
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as partial:
            save_file({"contents": tensor}, partial)
    return load_file(file)["contents"]


def style_data(
    recipe: StyleRecipe, folder: Path, work: Path, net: Perceptual, progress: Progress
) -> StyleData:
    """All that a recipe's network learns from, kept in the work folder."""
    pictures = content_pictures(recipe, folder, work, progress)
    targets = style_targets(recipe, folder, work, net, progress)
    drawn_styles = tuple(style for style, files in recipe.styles.items() if not files)
    drawings = counterparts(drawn_styles, pictures, work, progress)
    return StyleData(pictures, targets, drawings, [place(k) for k in range(len(pictures))])


def style_targets(
    recipe: StyleRecipe, folder: Path, work: Path, net: Perceptual, progress: Progress
) -> dict[str, StyleTarget]:
    """Gram matrices by style, kept in the work folder for a judge; drawn pictures are put into
    `work/pictures` to be looked at."""
    targets, layers = {}, recipe.training.style_layers
    judge = state_hash(net)[:12]
    for done, (style, files) in enumerate(recipe.styles.items()):
        progress("styles", done, len(recipe.styles))
        kept = work / "targets" / f"{style}-{judge}.safetensors"
        if files:
            targets[style] = StyleTarget.of([read_picture(folder / f) for f in files], net, layers)
        elif kept.is_file() and set(grams := load_file(kept)) == set(layers):
            targets[style] = StyleTarget({name: grams[name] for name in layers})
        else:
            pictures = [_planar(as_net(p)) for p in drawn_pictures(style, work / "pictures")]
            targets[style] = StyleTarget.of(pictures, net, layers)
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(kept) as partial:
                save_file(dict(targets[style].grams), partial)
    return targets


def preview(work: Path) -> Callable[[StyleTrainer, Path], None]:
    """Writes a sheet of every style on held-out pictures."""
    pictures: list[Tensor] = []

    def write(trainer: StyleTrainer, file: Path) -> None:
        if not pictures:
            pictures.append(held_out()[[0, 2]])
        write_style_sheet(file, trainer.net, pictures[0])

    return write


def export(recipe: StyleRecipe, net: StyleNet, out: Path, *, command: str) -> StoredModel:
    """The network as a model with its card; metrics are added by `vfxswap bench style --card`."""
    drawn_styles = [style for style, files in recipe.styles.items() if not files]
    own = len(recipe.styles) - len(drawn_styles)
    data = [
        f"contents: {recipe.contents} of "
        + (recipe.contents_folder or "photographs in scikit-image, synthetic performers and "
           "procedural scenes"),
        f"{len(drawn_styles)} styles drawn by vfxswap.train.style_media" * bool(drawn_styles),
        f"{own} styles from pictures named by the recipe" * bool(own),
    ]  # fmt: skip
    card = ModelCard(
        name=recipe.name,
        effect="style",
        description=recipe.description,
        network="style",
        network_settings=net.settings.model_dump(mode="json"),
        licence=recipe.licence,
        synthetic=False,
        training_data="; ".join(part for part in data if part),
        training_licence=f"{recipe.pictures_licence}; photographs as scikit-image states them",
        recipe=command,
        negative_results=recipe.remarks,
    )
    return save_model(out, card, net.state_dict())


def export_classifier(
    net: Perceptual,
    classes: Sequence[str],
    accuracy: dict[str, float],
    training: ClassifierTraining,
    per_class: int,
    out: Path,
    *,
    command: str,
) -> StoredModel:
    """The classifier as a model with its card."""
    from vfxswap.persona import Metric

    note = (
        f"crops of {len(classes)} classes with their colours changed; chance {1 / len(classes):.3f}"
    )
    card = ModelCard(
        name=out.name,
        effect="classifier",
        description="Features that judge content and style in style trainings.",
        network="perceptual",
        network_settings=net.settings.model_dump(mode="json"),
        licence="Apache-2.0",
        synthetic=False,
        training_data=(
            f"{per_class} made pictures of each class: procedural materials, drawn media, cuts of "
            "photographs in scikit-image, synthetic performers; "
            f"{training.iterations} steps of {training.batch} crops of {training.crop_px} px"
        ),
        training_licence="Apache-2.0 (drawn, rendered); photographs as scikit-image states them",
        recipe=command,
        metrics={
            name: Metric(value=round(value, 4), command=command, note=note)
            for name, value in accuracy.items()
        },
    )
    return save_model(out, card, net.state_dict())


def _planar(picture: Pixels) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()


def _square(picture: Tensor, side: int) -> Tensor:
    """The middle square of [3, H, W] at `side`."""
    low = min(picture.shape[1:])
    y, x = (picture.shape[1] - low) // 2, (picture.shape[2] - low) // 2
    middle = picture[None, :, y : y + low, x : x + low]
    return torch.nn.functional.interpolate(
        middle, size=side, mode="bilinear", antialias=True, align_corners=False
    )[0]
