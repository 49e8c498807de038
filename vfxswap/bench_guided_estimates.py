"""`vfxswap bench guided`: glasses, prescriptions and head angles as they are estimated, against
rendered truth of performers that no training saw, and against photographs without glasses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import cv2
import numpy as np
import torch

from vfxswap import color
from vfxswap.align.pose import LandmarkFinder
from vfxswap.bench import Row
from vfxswap.bench_guided import Scene, frame_of, installed, row, scene, working
from vfxswap.effects.base import Frame, LoadedNet
from vfxswap.effects.guided_estimate import FaceEstimate, estimates_of
from vfxswap.geometry import Box
from vfxswap.image import Pixels
from vfxswap.io.weights import load_net
from vfxswap.nets.guided_estimator import GuidedEstimator
from vfxswap.render.models import model_of_stage
from vfxswap.render.references import largest_face
from vfxswap.synth.glasses import wearing
from vfxswap.synth.guided_pictures import random_glasses
from vfxswap.synth.lens import Prescription

SIZE = 512
"""Of the pictures: a dioptre moves contours by half a pixel there."""
GLASSES_EACH = 3
RIGHT_DPT = 1.0
"""What the confidence of a sphere speaks of."""


def estimate_bench(
    *,
    performers: int = 8,
    device: torch.device | str = "cpu",
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> list[Row]:
    """Every measurement of estimates as rows for `bench.print_bench`; a single one that says so
    without an installed model."""
    place = torch.device(device)
    estimator = installed("guided_estimator", GuidedEstimator, place)
    if estimator is None:
        return [row("estimates", "no model is installed", "", {})]
    with torch.inference_mode():
        scenes = []
        for number in range(performers):
            scenes.append(scene(number, size=SIZE))
            progress("faces to estimate", number + 1, performers)
        return [*estimate_rows(estimator, scenes, place), *portrait_rows(estimator, place)]


def estimate_rows(estimator: LoadedNet, scenes: Sequence[Scene], place: torch.device) -> list[Row]:
    """Glasses, prescription and head angle on performers that no training saw, by true
    landmarks; of the mean power beside the best that saying one number for all would do."""
    right: list[bool] = []
    off: dict[str, list[float]] = {"sphere": [], "cylinder": [], "pd": [], "yaw": []}
    powers: list[tuple[float, float]] = []
    sure: list[tuple[float, bool]] = []
    for number, each in enumerate(scenes):
        rng = np.random.default_rng([79, number])
        bare = estimate(estimator, each.frame, place)
        right.append(not bare.glasses)
        off["yaw"].append(abs(bare.yaw_deg - np.degrees(each.state.yaw)))
        for _ in range(GLASSES_EACH):
            glasses = random_glasses(rng)
            worn = wearing(
                each.identity, each.state, each.camera, each.rig, glasses,
                plain=each.truth, background=each.background,
            )  # fmt: skip
            found = estimate(estimator, frame_of(worn.rgb, each.face.points), place)
            right.append(found.glasses)
            lens = minus_cylinder(glasses.prescription)
            off["sphere"].append(abs(found.sphere - lens.sphere_dpt))
            off["cylinder"].append(abs(found.cylinder - lens.cylinder_dpt))
            off["pd"].append(abs(found.pd_mm - lens.pd_mm))
            powers.append(
                (found.sphere + found.cylinder / 2, lens.sphere_dpt + lens.cylinder_dpt / 2)
            )
            sure.append((found.sphere_confidence, off["sphere"][-1] < RIGHT_DPT))
    rows = [row("glasses told right", 100 * float(np.mean(right)), "%", {"pictures": len(right)})]
    made, truth = np.array(powers).T
    guess = float(np.abs(truth - np.median(truth)).mean())
    said = {"pictures": len(truth), "saying the median": round(guess, 2),
            "correlation": round(float(np.corrcoef(made, truth)[0, 1]), 2)}  # fmt: skip
    error = float(np.abs(made - truth).mean())
    rows.append(row("mean power: mean absolute error", error, "dpt", said, f"< {guess:.2f}"))
    stated, kept = np.array(sure).T
    said = {"stated confidence": round(float(stated.mean()), 2)}
    rows.append(row("sphere right to 1 dpt", float(kept.mean()), "share", said))
    units = {"sphere": "dpt", "cylinder": "dpt", "pd": "mm", "yaw": "deg"}
    for name, found_ in off.items():
        value = float(np.mean(found_))
        said = {"pictures": len(found_)}
        rows.append(row(f"{name}: mean absolute error", value, units[name], said))
    return rows


def minus_cylinder(lens: Prescription) -> Prescription:
    """The same lens with a cylinder of 0 or less, as estimates are given."""
    if lens.cylinder_dpt <= 0:
        return lens
    sphere = lens.sphere_dpt + lens.cylinder_dpt
    turned = (lens.axis_deg + 90) % 180
    return replace(lens, sphere_dpt=sphere, cylinder_dpt=-lens.cylinder_dpt, axis_deg=turned)


def portrait_rows(estimator: LoadedNet, place: torch.device) -> list[Row]:
    """False glasses on the portraits that dependencies ship, in all `variants` (detection
    alone)."""
    name = "false glasses on portraits"
    shipped = portraits()
    if not shipped:
        return [row(name, "scikit-image is not installed", "", {})]
    stored = model_of_stage("landmarks")
    finder = cast(LandmarkFinder, load_net(stored.card, stored.folder, device=place))
    worn = []
    looked = 0
    for portrait in shipped.values():
        for _, picture in variants(portrait):
            looked += 1
            frame = with_face(picture, finder, place)
            if frame is not None:
                worn.append(estimate(estimator, frame, place).worn)
    said = {"portraits": len(shipped), "pictures": looked, "faces found": len(worn),
            "highest probability": round(max(worn, default=0.0), 3)}  # fmt: skip
    return [row(name, sum(w >= 0.5 for w in worn), "", said, wanted="0")]


def portraits() -> dict[str, Pixels]:
    """The faces that installed packages ship as photographs, [H, W, 3] coded sRGB 0…1, by name;
    none of them wears glasses."""
    try:
        import skimage.data
    except ImportError:
        return {}
    return {"scikit-image/astronaut": skimage.data.astronaut().astype(np.float32) / 255}


def variants(coded: Pixels) -> Iterator[tuple[str, Pixels]]:
    """A coded picture as it is, mirrored, dark, bright, small, soft, grey, turned and grainy."""
    height, width = coded.shape[:2]
    yield "as it is", coded
    yield "mirrored", np.ascontiguousarray(coded[:, ::-1])
    yield "dark", coded * np.float32(0.35)
    yield "bright", np.minimum(coded * np.float32(1.6), 1)
    for share in (0.5, 0.25):
        size = (round(width * share), round(height * share))
        yield f"{size[1]} rows", cv2.resize(coded, size, interpolation=cv2.INTER_AREA)
    yield "soft", cv2.GaussianBlur(coded, (0, 0), 2.5)
    yield "grey", np.repeat(coded.mean(-1, keepdims=True), 3, -1)
    for angle in (-15, 15):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
        turned = cv2.warpAffine(coded, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        yield f"turned by {angle} deg", turned
    grain = np.random.default_rng(3).normal(0, 0.06, coded.shape)
    yield "grainy", np.clip(coded + grain, 0, 1).astype(np.float32)


def with_face(coded: Pixels, finder: LandmarkFinder, place: torch.device) -> Frame | None:
    """A coded picture as a frame with its largest face; None without one."""
    rgb = working(np.asarray(coded, np.float32), color.DISPLAY_SPACE)
    window = Box(0, 0, rgb.shape[1], rgb.shape[0])
    bare = Frame(1, rgb, window, window, 0)
    face = largest_face(bare, finder=finder, device=place)
    return None if face is None else replace(bare, faces=(face,))


def estimate(estimator: LoadedNet, frame: Frame, place: torch.device) -> FaceEstimate:
    """What is seen of a frame's first face."""
    net = cast(GuidedEstimator, estimator.net)
    found = estimates_of(net, [frame], device=place, primaries=estimator.primaries)
    return found[frame.faces[0].id]
