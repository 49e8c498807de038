"""`vfxswap bench guided`: lenses and light against rendered truth of performers that no training
saw, beside doing nothing. Estimates are measured by `bench_guided_estimates`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor

from vfxswap import color
from vfxswap.align.head import head_pose
from vfxswap.bench import Row, machine
from vfxswap.characteristics import HEAD_M, NEUTRAL
from vfxswap.color import ColorManager
from vfxswap.effects.aligned import Alignment, in_primaries
from vfxswap.effects.base import Frame, LoadedNet
from vfxswap.effects.guided import LIGHT_CROP, Guided
from vfxswap.effects.guided_glasses import Glasses, drawn, field, lens_of
from vfxswap.effects.guided_light import by_network, by_surface
from vfxswap.effects.guided_settings import GuidedSettings
from vfxswap.errors import ModelError
from vfxswap.geometry import Array, Box, Face
from vfxswap.image import Pixels
from vfxswap.io.weights import load_net
from vfxswap.nets.guided import GuidedPair, displaced
from vfxswap.nets.guided_vector import NEAREST_HEAD, vectors
from vfxswap.ops.convert import to_pixels, to_tensor
from vfxswap.ops.warp import warp_field
from vfxswap.render.models import model_of_stage
from vfxswap.settings import validated
from vfxswap.synth.background import random_background
from vfxswap.synth.camera import Camera
from vfxswap.synth.glasses import lens_field, seat
from vfxswap.synth.guided_pictures import (
    BRIGHT,
    aligned,
    light_on_face,
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
    """Every measurement of changes as rows for `bench.print_bench`. Without an installed model
    those of its network are left out."""
    place = torch.device(device)
    rows = [machine(place)]
    pair = installed("guided", GuidedPair, place)
    with torch.inference_mode():
        scenes = []
        for number in range(performers):
            scenes.append(scene(number))
            progress("performers", number + 1, performers)
        rows += lens_rows(scenes, pair)
        rows += light_rows(scenes, pair)
        rows += exactness_rows(scenes[0], place)
    return rows


def scene(number: int, *, size: int = SIZE) -> Scene:
    """The `number`-th performer that no training saw, head turned by up to about 30°."""
    rng = np.random.default_rng([77, number])
    rows = 256 if size <= SIZE else 640
    identity = Identity.from_seed(FIRST_PERFORMER + number, texture_rows=rows)
    yaw, pitch = rng.normal(0, [0.22, 0.10]).clip(-0.6, 0.6)
    state, camera = aligned(
        identity, random_expression(rng).posed(float(yaw), float(pitch), 0.0), size, rng
    )
    rig = random_rig(rng, mild=True)
    background = random_background(rng, size, size)
    truth = render(identity, state, camera, rig, background=background)
    posed = pose(identity, state)
    points = camera.project(posed.landmarks)[:, :2]
    return Scene(
        identity, state, posed, camera, rig, background, truth, frame_of(truth.rgb, points)
    )


def lens_rows(scenes: Sequence[Scene], pair: LoadedNet | None) -> list[Row]:
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
            row(
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


def light_rows(scenes: Sequence[Scene], pair: LoadedNet | None) -> list[Row]:
    """Mean error of relit faces in stops, for places of lights that no training saw."""
    errors: dict[str, list[float]] = {"doing nothing": [], "surface of the mean head": []}
    net = None if pair is None else cast(GuidedPair, pair.net)
    if net is not None:
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
                size=LIGHT_CROP if net is None else net.size,
                device=plain.device,
            )
            assert crop is not None
            gain, offset = by_surface(head_pose(each.face.points), _pixels(SIZE), values)
            made["surface of the mean head"] = plain * gain + offset
            if pair is not None and net is not None:
                gain, offset = by_network(
                    net, crop.target, values, matrix=crop.matrix, primaries=pair.primaries
                )
                back = crop.back(torch.cat([gain, offset], 1), each.frame.data_window)
                made["network"] = plain * back[:, :3] + back[:, 3:]
            for name, picture in made.items():
                errors[name].append(_stops(picture, lit, inside))
    nothing = float(np.mean(errors["doing nothing"]))
    return [
        row(
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
    return values, to_tensor(working(np.asarray(lit, np.float32)))


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
    rows = [row("pixels changed outside the area", outside, "", {"areas": 4}, wanted="0")]
    same = torch.equal(done({**wish, "amount": 0.0})[0], bits)
    rows.append(row("degree 0 gives the input's bits", "yes" if same else "no", "", {}, "yes"))
    sweep = [done({**wish, "amount": float(d)})[0] for d in np.linspace(0, 1, STEPS)]
    off = [float((made - bits).abs().mean()) for made in sweep]
    rising = all(a < b for a, b in itertools.pairwise(off))
    step = max(b - a for a, b in itertools.pairwise(off)) / (off[-1] / (STEPS - 1))
    rows.append(
        row(f"{STEPS} steps rise", "yes" if rising else "no", "", {"largest/mean": round(step, 2)},
             "yes")
    )  # fmt: skip
    for sphere in (-6.0, -3.0, 3.0, 5.0):
        bent, _, layers = done({"sphere": sphere})
        again = replace(plate, rgb=bent.numpy())
        back, _, _ = done({"sphere": sphere, "remove_refraction": True}, again)
        inside = _core(layers[..., 1])
        there, here = (_stops_of(x, bits, inside) for x in (bent, back))
        rows.append(
            row(f"{sphere:+g} dpt and back", here, "stops", {"before": round(there, 3)},
                 wanted=f"< {there:.3f}")
        )  # fmt: skip
    return rows


def installed(stage: str, kind: type[torch.nn.Module], place: torch.device) -> LoadedNet | None:
    """The model that serves a stage, for the built-in config; None when none is installed."""
    try:
        stored = model_of_stage(stage)
    except ModelError:
        return None
    net = load_net(stored.card, stored.folder, device=place)
    space = stored.card.primaries
    primaries = _manager().matrix_to(space) if space else None
    return LoadedNet(stored.card, net, primaries) if isinstance(net, kind) else None


@lru_cache(maxsize=1)
def _manager() -> ColorManager:
    return ColorManager()


def working(rgb: Pixels, space: str = "Linear Rec.709 (sRGB)") -> Pixels:
    """[H, W, 3] of `space` in the built-in config's working space."""
    return _manager().to_working(rgb, space)


def frame_of(rgb: Pixels, points: Array) -> Frame:
    """A rendered picture with a face at `points`, in the working space."""
    window = Box(0, 0, rgb.shape[1], rgb.shape[0])
    face = Face(0, np.asarray(points, np.float64), np.ones(len(points)), 1.0)
    return Frame(1, working(np.asarray(rgb, np.float32)), window, window, 0, faces=(face,))


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
    pair: LoadedNet, each: Scene, glasses: Glasses, values: Mapping[str, float], removed: bool
) -> Tensor:
    """The network's field in picture pixels; to take lenses off it sees them on."""
    frame = each.frame
    if removed:
        shown, _ = _true_field(each, values["sphere"], removed=False)
        plain = color.to_net(to_tensor(frame.rgb))
        seen = torch.lerp(plain, warp_field(plain, shown), glasses.lens)
        frame = replace(frame, rgb=to_pixels(color.from_net(seen)))
    net = cast(GuidedPair, pair.net)
    crop = Alignment.of(
        each.face, frame.rgb, frame, size=net.size, device=next(net.parameters()).device
    )
    assert crop is not None
    area = torch.ones(1, 1, net.size, net.size)
    seen_crop = in_primaries(crop.target, pair.primaries)
    moved = (net.remove if removed else net.add)(seen_crop, vectors([values]), area).displacement
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


def row(
    name: str, value: float | str, unit: str, settings: Mapping[str, object], wanted: str = ""
) -> Row:
    """A measurement as `bench.print_bench` shows it."""
    return {
        "name": name, "value": value, "unit": unit, "wanted": wanted, "settings": dict(settings),
    }  # fmt: skip
