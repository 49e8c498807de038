"""Training of the lens reader on rendered eyes, whose lenses are exchanged at every look."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, pi, sqrt
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfxswap.color import to_net
from vfxswap.image import Pixels
from vfxswap.nets.guided_lenses import POWERS, LensReader
from vfxswap.nets.guided_vector import lenses
from vfxswap.train.guided_data import HELD_OUT_EVERY, GuidedSet
from vfxswap.train.guided_estimator import EstimatorTraining
from vfxswap.train.photo import photographed
from vfxswap.train.steps import Progress, evaluating, stacked, train_steps

FURTHEST_PX = 32.0
"""Longer displacements (past the head's edge) are cut."""
PHOTOGRAPHED = 0.7
PLANE = 0.14
"""Share of lenses that bend nothing."""
EXAGGERATED = 2.5
"""By how much powers are exaggerated at first; from half of the training on they are not."""
_WEIGHTS: Final = {"together": 0.5, "each": 0.5, "mean": 2.0, "apart": 2.0}
_UNIT_DPT = 8.0
_BASIS = ((-5.0, 0), (4.0, 1))
_CROSS_DPT = 2.0


class Strips(NamedTuple):
    """B strips [B, 3, h, w] in net space, and power vectors [B, 3] (1 at 8 dpt) of their lenses.
    The first half and the second half are the same pictures but for their lenses."""

    pictures: Tensor
    powers: Tensor


class Eyes(NamedTuple):
    """A rendered strip to put lenses in: `below` [h, w, 3] scene-linear without them, `frames`
    [h, w, 4] over it, `share` [h, w, 1] of what is seen between frames that is seen through
    lenses, `fields` [4, h, w, 2] half precision, 0 where they are not `known`, and the `sky` [3]
    that lenses mirror."""

    below: Pixels
    frames: Pixels
    share: Pixels
    fields: NDArray[np.float16]
    known: Pixels
    sky: Pixels

    @classmethod
    def of(cls, data: GuidedSet, index: int) -> Eyes:
        """Those of a sample."""
        shade = data.read("shade", index).astype(np.float32)[..., None]
        frames = data.read("frames", index).astype(np.float32)
        share = data.read("lenses", index).astype(np.float32)[..., None] / 255
        return cls(
            data.read("plain", index).astype(np.float32) * shade,
            frames,
            np.clip(share / np.maximum(1 - frames[..., 3:], 0.05), 0, 1),
            data.read("field", index),
            (data.read("known", index) > 127).astype(np.float32)[..., None],
            data.values["sky"][index],
        )


def draw(
    data: GuidedSet,
    indices: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    exaggerated: float = 1.0,
    photographs: float = PHOTOGRAPHED,
) -> Strips:
    """A batch of twice as many as `indices`, as training shows it: every picture with two lenses,
    mirrored, moved a little, a share of them photographed. Powers are `exaggerated` by that
    factor."""
    rows = []
    for index in indices:
        eyes, seed = Eyes.of(data, int(index)), rng.integers(2**63)
        for _ in range(2):
            power = np.asarray(random_power(rng) * exaggerated, np.float32)
            rows.append(_dressed(eyes, np.random.default_rng(seed), power, photographs))
    rows = rows[::2] + rows[1::2]
    pictures = stacked([picture for picture, _ in rows], torch.device("cpu"))
    return Strips(pictures, torch.from_numpy(np.stack([powers for _, powers in rows])))


def random_power(rng: np.random.Generator) -> NDArray[np.float32]:
    """M, J0, J45 in dioptres of a lens with a sphere of -8 to +6 dpt and, half of the time, a
    cylinder to -4 dpt."""
    if rng.random() < PLANE:
        return np.zeros(POWERS, np.float32)
    cylinder = float(rng.uniform(-4, 0)) * (rng.random() < 0.5)
    turn = 2 * float(rng.uniform(0, np.pi))
    half = cylinder / 2
    return np.array(
        [rng.uniform(-8, 6) + half, -half * np.cos(turn), -half * np.sin(turn)], np.float32
    )


def reglazed(eyes: Eyes, power: NDArray[np.float32], *, passed: NDArray[np.float32]) -> Pixels:
    """A strip, scene-linear, whose lenses have a `power` (M, J0, J45 in dpt) and pass the share
    `passed` [3] of light. Its field is a sum of traced ones: they are proportional to power but
    for a few per cent."""
    base, which = _BASIS[0] if power[0] < 0 else _BASIS[1]
    moved = eyes.fields[which].astype(np.float32) * np.float32(power[0] / base)
    for cross, field in ((power[1], eyes.fields[2]), (power[2], eyes.fields[3])):
        if cross:
            moved += field.astype(np.float32) * np.float32(cross / _CROSS_DPT)
    moved *= eyes.known
    np.clip(moved, -FURTHEST_PX, FURTHEST_PX, out=moved)
    y, x = np.mgrid[0 : moved.shape[0], 0 : moved.shape[1]].astype(np.float32)
    shown = cv2.remap(
        eyes.below, x + moved[..., 0], y + moved[..., 1], cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    through = shown * passed + eyes.sky
    clear = 1 - eyes.frames[..., 3:]
    linear = eyes.frames[..., :3] + clear * (eyes.below + eyes.share * (through - eyes.below))
    return np.maximum(np.asarray(linear, np.float32), 0)


def _dressed(
    eyes: Eyes, rng: np.random.Generator, dioptres: NDArray[np.float32], photographs: float
) -> tuple[Pixels, NDArray[np.float32]]:
    tint = rng.uniform(0.1, 1.0, 3) if rng.random() < 0.2 else np.ones(3)
    linear = reglazed(eyes, dioptres, passed=(0.92 * tint).astype(np.float32))
    power = np.asarray(dioptres / _UNIT_DPT, np.float32)
    height, width = linear.shape[:2]
    turn, stretch = float(rng.normal(0, 0.015)), float(np.exp(rng.normal(0, 0.012)))
    middle = (width / 2 - 0.5, height / 2 - 0.5)
    matrix = cv2.getRotationMatrix2D(middle, -np.rad2deg(turn), stretch)
    matrix[:, 2] += rng.normal(0, 3.0, 2)
    if rng.random() < 0.5:
        matrix = matrix @ np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
        power = power * np.array([1, 1, -1], np.float32)
    linear = cv2.warpAffine(linear, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    linear = np.asarray(linear, np.float32)
    picture = photographed(linear, rng) if rng.random() < photographs else to_net(linear)
    return np.ascontiguousarray(picture), power


def true_power(data: GuidedSet, index: int) -> NDArray[np.float32]:
    """M, J0, J45 (1 at 8 dpt) of the lenses that were rendered."""
    vector = torch.from_numpy(data.values["glasses"][index][None])
    return np.asarray(lenses(vector).power[0, :POWERS].numpy(), np.float32)


def losses(reader: LensReader, batch: Strips) -> dict[str, Tensor]:
    """Laplace likelihoods, of both lenses together and of each; plain errors of M and of the
    crosses; and the error of how much two lenses in one picture differ in M."""
    found = reader(batch.pictures)
    together = (found.values - batch.powers).abs()
    each = (found.each - batch.powers[:, None]).abs()
    half = len(batch.powers) // 2
    apart, truth = (m[:half] - m[half:] for m in (found.values[:, 0], batch.powers[:, 0]))
    return {
        "together": (together * (-found.log_error).exp() + found.log_error).mean(),
        "each": (each * (-found.each_log_error).exp() + found.each_log_error).mean(),
        "mean": together[:, 0].mean(),
        "cross": together[:, 1:].mean(),
        "apart": (apart - truth).abs().mean(),
    }


def train_lenses(
    reader: LensReader,
    data: GuidedSet,
    folder: Path,
    *,
    settings: EstimatorTraining,
    device: torch.device | str = "cpu",
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Trains a reader on `data` and keeps checkpoints and log in `folder`; resumes as
    `train_steps` does. Powers are exaggerated at first, and pictures clean: what a lens of -8 dpt
    does is seen at once, what one of -1 dpt does is not. Then `calibrate` sets it right on the
    performers that are held out. Leaves it in eval mode. Raises JobError, CancelledError."""
    device = torch.device(device)
    training, held_out = data.split()
    reader.to(device)
    optimiser = torch.optim.AdamW(reader.parameters(), lr=settings.lens_rate, weight_decay=1e-3)

    def step(iteration: int) -> dict[str, float]:
        rng = np.random.default_rng([settings.seed, iteration])
        share = iteration / settings.lens_iterations
        batch = draw(
            data,
            rng.choice(training, settings.lens_pairs),
            rng,
            exaggerated=max(1.0, EXAGGERATED - 3 * share),
            photographs=PHOTOGRAPHED * float(np.clip(2.5 * share - 0.25, 0, 1)),
        )
        with torch.autocast(device.type, dtype=torch.bfloat16):
            found = losses(reader, Strips(*(t.to(device) for t in batch)))
        total = sum(weight * found[name] for name, weight in _WEIGHTS.items())
        assert isinstance(total, Tensor)
        total.backward()  # type: ignore[no-untyped-call]
        return {name: loss.item() for name, loss in found.items()}

    train_steps(
        reader,
        optimiser,
        folder,
        iterations=settings.lens_iterations,
        rate=settings.lens_rate,
        save_every=settings.save_every,
        record={
            name: value
            for name, value in settings.model_dump(mode="json").items()
            if name.startswith("lens_") or name == "seed"
        },
        step=step,
        measure=lambda: evaluate(reader, data, held_out[:64], device=device),
        progress=progress,
        stop=stop,
    )
    calibrate(reader, data, held_out, device=device)


def halves(data: GuidedSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The performers held out in two halves, of which one sets the reader right while the other
    measures it; all of them twice where there is only one."""
    _, held_out = data.split()
    odd = data.values["identity"][held_out] // HELD_OUT_EVERY % 2 == 1
    if odd.all() or not odd.any():
        return held_out, held_out
    return held_out[odd], held_out[~odd]


def calibrate(
    reader: LensReader,
    data: GuidedSet,
    indices: NDArray[np.int64],
    *,
    device: torch.device | str = "cpu",
) -> None:
    """Sets the mean power that the reader says and the errors that it expects right on these
    samples: by the straight line that fits best, and in the mean."""
    reader.scale.fill_(1.0)
    reader.shift.zero_()
    reader.log_factor.zero_()
    read = _read(reader, data, indices, torch.device(device), seed=2)
    said, truth = read.found[:, 0], read.truth[:, 0]
    if float(said.std()) > 1e-3:
        scale, shift = np.polyfit(said, truth, 1)
        reader.scale[0], reader.shift[0] = float(scale), float(shift)
        read.found[:, 0] = said * scale + shift
    errors = np.abs(read.found - read.truth).mean(0)
    off = np.log(np.maximum(errors, 1e-6) / read.expected.mean(0))
    reader.log_factor.copy_(torch.from_numpy(off.astype(np.float32)))


def evaluate(
    reader: LensReader,
    data: GuidedSet,
    indices: NDArray[np.int64],
    *,
    device: torch.device | str = "cpu",
    seed: int = 1,
    photographs: float = PHOTOGRAPHED,
) -> dict[str, float]:
    """Of lenses as they were rendered (traced exactly), a share of them photographed as in
    training, in dpt: mean absolute errors of the mean power (`mean_power`; `mean_power_each` by
    one eye alone) and of the cross cylinders (`cross_power`), those of always saying the median
    (`guessing_…`), the mean error that was expected of the mean power, the `slope` and the
    `correlation` of what is said over truth, the share that is right to 1 dpt and what the
    confidences say that it is; and the error of the surer half (by its own word)."""
    read = _read(reader, data, indices, torch.device(device), seed=seed, photographs=photographs)
    return _measures(read)


def cross_evaluate(
    reader: LensReader,
    data: GuidedSet,
    *,
    device: torch.device | str = "cpu",
    photographs: float = PHOTOGRAPHED,
) -> dict[str, float]:
    """As `evaluate`, of all performers held out, each half of them read after the other one has
    set the reader right; which is then set right by all of them."""
    place = torch.device(device)
    one, other = halves(data)
    reads = []
    for fitted, measured in ((one, other), (other, one)):
        calibrate(reader, data, fitted, device=place)
        reads.append(_read(reader, data, measured, place, seed=1, photographs=photographs))
    calibrate(reader, data, data.split()[1], device=place)
    return _measures(_Read(*(np.concatenate(parts) for parts in zip(*reads, strict=True))))


def _measures(read: _Read) -> dict[str, float]:
    found, truth, expected = (8 * x for x in (read.found, read.truth, read.expected))
    error = np.abs(found - truth)
    guess = np.abs(truth - np.median(truth, axis=0))
    surer = expected[:, 0] <= np.median(expected[:, 0])
    spread = float(truth[:, 0].std() * found[:, 0].std())
    together = float(np.cov(truth[:, 0], found[:, 0], bias=True)[0, 1])
    return {
        "mean_power": float(error[:, 0].mean()),
        "guessing_mean_power": float(guess[:, 0].mean()),
        "mean_power_each": float(np.abs(8 * read.each[..., 0] - truth[:, None, 0]).mean()),
        "mean_power_surer_half": float(error[surer, 0].mean()),
        "cross_power": float(error[:, 1:].mean()),
        "guessing_cross_power": float(guess[:, 1:].mean()),
        "expected_mean_power": float(expected[:, 0].mean()),
        "slope": together / max(float(truth[:, 0].var()), 1e-9),
        "correlation": together / max(spread, 1e-9),
        "right_to_1_dpt": float((error[:, 0] < 1).mean()),
        "confidence": float(np.mean([erf(1 / (e * sqrt(pi))) for e in expected[:, 0]])),
    }


class _Read(NamedTuple):
    """[N, 3] each but `each` [N, 2, 3]; 1 at 8 dpt."""

    found: NDArray[np.float32]
    truth: NDArray[np.float32]
    each: NDArray[np.float32]
    expected: NDArray[np.float32]


def _read(
    reader: LensReader,
    data: GuidedSet,
    indices: NDArray[np.int64],
    device: torch.device,
    *,
    seed: int,
    photographs: float = PHOTOGRAPHED,
) -> _Read:
    parts: list[tuple[NDArray[np.float32], ...]] = []
    with evaluating(reader):
        for start in range(0, len(indices), 16):
            pictures, truth = [], []
            for i in indices[start : start + 16]:
                rng = np.random.default_rng([seed, int(i)])
                linear = np.maximum(data.read("worn", int(i)).astype(np.float32), 0)
                shown = rng.random() < photographs
                pictures.append(photographed(linear, rng) if shown else to_net(linear))
                truth.append(true_power(data, int(i)))
            found = reader(stacked(pictures, device))
            numbers = (found.values, found.each, found.log_error.exp())
            values, each, expected = (x.float().cpu().numpy() for x in numbers)
            parts.append((values, np.stack(truth), each, expected))
    return _Read(*(np.concatenate(part) for part in zip(*parts, strict=True)))
