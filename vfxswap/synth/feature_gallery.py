"""Held-out performers for measuring feature transfer: pairs with truth, and a gallery.

Both are rendered once into a work folder (safetensors) and depend on their settings alone. Pixels
are float16, scene-linear Rec.709. Seeds lie far from those of every training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from vfxswap.errors import CancelledError, JobError
from vfxswap.files import write_atomically
from vfxswap.settings import Settings
from vfxswap.synth.background import random_background
from vfxswap.synth.crops import COMB_CROPS, face_camera, random_state
from vfxswap.synth.feature_truth import FEATURES, known, parameters, region, with_feature
from vfxswap.synth.head import Floats
from vfxswap.synth.identity import Identity
from vfxswap.synth.light import random_rig
from vfxswap.synth.performance import State
from vfxswap.synth.render import render

Arrays = dict[str, NDArray[Any]]
SPACE: Final = "Linear Rec.709 (sRGB)"
FIRST_SEED: Final = 4_200_000_000
"""Performers of these benches; trainings draw theirs far below."""
POSE: Final = "pose"
TIGHTNESS: Final = 2.2
HIGHEST: Final = 60000.0
_CHUNK: Final = 40


class PairSettings(Settings):
    """Pairs of performers, with the first in each feature of the second."""

    pairs: int = Field(default=24, ge=1, description="Pairs.")
    size_px: int = Field(
        default=192, ge=32, description="Side of the pictures.", json_schema_extra={"unit": "px"}
    )
    texture_rows: int = Field(default=384, ge=96, description="Rows of skin textures.")
    seed: int = Field(default=0, ge=0, description="Of performers, acting and light.")


class GallerySettings(Settings):
    """One picture each of many performers."""

    count: int = Field(default=520, ge=2, description="Performers.")
    size_px: int = Field(
        default=128, ge=32, description="Side of the pictures.", json_schema_extra={"unit": "px"}
    )
    texture_rows: int = Field(default=192, ge=96, description="Rows of skin textures.")
    seed: int = Field(default=0, ge=0, description="Of performers, acting and light.")


Progress = Callable[[str, int, int], None]


def pairs(
    work: Path, settings: PairSettings, *, progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> Arrays:  # fmt: skip
    """`plate`, `reference` [P, S, S, 3], their `plate_points`, `reference_points` [P, 70, 2];
    `truth` [P, F, S, S, 3] and `region` [P, F, S, S] bool by `FEATURES`, where the two differ.

    The reference acts as the plate's performer does, in a light of its own: what of a mouth is
    its shape and what its acting no single picture says. Raises CancelledError.
    """
    file = work / f"pairs-{_key(settings)}.safetensors"
    if file.is_file():
        return _read(file)
    found: list[Arrays] = []
    for number in range(settings.pairs):
        if stop():
            raise CancelledError("rendering of pairs was stopped")
        found.append(_pair(settings, number))
        progress("pairs", number + 1, settings.pairs)
    arrays = {name: np.stack([each[name] for each in found]) for name in found[0]}
    write_atomically(file, save(arrays))
    return arrays


def gallery(
    work: Path, settings: GallerySettings, *, progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> Arrays:  # fmt: skip
    """`pictures` [N, S, S, 3], `points` [N, 70, 2], and for each feature and the pose the
    distances [N, N] of what is known of the performers, `distance.<feature>`.

    Chunks are kept, so that a stopped run goes on. Raises CancelledError.
    """
    file = work / f"gallery-{_key(settings)}.safetensors"
    if file.is_file():
        return _read(file)
    parts: list[Arrays] = []
    for first in range(0, settings.count, _CHUNK):
        chunk = work / f"gallery-{_key(settings)}.{first:05d}.part"
        if not chunk.is_file():
            if stop():
                raise CancelledError("rendering of a gallery was stopped")
            numbers = range(first, min(first + _CHUNK, settings.count))
            shown = [_shown(settings, number) for number in numbers]
            rows = {name: np.stack([each[name] for each in shown]) for name in shown[0]}
            write_atomically(chunk, save(rows))
        parts.append(_read(chunk))
        progress("gallery", min(first + _CHUNK, settings.count), settings.count)
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    arrays = {name: whole[name] for name in ("pictures", "points")}
    for feature in (*FEATURES, POSE):
        prefix = f"known.{feature}."
        names = sorted(name for name in whole if name.startswith(prefix))
        rows_of = list(zip(*(whole[name] for name in names), strict=True))
        arrays[f"distance.{feature}"] = known(rows_of).distances()
    write_atomically(file, save(arrays))
    for first in range(0, settings.count, _CHUNK):
        (work / f"gallery-{_key(settings)}.{first:05d}.part").unlink(missing_ok=True)
    return arrays


def relevant(distances: Floats, share: float) -> NDArray[np.bool_]:
    """[N, N]: for each picture the `share` of the others nearest to it by what is known."""
    count = max(1, round(share * (len(distances) - 1)))
    values = distances.copy()
    np.fill_diagonal(values, np.inf)
    near = np.argsort(values, axis=1, kind="stable")[:, :count]
    found = np.zeros(values.shape, bool)
    np.put_along_axis(found, near, True, axis=1)
    return found


def _pair(settings: PairSettings, number: int) -> Arrays:
    rng = np.random.default_rng([71, settings.seed, number])
    first = FIRST_SEED + 1_000_000 * settings.seed + 2 * number
    source, reference = (
        Identity.from_seed(first + k, texture_rows=settings.texture_rows) for k in (0, 1)
    )
    state = random_state(rng, COMB_CROPS)
    rig, other_rig = random_rig(rng, mild=True), random_rig(rng, mild=True)
    size = settings.size_px
    behind, other_behind = (random_background(rng, size, size) for _ in range(2))
    camera = face_camera(source, state, size, tightness=TIGHTNESS)
    plate = render(source, state, camera, rig, background=behind)
    other_camera = face_camera(reference, state, size, tightness=TIGHTNESS)
    other = render(reference, state, other_camera, other_rig, background=other_behind)
    truths, regions = [], []
    for feature in FEATURES:
        mixed = with_feature(source, reference, feature)
        truth = render(mixed, state, camera, rig, background=behind)
        regions.append(
            region(feature, source, state, camera, plate)
            | region(feature, mixed, state, camera, truth)
        )
        truths.append(_half(truth.rgb))
    return {
        "plate": _half(plate.rgb),
        "reference": _half(other.rgb),
        "plate_points": plate.landmarks,
        "reference_points": other.landmarks,
        "truth": np.stack(truths),
        "region": np.stack(regions),
    }


def _shown(settings: GallerySettings, number: int) -> Arrays:
    rng = np.random.default_rng([72, settings.seed, number])
    seed = FIRST_SEED + 500_000_000 + 1_000_000 * settings.seed + number
    performer = Identity.from_seed(seed, texture_rows=settings.texture_rows)
    state = random_state(rng, COMB_CROPS)
    rig, size = random_rig(rng, mild=True), settings.size_px
    behind = random_background(rng, size, size)
    camera = face_camera(performer, state, size, tightness=TIGHTNESS)
    truth = render(performer, state, camera, rig, background=behind)
    arrays: Arrays = {"pictures": _half(truth.rgb), "points": truth.landmarks}
    for feature in FEATURES:
        for index, group in enumerate(parameters(feature, performer)):
            arrays[f"known.{feature}.{index}"] = group
    arrays[f"known.{POSE}.0"] = _angles(state)
    return arrays


def _angles(state: State) -> Floats:
    return np.array([state.yaw, state.pitch, state.roll], np.float32)


def _half(rgb: Floats) -> NDArray[np.float16]:
    return np.clip(rgb, 0, HIGHEST).astype(np.float16)


def _key(settings: Settings) -> str:
    return "-".join(str(value) for value in settings.model_dump().values())


def _read(file: Path) -> Arrays:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise JobError(f"cannot be read, delete it: {error}", file=file) from None
