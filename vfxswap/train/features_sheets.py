"""Sheets of a finished feature network on held-out identities: reconstructions, clusters drawn
over crops, and transfers of one feature at a time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vfxswap.nets.features import FeatureNet
from vfxswap.train.features_data import PartCrops
from vfxswap.train.features_edits import EditSet
from vfxswap.train.features_measure import reconstructed, transfer, write_sheet
from vfxswap.train.steps import evaluating

_COLUMNS = 10
_ENLARGED = 2


def write_sheets(folder: Path, net: FeatureNet, data: PartCrops, edits: EditSet | None) -> None:
    """Writes `reconstructions.png`, `features.png` and `transfers.png` into `folder`."""
    _, held_out = data.split()
    crops = data.centred(held_out[:: max(1, len(held_out) // _COLUMNS)][:_COLUMNS]).crops
    rows = [crops, reconstructed(net, crops), reconstructed(net, crops, steps=30)]
    write_sheet(folder / "reconstructions.png", _grid(rows), enlarged=_ENLARGED)
    with evaluating(net):
        u = net.memberships(net.generate(net.encode(crops)).activations)
    u = torch.nn.functional.interpolate(u, size=crops.shape[-2:], mode="nearest")
    colors = torch.from_numpy(_colors(len(net.feature_names)))
    painted = torch.einsum("bkhw,kc->bchw", u, colors)
    over = 0.45 * crops.mean(1, keepdim=True).clamp(0, 1) + 0.55 * painted
    write_sheet(folder / "features.png", _grid([crops, over]), enlarged=_ENLARGED)
    write_sheet(folder / "transfers.png", transfer_sheet(net, crops), enlarged=_ENLARGED)
    if edits is not None:
        write_sheet(folder / "truth.png", truth_sheet(net, edits), enlarged=_ENLARGED)


def transfer_sheet(net: FeatureNet, crops: Tensor) -> Tensor:
    """[3, H, W]: rows of source, reference, reconstruction and every feature transferred alone;
    crop k takes from crop k + 1."""
    count = len(crops)
    reference = crops.roll(-1, 0)
    columns = [crops, reference]
    with evaluating(net):
        for feature in net.feature_names:
            moved, plain = transfer(net, crops, reference, [feature] * count)
            if len(columns) == 2:
                columns.append(plain)
            columns.append(moved)
    return _grid(columns)


def truth_sheet(net: FeatureNet, edits: EditSet) -> Tensor:
    """[3, H, W]: rows of source, reference, truth, source with the network's change, and both
    changes about grey."""
    _, held_out = edits.split()
    batch = edits.batch(held_out[:_COLUMNS])
    names = [edits.parts[k] for k in batch.feature.tolist()]
    known = [name if name in net.feature_names else net.feature_names[0] for name in names]
    with evaluating(net):
        moved, plain = transfer(net, batch.source, batch.reference, known)
    change = moved - plain
    rows = [batch.source, batch.reference, batch.truth, batch.target + change]
    return _grid([*rows, 0.5 + batch.change, 0.5 + change])


def _grid(rows: list[Tensor]) -> Tensor:
    return torch.cat([torch.cat(list(row), 2) for row in rows], 1)


def _colors(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """[count, 3] hues around the circle in 0…1."""
    hues = (np.arange(count) * 180 // max(1, count)).astype(np.uint8)
    hsv = np.stack([hues, np.full(count, 200, np.uint8), np.full(count, 240, np.uint8)], -1)
    rgb: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = (
        cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0].astype(np.float32) / 255
    )
    return rgb
