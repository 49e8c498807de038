"""How steady tracks are: a still performer under fresh grain, and a moving one against truth.

Shots are rendered, written as EXR and tracked as any other. Distances are in pixels of a 1024²
crop as a swap would cut it, so that they do not depend on the size of the face.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np

from vfxswap.align.crop import crop_matrix
from vfxswap.align.localise import nine_shift
from vfxswap.align.pose import LandmarkFinder, Pose, View
from vfxswap.bench import Row
from vfxswap.color import to_net
from vfxswap.geometry import Array, Box
from vfxswap.image import Image, Part
from vfxswap.io.exr import write_image
from vfxswap.job import Job, Output, Plate, Tracking
from vfxswap.ops.convert import to_tensor
from vfxswap.render.prepare import track_shot
from vfxswap.synth.background import random_background
from vfxswap.synth.camera import portrait_camera
from vfxswap.synth.head import Floats
from vfxswap.synth.identity import Identity
from vfxswap.synth.light import random_rig
from vfxswap.synth.mesh import pose
from vfxswap.synth.performance import Performance, State
from vfxswap.synth.render import render

Progress = Callable[[str, int, int], None]

SIZE: Final = (540, 960)
LARGE, SMALL = 0.5, 0.2
"""Size of a face over the frame's height."""
CROP_PX: Final = 1024
GREY: Final = 0.18
MOVING_GRAIN: Final = 0.01
PERFORMER: Final = 96_000_001
FIRST: Final = 1001
STILL: Final = (
    *((LARGE, grain) for grain in (0.01, 0.02, 0.04, 0.13)),
    *((SMALL, grain) for grain in (0.01, 0.02, 0.04)),
)
"""Size of the face, and grain: noise of a pixel over its value at mid grey, by the square root of
light elsewhere. 0.01 (40 dB) is a clean digital camera's at base sensitivity; a plate shot two
stops darker has 0.02, four stops darker 0.04; 0.13 is 0.01 in net space, as of fast film."""


class _Shot(NamedTuple):
    """`pictures` [T] of [H, W, 3] scene-linear without grain, `truth` [T, 70, 2]."""

    pictures: list[Floats]
    truth: Array


def still_rows(
    net: LandmarkFinder, work: Path, *, model: str, frames: int, progress: Progress
) -> list[Row]:
    """Jitter of a performer who stands still: of single localisations, of the means of nine, and
    of the final track; RMS over frames and landmarks of the distance from each landmark's mean."""
    rows = []
    for share, grain in STILL:
        shot = _rendered([State()], seed=3, share=share, progress=progress)
        rows += _still(net, shot, grain, work, model=model, frames=frames, progress=progress)
    return rows


def _still(
    net: LandmarkFinder, shot: _Shot, grain: float, work: Path, *, model: str, frames: int,
    progress: Progress,
) -> list[Row]:  # fmt: skip
    truth = shot.truth[0]
    to_crop, at = crop_matrix(truth, size=CROP_PX), Pose.of(truth)
    name = f"face of {at.face_px:.0f} px, grain {grain:g}"
    plates = [_grainy(shot.pictures[0], grain, frame) for frame in range(frames)]
    single, nine = [], []
    for done, plate in enumerate(plates, 1):
        view = View(to_tensor(to_net(plate)))
        # As `localise` does: the second round's box comes from the first one's points.
        first = nine_shift(view, at, net).points
        single.append(_centre(nine_shift(view, Pose.of(_centre(first)), net).points))
        nine.append(nine_shift(view, Pose.of(first.mean(0)), net).points.mean(0))
        progress(f"localise, {name}", done, frames)
    final = _tracked(work / f"still-{at.face_px:.0f}-{grain:g}", plates, model=model, smooth=True)
    by = {"single": np.stack(single), "nine-shift": np.stack(nine), "final track": final}
    jitter = {way: _jitter(_in_crop(points, to_crop)) for way, points in by.items()}
    used = {"frames": frames}
    rows = [
        _row(f"jitter, {way}, {name}", value, "px of 1024² crop", used,
             "<= 0.25" if way == "final track" else "")
        for way, value in jitter.items()
    ]  # fmt: skip
    ratio = jitter["nine-shift"] / jitter["single"]
    return [*rows, _row(f"jitter, nine-shift over single, {name}", ratio, "", used,
                        "<= 0.6, or nine-shift <= 0.25 px")]  # fmt: skip


def moving_rows(work: Path, *, model: str, frames: int, progress: Progress) -> list[Row]:
    """A performer who talks and moves, under grain: distance of the tracked landmarks
    from the truth with and without smoothing, how much of it changes from frame to frame, and
    the lag of the track."""
    acting = Performance(5, frames, energy=1.2)
    states = [acting.at(n) for n in range(frames)]
    shot = _rendered(states, seed=4, share=LARGE, progress=progress)
    plates = [_grainy(p, MOVING_GRAIN, n) for n, p in enumerate(shot.pictures)]
    scale = float(np.mean([np.linalg.norm(crop_matrix(t, size=CROP_PX)[0, :2])
                           for t in shot.truth]))  # fmt: skip
    rows = []
    used = {"grain": MOVING_GRAIN, "frames": frames}
    for name, smooth in (("without smoothing", False), ("with smoothing", True)):
        found = _tracked(work / f"moving-{int(smooth)}", plates, model=model, smooth=smooth)
        off = (found - shot.truth) * scale
        rows.append(_row(f"moving, error {name}", _rms(off), "px of 1024² crop", used))
        changing = off - off.mean(0)
        rows.append(_row(f"moving, changing error {name}", _rms(changing),
                         "px of 1024² crop", used))  # fmt: skip
        rows.append(_row(f"moving, shake {name}", _rms(np.diff(off, 2, axis=0)) / np.sqrt(6),
                         "px of 1024² crop", used))  # fmt: skip
        lag = lag_frames(found.mean(1), shot.truth.mean(1))
        wanted = "within 0.1" if smooth else ""
        rows.append(_row(f"moving, lag {name}", lag, "frames", used, wanted))
    return rows


def lag_frames(found: Array, truth: Array) -> float:
    """Frames by which a path [T, 2] comes after another: the peak of the correlation of their
    speeds, by a parabola through the three highest whole frames."""
    reach = 3
    a, b = (np.diff(path, axis=0) - np.diff(path, axis=0).mean(0) for path in (found, truth))
    inner = a[reach:-reach]
    scores = [
        float((inner * b[reach + s : len(b) - reach + s]).sum()
              / np.linalg.norm(b[reach + s : len(b) - reach + s]))
        for s in range(-reach, reach + 1)
    ]  # fmt: skip
    top = int(np.clip(np.argmax(scores), 1, 2 * reach - 1))
    left, middle, right = scores[top - 1 : top + 2]
    return -(top - reach + 0.5 * (left - right) / (left - 2 * middle + right))


def _rendered(states: list[State], *, seed: int, share: float, progress: Progress) -> _Shot:
    rng = np.random.default_rng([PERFORMER, seed])
    identity = Identity.from_seed(PERFORMER + seed)
    height, width = SIZE
    points = pose(identity, State()).landmarks
    tall = float(np.ptp(points[:68, 2]))
    camera = portrait_camera(points.mean(0), size=SIZE, height_m=tall / share, distance_m=1.5)
    background, rig = random_background(rng, height, width), random_rig(rng, mild=True)
    pictures, truth = [], []
    for done, state in enumerate(states, 1):
        drawn = render(identity, state, camera, rig, samples=2, background=background)
        pictures.append(drawn.rgb)
        truth.append(drawn.landmarks)
        progress("render the shot", done, len(states))
    return _Shot(pictures, np.stack(truth).astype(np.float64))


def _grainy(picture: Floats, grain: float, frame: int) -> Floats:
    rng = np.random.default_rng([77, frame])
    deviation = grain * np.sqrt(GREY * np.maximum(picture, 1e-4))
    noisy = picture + deviation * rng.standard_normal(picture.shape, dtype=np.float32)
    return noisy.astype(np.float32)


def _tracked(folder: Path, plates: list[Floats], *, model: str, smooth: bool) -> Array:
    """[T, 70, 2] landmarks of the face that is on all frames."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = plates[0].shape[:2]
    window = Box(0, 0, width, height)
    for n, plate in enumerate(plates):
        channels = {name: np.ascontiguousarray(plate[..., i]) for i, name in enumerate("RGB")}
        part = Part(channels=channels, data_window=window, display_window=window,
                    metadata={"colorInteropID": "lin_rec709_scene"})  # fmt: skip
        write_image(folder / f"plate.{FIRST + n}.exr", Image((part,), ("R", "G", "B"), 0, None))
    job = Job(
        plate=Plate(pattern=str(folder / "plate.#.exr")),
        frames=f"{FIRST}-{FIRST + len(plates) - 1}",
        tracking=Tracking(smooth=smooth, landmarks=model, identify=False),
        output=Output(pattern=str(folder / "out.#.exr")),
    )
    (folder / "tracks.json").unlink(missing_ok=True)
    tracks = track_shot(job, folder / "tracks.json", device="cpu")
    found = [tracks.faces(FIRST + n) for n in range(len(plates))]
    return np.stack([max(faces, key=lambda f: f.score).points for faces in found])


def _centre(nine: Array) -> Array:
    middle: Array = nine[len(nine) // 2]
    return middle


def _in_crop(points: Array, to_crop: Array) -> Array:
    moved: Array = points @ to_crop[:, :2].T + to_crop[:, 2]
    return moved


def _jitter(points: Array) -> float:
    return _rms(points - points.mean(0))


def _rms(offsets: Array) -> float:
    """Root of the mean square length of offsets [..., 2]."""
    return float(np.sqrt((offsets**2).sum(-1).mean()))


def _row(name: str, value: float, unit: str, used: dict[str, Any], wanted: str = "") -> Row:
    return cast(
        Row, {"name": name, "value": value, "unit": unit, "wanted": wanted, "settings": used}
    )
