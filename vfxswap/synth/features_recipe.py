"""Recipes of feature networks: rendered crops, training in stages, held-out numbers, model.

`vfxswap train features RECIPE` runs one. It resumes: whole shards and the newest checkpoint of
each stage in the work folder are kept. A recipe is a TOML file; those of the shipped models lie
beside this module.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

import torch
from pydantic import Field, model_validator

from vfxswap.errors import JobError
from vfxswap.io.weights import StoredModel
from vfxswap.nets.features import FeatureNet, FeatureSettings
from vfxswap.persona import Metric
from vfxswap.settings import Settings, nearest
from vfxswap.synth.features_bodies import BodyPictures, render_bodies
from vfxswap.synth.features_pictures import FacePictures, render_faces
from vfxswap.synth.features_transfers import FaceTransfers, render_transfers
from vfxswap.train.features import FeatureTraining
from vfxswap.train.features import run as run_training
from vfxswap.train.features_card import export, finish, metrics_of
from vfxswap.train.features_data import PartCrops
from vfxswap.train.features_edits import EditSet
from vfxswap.train.recipe import read_recipe
from vfxswap.train.steps import Progress as Step

RECIPES = Path(__file__).parent / "recipes"
PREFIX = "features-"
"""What names of shipped recipes of this kind begin with."""
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


class FeatureRecipe(Settings):
    """All that makes a feature network; the object is what its pictures show."""

    description: str = Field(description="What the model is, in a sentence.")
    faces: FacePictures | None = Field(default=None, description="Faces to learn from.")
    bodies: BodyPictures | None = Field(default=None, description="Or bodies to learn from.")
    transfers: FaceTransfers | None = Field(
        default=None, description="Transfers of face features with truth; for `edits` of a stage."
    )
    network: FeatureSettings = Field(default=FeatureSettings(), description="The network's shape.")
    stages: tuple[FeatureTraining, ...] = Field(
        min_length=1, description="Trainings, each going on from the one before."
    )
    remarks: tuple[str, ...] = Field(
        default=(), description="What was tried and failed, and what it cannot do."
    )

    @model_validator(mode="after")
    def _one_object(self) -> Self:
        if (self.faces is None) == (self.bodies is None):
            raise ValueError("wanted faces or bodies")
        if any(stage.edits + stage.seeing > 0 for stage in self.stages) and self.transfers is None:
            raise ValueError("a stage trains transfers, but the recipe has no transfers")
        return self


def load_recipe(name_or_file: str) -> FeatureRecipe:
    """A recipe by its name (of the shipped ones) or by its file. Raises JobError."""
    file = Path(name_or_file)
    if file.suffix != ".toml":
        shipped = {f.stem: f for f in RECIPES.glob(f"{PREFIX}*.toml")}
        if name_or_file not in shipped:
            raise JobError(
                "no such recipe", got=name_or_file, wanted=nearest(name_or_file, shipped)
            )
        file = shipped[name_or_file]
    return read_recipe(file, FeatureRecipe)


def run(
    name_or_file: str,
    *,
    out: Path,
    work: Path,
    command: str,
    processes: int = 2,
    device: torch.device | str = "cpu",
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """Renders, trains, measures and writes the model into `out`; `work` keeps what can be resumed
    and gets the sheets.

    The numbers after each stage but the last go into the card beside the final ones. Raises
    JobError for a wrong recipe, CancelledError when `stop()` turns true, and as the steps do.
    """
    recipe = load_recipe(name_or_file)
    data, edits = rendered(recipe, work, processes=processes, progress=progress, stop=stop)
    net: FeatureNet | None = None
    before: dict[str, Metric] = {}
    for number, stage in enumerate(recipe.stages, 1):
        if net is not None:
            finish(net.cpu(), data, seed=stage.seed)
            before = metrics_of(net, data, edits, command=command)

        def tell(state: Step, number: int = number) -> None:
            progress(f"train stage {number}", state.iteration, state.iterations)

        net = run_training(
            data,
            work / f"stage-{number}",
            training=stage,
            shape=recipe.network,
            edits=edits,
            start=net,
            device=device,
            progress=tell,
            stop=stop,
        )
    assert net is not None
    return export(
        net.cpu(),
        data,
        out=out,
        work=work,
        description=recipe.description,
        command=command,
        edits=edits,
        before=before,
        remarks=recipe.remarks,
        seed=recipe.stages[-1].seed,
    )


def rendered(
    recipe: FeatureRecipe,
    work: Path,
    *,
    processes: int = 2,
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[PartCrops, EditSet | None]:
    """The recipe's pictures, rendered where `work` does not hold them yet."""
    if recipe.faces is not None:
        folder = work / "faces"
        tell = partial(progress, "render faces")
        render_faces(folder, recipe.faces, processes=processes, progress=tell, stop=stop)
    else:
        assert recipe.bodies is not None
        folder = work / "bodies"
        tell = partial(progress, "render bodies")
        render_bodies(folder, recipe.bodies, processes=processes, progress=tell, stop=stop)
    data = PartCrops.open(folder)
    if recipe.transfers is None:
        return data, None
    tell = partial(progress, "render transfers")
    render_transfers(
        work / "edits", recipe.transfers, processes=processes, progress=tell, stop=stop
    )
    return data, EditSet.open(work / "edits", data.parts)
