"""`vfxswap bench faces`: landmarks, their confidence, detection and parsing against truth; costs.

Everything is rendered with performers that no training sees. How steady tracks are is in
`bench_tracks`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import cv2
import numpy as np
import torch
from torch import nn

from vfxswap.align.detect import detect
from vfxswap.align.identify import described
from vfxswap.align.localise import localise
from vfxswap.align.pose import LandmarkFinder, View, cut_aligned
from vfxswap.bench import Row, machine
from vfxswap.color import to_net
from vfxswap.errors import JobError
from vfxswap.files import write_atomically
from vfxswap.image import Pixels
from vfxswap.io.weights import find_model, load_net
from vfxswap.job import Tracking
from vfxswap.nets.comb import Comb
from vfxswap.nets.identity import IdentityNet
from vfxswap.nets.landmark import LandmarkNet
from vfxswap.nets.parsing import ParsingNet
from vfxswap.nets.run import FastComb
from vfxswap.ops.convert import to_tensor
from vfxswap.synth import face_tests
from vfxswap.synth.cycles import Cycles
from vfxswap.synth.face_plates import CONDITIONS, Condition, face_plate
from vfxswap.train import identity, landmarks, parsing
from vfxswap.train.landmark_confidence import NEAR, localised
from vfxswap.train.landmark_data import FaceSet

Progress = Callable[[str, int, int], None]
Net = TypeVar("Net", bound=nn.Module)

FOUND: Final = 0.15
"""A face counts as found when its landmarks are off by less than this on the mean, likewise."""

BINS: Final = 10
PICTURE: Final = (1152, 2048)


@dataclass(frozen=True)
class FaceModels:
    """The installed networks that the rows are about."""

    landmarks: LandmarkNet
    parsing: ParsingNet
    identity: IdentityNet

    @classmethod
    def load(cls, landmarks: str, *, device: torch.device) -> FaceModels:
        """`landmarks` names a model. Raises ModelError, JobError for another kind of network."""
        return cls(
            _loaded(landmarks, LandmarkNet, device),
            _loaded("parsing-synthetic", ParsingNet, device),
            _loaded("identity-synthetic", IdentityNet, device),
        )


def _loaded(name: str, kind: type[Net], device: torch.device) -> Net:
    stored = find_model(name)
    net = load_net(stored.card, stored.folder, device=device)
    if not isinstance(net, kind):
        raise JobError("a model of something else", got=name, wanted=kind.__name__)
    return net


def accuracy_rows(
    models: FaceModels, work: Path, *, shards: int, cycles: Cycles | None, heads: int,
    progress: Progress,
) -> list[Row]:  # fmt: skip
    """Errors of landmarks by group, parsing and retrieval, on rendered faces kept in `work`; the
    confidence measured and drawn into `work/calibration.png`. Raises JobError, ModelError."""
    sets = {
        "held-out": face_tests.ordinary(work, shards=shards, progress=progress),
        "wider": face_tests.varied(work, shards=shards, progress=progress),
    }
    wanted = {"held-out": "<= 0.04"}
    if cycles is not None:
        sets["Cycles"] = face_tests.cycles_heads(
            work, heads=heads, settings=cycles, progress=progress
        )
        wanted["Cycles"] = "<= 0.06"
    rows = []
    for name, faces in sets.items():
        every = np.arange(len(faces))
        used = {"faces": len(faces), "performers": len(np.unique(faces.identity))}
        progress(f"measure on {name} faces", 0, 2)
        for what, value in landmarks.evaluate(models.landmarks, faces, every, seed=7).items():
            goal = wanted.get(name, "") if what == "nme" else ""
            rows.append(_row(f"landmarks, {name}, {what}", value, "of interocular", used, goal))
        progress(f"measure on {name} faces", 1, 2)
        for what, value in parsing.evaluate(models.parsing, faces, every, seed=7).items():
            rows.append(_row(f"parsing, {name}, {what}", value, "IoU", used))
        progress(f"measure on {name} faces", 2, 2)
    for what, value in identity.evaluate(
        models.identity, sets["held-out"], np.arange(len(sets["held-out"])), seed=7
    ).items():
        unit = "cosine" if what in ("threshold", "same") else "share"
        rows.append(_row(f"identity, held-out, {what}", value, unit, {"ages": 2}))
    return rows + calibration_rows(models.landmarks, sets["wider"], work, progress=progress)


def calibration_rows(
    net: LandmarkNet, faces: FaceSet, work: Path, *, progress: Progress
) -> list[Row]:
    """What confidence says beside what is: of the points in each tenth of confidence, the share
    that lie within `NEAR`, and the mean error. `work/calibration.png` draws both."""
    confidence, error = localised(
        net, faces, np.arange(len(faces)), seed=9,
        progress=lambda done, total: progress("measure confidence", done, total),
    )  # fmt: skip
    edges = np.linspace(0, 1, BINS + 1)
    chosen = np.clip(np.digitize(confidence, edges) - 1, 0, BINS - 1)
    rows, bins = [], []
    for k in range(BINS):
        inside = chosen == k
        if inside.sum() < 50:
            continue
        said, near = float(confidence[inside].mean()), float((error[inside] < NEAR).mean())
        bins.append((said, near, float(error[inside].mean()), int(inside.sum())))
        used = {"points": int(inside.sum()), "confidence": round(said, 3),
                "mean_error": round(bins[-1][2], 4)}  # fmt: skip
        rows.append(_row(f"points near the truth, confidence {edges[k]:.1f} to {edges[k + 1]:.1f}",
                         near, "share", used))  # fmt: skip
    total = sum(count for *_, count in bins)
    off = sum(abs(said - near) * count for said, near, _, count in bins) / total
    rows.append(_row("confidence, expected calibration error", off, "share",
                     {"near": NEAR, "points": total}, "<= 0.05"))  # fmt: skip
    write_atomically(work / "calibration.png", _reliability(bins))
    return rows


def _reliability(bins: Sequence[tuple[float, float, float, int]]) -> bytes:
    """PNG: confidence to the right, share of points near the truth up; the diagonal is ideal."""
    side, margin = 520, 70
    sheet = np.full((side + 2 * margin, side + 2 * margin, 3), 255, np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return margin + round(x * side), margin + side - round(y * side)

    def text(words: str, place: tuple[int, int], size: float = 0.45) -> None:
        cv2.putText(sheet, words, place, cv2.FONT_HERSHEY_SIMPLEX, size, (60, 60, 60), 1,
                    cv2.LINE_AA)  # fmt: skip

    for k in range(0, 11, 2):
        cv2.line(sheet, at(k / 10, 0), at(k / 10, 1), (225, 225, 225), 1)
        cv2.line(sheet, at(0, k / 10), at(1, k / 10), (225, 225, 225), 1)
        text(f"{k / 10:.1f}", (at(k / 10, 0)[0] - 12, margin + side + 22))
        text(f"{k / 10:.1f}", (margin - 38, at(0, k / 10)[1] + 5))
    cv2.line(sheet, at(0, 0), at(1, 1), (170, 170, 170), 1, cv2.LINE_AA)
    most = max(count for *_, count in bins)
    for said, _, _, count in bins:
        cv2.rectangle(sheet, at(said - 0.015, 0), at(said + 0.015, 0.3 * count / most),
                      (240, 225, 205), -1)  # fmt: skip
    line = np.array([at(said, near) for said, near, *_ in bins], np.int32)
    cv2.polylines(sheet, [line], False, (160, 90, 20), 2, cv2.LINE_AA)
    for (said, near, error, _), point in zip(bins, line.tolist(), strict=True):
        cv2.circle(sheet, tuple(point), 5, (160, 90, 20), -1, cv2.LINE_AA)
        text(f"{100 * error:.1f}%", (at(said, near)[0] - 44, at(said, near)[1] - 8), 0.4)
    text(f"share of points within {NEAR:g} of the interocular distance", (margin, margin - 30))
    text("(labels: mean error; bars: how many points)", (margin, margin - 12), 0.4)
    text("confidence", (margin + side // 2 - 40, margin + side + 45))
    _, png = cv2.imencode(".png", sheet)
    return png.tobytes()


def detection_rows(net: LandmarkFinder, *, each: int, progress: Progress) -> list[Row]:
    """Shares of faces found by roll, yaw and size, `each` faces a condition."""
    rows = []
    for done, condition in enumerate(CONDITIONS, 1):
        rows.append(_detected(net, condition, each))
        progress("detect", done, len(CONDITIONS))
    return rows


def _detected(net: LandmarkFinder, condition: Condition, each: int) -> Row:
    settings = Tracking(min_face_px=min(48, max(16, round(0.9 * condition.face_px))))
    found, extra, errors = 0, 0, []
    for number in range(each):
        plate = face_plate(condition, number)
        faces = detect(View(_net_space(plate.linear)), net, settings)
        outer = float(np.linalg.norm(plate.points[36] - plate.points[45]))
        # In profile the corners come together: then the face's size tells better.
        outer = max(outer, 0.45 * float(np.ptp(plate.points[:68], axis=0).max()))
        off = [float(np.linalg.norm(f.points - plate.points, axis=1).mean()) / outer
               for f in faces]  # fmt: skip
        hit = bool(off) and min(off) < FOUND
        found += hit
        errors += [min(off)] if hit else []
        extra += len(off) - hit
    used = {
        "faces": each,
        "median_error": round(statistics.median(errors), 4) if errors else None,
        "elsewhere": extra,
    }
    return _row(f"faces found, {condition.name}", found / each, "share", used)


@torch.inference_mode()
def cost_rows(models: FaceModels, comb: str, *, runs: int, device: torch.device) -> list[Row]:
    """Seconds a 2048×1152 frame with one face takes, stage by stage, beside the comb `comb`:
    medians of processor time on a CPU, of time elsewhere."""
    height, width = PICTURE
    plate = face_plate(Condition("cost", face_px=420), 0, size=(height, width))
    pixels = _net_space(plate.linear).to(device)
    net = models.landmarks
    face = detect(View(pixels), net)[0]
    loaded = _loaded(comb, Comb, device)
    fast, persona = FastComb(loaded), loaded.settings.personas[0]
    size = loaded.size
    view = View(pixels)

    def whole(min_face_px: int) -> object:
        return detect(View(pixels), net, Tracking(min_face_px=min_face_px))

    def nine() -> object:
        return localise(view, face, net)

    def parse() -> object:
        return models.parsing(cut_aligned(view, [face], models.parsing.SIZE))

    def swap() -> object:
        return fast.swap(cut_aligned(view, [face], size), persona)

    stages: dict[str, Callable[[], object]] = {
        "detection with the nine-shift localisation, faces from 48 px": partial(whole, 48),
        "detection with the nine-shift localisation, faces from 24 px": partial(whole, 24),
        "nine-shift localisation of a face (two rounds of nine, batched)": nine,
        "identity descriptor of a face": lambda: described(view, [face], models.identity),
        "parsing of a face": parse,
        f"comb {comb} ({size} px) on a face": swap,
    }
    rows = [machine(device)]
    for name, work in stages.items():
        used = {"frame": f"{width}x{height}", "runs": runs}
        rows.append(_row(name, _median(work, runs, device), "s", used))
    return rows


def _median(work: Callable[[], object], runs: int, device: torch.device) -> float:
    work()
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    times = []
    for _ in range(runs):
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - start)
    return statistics.median(times)


def _net_space(linear: Pixels) -> torch.Tensor:
    return to_tensor(to_net(linear))


def _row(name: str, value: float, unit: str, used: dict[str, Any], wanted: str = "") -> Row:
    return cast(
        Row, {"name": name, "value": value, "unit": unit, "wanted": wanted, "settings": used}
    )
