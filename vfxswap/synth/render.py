"""Renders one performer to scene-linear pixels with exact truth, by Warp on CPU or CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from vfxswap.errors import JobError
from vfxswap.synth.camera import Camera
from vfxswap.synth.head import SKIN, Floats, Ints, head_asset
from vfxswap.synth.identity import Identity
from vfxswap.synth.light import LightRig
from vfxswap.synth.mesh import Posed, hair_cover, pose, skirt, topology
from vfxswap.synth.performance import Array, State

MATTES = ("skin", "brows", "eyes", "lips", "mouth", "hair", "ears", "body", "glasses")
"""Parts that `Truth.mattes` holds; they add up to alpha."""

GLASSES = 8
"""Part of what is worn, as in `kernels`."""
OCCLUSION_DIRECTIONS = 8
OCCLUSION_SIZE = 80
SHADOW_SIZE = 224
EXTENT_M = 0.42
LANDMARK_BEHIND_M = 0.006
"""A landmark that lies deeper than this behind the surface in front of it is hidden."""


@dataclass(frozen=True, eq=False)
class Truth:
    """A picture and all that is known of it; arrays cover the camera's `window`.

    `rgb` [H, W, 3] float32 scene-linear, Rec.709 primaries ("Linear Rec.709 (sRGB)"), not clamped
    and, with a background, composed over it; `alpha` [H, W]; `depth` [H, W] metres from the
    camera plane, inf outside; `mattes` [H, W] by `MATTES` (and "occluder" where one is drawn),
    in 0…1, adding up to alpha; `face_matte` the face region that a swap replaces.
    `landmarks` [70, 2] plate pixels, centres at +0.5; `visible` [70] says which are in sight.
    """

    rgb: Floats
    alpha: Floats
    depth: Floats
    mattes: dict[str, Floats]
    face_matte: Floats
    landmarks: Array
    visible: np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Worn:
    """A mesh that a performer wears, in metres of the scene: it is drawn (where `seen`), shaded as
    part "glasses" in the colour `albedo` [3], and casts shade. `normals` [N, 3] have unit length.
    """

    points: Floats
    normals: Floats
    triangles: Ints
    albedo: Array
    seen: bool = True


@lru_cache(maxsize=1)
def _warp() -> Any:
    try:
        import warp
    except ImportError as missing:
        raise JobError(
            "synthetic performers need the extra: pip install 'vfxswap[synth]'"
        ) from missing
    warp.config.log_level = max(warp.config.log_level, 40)  # Errors: no CUDA driver is none.
    warp.init()
    return warp


@lru_cache(maxsize=8)
def warp_device(name: str) -> str:
    """Warp's name of a device: "auto" takes CUDA where there is one. Raises JobError."""
    wp = _warp()
    if name == "auto":
        return "cuda:0" if wp.is_cuda_available() else "cpu"
    try:
        return str(wp.get_device(name).alias)
    except (RuntimeError, ValueError) as unknown:
        there = ", ".join(str(d.alias) for d in wp.get_devices())
        raise JobError("no such device to render on", got=name, wanted=there) from unknown


@lru_cache(maxsize=4)
def _static(device: str) -> dict[str, Any]:
    """The mesh that never changes, on the device."""
    wp, mesh, hem = _warp(), topology(), skirt()
    count = len(hem.source)
    hem_rest = head_asset().template[hem.source] - hem.drop_m[:, None] * [0.0, 0.0, 1.0]
    none = np.zeros(count, np.float32)

    def put(values: np.ndarray[Any, Any], dtype: Any) -> Any:
        return wp.array(np.ascontiguousarray(values), dtype=dtype, device=device)

    directions = _sphere(OCCLUSION_DIRECTIONS)
    axes = np.stack([_axes(d, OCCLUSION_SIZE) for d in directions])
    return {
        "source": np.concatenate([mesh.source, hem.source]),
        "drop": np.concatenate([np.zeros(len(mesh.source), np.float32), hem.drop_m]),
        "count": len(mesh.triangles) + len(hem.triangles),
        "triangles": put(np.concatenate([mesh.triangles, hem.triangles + len(mesh.rest)]), int),
        "part": put(np.concatenate([mesh.part, np.full(len(hem.triangles), SKIN)]), int),
        "uv": put(np.concatenate([mesh.uv, np.full((count, 2), -1.0)]), wp.vec2),
        "rest": put(np.concatenate([mesh.rest, hem_rest]), wp.vec3),
        "face": put(np.concatenate([mesh.face, none]), float),
        "layer": put(np.concatenate([mesh.layer, none]), float),
        "smooth": put(mesh.smooth_triangles, int),
        "starts": put(mesh.ring_starts, int),
        "ring": put(mesh.ring, int),
        "directions": put(directions.astype(np.float32), wp.vec3),
        "axes": put(axes.astype(np.float32), wp.mat33),
    }


def _sphere(count: int) -> Array:
    """Directions spread over the sphere's front and top, where light on a face comes from."""
    k = np.arange(count)
    z = 1 - 1.75 * (k + 0.5) / count
    turn = k * np.pi * (3 - np.sqrt(5.0))
    flat = np.sqrt(np.maximum(0, 1 - z * z))
    d = np.stack([np.cos(turn) * flat, np.sin(turn) * flat, z], 1)
    d[:, 1] = np.where(d[:, 1] > 0.6, -d[:, 1], d[:, 1])
    return np.asarray(d)


def _axes(toward: Array, size: int) -> Array:
    """[3, 3] orthographic axes of a depth map: pixels, pixels, metres toward the light."""
    z = toward / np.linalg.norm(toward)
    x = np.cross([0.0, 0.0, 1.0] if abs(z[2]) < 0.99 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    scale = size / EXTENT_M
    return np.stack([x * scale, np.cross(z, x) * scale, z])


def render(
    identity: Identity,
    state: State,
    camera: Camera,
    rig: LightRig,
    *,
    samples: int = 2,
    background: Floats | None = None,
    worn: Worn | None = None,
    device: str = "cpu",
) -> Truth:
    """One frame over the camera's window.

    `device` is "cpu", "cuda", "cuda:1" …, or "auto" (CUDA where there is one). `samples` is the
    side of the grid of samples in a pixel; `background` [H, W, 3] scene-linear
    goes behind (black otherwise); `worn` is put on. The same arguments give the same bits on
    one device.

    Raises JobError when the extra is missing or the device is not there.
    """
    wp, device = _warp(), warp_device(device)
    from vfxswap.synth import kernels as k
    from vfxswap.synth import lighting, shading

    static = _static(device)
    posed = pose(identity, state)
    drawn = _drawn(identity, device)

    def put(values: np.ndarray[Any, Any], dtype: Any) -> Any:
        host = np.ascontiguousarray(values, np.int32 if dtype is int else np.float32)
        return wp.array(host, dtype=dtype, device=device)

    base_points = put(posed.points, wp.vec3)
    base_normals = wp.empty(len(posed.points), dtype=wp.vec3, device=device)
    wp.launch(
        k.vertex_normals,
        len(posed.points),
        [static["starts"], static["ring"], static["smooth"], base_points],
        [base_normals],
        device=device,
    )
    normals_host = base_normals.numpy()[static["source"]]
    points_host = posed.points[static["source"]] + normals_host * drawn["lift"][:, None]
    points_host[:, 2] -= static["drop"]
    if worn is not None:
        static = _with(static, worn, put)
        drawn = {**drawn, "cover": _joined(drawn["cover"], np.ones(len(worn.points)), put, float)}
        points_host = np.concatenate([points_host, worn.points])
        normals_host = np.concatenate([normals_host, worn.normals])
    points, normals = put(points_host, wp.vec3), put(normals_host, wp.vec3)
    window = camera.window
    screen = camera.project(points_host)
    screen[:, 0] = (screen[:, 0] - window.x) * samples
    screen[:, 1] = (screen[:, 1] - window.y) * samples
    near = screen[:, 2] > 0.05
    screen[:, 2] = np.where(near, 1.0 / np.where(near, screen[:, 2], 1.0), -1.0)
    screen_device = put(screen, wp.vec3)
    keys = wp.zeros(
        (window.height * samples, window.width * samples),
        dtype=wp.uint64,
        device=device,
    )
    wp.launch(
        k.visibility,
        static["count"],
        [static["triangles"], static["part"], screen_device, static["rest"], drawn["cover"],
         static["layer"], identity.hair.fine],
        [keys],
        device=device,
    )  # fmt: skip
    middle = posed.landmarks[27:36].mean(0) + np.array([0.0, 0.06, 0.0])
    openness, shadow, scene = _light(
        wp,
        k,
        lighting.Scene(),
        identity,
        posed,
        rig,
        camera,
        middle,
        static,
        drawn,
        points,
        normals,
        device,
    )
    if worn is not None:
        scene.glasses = wp.vec3(*worn.albedo)
    shape = (window.height, window.width)
    rgb = wp.empty(shape, dtype=wp.vec3, device=device)
    depth = wp.empty(shape, dtype=float, device=device)
    mattes = wp.empty((*shape, 10), dtype=float, device=device)
    wp.launch(
        shading.shade,
        shape,
        [keys, samples, static["triangles"], static["part"], screen_device, points, normals,
         openness, static["uv"], static["rest"], static["face"], static["layer"],
         drawn["texture"], put(rig.ambient, wp.vec3), shadow, scene],
        [rgb, mattes, depth],
        device=device,
    )  # fmt: skip
    return _truth(rgb.numpy(), mattes.numpy(), depth.numpy(), posed, camera, background)


def _joined(first: Any, second: np.ndarray[Any, Any], put: Any, dtype: Any) -> Any:
    """A device array with rows of the host's behind it."""
    return put(np.concatenate([first.numpy(), second]), dtype)


def _with(static: dict[str, Any], worn: Worn, put: Any) -> dict[str, Any]:
    """The mesh with what is worn behind it."""
    wp = _warp()
    count, triangles = len(worn.points), worn.triangles + static["rest"].shape[0]
    none = np.zeros(count, np.float32)
    both = dict(static)
    both["worn"] = put(triangles, int)
    both["worn_part"] = put(np.full(len(triangles), GLASSES), int)
    if worn.seen:
        both["triangles"] = put(np.concatenate([static["triangles"].numpy(), triangles]), int)
        both["part"] = _joined(static["part"], np.full(len(triangles), GLASSES), put, int)
        both["count"] = static["count"] + len(triangles)
    both["uv"] = _joined(static["uv"], np.full((count, 2), -1.0), put, wp.vec2)
    both["rest"] = _joined(static["rest"], np.zeros((count, 3)), put, wp.vec3)
    both["face"] = _joined(static["face"], none, put, float)
    both["layer"] = _joined(static["layer"], none, put, float)
    return both


def _drawn(identity: Identity, device: str) -> dict[str, Any]:
    """What stays of a performer from frame to frame, on the device."""
    if device not in identity.cache:
        wp = _warp()
        hem = np.zeros(len(skirt().source), np.float32)
        cover, lift = (np.concatenate([x, hem]) for x in hair_cover(identity))
        identity.cache[device] = {
            "cover": wp.array(cover, dtype=float, device=device),
            "texture": wp.array(identity.texture, dtype=float, device=device),
            "lift": lift,
        }
    kept: dict[str, Any] = identity.cache[device]
    return kept


def _light(
    wp: Any,
    k: Any,
    scene: Any,
    identity: Identity,
    posed: Posed,
    rig: LightRig,
    camera: Camera,
    middle: Array,
    static: dict[str, Any],
    drawn: dict[str, Any],
    points: Any,
    normals: Any,
    device: str,
) -> tuple[Any, Any, Any]:
    """Ambient occlusion per vertex, the key's shadow map and the shader's constants."""
    # The skirt, last among the triangles, casts no shade: it stands for what is out of sight.
    count = len(topology().triangles)

    def depth_maps(axes: Any, number: int, size: int) -> tuple[Any, Any]:
        # One shift for all maps: each axes' own would differ, so points are centred first.
        depth = wp.full((number, size, size), -1e9, dtype=float, device=device)
        shift = wp.vec3(size / 2, size / 2, 0.0)
        wp.launch(
            k.depth_maps,
            (number, count),
            [static["triangles"], static["part"], drawn["cover"], static["layer"], points, axes,
             wp.vec3(*middle), shift],
            [depth],
            device=device,
        )  # fmt: skip
        if "worn" in static:
            wp.launch(
                k.depth_maps,
                (number, len(static["worn"])),
                [static["worn"], static["worn_part"], drawn["cover"], static["layer"], points,
                 axes, wp.vec3(*middle), shift],
                [depth],
                device=device,
            )  # fmt: skip
        return depth, shift

    maps, shift = depth_maps(static["axes"], OCCLUSION_DIRECTIONS, OCCLUSION_SIZE)
    openness = wp.empty(len(points), dtype=float, device=device)
    wp.launch(
        k.ambient_occlusion,
        len(points),
        [
            points,
            normals,
            static["axes"],
            static["directions"],
            wp.vec3(*middle),
            shift,
            maps,
        ],
        [openness],
        device=device,
    )
    key_axes = _axes(rig.key_direction, SHADOW_SIZE).astype(np.float32)
    shadow, shift = depth_maps(
        wp.array(key_axes[None], dtype=wp.mat33, device=device), 1, SHADOW_SIZE
    )
    scene.camera = wp.vec3(*camera.position)
    scene.key, scene.fill = wp.vec3(*rig.key_direction), wp.vec3(*rig.fill_direction)
    scene.key_color, scene.fill_color = (
        wp.vec3(*rig.key_color),
        wp.vec3(*rig.fill_color),
    )
    scene.eye_left, scene.eye_right = (wp.vec3(*c) for c in posed.eye_centres)
    scene.gaze_left, scene.gaze_right = (wp.vec3(*g) for g in posed.gazes)
    scene.iris, scene.hair = wp.vec3(*identity.iris), wp.vec3(*identity.look.hair)
    scene.cloth, scene.skin = wp.vec3(*identity.cloth), wp.vec3(*identity.skin)
    scene.glasses = wp.vec3(0.02, 0.02, 0.02)
    scene.head = wp.mat33(*posed.rotation.reshape(-1))
    scene.shadow = wp.mat33(*key_axes.reshape(-1))
    moved = key_axes.astype(np.float64) @ middle
    scene.shadow_shift = wp.vec3(SHADOW_SIZE / 2 - moved[0], SHADOW_SIZE / 2 - moved[1], -moved[2])
    if rig.key_position is not None and rig.key_aim is not None:
        scene.key_at = wp.vec3(*rig.key_position)
        scene.key_far = float(np.linalg.norm(rig.key_position - rig.key_aim))
    scene.shadow_soft = max(0.7, rig.softness_m * SHADOW_SIZE / EXTENT_M)
    scene.pupil, scene.sclera = identity.pupil_rad, identity.sclera
    scene.specular, scene.gloss, scene.bump = identity.specular, identity.gloss, 1.0
    scene.hair_fine, scene.hair_specular = identity.hair.fine, identity.hair.specular
    scene.wet = 0.5 * rig.glint
    return openness, shadow, scene


def _truth(
    rgb: Floats,
    parts: Floats,
    inverse_depth: Floats,
    posed: Posed,
    camera: Camera,
    background: Floats | None,
) -> Truth:
    mattes = {name: parts[..., i].copy() for i, name in enumerate(MATTES)}
    alpha = np.minimum(sum(mattes.values()), np.float32(1.0))
    with np.errstate(divide="ignore"):
        depth = np.where(inverse_depth > 0, 1.0 / inverse_depth, np.inf).astype(np.float32)
    if background is not None:
        rgb = rgb + background * (1 - alpha)[..., None]
    projected = camera.project(posed.landmarks)
    window = camera.window
    column = np.floor(projected[:, 0]).astype(int) - window.x
    row = np.floor(projected[:, 1]).astype(int) - window.y
    inside = (column >= 0) & (row >= 0) & (column < window.width) & (row < window.height)
    front = np.full(len(projected), -np.inf)
    front[inside] = depth[row[inside], column[inside]]
    visible = inside & (projected[:, 2] < front + LANDMARK_BEHIND_M)
    return Truth(
        rgb=np.asarray(rgb, np.float32),
        alpha=alpha,
        depth=depth,
        mattes=mattes,
        face_matte=np.minimum(parts[..., 9], 1.0).astype(np.float32),
        landmarks=projected[:, :2],
        visible=visible,
    )
