"""The recipe of the landmark model: rendered pictures, training, measuring, card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vfxswap.errors import ModelError
from vfxswap.io.weights import StoredModel, find_model, load_net
from vfxswap.nets.landmark import LandmarkNet
from vfxswap.synth import landmark_pictures
from vfxswap.synth.landmark_pictures import Progress
from vfxswap.train import landmarks
from vfxswap.train.landmark_card import save_landmark_model
from vfxswap.train.landmark_confidence import calibrate_confidence
from vfxswap.train.landmark_data import FaceSet


def run(
    *,
    out: Path,
    work: Path,
    settings: landmarks.LandmarkTraining,
    command: str,
    shards: int = 32,
    varied: int = 15,
    start: str = "",
    processes: int = 2,
    device: torch.device | str = "cpu",
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """Renders, trains, measures and writes the model into `out`; `work` keeps what can be resumed.

    Half of what is drawn are the pictures that parsing and identity learn from, half are wider.
    Every twelfth performer is held out and measured. `start` names a landmark model to go on from;
    the card says so. `command` is what the card names as recipe. Raises as the steps do, ModelError
    for a `start` that is none, CancelledError when `stop()` turns true.
    """
    started = find_model(start) if start else None
    first = None
    if started is not None:
        net = load_net(started.card, started.folder, device="cpu")
        if not isinstance(net, LandmarkNet):
            raise ModelError(
                "not a landmark model", file=started.folder, got=started.card.network,
                wanted="landmark",
            )  # fmt: skip
        first = net
    pictures = landmark_pictures.ordinary(
        work, shards=shards, processes=processes, progress=progress, stop=stop
    )
    wider = landmark_pictures.wider(
        work, shards=varied, processes=processes, progress=progress, stop=stop
    )
    calibration = landmark_pictures.calibration(
        work, processes=processes, progress=progress, stop=stop
    )
    net = landmarks.run(
        # The wider ones as often as there are of the others: half of what is drawn is wide.
        FaceSet.open(pictures, *[wider] * max(1, round(shards / varied))),
        work / "landmarks",
        settings=settings,
        start=first,
        device=device,
        progress=lambda state: progress("train", state.iteration, state.iterations),
        stop=stop,
    )
    return export(
        net.cpu(),
        ordinary=FaceSet.open(pictures),
        wider=FaceSet.open(wider),
        calibration=FaceSet.open(calibration),
        seed=settings.seed,
        command=command,
        out=out,
        origin="" if started is None else started.card.weights_sha256,
    )


def export(
    net: LandmarkNet,
    *,
    ordinary: FaceSet,
    wider: FaceSet,
    calibration: FaceSet,
    seed: int,
    command: str,
    out: Path,
    origin: str = "",
) -> StoredModel:
    """Measures a trained net on the held-out performers of both kinds and writes it with its
    card; `origin` is the hash of the weights that training went on from.

    Weights are rounded to half precision first: the numbers are those of the file.
    """
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half().float())
    held_out = {"": ordinary, "wider_": wider}
    errors = landmarks.calibrate(net, wider, wider.split()[1], seed=seed)
    calibrate_confidence(net, calibration, np.arange(len(calibration)), seed=seed)
    for prefix, faces in held_out.items():
        measured = landmarks.evaluate(net, faces, faces.split()[1], seed=seed)
        errors |= {prefix + name: value for name, value in measured.items()}
    trained = [(faces, faces.split()[0]) for faces in (ordinary, wider)]
    return save_landmark_model(
        net,
        out,
        errors=errors,
        pictures=sum(len(indices) for _, indices in trained),
        performers=sum(len(np.unique(faces.identity[at])) for faces, at in trained),
        command=command,
        origin=origin,
    )
