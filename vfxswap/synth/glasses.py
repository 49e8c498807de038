"""Glasses on a performer: frames as a mesh, lenses that refract, the picture and its exact truth.

What is seen through a lens is the picture without glasses, looked up where the traced ray meets
the head: exact but for what shines (highlights stay where they were) and for places that only the
bent ray sees (they take what hides them). Beyond the head there is a wall `WALL_M` behind the eyes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.align.spectacles import LEFT, RIGHT, bridge_outline, rim_outline, rim_width
from vfxswap.synth.camera import Camera
from vfxswap.synth.head import LASHES, SKIN, TONGUE, Floats, Ints, head_asset
from vfxswap.synth.identity import Identity
from vfxswap.synth.lens import VERTEX_M, Prescription, made, traced
from vfxswap.synth.light import LightRig
from vfxswap.synth.mesh import Posed, pose, topology
from vfxswap.synth.performance import Array, State
from vfxswap.synth.render import Truth, Worn, render, warp_device

TILT_RAD = np.deg2rad(6.0)
"""Pantoscopic tilt: the lower rims lean towards the cheeks."""
WALL_M = 0.08
REACH_M = (0.032, 0.027)
"""How far from its optical centre a lens without an edge is traced, across and up."""
NOSE_M = 0.007
"""So far from the middle of the head no lens is."""
CLEAR_M = 0.0005
"""So far from the skin a lens ends at least."""
GLASS = 0.92
"""What a lens without coating passes: twice 4 % are reflected at normal incidence (Fresnel)."""
_ROUND = 8
NO_POWER = Prescription()


@dataclass(frozen=True)
class Glasses:
    """What is worn: a shape of `align.spectacles.SHAPES` at a `scale`, the colour of frames (scene-
    linear albedo), whether there are rims at all, their thickness towards the face, a prescription,
    and a tint: density, colour, gradient as in `characteristics`."""

    shape: str = "trapeze"
    scale: float = 1.0
    color: tuple[float, float, float] = (0.03, 0.03, 0.03)
    rimless: bool = False
    depth_mm: float = 3.5
    prescription: Prescription = NO_POWER
    tint_density: float = 0.0
    tint_color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tint_gradient: float = 0.0


@dataclass(frozen=True, eq=False)
class Seat:
    """Where glasses sit: `origin` [3] metres midway between the corneas, `axes` [3, 3] the rows
    u (subject's left), v (up along the lenses) and w (into the head) of the lens plane, whose
    back vertices are `VERTEX_M` before the corneas; `ears` [2, 3] where temples end, right first.
    """

    origin: Array
    axes: Array
    ears: Array

    def lens_centre(self, side: int, pd_mm: float) -> Array:
        """[3] back vertex of a lens."""
        across = side * pd_mm / 2000 * self.axes[0]
        forward = -(np.cos(TILT_RAD) * self.axes[2] - np.sin(TILT_RAD) * self.axes[1])
        return np.asarray(self.origin + across + VERTEX_M * forward)

    def placed(self, flat_mm: Array, depth_mm: Array | float = 0.0) -> Array:
        """Points [..., 2] of the plane (millimetres, y down) and their depth towards the head to
        metres of the scene."""
        across = flat_mm[..., :1] * self.axes[0] - flat_mm[..., 1:2] * self.axes[1]
        deep = np.broadcast_to(np.asarray(depth_mm, np.float64), flat_mm.shape[:-1])[..., None]
        plane = self.lens_centre(0, 0.0)
        return np.asarray(plane + (across + deep * self.axes[2]) / 1000)


@dataclass(frozen=True, eq=False)
class Field:
    """`displacement` [H, W, 2] pixels, x right and y down, of lenses without an edge, 0 where it is
    not known; `known` [H, W] where it was traced, within the reach of a lens and clear of skin;
    `down` [H, W] the height on the lens in millimetres below its centre."""

    displacement: Floats
    known: NDArray[np.bool_]
    down: Floats


@dataclass(frozen=True, eq=False)
class Wearing:
    """A picture with glasses and its truth over the camera's window: `rgb` scene-linear; `frames`
    [H, W, 4] premultiplied; `lenses` [H, W] in 0…1 how much of a pixel is seen through a lens
    (not covered by frames); `shade` [H, W, 3] what frames' shadow leaves of the light; `field`."""

    rgb: Floats
    frames: Floats
    lenses: Floats
    shade: Floats
    field: Field


def seat(posed: Posed) -> Seat:
    """Where glasses sit on a posed head."""
    x, back, up = posed.rotation.T
    eyes = head_asset().eyes
    radius = max(
        float(np.linalg.norm(posed.points[e] - c, axis=1).max())
        for e, c in zip(eyes, posed.eye_centres, strict=True)
    )
    origin = np.mean(posed.eye_centres, axis=0) - radius * back
    # The top leans away from the brows, the bottom to the cheeks.
    v = np.cos(TILT_RAD) * up - np.sin(TILT_RAD) * back
    w = np.cos(TILT_RAD) * back + np.sin(TILT_RAD) * up
    ears = []
    for jaw, side in ((0, -1), (16, 1)):
        ear = posed.landmarks[jaw]
        ears.append(ear + 0.004 * side * x + 0.012 * back + 0.020 * up)
    return Seat(origin, np.stack([x, v, w]), np.stack(ears))


def frames_mesh(glasses: Glasses, at: Seat, *, seen: bool = True) -> Worn:
    """The frames as a mesh."""
    parts: list[tuple[Array, Ints]] = []
    shape, scale = glasses.shape, glasses.scale
    width = rim_width(shape, scale=scale)
    half = glasses.depth_mm / 2
    for side in (RIGHT, LEFT):
        inner = rim_outline(shape, side, scale=scale)
        outer = rim_outline(shape, side, scale=scale, grown_mm=width)
        if not glasses.rimless:
            parts.append(_ring(at, inner, outer, half))
        hinge = outer[np.argmax(side * outer[:, 0] - 0.6 * outer[:, 1])] + [0.0, 2.5]
        parts.append(_temple(at, hinge, side, scale, half))
    parts.append(_slab(at, bridge_outline(shape, scale=scale), half))
    points, triangles, start = [], [], 0
    for p, t in parts:
        points.append(p)
        triangles.append(t + start)
        start += len(p)
    corners = np.concatenate(points)[np.concatenate(triangles)]
    # Facets have normals of their own: three vertices each.
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    keep = length[:, 0] > 1e-12
    normal = np.repeat(normal[keep] / length[keep], 3, axis=0)
    flat = corners[keep].reshape(-1, 3)
    return Worn(
        np.asarray(flat, np.float32), np.asarray(normal, np.float32),
        np.arange(len(flat), dtype=np.int32).reshape(-1, 3), np.array(glasses.color), seen,
    )  # fmt: skip


def _ring(at: Seat, inner: Array, outer: Array, half_mm: float) -> tuple[Array, Ints]:
    """A rim: a rounded band between two outlines."""
    loops = []
    for turn in np.linspace(0, 2 * np.pi, _ROUND, endpoint=False):
        # A squarish cross-section: plastic is milled, wire is thin either way.
        across = np.sign(np.cos(turn)) * abs(np.cos(turn)) ** 0.5
        deep = np.sign(np.sin(turn)) * abs(np.sin(turn)) ** 0.5
        share = 0.5 + 0.5 * across
        loops.append(at.placed(inner + share * (outer - inner), deep * half_mm))
    return _tube(np.stack(loops, 1), closed=True)


def _slab(at: Seat, outline: Array, half_mm: float) -> tuple[Array, Ints]:
    """The bridge: two edges of an outline, given thickness."""
    n = len(outline) // 2
    top, bottom = outline[:n], outline[n:][::-1]
    corners = [(top, -half_mm), (top, half_mm), (bottom, half_mm), (bottom, -half_mm)]
    return _tube(np.stack([at.placed(line, deep) for line, deep in corners], 1), closed=False)


def _temple(at: Seat, hinge: Array, side: int, scale: float, half_mm: float) -> tuple[Array, Ints]:
    start = at.placed(hinge)
    ear = at.ears[(side + 1) // 2]
    x, v, w = at.axes
    # Straight back from the hinge, as far out as the ear asks for; then down behind it.
    out = max(float((ear - start) @ x) * side, 0.0) * side
    corner = start + out * x + 0.008 * w
    behind = ear + 0.025 * w - 0.03 * v
    line = np.stack([start + 0.001 * w, corner, ear, behind])
    tall, wide = 0.0022 * scale, max(0.0007, 0.0003 * half_mm)
    rings = []
    for point in line:
        rings.append(np.stack([point + a * tall * v + b * wide * x
                               for a, b in ((1, -1), (1, 1), (-1, 1), (-1, -1))]))  # fmt: skip
    return _tube(np.stack(rings), closed=False)


def _tube(rings: Array, *, closed: bool) -> tuple[Array, Ints]:
    """Triangles over rings [N, K, 3] of points, each joined to the next (`closed`: and round)."""
    count, around = rings.shape[:2]
    last = count if closed else count - 1
    i, j = np.mgrid[0:last, 0:around]
    a, b = i * around + j, i * around + (j + 1) % around
    c, d = (i + 1) % count * around + j, (i + 1) % count * around + (j + 1) % around
    quads = np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)])
    return rings.reshape(-1, 3), quads.reshape(-1, 3).astype(np.int32)


def lens_field(posed: Posed, camera: Camera, prescription: Prescription) -> Field:
    """What lenses of a prescription show, for each pixel of the camera's window."""
    at, window = seat(posed), camera.window
    rays = _rays(camera)
    displacement = np.zeros((len(rays), 2))
    known = np.zeros(len(rays), bool)
    down = np.zeros(len(rays))
    eye = np.asarray(camera.position)
    middle = at.lens_centre(0, 0.0)
    # Which lens a pixel belongs to is told by where its ray crosses the lens plane.
    on_plane = _on_plane(eye, rays, middle, at.axes[2])
    across = (on_plane - middle) @ at.axes[0]
    y, x = np.mgrid[window.y : window.bottom, window.x : window.right] + 0.5
    pixels = np.stack([x, y], -1).reshape(-1, 2)
    lens = made(prescription)
    head = _HeadMesh(posed, at)
    for side in (RIGHT, LEFT):
        centre = at.lens_centre(side, prescription.pd_mm)
        local = (on_plane - centre) @ at.axes.T
        mine = (side * across > NOSE_M) & (np.abs(local[:, 0]) < REACH_M[0])
        mine &= np.abs(local[:, 1]) < REACH_M[1]
        if not mine.any():
            continue
        direction = rays[mine] @ at.axes.T
        start = np.broadcast_to((eye - centre) @ at.axes.T, direction.shape)
        point, toward = traced(lens, start, direction)
        good = np.isfinite(point).all(1) & np.isfinite(toward).all(1)
        point, toward = np.nan_to_num(point), np.nan_to_num(toward)
        toward[~good] = (0, 0, 1)
        leaves = point @ at.axes + centre
        # The nose of a turned head, and its sides, may come before the lens or into it.
        before = head.distances(np.broadcast_to(eye, leaves.shape), rays[mine], 10.0)
        good &= (before < 0) | (before > np.linalg.norm(leaves - eye, axis=1) + CLEAR_M)
        met = head.met(leaves, toward @ at.axes)
        seen = camera.project(met)[:, :2]
        rows = np.flatnonzero(mine)[good]
        displacement[rows] = (seen - pixels[mine])[good]
        known[rows] = True
        down[np.flatnonzero(mine)] = -1000 * local[mine, 1]
    if not prescription.bends:
        # Plane glass moves the picture by less than 0.2 mm; a frame without power moves nothing.
        displacement[:] = 0.0
    shape = (window.height, window.width)
    return Field(
        displacement.reshape(*shape, 2).astype(np.float32),
        known.reshape(shape),
        down.reshape(shape).astype(np.float32),
    )


def wearing(
    identity: Identity,
    state: State,
    camera: Camera,
    rig: LightRig,
    glasses: Glasses,
    *,
    plain: Truth,
    background: Floats,
    samples: int = 2,
    device: str = "cpu",
) -> Wearing:
    """The performer of the picture `plain` with glasses on, all else as it was rendered there."""
    posed = pose(identity, state)
    at = seat(posed)
    shaded, drawn = (
        render(
            identity, state, camera, rig, samples=samples, background=background,
            worn=frames_mesh(glasses, at, seen=seen), device=device,
        )
        for seen in (False, True)
    )  # fmt: skip
    cover = drawn.mattes["glasses"]
    frames = np.concatenate([drawn.rgb - (1 - cover[..., None]) * shaded.rgb, cover[..., None]], -1)
    frames = np.where(cover[..., None] > 0, frames, 0).astype(np.float32)
    shade = np.clip(shaded.rgb / np.maximum(plain.rgb, 1e-4), 0, 1)
    shade[plain.rgb < 1e-4] = 1.0
    field = lens_field(posed, camera, glasses.prescription)
    opening = _openings(glasses, at, camera) * _in_front(glasses, at, camera, plain)
    behind = looked_up(shaded.rgb, field.displacement)
    tall = float(np.ptp(rim_outline(glasses.shape, LEFT, scale=glasses.scale)[:, 1]))
    passed = GLASS * transmission(glasses, np.clip(field.down / tall + 0.5, 0, 1))
    sky = 0.5 * (1 - GLASS) * np.maximum(rig.ambient[0] + 0.5 * rig.ambient[3], 0)
    behind = behind * passed + sky.astype(np.float32)
    below = shaded.rgb + opening[..., None] * (behind - shaded.rgb)
    rgb = frames[..., :3] + (1 - frames[..., 3:]) * below
    return Wearing(
        np.asarray(rgb, np.float32),
        frames,
        np.asarray(opening * (1 - frames[..., 3]), np.float32),
        np.asarray(shade, np.float32),
        field,
    )


def transmission(glasses: Glasses, down: Floats) -> Floats:
    """[H, W, 3] what a tinted lens passes; `down` 0 at its top to 1 at its bottom. The same
    formula as `nets.guided_vector.tint_transmission`."""
    here = 1 - glasses.tint_gradient * down
    grey = np.power(10.0, -glasses.tint_density * here)
    color = [1 + here * (c - 1) for c in glasses.tint_color]
    return np.asarray(np.stack([grey * c for c in color], -1), np.float32)


def looked_up(picture: Floats, displacement: Floats) -> Floats:
    """`picture` [H, W, C] at p + d(p), bicubic but nowhere beyond its neighbours' range of light;
    the edge repeats."""
    height, width = displacement.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    at_x, at_y = x + displacement[..., 0], y + displacement[..., 1]
    found = cv2.remap(picture, at_x, at_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.maximum(np.asarray(found, np.float32), min(0.0, float(picture.min())))


def _rays(camera: Camera) -> Array:
    """[N, 3] directions through the pixels of the window, y (away from the camera) 1."""
    window = camera.window
    y, x = np.mgrid[window.y : window.bottom, window.x : window.right] + 0.5
    right = (x - camera.centre_px[0]) * camera.pixel_aspect / camera.focal_px
    up = (camera.centre_px[1] - y) / camera.focal_px
    return np.stack([right, np.ones_like(right), up], -1).reshape(-1, 3)


def _on_plane(eye: Array, rays: Array, point: Array, normal: Array) -> Array:
    way = (point - eye) @ normal / (rays @ normal)
    return np.asarray(eye + way[:, None] * rays)


class _HeadMesh:
    """A posed head that rays can be sent to: skin, eyes, teeth and tongue."""

    def __init__(self, posed: Posed, at: Seat) -> None:
        import warp as wp

        self._wp, self._at, self._device = wp, at, warp_device("cpu")
        points = posed.points[topology().source[: topology().base_count]]
        self._mesh = wp.Mesh(
            wp.array(points, dtype=wp.vec3, device=self._device),
            wp.array(_solid().reshape(-1), dtype=int, device=self._device),
        )

    def distances(self, origins: Array, toward: Array, furthest_m: float) -> Array:
        """[N] metres to the first hit, below 0 where there is none."""
        from vfxswap.synth import lens_kernels

        wp, device = self._wp, self._device
        unit = toward / np.linalg.norm(toward, axis=1, keepdims=True)
        way = wp.empty(len(origins), dtype=float, device=device)
        wp.launch(
            lens_kernels.distances,
            len(origins),
            [self._mesh.id, _put(wp, origins, device), _put(wp, unit, device), furthest_m],
            [way],
            device=device,
        )
        return np.asarray(way.numpy(), np.float64)

    def met(self, origins: Array, toward: Array) -> Array:
        """[N, 3] where rays of unit length meet the head; else the wall behind it."""
        found = self.distances(origins, toward, 0.4)
        wall = self._at.origin + WALL_M * self._at.axes[2]
        deep = self._at.axes[2]
        missed = (wall - origins) @ deep / np.maximum(toward @ deep, 1e-3)
        # The far side of the head, seen past its edge, counts as wall as well.
        found = np.where((found < 0) | (found > missed), missed, found)
        return np.asarray(origins + found[:, None] * toward)


def _put(wp: Any, values: Array, device: str) -> Any:
    return wp.array(np.ascontiguousarray(values, np.float32), dtype=wp.vec3, device=device)


@lru_cache(maxsize=1)
def _solid() -> Ints:
    """Triangles that end a ray: not lashes, not hair."""
    mesh = topology()
    inside = (mesh.triangles < mesh.base_count).all(1)
    solid: Ints = mesh.triangles[
        (mesh.part <= TONGUE) & (mesh.part != LASHES) & (mesh.part >= SKIN) & inside
    ]
    return solid


def _openings(glasses: Glasses, at: Seat, camera: Camera) -> Floats:
    """[H, W] share of each pixel inside a lens' outline, antialiased."""
    fine, window = 4, camera.window
    mask = np.zeros((window.height * fine, window.width * fine), np.uint8)
    for side in (RIGHT, LEFT):
        inner = rim_outline(glasses.shape, side, scale=glasses.scale, grown_mm=0.3)
        seen = camera.project(at.placed(inner))[:, :2] - [window.x, window.y]
        cv2.fillPoly(mask, [np.rint(seen * fine - 0.5).astype(np.int32)], 255)
    size = (window.width, window.height)
    share = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(share / 255, np.float32)


def _in_front(glasses: Glasses, at: Seat, camera: Camera, plain: Truth) -> Floats:
    """[H, W] 1 where the lens plane is before what the picture shows (a turned head's nose or hair
    may hide the far lens)."""
    plane = _on_plane(
        np.asarray(camera.position), _rays(camera), at.lens_centre(0, 0.0), at.axes[2]
    )
    near = camera.project(plane)[:, 2].reshape(plain.depth.shape)
    return np.asarray(near < plain.depth + 0.001, np.float32)
