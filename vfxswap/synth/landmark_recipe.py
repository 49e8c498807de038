"""The recipe of the landmark model: rendered pictures, training, measuring, card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vfxswap.io.weights import StoredModel
from vfxswap.nets.landmark import LandmarkNet
from vfxswap.synth.landmark_pictures import render_pictures
from vfxswap.train import landmarks
from vfxswap.train.landmark_card import save_landmark_model
from vfxswap.train.landmark_data import FaceSet

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


def run(
    *,
    out: Path,
    work: Path,
    settings: landmarks.LandmarkTraining,
    command: str,
    shards: int = 25,
    processes: int = 2,
    device: torch.device | str = "cpu",
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """Renders, trains, measures and writes the model into `out`; `work` keeps what can be resumed.

    The defaults are those of the shipped model: on two idle cores five minutes of rendering and
    half an hour of training. Every twelfth performer is held out and measured. `command` is what
    the card names as recipe. Raises as the steps do, CancelledError when `stop()` turns true.
    """
    pictures = work / "pictures"
    render_pictures(
        pictures,
        shards=shards,
        processes=processes,
        progress=lambda done, total: progress("render pictures", done, total),
        stop=stop,
    )
    net = landmarks.run(
        pictures,
        work / "training",
        settings=settings,
        device=device,
        progress=lambda state: progress("train", state.iteration, state.iterations),
        stop=stop,
    )
    return export(net.cpu(), FaceSet.open(pictures), seed=settings.seed, command=command, out=out)


def export(net: LandmarkNet, faces: FaceSet, *, seed: int, command: str, out: Path) -> StoredModel:
    """Measures a trained net on the held-out performers and writes it with its card.

    Weights are rounded to half precision first: the numbers are those of the file.
    """
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half().float())
    training, held_out = faces.split()
    errors = {
        **landmarks.calibrate(net, faces, held_out, seed=seed),
        **landmarks.evaluate(net, faces, held_out, seed=seed),
    }
    return save_landmark_model(
        net,
        out,
        errors=errors,
        pictures=len(training),
        performers=len(np.unique(faces.identity[training])),
        command=command,
    )
