"""Rendered whole bodies as crops for a feature network: the same method on another object.

Bodies are anny's parametric ones (adults alone), posed at random, in shirts, trousers and shoes
of plain colours. They are drawn by painting triangles from back to front, which is enough at the
64 pixels that the recipe trains at.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vfxswap.color import to_net
from vfxswap.errors import JobError
from vfxswap.settings import Settings
from vfxswap.synth.background import random_background
from vfxswap.synth.features_pictures import Crop
from vfxswap.synth.features_shards import Order, missing, render_missing
from vfxswap.synth.light import LightRig, random_rig
from vfxswap.synth.paint import SKIN_TONES
from vfxswap.train.features_data import shard_file, write_description, write_shard

Floats = NDArray[np.float32]

PARTS = ("background", "head", "torso", "arms", "legs", "feet")
"""Names by label."""
_BONES = (
    (1, ("neck", "head", "jaw", "special", "oris", "tongue", "levator", "eye", "orbicularis",
         "temporalis", "oculi", "risorius")),
    (3, ("upperarm", "lowerarm", "wrist", "finger", "metacarpal")),
    (4, ("upperleg", "lowerleg")),
    (5, ("foot", "toe")),
)  # fmt: skip
"""Label by the beginnings of bones' names; all other bones are the torso's."""
_BARE = ("lowerarm", "wrist", "finger", "metacarpal")
"""Bones whose skin sleeves leave bare."""
_BENDS = {
    "upperarm01": 0.45, "lowerarm01": 0.4, "upperleg01": 0.2, "lowerleg01": 0.15, "spine03": 0.1,
    "neck02": 0.15,
}  # fmt: skip
"""Standard deviations of the bones' turns, in radians."""
_ADULT_AGE = (0.65, 1.0)
_STATURE_SHARE = 0.88
"""Height of the body at rest, in crop sides."""
_SAMPLES = 4


class BodyPictures(Settings):
    """Which bodies are rendered."""

    seed: int = Field(default=801, ge=0, description="Seed of performers, poses, light.")
    shards: int = Field(default=5, ge=1, description="Files of crops.")
    crops_per_shard: int = Field(default=200, ge=1, description="Crops in a file.")
    crops_each: int = Field(default=4, ge=1, description="Crops of a performer, one after another.")
    crop_size: int = Field(default=64, ge=16, description="Side of the crops.")
    margin_px: int = Field(default=2, ge=0, description="Pixels kept around a crop.")


class _Performer(NamedTuple):
    shape: dict[str, float]
    colors: Floats
    """[parts + 2, 3] albedo by label, then bare skin and hair."""


def render_bodies(
    folder: Path,
    pictures: BodyPictures,
    *,
    processes: int = 2,
    progress: Callable[[int, int], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Renders the shards that `folder` does not have yet; as `render_faces`."""
    write_description(
        folder,
        crop_size=pictures.crop_size,
        margin_px=pictures.margin_px,
        parts=PARTS,
        text="random parametric adult bodies (anny, MakeHuman-derived, CC0) in plain clothes over "
        "procedural backgrounds; no photograph of anybody",
    )
    orders = missing(folder, pictures, pictures.shards, shard_file)
    if not orders:
        return
    _body()  # Built and cached once, not by every process.
    render_missing(
        _render_shard,
        orders,
        total=pictures.shards,
        processes=processes,
        progress=progress,
        stop=stop,
    )


def _render_shard(order: Order) -> int:
    settings = order.settings
    assert isinstance(settings, BodyPictures)
    crops, identity = [], []
    for k in range(settings.crops_per_shard):
        own = k // settings.crops_each
        number = (settings.seed + order.shard) * 100_000 + own
        performer = _performer(np.random.default_rng([number, 1]))
        rng = np.random.default_rng([settings.seed, order.shard, k])
        side = settings.crop_size + 2 * settings.margin_px
        crops.append(body_crop(performer, rng, settings.crop_size, side))
        identity.append(number)
    write_shard(
        shard_file(order.folder, order.shard),
        pixels=np.stack([c.pixels for c in crops]),
        labels=np.stack([c.labels for c in crops]),
        matte=np.stack([c.matte for c in crops]),
        identity=np.array(identity, np.int64),
    )
    return order.shard


def body_crop(performer: _Performer, rng: np.random.Generator, size: int, side: int) -> Crop:
    """A posed body in a crop of `side` pixels, whose middle `size` are the crop proper: the
    pelvis in the middle, the standing body `_STATURE_SHARE` high. `matte` is the body's own."""
    body = _body()
    vertices, rest = body.posed(performer.shape, rng)
    stature = float(np.ptp(rest[:, 2]))
    scale = _STATURE_SHARE * size / stature * _SAMPLES
    turn = rng.normal(0, 0.5)
    cos, sin = np.cos(turn), np.sin(turn)
    x = vertices[:, 0] * cos - vertices[:, 1] * sin
    depth = vertices[:, 0] * sin + vertices[:, 1] * cos
    middle = float(rest[:, 2].min() + stature / 2)
    canvas = side * _SAMPLES
    points = np.stack([x * scale, (middle - vertices[:, 2]) * scale], 1) + canvas / 2
    world = np.stack([x, depth, vertices[:, 2]], 1)
    corners = world[body.triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    # The camera looks along +Y: what faces it has normals towards -Y.
    front = np.flatnonzero(normal[:, 1] < 0)
    order = front[np.argsort(-corners[front, :, 1].mean(1))]
    color = performer.colors[body.paint[order]] * _lit(normal[order], random_rig(rng))
    values = np.concatenate([color, body.label[order, None].astype(np.float32)], 1)
    picture = np.zeros((canvas, canvas, 4), np.float32)
    # OpenCV counts pixel centres from 0.
    fixed = np.rint((points[body.triangles[order]] - 0.5) * 16).astype(np.int32)
    for triangle, value in zip(fixed, values.tolist()):
        cv2.fillConvexPoly(picture, triangle, value, cv2.LINE_8, 4)
    shown = picture[..., 3] > 0
    alpha = _reduced(shown.astype(np.float32), side)
    labels = np.stack([_reduced((picture[..., 3] == k).astype(np.float32), side)
                       for k in range(len(PARTS))]).argmax(0)  # fmt: skip
    rgb = cv2.resize(picture[..., :3], (side, side), interpolation=cv2.INTER_AREA)
    rgb = rgb + random_background(rng, side, side) * (1 - alpha)[..., None]
    return Crop(
        np.moveaxis(to_net(np.asarray(rgb, np.float32)), -1, 0),
        labels.astype(np.uint8),
        np.rint(alpha * 255).astype(np.uint8),
    )


def _reduced(plane: Floats, side: int) -> Floats:
    return np.asarray(cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _lit(normal: NDArray[np.floating[Any]], rig: LightRig) -> Floats:
    """[T, 3] light on faces of these normals: ambient, key and fill, without shadows."""
    ambient = rig.ambient[0] + normal @ rig.ambient[1:4]
    key = np.clip(normal @ rig.key_direction, 0, None)[:, None] * rig.key_color
    fill = np.clip(normal @ rig.fill_direction, 0, None)[:, None] * rig.fill_color
    return np.asarray(np.clip(ambient, 0.02, None) + key + fill, np.float32)


def _performer(rng: np.random.Generator) -> _Performer:
    shape = {
        "gender": float(rng.random()),
        "age": float(rng.uniform(*_ADULT_AGE)),
        "muscle": float(rng.uniform(0.2, 0.9)),
        "weight": float(rng.uniform(0.1, 0.95)),
        "height": float(rng.uniform(0.2, 0.8)),
        "proportions": float(rng.uniform(0.2, 0.9)),
    }
    tone = rng.uniform(0, len(SKIN_TONES) - 1.01)
    low = int(tone)
    skin = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[low + 1] - SKIN_TONES[low])
    colors = np.zeros((len(PARTS) + 2, 3))
    colors[1], colors[len(PARTS)] = skin, skin
    colors[2] = rng.uniform(0.02, 0.6, 3)
    colors[3] = colors[2]
    colors[4] = rng.uniform(0.02, 0.4, 3) * rng.uniform(0.3, 1)
    colors[5] = rng.uniform(0.01, 0.2, 3)
    colors[len(PARTS) + 1] = rng.uniform(0.01, 0.25) * np.array([1.0, 0.7, 0.5])
    return _Performer(shape, colors.astype(np.float32))


class _Body:
    """anny's whole body with the label and the paint of each triangle."""

    def __init__(self) -> None:
        try:
            import anny
        except ImportError as missing:
            raise JobError(
                "synthetic performers need the extra: pip install 'vfxswap[synth]'"
            ) from missing
        self._model = anny.Anny(rig="makehuman")
        self.triangles: NDArray[np.int64] = self._model.get_triangular_faces().numpy()
        bones = [str(name) for name in self._model.bone_labels]
        weights = self._model.vertex_bone_weights.numpy()
        strongest = self._model.vertex_bone_indices.numpy()[
            np.arange(len(weights)), weights.argmax(1)
        ]
        of_bone = np.array([_label(name) for name in bones])
        bare = np.array([name.startswith(_BARE) for name in bones])
        # A triangle is of its first vertex' part: parts meet along edges of the mesh.
        first = strongest[self.triangles[:, 0]]
        self.label: NDArray[np.int64] = of_bone[first]
        self.paint = np.where(bare[first], len(PARTS), self.label)
        rest = self._model.template_vertices.numpy()
        middle = rest[self.triangles].mean(1)
        head = self.label == 1
        low, high = middle[head].min(0), middle[head].max(0)
        share = (middle - low) / (high - low)
        scalp = head & ((share[:, 2] > 0.8) | ((share[:, 1] > 0.5) & (share[:, 2] > 0.45)))
        self.paint = np.where(scalp, len(PARTS) + 1, self.paint)
        self._bends = {
            f"{name}{side}": spread
            for name, spread in _BENDS.items()
            for side in (".L", ".R", "")
            if f"{name}{side}" in bones
        }

    def posed(
        self, shape: dict[str, float], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Vertices [V, 3] in metres of a body in a random pose, and at rest."""
        import torch

        turns = {}
        for name, spread in self._bends.items():
            turn = np.eye(4)
            turn[:3, :3] = cv2.Rodrigues(rng.normal(0, spread, 3))[0]
            turns[name] = torch.from_numpy(turn)[None].to(self._model.template_vertices.dtype)
        with torch.inference_mode():
            found = self._model(
                pose_parameters=turns,
                phenotype_kwargs={k: torch.tensor([v]) for k, v in shape.items()},
            )
        return (
            found["vertices"][0].double().numpy(),
            found["rest_vertices"][0].double().numpy(),
        )


@lru_cache(maxsize=1)
def _body() -> _Body:
    return _Body()


def _label(bone: str) -> int:
    return next((label for label, names in _BONES if bone.startswith(names)), 2)
