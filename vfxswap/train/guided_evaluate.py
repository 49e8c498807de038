"""How far a guided pair is from rendered truth, beside doing nothing and beside a thin lens."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfxswap import color
from vfxswap.nets.guided import GuidedNet, GuidedPair, applied, displaced
from vfxswap.nets.guided_vector import lenses
from vfxswap.train.guided_batch import Batch, collated, fixed, inverse_field
from vfxswap.train.guided_data import GuidedSet
from vfxswap.train.steps import evaluating

POWERS = ((-8, -6), (-6, -4), (-4, -2), (-2, 0), (0, 2), (2, 4), (4, 6))
"""Dioptres of sphere-equivalent by which displacement errors are told apart."""
REPORT_PX = 512
STOPS = 17.52
"""Net space over stops."""
WEAKEST_DPT = 0.5


class Row(NamedTuple):
    """One measurement: power [dpt], and errors by name."""

    power: float
    errors: dict[str, float]


def displacement_rows(pair: GuidedPair, data: GuidedSet, indices: NDArray[np.int64]) -> list[Row]:
    """Mean length of the displacement's error inside the worn frames' lenses, in pixels at 512²,
    for every prescription of held-out samples: `added` by the network, by nothing (`…_nothing`)
    and by a thin lens before the mean head alone (`…_thin`); `removed` likewise (each lens of its
    first prescription alone, as it is in the worn picture)."""
    rows = []
    scale = REPORT_PX / pair.size
    count = data.values["glasses"].shape[1]
    with evaluating(pair):
        for index in indices:
            for field in range(count):
                batch = collated([fixed(data, int(index), field=field, lights={})])
                if float(lenses(batch.vector).power.norm()) * 8 < WEAKEST_DPT:
                    continue
                inside = batch.known * (batch.lenses > 0.5)
                if float(inside.sum()) < 20:
                    continue
                found = pair.add(color.to_net(batch.plain), batch.vector, torch.ones(1))
                wanted = batch.displacement
                nothing = torch.zeros_like(wanted)
                errors = {
                    "added": _length(found.displacement - wanted, inside) * scale,
                    "added_nothing": _length(nothing - wanted, inside) * scale,
                    "added_thin": _length(thin(pair.add, batch.vector) - wanted, inside) * scale,
                }
                if field == 0:
                    errors.update(_removed(pair, batch, scale))
                rows.append(Row(float(lenses(batch.vector).power[0, 0]) * 8, errors))
    return rows


def _removed(pair: GuidedPair, batch: Batch, scale: float) -> dict[str, float]:
    through = batch.worn_displacement * (batch.lenses > 0.5)
    back = inverse_field(through)
    inside = displaced((batch.lenses > 0.5).float(), back)
    inside = (inside > 0.9) * batch.lenses.gt(0.5) * (back.norm(dim=1, keepdim=True) < 8)
    if float(inside.sum()) < 20:
        return {}
    found = pair.remove(color.to_net(batch.worn), batch.worn_vector, torch.ones(1))
    return {
        "removed": _length(found.displacement - back, inside) * scale,
        "removed_nothing": _length(back, inside) * scale,
        "removed_thin": _length(thin(pair.remove, batch.worn_vector) - back, inside) * scale,
    }


def thin(net: GuidedNet, vector: Tensor) -> Tensor:
    """The displacement of thin lenses alone, where the network starts from."""
    weights = lenses(vector).power[:, :, None, None, None]
    found: Tensor = (net.thin * weights).sum(1) * (net.settings.size / 128)
    return found


def light_rows(pair: GuidedPair, data: GuidedSet, indices: NDArray[np.int64]) -> list[Row]:
    """Mean absolute error of the relit face in stops, for each light of held-out samples at half
    and at one and a half times the light that is there; `power` is the light's z in heads."""
    rows = []
    with evaluating(pair):
        for index in indices:
            for number in range(len(data.values["lights"][index])):
                for level in (0.5, 1.5):
                    row = fixed(data, int(index), field=-1, lights={number: level})
                    batch = collated([row])
                    plain = color.to_net(batch.plain)
                    truth = color.to_net(batch.plain * batch.gain)
                    guided = pair.add(plain, batch.vector, torch.ones(1))
                    lit = color.to_net(batch.plain * guided.gain + guided.offset)
                    back = pair.remove(truth, batch.vector, torch.ones(1))
                    unlit = color.to_net(batch.plain * batch.gain * back.gain + back.offset)
                    errors = {
                        "relit": _stops(lit - truth, batch.face),
                        "relit_nothing": _stops(plain - truth, batch.face),
                        "unlit": _stops(unlit - plain, batch.face),
                    }
                    z = float(data.values["lights"][index][number][2])
                    rows.append(Row(z, errors))
    return rows


def round_trip(pair: GuidedPair, data: GuidedSet, indices: NDArray[np.int64]) -> dict[str, float]:
    """Forward, then inverse: PSNR [dB, of net space 0…1] of what comes back inside the lenses and
    on the lit face, beside that of the changed picture."""
    came, went = [], []
    with evaluating(pair):
        for index in indices:
            batch = collated([fixed(data, int(index), field=0, lights={0: 0.8})])
            plain, area = color.to_net(batch.plain), batch.known * batch.lenses
            vector = batch.vector.clone()
            vector[:, 0] = 0.0  # frames hide what they cover for good
            guided = pair.add(plain, vector, torch.ones(1))
            guided = guided._replace(displacement=guided.displacement * batch.known)
            changed = applied(plain, guided)
            back = pair.remove(changed, vector, torch.ones(1))
            back = back._replace(displacement=back.displacement * batch.known)
            again = applied(changed, back, inverse=True)
            weight = torch.maximum(area, batch.face)
            came.append(_square(again - plain, weight))
            went.append(_square(changed - plain, weight))
    return {
        "round_trip": -10 * float(np.log10(np.mean(came))),
        "round_trip_nothing": -10 * float(np.log10(np.mean(went))),
    }


def frames_iou(pair: GuidedPair, data: GuidedSet, indices: NDArray[np.int64]) -> float:
    """Overlap of drawn and rendered standard frames at half cover, over all held-out samples."""
    both = either = 0.0
    with evaluating(pair):
        for index in indices:
            batch = collated([fixed(data, int(index), field=0, lights={})])
            if float(batch.drawn) == 0:
                continue
            found = pair.add(color.to_net(batch.plain), batch.vector, torch.ones(1)).frames[:, 3:]
            a, b = found > 0.5, batch.frames[:, 3:] > 0.5
            both += float((a & b).sum())
            either += float((a | b).sum())
    return both / max(either, 1.0)


def summary(
    rows: list[Row], name: str, *, chosen: Callable[[float], bool] = lambda _: True
) -> float:
    """Mean of an error over the rows that have it and whose power is `chosen`; nan for none."""
    values = [row.errors[name] for row in rows if name in row.errors and chosen(row.power)]
    return float(np.mean(values)) if values else float("nan")


def _length(field: Tensor, inside: Tensor) -> float:
    return float((field.norm(dim=1, keepdim=True) * inside).sum() / inside.sum())


def _stops(error: Tensor, weight: Tensor) -> float:
    return STOPS * float((error.abs().mean(1, keepdim=True) * weight).sum() / weight.sum())


def _square(error: Tensor, weight: Tensor) -> float:
    return float((error.square().mean(1, keepdim=True) * weight).sum() / weight.sum())
