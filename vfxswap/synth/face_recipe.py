"""The recipes of the parsing and identity models: rendered pictures, training, measuring, card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from vfxswap.io.weights import StoredModel
from vfxswap.synth.landmark_pictures import render_pictures
from vfxswap.train import identity, parsing
from vfxswap.train.face_cards import export_identity, export_parsing
from vfxswap.train.landmark_data import FaceSet
from vfxswap.train.steps import Progress as Step

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""

PER_SHARD = 240
CROPS_EACH = 12
"""Pictures of a performer, half of them at another age."""
SEED = 501


def run(
    which: Literal["parsing", "identity"],
    *,
    out: Path,
    work: Path,
    settings: parsing.ParsingTraining | identity.IdentityTraining,
    command: str,
    shards: int = 32,
    processes: int = 2,
    device: torch.device | str = "cpu",
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """Renders what `work` does not hold yet, trains, measures and writes the model into `out`.

    Both models learn from the same pictures, 20 performers a shard; every twelfth performer is
    held out. `command` is what the card names as recipe. Raises as the steps do, CancelledError
    when `stop()` turns true.
    """
    pictures = work / "pictures"
    render_pictures(
        pictures,
        shards=shards,
        per_shard=PER_SHARD,
        seed=SEED,
        crops_each=CROPS_EACH,
        aged=True,
        processes=processes,
        progress=lambda done, total: progress("render pictures", done, total),
        stop=stop,
    )

    def tell(state: Step) -> None:
        progress("train", state.iteration, state.iterations)

    faces = FaceSet.open(pictures)
    if isinstance(settings, parsing.ParsingTraining):
        parser = parsing.run(
            pictures, work / which, settings=settings, device=device, progress=tell, stop=stop
        )
        return export_parsing(parser.cpu(), faces, seed=settings.seed, command=command, out=out)
    net = identity.run(
        pictures, work / which, settings=settings, device=device, progress=tell, stop=stop
    )
    return export_identity(net.cpu(), faces, seed=settings.seed, command=command, out=out)
