"""A performer as a folder for `cycles_scene.py`: JSON and npz, meshes, pictures, camera, light."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfxswap.synth.camera import Camera
from vfxswap.synth.clothes import (
    brow_offsets,
    chosen_assets,
    mean_brightness,
    read_clothes,
    whole_base,
)
from vfxswap.synth.cycles_truth import matte, skin_mattes
from vfxswap.synth.eyeball import (
    RINGS,
    SEGMENTS,
    eye_axes,
    eye_map,
    eye_picture,
    eyeball,
    eyeball_faces,
)
from vfxswap.synth.head import (
    EYE_LEFT,
    EYE_RIGHT,
    HAIR,
    LASHES,
    SHELL,
    SKIN,
    TEETH,
    TONGUE,
    Floats,
    Ints,
    head_asset,
)
from vfxswap.synth.identity import Identity
from vfxswap.synth.light import LightRig
from vfxswap.synth.mesh import Posed, hair_cover, pose, skirt, topology
from vfxswap.synth.paint import paint_skin, smoothstep
from vfxswap.synth.performance import State

Array = NDArray[np.float64]
DOWN = np.array([0.0, 0.0, 1.0], np.float32)
PENUMBRA_M = 0.03
"""How far what casts a shadow on a face usually is from where it falls."""


@dataclass(frozen=True, eq=False)
class Moment:
    """One picture to be taken; `background` [H, W, 3] covers the camera's window."""

    state: State
    camera: Camera
    rig: LightRig
    background: Floats | None = None


@dataclass(eq=False)
class Scene:
    """What goes into the folder: surfaces and things as JSON, arrays as npz."""

    surfaces: dict[str, dict[str, Any]] = field(default_factory=dict)
    things: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        count: int,
        faces: Ints,
        uv: Floats,
        surfaces: dict[str, dict[str, Any]],
        **attributes: NDArray[Any],
    ) -> None:
        """A mesh of `count` vertices, `faces` [F, 3] and `uv` [F, 3, 2] (v upwards)."""
        self.surfaces.update(surfaces)
        self.things.append({"name": name, "vertices": count, "surfaces": list(surfaces)})
        self.arrays.update({f"{name}.faces": faces, f"{name}.uv": uv})
        self.arrays.update({f"{name}.{key}": values for key, values in attributes.items()})


def export(
    folder: Path,
    identity: Identity,
    moments: Sequence[Moment],
    *,
    samples: int,
    truth_samples: int,
    denoise: bool,
    threads: int,
    seed: int,
    assets: Path | None = None,
    hair: str = "",
) -> None:
    """Writes `scene.json`, `shared.npz` and a `NAME.npz` for each moment into `folder`.

    Raises JobError for assets that are not there or are malformed.
    """
    worn = chosen_assets(assets, identity, hair=hair) if assets else {}
    dressed = _Dressed(identity, worn, eye_picture(assets, identity) if assets else None)
    scene = dressed.scene()
    frames = []
    for number, moment in enumerate(moments):
        name = f"{number:04d}"
        _save(folder / f"{name}.npz", dressed.placed(moment))
        frames.append({"name": name, **_frame(moment)})
    _save(folder / "shared.npz", scene.arrays)
    description = {
        "samples": samples,
        "truth_samples": truth_samples,
        "denoise": denoise,
        "threads": threads,
        "seed": seed,
        "surfaces": scene.surfaces,
        "things": scene.things,
        "frames": frames,
    }
    (folder / "scene.json").write_text(json.dumps(description), encoding="utf-8")


def _save(file: Path, arrays: dict[str, Any]) -> None:
    with file.open("wb") as stream:
        np.savez(stream, **arrays)


def _frame(moment: Moment) -> dict[str, Any]:
    camera, rig = moment.camera, moment.rig
    window = camera.window
    angle = 2 * np.arctan(rig.softness_m / PENUMBRA_M)
    return {
        "width": window.width,
        "height": window.height,
        "pixel_aspect": camera.pixel_aspect,
        "focal_px": camera.focal_px,
        "centre_px": [camera.centre_px[0] - window.x, camera.centre_px[1] - window.y],
        "position": camera.position.tolist(),
        "head": moment.state.rotation.tolist(),
        "suns": [
            {
                "direction": rig.key_direction.tolist(),
                "color": rig.key_color.tolist(),
                "angle": float(angle),
            },
            {
                "direction": rig.fill_direction.tolist(),
                "color": rig.fill_color.tolist(),
                "angle": 0.6,
            },
        ],
    }


def environment(ambient: Array, *, rows: int = 64) -> Floats:
    """[rows, 2 rows, 3] radiance from every direction (equirectangular, up at the top) that lights
    a matte surface as the nine terms do.

    A surface blurs light by 1, 2/3, 1/4 in the three bands (Ramamoorthi and Hanrahan 2001), so
    radiance has the terms times 1, 3/2, 4; what would be below 0 is 0.
    """
    row, column = np.mgrid[0:rows, 0 : 2 * rows] + 0.5
    up, turn = (0.5 - row / rows) * np.pi, (0.5 - column / (2 * rows)) * 2 * np.pi
    x, y, z = np.cos(turn) * np.cos(up), np.sin(turn) * np.cos(up), np.sin(up)
    basis = np.stack(
        [np.ones_like(x), 1.5 * x, 1.5 * y, 1.5 * z, 4 * x * y, 4 * y * z, 4 * (3 * z * z - 1),
         4 * x * z, 4 * (x * x - y * y)], -1,
    )  # fmt: skip
    return np.maximum(basis @ ambient, 0.0).astype(np.float32)


class _Dressed:
    """One performer with what it wears: the parts of the scene that stay, and their positions."""

    def __init__(self, identity: Identity, worn: dict[str, Path], eyes: Path | None) -> None:
        self.identity, self.eyes = identity, eyes
        self.clothes = {kind: read_clothes(file) for kind, file in worn.items()}
        asset, mesh = head_asset(), topology()
        self.cover, self.lift = hair_cover(identity)
        skin = asset.part == SKIN
        used = np.unique(asset.seam_vertex[asset.triangles[skin]])
        number = np.zeros(len(asset.template), np.int32)
        number[used] = np.arange(len(used))
        self.skin, self.skin_number = used, number
        self.cut: dict[str, NDArray[np.int64]] = {}
        parts = [("shell", SHELL, "hair"), ("hanging", HAIR, "hair")]
        parts += [("lashes", LASHES, "eyelashes"), ("teeth", TEETH, "teeth")]
        for name, part, kind in [*parts, ("tongue", TONGUE, "tongue")]:
            chosen = np.unique(mesh.triangles[mesh.part == part])
            if kind not in self.clothes and (self.cover[chosen] > 0).any():
                self.cut[name] = chosen.astype(np.int64)

    def scene(self) -> Scene:
        """Surfaces, meshes and pictures."""
        scene, identity = Scene(), self.identity
        self._add_skin(scene)
        for name in ("eye_left", "eye_right"):
            faces, uv = eyeball_faces()
            look = {"kind": "eye", "picture": "picture.eye", "mattes": matte("eyes", face=1.0)}
            scene.add(name, RINGS * SEGMENTS, faces, uv, {"eye": look})
        scene.arrays["picture.eye"] = eye_map(identity, self.eyes)
        mesh = topology()
        codes = {"shell": SHELL, "hanging": HAIR, "lashes": LASHES, "teeth": TEETH}
        for name, chosen in self.cut.items():
            triangles = mesh.triangles[mesh.part == codes.get(name, TONGUE)]
            faces = np.searchsorted(chosen, triangles).astype(np.int32)
            scene.add(
                name, len(chosen), faces, _upward(mesh.uv[triangles]), {name: self._look(name)},
                rest=mesh.rest[chosen], cover=self.cover[chosen], layer=mesh.layer[chosen],
            )  # fmt: skip
        for kind, clothes in self.clothes.items():
            look = self._worn_look(kind)
            scene.add(kind, len(clothes.anchors), clothes.faces, clothes.uv, {kind: look})
        return scene

    def _add_skin(self, scene: Scene) -> None:
        asset, identity = head_asset(), self.identity
        texture = identity.texture
        if "eyebrows" in self.clothes:
            # The same draws with no brows: everything else of the skin stays as it was.
            texture = paint_skin(
                np.random.default_rng([10, identity.seed]),
                replace(identity.look, brow_density=0.0),
                texture.shape[0],
            )
        triangles = asset.triangles[asset.part == SKIN]
        uv = asset.uv[triangles]
        body = (uv < 0).any((1, 2))
        gloss = identity.gloss
        common = {
            # GGX roughness of the Blinn-Phong exponent (Walter and others 2007).
            "roughness": float((2 / (gloss + 2)) ** 0.25),
            "subsurface": 0.8,
            "subsurface_m": 0.0035,
        }
        skin = {"kind": "skin", "specular": identity.specular / 0.3 * 0.5, "mattes": []}
        plain = {"kind": "body", "skin": identity.skin.tolist(), "cloth": identity.cloth.tolist(),
                 "mattes": matte("body", face=0.0)}  # fmt: skip
        scene.add(
            "skin", len(self.skin), self.skin_number[asset.seam_vertex[triangles]], _upward(uv),
            {"skin": {**skin, **common}, "body": {**plain, **common}},
            surface=body.astype(np.int32), rest=asset.template[self.skin],
            face=self._face(),
        )  # fmt: skip
        hem = skirt()
        rest = asset.template[hem.source] - hem.drop_m[:, None] * DOWN
        scene.add(
            "skirt", len(rest), hem.triangles, np.zeros((*hem.triangles.shape, 2), np.float32),
            {"body": {**plain, **common}}, rest=rest, face=np.zeros(len(rest), np.float32),
        )  # fmt: skip
        scene.arrays["picture.albedo"] = texture[..., 0:3]
        scene.arrays["picture.shine"] = texture[..., 3:6]
        scene.arrays["picture.slope"] = texture[..., 6:9]
        parts = skin_mattes(texture)
        for k in range(parts.shape[2] // 3):
            scene.arrays[f"picture.mattes{k}"] = parts[..., 3 * k : 3 * k + 3]

    def _face(self) -> Floats:
        """The face region at the skin's vertices."""
        mesh = topology()
        of_asset = np.zeros(len(head_asset().template), np.float32)
        np.maximum.at(of_asset, mesh.source[: mesh.base_count], mesh.face[: mesh.base_count])
        return np.asarray(of_asset[self.skin], np.float32)

    def _look(self, name: str) -> dict[str, Any]:
        """Surface of a part of anny's own geometry."""
        identity = self.identity
        if name == "teeth":
            enamel = [0.78, 0.73, 0.62]
            return {"kind": "plain", "color": enamel, "roughness": 0.25, "wet": 0.6,
                    "mattes": matte("mouth", face=1.0)}  # fmt: skip
        if name == "tongue":
            return {"kind": "plain", "color": [0.4, 0.13, 0.12], "roughness": 0.45, "wet": 0.4,
                    "mattes": matte("mouth", face=1.0)}  # fmt: skip
        lashes = name == "lashes"
        color = identity.look.hair * 0.3 + identity.skin * 0.04 if lashes else identity.look.hair
        return {
            "kind": "strands",
            "lashes": lashes,
            "shell": name == "shell",
            "fine": identity.hair.fine,
            "color": np.asarray(color, np.float64).tolist(),
            "specular": 0.1 if lashes else identity.hair.specular,
            "mattes": matte("eyes", face=1.0) if lashes else matte("hair", face=0.0),
        }

    def _worn_look(self, kind: str) -> dict[str, Any]:
        """Surface of an asset."""
        picture = self.clothes[kind].picture
        hair = np.asarray(self.identity.look.hair, np.float64)
        common = {"picture": str(picture.resolve())}
        if kind in ("teeth", "tongue"):
            gain = (0.4 if kind == "teeth" else 0.2) / mean_brightness(picture)
            return {**common, "kind": "plain", "gain": min(gain, 1.0), "roughness": 0.3,
                    "wet": 0.4, "color": [1, 1, 1], "mattes": matte("mouth", face=1.0)}  # fmt: skip
        named = {"hair": ("hair", 0.0), "eyebrows": ("brows", 1.0), "eyelashes": ("eyes", 1.0)}
        share = {"hair": 1.0, "eyebrows": 0.5, "eyelashes": 0.25}[kind]
        part, face = named[kind]
        return {
            **common,
            "kind": "cards",
            "color": (hair * share).tolist(),
            # Brows and lashes are drawn in black: their alpha is the picture.
            "gain": 1.0 / mean_brightness(picture) if kind == "hair" else 0.0,
            "roughness": 0.5 if kind == "hair" else 0.6,
            "specular": 0.2 if kind == "hair" else 0.1,
            "mattes": matte(part, face=face),
        }

    def placed(self, moment: Moment) -> dict[str, NDArray[Any]]:
        """Positions of everything at one moment, the light around and the landmarks."""
        posed = pose(self.identity, moment.state)
        mesh, hem = topology(), skirt()
        out: dict[str, NDArray[Any]] = {
            "environment": environment(moment.rig.ambient),
            "landmarks": posed.landmarks,
            "skin.points": posed.points[self.skin],
            "skirt.points": posed.points[hem.source] - hem.drop_m[:, None] * DOWN,
        }
        for name, centre, gaze, part in (
            ("eye_left", posed.eye_centres[0], posed.gazes[0], EYE_LEFT),
            ("eye_right", posed.eye_centres[1], posed.gazes[1], EYE_RIGHT),
        ):
            vertices = head_asset().eyes[0 if part == EYE_LEFT else 1]
            radius = float(np.linalg.norm(posed.points[vertices] - centre, axis=1).max())
            points, iris, coat = eyeball(radius, eye_axes(gaze, posed.rotation))
            out[f"{name}.points"] = points + centre
            out[f"{name}.iris_normal"], out[f"{name}.coat_normal"] = iris, coat
        lifted = posed.points + 0.0
        normals = _normals(posed.points)
        for name, chosen in self.cut.items():
            source = mesh.source[chosen]
            out[f"{name}.points"] = lifted[source] + normals[source] * self.lift[chosen][:, None]
        if self.clothes:
            out |= self._fitted(moment.state, posed)
        return out

    @cached_property
    def brow_shift(self) -> Floats:
        """Moves brows that are worn onto the landmarks."""
        asset, rest = head_asset(), self.identity.vertices
        points = self.clothes["eyebrows"].fit(whole_base(rest, asset.template))
        marks = rest[asset.landmarks[17:27]].astype(np.float64)
        return brow_offsets(points, rest[self.skin], marks)

    def _fitted(self, state: State, posed: Posed) -> dict[str, NDArray[Any]]:
        """Assets, fitted to the acting head in its own axes and then moved with it."""
        acting = State(state.actions, state.gaze_yaw, state.gaze_pitch)
        local = pose(self.identity, acting)
        base = whole_base(local.points, head_asset().template)
        head = posed.rotation
        shift = posed.eye_centres[0] - head @ local.eye_centres[0]
        still = int(topology().head_weight.argmin())
        stand = posed.points[still] - local.points[still]
        out: dict[str, NDArray[Any]] = {}
        for kind, clothes in self.clothes.items():
            points = clothes.fit(base).astype(np.float64)
            if kind == "eyebrows":
                points += self.brow_shift
            high = points[:, 2] - 0.35 * (points[:, 1] + 0.03)
            weight = smoothstep(high.astype(np.float32), 0.54, 0.635)[:, None]
            if kind != "hair":
                weight = np.ones_like(weight)
            out[f"{kind}.points"] = weight * (points @ head.T + shift) + (1 - weight) * (
                points + stand
            )
        return out


def _upward(uv: Floats) -> Floats:
    return np.stack([uv[..., 0], 1.0 - uv[..., 1]], -1).astype(np.float32)


def _normals(points: Floats) -> Array:
    """Area-weighted normals of the asset's vertices."""
    triangles = topology().smooth_triangles
    a, b, c = (points[triangles[:, k]].astype(np.float64) for k in range(3))
    face = np.cross(b - a, c - a)
    total = np.zeros((len(points), 3))
    for k in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(triangles[:, k], face[:, axis], len(points))
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))
