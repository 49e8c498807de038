"""`vfxswap bench guided`: lenses, light and estimates against rendered truth of performers that no
training saw, beside doing nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from vfxswap import color
from vfxswap.align.head import head_pose
from vfxswap.align.pose import LandmarkFinder
from vfxswap.bench import Row, machine
from vfxswap.characteristics import HEAD_M, NEUTRAL
from vfxswap.color import ColorManager
from vfxswap.effects.aligned import Alignment
from vfxswap.effects.base import Frame
from vfxswap.effects.guided import LIGHT_CROP, Guided
from vfxswap.effects.guided_estimate import FaceEstimate, estimates_of
from vfxswap.effects.guided_glasses import Glasses, drawn, field, lens_of
from vfxswap.effects.guided_light import by_network, by_surface
from vfxswap.effects.guided_settings import GuidedSettings
from vfxswap.errors import ModelError
from vfxswap.geometry import Array, Box, Face
from vfxswap.image import Pixels
from vfxswap.io.weights import load_net
from vfxswap.nets.guided import GuidedPair, displaced
from vfxswap.nets.guided_estimator import GuidedEstimator
from vfxswap.nets.guided_vector import NEAREST_HEAD, vectors
from vfxswap.ops.convert import to_pixels, to_tensor
from vfxswap.ops.warp import warp_field
from vfxswap.render.models import model_of_stage
from vfxswap.render.references import largest_face
from vfxswap.settings import validated
from vfxswap.synth.background import random_background
from vfxswap.synth.camera import Camera
from vfxswap.synth.glasses import lens_field, seat, wearing
from vfxswap.synth.guided_pictures import (
    BRIGHT,
    aligned,
    light_on_face,
    random_glasses,
    random_place,
)
from vfxswap.synth.identity import Identity
from vfxswap.synth.lens import Prescription
from vfxswap.synth.light import LightRig, point_rig, random_rig
from vfxswap.synth.mesh import Posed, pose
from vfxswap.synth.performance import State, random_expression
from vfxswap.synth.render import Truth, render

SIZE = 256
STATED_PX = 512
"""Displacement errors are stated for crops of this size."""
SPHERES = (-8.0, -6.0, -4.0, -2.0, -1.0, 1.0, 2.0, 4.0, 6.0)
FIRST_PERFORMER = 9_100_000
"""Performers of trainings have smaller numbers."""
ARRIVING = 0.8
"""Light that test lights bring to the face, in units of what is there."""
STEPS = 21
FOLD_M = 0.03
_NET_STOPS = 17.52
N = TypeVar("N", bound=torch.nn.Module)


@dataclass(frozen=True, eq=False)
class Scene:
    """A performer in front of the camera with all that is known: `frame` holds the picture in
    the working space and the true landmarks."""

    identity: Identity
    state: State
    posed: Posed
    camera: Camera
    rig: LightRig
    background: Pixels
    truth: Truth
    frame: Frame

    @property
    def face(self) -> Face:
        return self.frame.faces[0]


def guided_rows(
    *,
    performers: int = 8,
    device: torch.device | str = "cpu",
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> list[Row]:
    """Every measurement as rows for `bench.print_bench`. Without an installed model those of its
    networks are left out, and a row says so."""
    place = torch.device(device)
    rows = [machine(place)]
    pair, estimator = _installed("guided", GuidedPair, place), _installed(
        "guided_estimator", GuidedEstimator, place
    )  # fmt: skip
    with torch.inference_mode():
        scenes = []
        for number in range(performers):
            scenes.append(scene(number))
            progress("performers", number + 1, performers)
        rows += lens_rows(scenes, pair)
        rows += light_rows(scenes, pair)
        rows += exactness_rows(scenes[0], place)
        if estimator is None:
            rows.append(_row("estimates", "no model is installed", "", {}))
        else:
            rows += estimate_rows(estimator, scenes, place)
            rows += portrait_rows(estimator, place)
    return rows


def scene(number: int, *, size: int = SIZE) -> Scene:
    """The `number`-th performer that no training saw, head turned by up to about 30°."""
    rng = np.random.default_rng([77, number])
    identity = Identity.from_seed(FIRST_PERFORMER + number, texture_rows=256)
    yaw, pitch = rng.normal(0, [0.22, 0.10]).clip(-0.6, 0.6)
    state, camera = aligned(
        identity, random_expression(rng).posed(float(yaw), float(pitch), 0.0), size, rng
    )
    rig = random_rig(rng, mild=True)
    background = random_background(rng, size, size)
    truth = render(identity, state, camera, rig, background=background)
    posed = pose(identity, state)
    points = camera.project(posed.landmarks)[:, :2]
    return Scene(identity, state, posed, camera, rig, background, truth, _frame(truth.rgb, points))


def lens_rows(scenes: Sequence[Scene], pair: GuidedPair | None) -> list[Row]:
    """Mean displacement error where lenses show the face, in pixels at 512², lenses put on and
    taken off; beside it the median, and the mean over all that lenses show."""
    rows: list[Row] = []
    makers: dict[str, Callable[[Scene, Glasses, Mapping[str, float], bool], Tensor]] = {
        "doing nothing": lambda s, g, v, removed: torch.zeros(1, 2, SIZE, SIZE),
        "lens on the mean head": lambda s, g, v, removed: field(g, lens_of(v), removed=removed),
    }
    if pair is not None:
        makers["network"] = lambda s, g, v, removed: _network_field(pair, s, g, v, removed)
    for removed, sphere in itertools.product((False, True), SPHERES):
        values = {**NEUTRAL, "sphere": sphere}
        face: dict[str, list[Tensor]] = {name: [] for name in makers}
        whole: dict[str, list[Tensor]] = {name: [] for name in makers}
        for each in scenes:
            glasses = _standard(each)
            wanted, known = _true_field(each, sphere, removed=removed)
            inside = (glasses.lens[0, 0] > 0.99) & known
            on_face = inside & _shows_face(each, wanted)
            for name, make in makers.items():
                off = (make(each, glasses, values, removed) - wanted).norm(dim=1)[0]
                face[name].append(off[on_face] * STATED_PX / SIZE)
                whole[name].append(off[inside] * STATED_PX / SIZE)
        nothing = float(torch.cat(face["doing nothing"]).mean())
        rows += [
            _row(
                f"{sphere:+g} dpt {'removed' if removed else 'added'}: {name}",
                float(torch.cat(face[name]).mean()),
                f"px at {STATED_PX}",
                {
                    "performers": len(scenes),
                    "median": round(float(torch.cat(face[name]).median()), 2),
                    "with background": round(float(torch.cat(whole[name]).mean()), 2),
                },
                wanted="" if name == "doing nothing" else f"< {nothing:.2f}",
            )
            for name in makers
        ]
    return rows


def _shows_face(each: Scene, field_: Tensor) -> Tensor:
    """[H, W] where both ends of a displacement lie on the performer, no fold of it between them:
    beside the silhouette a lens shows what is far behind."""
    depth = torch.from_numpy(np.nan_to_num(each.truth.depth, posinf=99.0).astype(np.float32))
    planes = torch.stack([torch.from_numpy(each.truth.alpha), depth])[None]
    there = displaced(planes, field_)
    near = (there[0, 1] - depth).abs() < FOLD_M
    return (planes[0, 0] > 0.99) & (there[0, 0] > 0.99) & near


def light_rows(scenes: Sequence[Scene], pair: GuidedPair | None) -> list[Row]:
    """Mean error of relit faces in stops, for places of lights that no training saw."""
    errors: dict[str, list[float]] = {"doing nothing": [], "surface of the mean head": []}
    if pair is not None:
        errors["network"] = []
    for number, each in enumerate(scenes):
        rng = np.random.default_rng([78, number])
        for _ in range(2):
            place = random_place(rng)
            values, lit = relit(each, place)
            inside = torch.from_numpy(each.truth.face_matte > 0.5)
            plain = to_tensor(each.frame.rgb)
            made = {"doing nothing": plain}
            crop = Alignment.of(
                each.face,
                each.frame.rgb,
                each.frame,
                size=LIGHT_CROP if pair is None else pair.size,
                device=plain.device,
            )
            assert crop is not None
            gain, offset = by_surface(head_pose(each.face.points), _pixels(SIZE), values)
            made["surface of the mean head"] = plain * gain + offset
            if pair is not None:
                gain, offset = by_network(pair, crop.target, values, matrix=crop.matrix)
                back = crop.back(torch.cat([gain, offset], 1), each.frame.data_window)
                made["network"] = plain * back[:, :3] + back[:, 3:]
            for name, picture in made.items():
                errors[name].append(_stops(picture, lit, inside))
    nothing = float(np.mean(errors["doing nothing"]))
    return [
        _row(
            f"relit: {name}", float(np.mean(found)), "stops",
            {"lights": len(found), "arriving": ARRIVING},
            wanted=f"< {nothing:.2f}" if name != "doing nothing" else "",
        )
        for name, found in errors.items()
    ]  # fmt: skip


def relit(each: Scene, place: Array) -> tuple[dict[str, float], Tensor]:
    """Characteristics of a white light at `place` in heads, and the true picture [1, 3, H, W]."""
    far = max(float(np.linalg.norm(place)), NEAREST_HEAD)
    intensity = min(4.0, ARRIVING * far**2)
    values = dict(NEUTRAL, light1_intensity=intensity)
    values |= {f"light1_{axis}": float(at) for axis, at in zip("xyz", place, strict=True)}
    origin = seat(each.posed).origin
    x, y, z = place
    rig = point_rig(origin + HEAD_M * np.array([x, -z, y]), origin, np.full(3, BRIGHT))
    alone = render(each.identity, each.state, each.camera, rig).rgb
    level = light_on_face(each.truth, each.identity)
    share = intensity / far**2
    lit = each.truth.rgb + alone * (share * level / BRIGHT)
    return values, to_tensor(_working(np.asarray(lit, np.float32)))


def exactness_rows(each: Scene, place: torch.device) -> list[Row]:
    """What must hold to the bit, and how near the inverse comes back."""
    effect = Guided({}, None, {}, place)
    plate = each.frame
    wish: dict[str, object] = {"sphere": -6.0, "frames": 1.0, "tint_density": 0.3}
    wish |= {"light1_intensity": 0.8, "light1_x": 1.0}

    def done(more: Mapping[str, object], of: Frame = plate) -> tuple[Tensor, Tensor, Tensor]:
        result = effect(of, validated(GuidedSettings, dict(more)), {})
        layers = {layer.name: layer.pixels for layer in result.layers}
        planes = (result.rgb, result.matte, layers["guided_matte"])
        return tuple(torch.from_numpy(plane) for plane in planes)  # type: ignore[return-value]

    bits = torch.from_numpy(plate.rgb)
    outside = 0
    areas: Iterable[dict[str, object]] = (
        {}, {"area": "left"}, {"area": "right"},
        {"area": "box", "box_x_px": 90, "box_y_px": 80, "box_width_px": 60, "box_height_px": 50},
    )  # fmt: skip
    for area in areas:
        made, matte, _ = done({**wish, **area})
        outside += int((made != bits).any(-1)[matte == 0].sum())
    rows = [_row("pixels changed outside the area", outside, "", {"areas": 4}, wanted="0")]
    same = torch.equal(done({**wish, "amount": 0.0})[0], bits)
    rows.append(_row("degree 0 gives the input's bits", "yes" if same else "no", "", {}, "yes"))
    sweep = [done({**wish, "amount": float(d)})[0] for d in np.linspace(0, 1, STEPS)]
    off = [float((made - bits).abs().mean()) for made in sweep]
    rising = all(a < b for a, b in itertools.pairwise(off))
    step = max(b - a for a, b in itertools.pairwise(off)) / (off[-1] / (STEPS - 1))
    rows.append(
        _row(f"{STEPS} steps rise", "yes" if rising else "no", "", {"largest/mean": round(step, 2)},
             "yes")
    )  # fmt: skip
    for sphere in (-6.0, -3.0, 3.0, 5.0):
        bent, _, layers = done({"sphere": sphere})
        again = replace(plate, rgb=bent.numpy())
        back, _, _ = done({"sphere": sphere, "remove_refraction": True}, again)
        inside = _core(layers[..., 1])
        there, here = (_stops_of(x, bits, inside) for x in (bent, back))
        rows.append(
            _row(f"{sphere:+g} dpt and back", here, "stops", {"before": round(there, 3)},
                 wanted=f"< {there:.3f}")
        )  # fmt: skip
    return rows


def estimate_rows(
    estimator: GuidedEstimator, scenes: Sequence[Scene], place: torch.device
) -> list[Row]:
    """Glasses, prescription and head angle on performers that no training saw."""
    right: list[bool] = []
    off: dict[str, list[float]] = {"sphere": [], "cylinder": [], "pd": [], "yaw": []}
    guess: dict[str, list[float]] = {"sphere": [], "yaw": []}
    for number, each in enumerate(scenes):
        rng = np.random.default_rng([79, number])
        bare = _estimate(estimator, each.frame, place)
        right.append(not bare.glasses)
        yaw = np.degrees(each.state.yaw)
        off["yaw"].append(abs(bare.yaw_deg - yaw))
        guess["yaw"].append(abs(yaw))
        for _ in range(3):
            glasses = random_glasses(rng)
            worn = wearing(
                each.identity, each.state, each.camera, each.rig, glasses,
                plain=each.truth, background=each.background,
            )  # fmt: skip
            found = _estimate(estimator, _frame(worn.rgb, each.face.points), place)
            right.append(found.glasses)
            lens = minus_cylinder(glasses.prescription)
            off["sphere"].append(abs(found.sphere - lens.sphere_dpt))
            guess["sphere"].append(abs(lens.sphere_dpt))
            off["cylinder"].append(abs(found.cylinder - lens.cylinder_dpt))
            off["pd"].append(abs(found.pd_mm - lens.pd_mm))
    said = {"pictures": len(right)}
    rows = [_row("glasses told right", 100 * float(np.mean(right)), "%", said)]
    units = {"sphere": "dpt", "cylinder": "dpt", "pd": "mm", "yaw": "deg"}
    for name, found_ in off.items():
        beside = {"saying 0": round(float(np.mean(guess[name])), 2)} if name in guess else {}
        rows.append(
            _row(f"{name}: mean absolute error", float(np.mean(found_)), units[name],
                 {"pictures": len(found_), **beside})
        )  # fmt: skip
    return rows


def minus_cylinder(lens: Prescription) -> Prescription:
    """The same lens with a cylinder of 0 or less, as estimates are given."""
    if lens.cylinder_dpt <= 0:
        return lens
    sphere = lens.sphere_dpt + lens.cylinder_dpt
    turned = (lens.axis_deg + 90) % 180
    return replace(lens, sphere_dpt=sphere, cylinder_dpt=-lens.cylinder_dpt, axis_deg=turned)


def portrait_rows(estimator: GuidedEstimator, place: torch.device) -> list[Row]:
    """False glasses on the portrait that scikit-image ships (detection alone)."""
    try:
        import skimage.data
    except ImportError:
        return [_row("false glasses on portraits", "scikit-image is not installed", "", {})]
    coded = skimage.data.astronaut().astype(np.float32) / 255
    manager = ColorManager()
    rgb = manager.to_working(coded, color.DISPLAY_SPACE)
    stored = model_of_stage("landmarks")
    finder = cast(LandmarkFinder, load_net(stored.card, stored.folder, device=place))
    window = Box(0, 0, rgb.shape[1], rgb.shape[0])
    bare = Frame(1, rgb, window, window, 0)
    face = largest_face(bare, finder=finder, device=place)
    if face is None:
        return [_row("false glasses on portraits", "no face found", "", {})]
    found = _estimate(estimator, replace(bare, faces=(face,)), place)
    said = {"portraits": 1, "probability of glasses": round(found.worn, 3)}
    return [_row("false glasses on portraits", int(found.glasses), "", said, wanted="0")]


def _installed(stage: str, kind: type[N], place: torch.device) -> N | None:
    """The network of the model that serves a stage; None when none is installed."""
    try:
        stored = model_of_stage(stage)
    except ModelError:
        return None
    net = load_net(stored.card, stored.folder, device=place)
    return net if isinstance(net, kind) else None


def _estimate(estimator: GuidedEstimator, frame: Frame, place: torch.device) -> FaceEstimate:
    return estimates_of(estimator, [frame], device=place)[frame.faces[0].id]


@lru_cache(maxsize=1)
def _manager() -> ColorManager:
    return ColorManager()


def _working(rgb: Pixels) -> Pixels:
    return _manager().to_working(rgb, "Linear Rec.709 (sRGB)")


def _frame(rgb: Pixels, points: Array) -> Frame:
    window = Box(0, 0, rgb.shape[1], rgb.shape[0])
    face = Face(0, np.asarray(points, np.float64), np.ones(len(points)), 1.0)
    return Frame(1, _working(np.asarray(rgb, np.float32)), window, window, 0, faces=(face,))


def _standard(each: Scene) -> Glasses:
    """The lenses of the frames that the effect draws by itself, over the whole picture."""
    at = head_pose(each.face.points)
    window = each.frame.data_window
    return drawn(
        at, window, shape="trapeze", scale=1.0, color=(0, 0, 0), pattern="plain",
        device=torch.device("cpu"),
    )  # fmt: skip


def _true_field(each: Scene, sphere: float, *, removed: bool) -> tuple[Tensor, Tensor]:
    """True displacement [1, 2, H, W] and where it is known [H, W]."""
    found = lens_field(each.posed, each.camera, Prescription(sphere_dpt=sphere))
    forward = torch.from_numpy(found.displacement.transpose(2, 0, 1).copy())[None]
    known = torch.from_numpy(found.known)
    if not removed:
        return forward, known
    back = torch.zeros_like(forward)
    for _ in range(30):
        back = -warp_field(forward, back)
    seen = warp_field(known[None, None].float(), back)[0, 0] > 0.99
    return back, known & seen


def _network_field(
    pair: GuidedPair, each: Scene, glasses: Glasses, values: Mapping[str, float], removed: bool
) -> Tensor:
    """The network's field in picture pixels; to take lenses off it sees them on."""
    frame = each.frame
    if removed:
        shown, _ = _true_field(each, values["sphere"], removed=False)
        plain = color.to_net(to_tensor(frame.rgb))
        seen = torch.lerp(plain, warp_field(plain, shown), glasses.lens)
        frame = replace(frame, rgb=to_pixels(color.from_net(seen)))
    crop = Alignment.of(
        each.face, frame.rgb, frame, size=pair.size, device=next(pair.parameters()).device
    )
    assert crop is not None
    net = pair.remove if removed else pair.add
    area = torch.ones(1, 1, pair.size, pair.size)
    moved = net(crop.target, vectors([values]), area).displacement
    back = crop.back(moved, frame.data_window)
    linear = torch.from_numpy(np.linalg.inv(crop.matrix[:, :2])).float()
    return torch.einsum("ij,bjhw->bihw", linear, back)


def _stops(made: Tensor, truth: Tensor, inside: Tensor) -> float:
    off = (color.to_net(made) - color.to_net(truth)).abs().mean(1)[0]
    return float(off[inside].mean()) * _NET_STOPS


def _stops_of(made: Tensor, truth: Tensor, inside: Tensor) -> float:
    off = (color.to_net(made) - color.to_net(truth)).abs().mean(-1)
    return float(off[inside].mean()) * _NET_STOPS


def _core(lens: Tensor) -> Tensor:
    """Where a lens is, a few pixels from its edge: there the way back leads outside."""
    solid = (lens == 1).float()[None, None]
    shrunk = -torch.nn.functional.max_pool2d(-solid, 9, 1, 4)
    return shrunk[0, 0] > 0.5


def _pixels(size: int) -> Array:
    at = np.arange(size) + 0.5
    return np.stack(np.meshgrid(at, at), -1)


def _row(
    name: str, value: float | str, unit: str, settings: Mapping[str, object], wanted: str = ""
) -> Row:
    return {
        "name": name, "value": value, "unit": unit, "wanted": wanted, "settings": dict(settings),
    }  # fmt: skip
