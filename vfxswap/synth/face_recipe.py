"""The recipes of the parsing and identity models: rendered pictures, training, measuring, card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from vfxswap.errors import JobError, ModelError
from vfxswap.io.weights import StoredModel, find_model, load_net
from vfxswap.nets.identity import IdentityNet
from vfxswap.synth import landmark_pictures
from vfxswap.synth.landmark_pictures import Progress
from vfxswap.train import identity, parsing
from vfxswap.train.face_cards import export_identity, export_parsing
from vfxswap.train.landmark_data import FaceSet
from vfxswap.train.steps import Progress as Step


def run(
    which: Literal["parsing", "identity"],
    *,
    out: Path,
    work: Path,
    settings: parsing.ParsingTraining | identity.IdentityTraining,
    command: str,
    shards: int = 32,
    varied: int = 0,
    start: str = "",
    processes: int = 2,
    device: torch.device | str = "cpu",
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """Renders what `work` does not hold yet, trains, measures and writes the model into `out`.

    Both models learn from the same pictures, 20 performers a shard; every twelfth performer is
    held out. Identity may also learn from `varied` shards of wider ones and go on from the model
    that `start` names. `command` is what the card names as recipe. Raises as the steps do,
    JobError where parsing is asked for these two, ModelError for a `start` that is none,
    CancelledError when `stop()` turns true.
    """
    pictures = landmark_pictures.ordinary(
        work, shards=shards, processes=processes, progress=progress, stop=stop
    )

    def tell(state: Step) -> None:
        progress("train", state.iteration, state.iterations)

    faces = FaceSet.open(pictures)
    if isinstance(settings, parsing.ParsingTraining):
        if varied or start:
            raise JobError("parsing learns afresh from the ordinary pictures", got=start or varied)
        parser = parsing.run(
            pictures, work / which, settings=settings, device=device, progress=tell, stop=stop
        )
        return export_parsing(parser.cpu(), faces, seed=settings.seed, command=command, out=out)
    folders = [pictures]
    if varied:
        folders.append(
            landmark_pictures.wider(
                work, shards=varied, processes=processes, progress=progress, stop=stop
            )
        )
    begun, origin = _start(start) if start else (None, "")
    learnt = FaceSet.open(*folders)
    net = identity.run(
        learnt,
        work / which,
        settings=settings,
        start=begun,
        device=device,
        progress=tell,
        stop=stop,
    )
    return export_identity(
        net.cpu(), learnt, measured=faces, seed=settings.seed, command=command, out=out,
        origin=origin,
    )  # fmt: skip


def _start(name: str) -> tuple[IdentityNet, str]:
    """The network that training goes on from, and the hash of its weights."""
    stored = find_model(name)
    net = load_net(stored.card, stored.folder, device="cpu")
    if not isinstance(net, IdentityNet):
        raise ModelError(
            "not an identity model", file=stored.folder, got=stored.card.network, wanted="identity"
        )
    return net, stored.card.weights_sha256
