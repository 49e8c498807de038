"""Batches of guided training: pictures, vectors and truth, mirrored and lit as they are drawn."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfxswap import color
from vfxswap.characteristics import LIGHTS
from vfxswap.nets.guided import displaced
from vfxswap.nets.guided_vector import INDEX
from vfxswap.train.guided_data import GuidedSet

FURTHEST_PX = 8.0
"""Longer displacements (past the head's edge, at 128 pixels) are not asked for."""
MOST_LIGHT = 2.5
"""Of a light that arrives, against the light on the face."""
STANDARD_SHAPE = 3
"""Number of the frames' shape that the generator draws: the trapeze of `align.spectacles`."""

Rng = np.random.Generator


class Batch(NamedTuple):
    """B samples; pictures scene-linear [B, 3, S, S], vectors [B, V].

    `plain` becomes `changed` by `vector`: `gain` [B, 3, S, S] of lights and shade, then
    `displacement` [B, 2, S, S] where `known` [B, 1, S, S], then `frames` [B, 4, S, S] over it
    (drawn by the generator where `drawn` [B] is 1). `worn` [B, 3, S, S] shows real lenses over
    `lenses` [B, 1, S, S] (where their field is known), by `worn_vector`. `face` [B, 1, S, S].
    """

    plain: Tensor
    changed: Tensor
    vector: Tensor
    gain: Tensor
    displacement: Tensor
    known: Tensor
    frames: Tensor
    drawn: Tensor
    worn: Tensor
    worn_vector: Tensor
    worn_displacement: Tensor
    lenses: Tensor
    face: Tensor


def draw(data: GuidedSet, indices: NDArray[np.int64], rng: Rng) -> Batch:
    """A batch of samples, each mirrored half of the time, lit by none to two of its lights, with
    one of its prescriptions, or without lenses."""
    return collated([_sample(data, int(i), rng) for i in indices])


def collated(rows: list[dict[str, NDArray[np.float32]]]) -> Batch:
    """Samples as one batch."""
    return Batch(
        **{n: torch.from_numpy(np.stack([row[n] for row in rows])).float() for n in Batch._fields}
    )


def fixed(
    data: GuidedSet, index: int, *, field: int, lights: dict[int, float]
) -> dict[str, NDArray[np.float32]]:
    """A sample for measuring: not mirrored, as it was exposed, with prescription `field` and its
    lights by number at what they bring, white."""
    return _made(data, index, field=field, lights={k: (v, np.ones(3)) for k, v in lights.items()})


def inverse_field(displacement: Tensor, *, steps: int = 10) -> Tensor:
    """The field e that undoes d [B, 2, S, S]: p = q + e(q) is where p + d(p) = q, by fixed-point
    iteration (the fields of lenses change by less than they are long)."""
    back = torch.zeros_like(displacement)
    for _ in range(steps):
        back = -displaced(displacement, back)
    return back


def _sample(data: GuidedSet, index: int, rng: Rng) -> dict[str, NDArray[np.float32]]:
    places = data.values["lights"][index]
    count = int(rng.choice([0, 1, 2], p=[0.25, 0.5, 0.25]))
    lights = {}
    for number in rng.permutation(len(places))[:count]:
        near = 1 / max(0.6, float(np.linalg.norm(places[number]))) ** 2
        arriving = min(float(rng.uniform(0, 4)) * near, MOST_LIGHT)
        tone = np.ones(3) if rng.random() < 0.5 else rng.uniform(0.2, 1.0, 3)
        lights[int(number)] = (arriving, tone)
    fields = data.values["glasses"].shape[1]
    row = _made(
        data,
        index,
        field=int(rng.integers(-1, fields)),
        lights=lights,
        degree=float(rng.uniform(0.3, 1.0)),
    )
    exposure = np.exp2(rng.normal(0, 1) + rng.normal(0, 0.2, 3)).astype(np.float32)[:, None, None]
    for name in ("plain", "changed", "worn"):
        row[name] = row[name] * exposure
    row["frames"][:3] *= exposure
    return _mirrored(row) if rng.random() < 0.5 else row


def _made(
    data: GuidedSet,
    index: int,
    *,
    field: int,
    lights: dict[int, tuple[float, Any]],
    degree: float = 1.0,
) -> dict[str, NDArray[np.float32]]:
    """`field` below 0 has no lenses at all."""

    def planes(name: str) -> NDArray[np.float32]:
        picture = data.read(name, index).astype(np.float32)
        return np.moveaxis(picture, -1, -3) if picture.ndim > 2 else picture[None]

    plain, light = planes("plain"), planes("light")
    vector = data.values["glasses"][index][max(field, 0)].copy()
    standard = int(data.values["shape"][index]) == STANDARD_SHAPE and field == 0
    vector[INDEX["frames"]] = degree if standard else 0.0
    for name in ("tint_density", "tint_gradient"):
        vector[INDEX[name]] = 0.0
    for name in ("tint_red", "tint_green", "tint_blue"):
        vector[INDEX[name]] = 1.0
    if field < 0:
        for name in ("sphere", "cylinder", "prism"):
            vector[INDEX[name]] = 0.0
    lit = plain.copy()
    for slot, (number, (arriving, tone)) in zip(LIGHTS, lights.items(), strict=False):
        place = data.values["lights"][index][number]
        far = max(0.6, float(np.linalg.norm(place)))
        for axis, at in zip("xyz", place, strict=True):
            vector[INDEX[f"{slot}_{axis}"]] = at
        vector[INDEX[f"{slot}_intensity"]] = arriving * far**2
        for channel, share in zip(("red", "green", "blue"), tone, strict=True):
            vector[INDEX[f"{slot}_{channel}"]] = share
        lit += light[number] * np.float32(arriving) * np.asarray(tone, np.float32)[:, None, None]
    frames = planes("frames") * np.float32(degree if standard else 0.0)
    if standard:
        lit = lit * (1 - np.float32(degree) * (1 - planes("shade")))
    # Where nothing shines a gain says nothing; near black it would be a ratio of noise.
    gain = (lit + 1e-3) / (plain + 1e-3)
    displacement, known = np.zeros((2, *plain.shape[1:]), np.float32), np.zeros_like(plain[:1])
    if field >= 0:
        displacement = np.moveaxis(data.read("field", index)[field].astype(np.float32), -1, 0)
        known = (data.read("known", index)[field] > 127)[None].astype(np.float32)
    worn_displacement = np.moveaxis(data.read("field", index)[0].astype(np.float32), -1, 0)
    known = known * (np.abs(displacement).max(0, keepdims=True) < FURTHEST_PX)
    shown = displaced(torch.from_numpy(lit)[None], torch.from_numpy(displacement * known)[None])
    changed = frames[:3] + (1 - frames[3:]) * shown[0].numpy()
    return {
        "plain": plain,
        "changed": changed,
        "vector": vector,
        "gain": gain,
        "displacement": displacement * known,
        "known": known,
        "frames": frames,
        "drawn": np.float32(standard),
        "worn": planes("worn"),
        "worn_vector": data.values["glasses"][index][0],
        "worn_displacement": worn_displacement,
        "lenses": planes("lenses") / 255 * (data.read("known", index)[0] > 127),
        "face": planes("face") / 255,
    }


def _mirrored(row: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Left for right, in pictures, fields and vectors."""
    out = {n: np.ascontiguousarray(v[..., ::-1]) if v.ndim == 3 else v for n, v in row.items()}
    for name in ("displacement", "worn_displacement"):
        out[name][0] *= -1
    for name in ("vector", "worn_vector"):
        vector = out[name].copy()
        for angle in ("axis_deg", "prism_base_deg"):
            vector[INDEX[angle]] = (180 - vector[INDEX[angle]]) % 360
        vector[INDEX["axis_deg"]] %= 180
        for light in LIGHTS:
            vector[INDEX[f"{light}_x"]] *= -1
        out[name] = vector
    return out


def seen(linear: Tensor) -> Tensor:
    """Scene-linear pictures as networks see them."""
    return color.to_net(linear)
