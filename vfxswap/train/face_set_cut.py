"""One face of a plate as a crop of a face set: pixels, mattes, and what can be measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from torch import Tensor

from vfxswap.align.crop import apply, crop_matrix, outline
from vfxswap.align.head import head_pose
from vfxswap.align.identify import Describer
from vfxswap.align.pose import Pose, View, cut_aligned
from vfxswap.color import from_net, to_net
from vfxswap.errors import PlateError
from vfxswap.geometry import Array, Box, Face
from vfxswap.image import Image, Layer, MetaValue, Part, Pixels
from vfxswap.io.exr import write_image
from vfxswap.nets.parsing import CLASSES, ParsingNet
from vfxswap.ops.convert import to_pixels, to_tensor
from vfxswap.ops.guided import guided_matte
from vfxswap.ops.matte import levels, polygon_matte
from vfxswap.ops.warp import covered_window, inverted, warp_affine
from vfxswap.train.crops import DENSITY, MARGIN, stored_matrix, stored_size
from vfxswap.train.face_set_expression import expression
from vfxswap.train.face_set_looks import (
    BLUR_PX,
    LIGHT_PX,
    appearance,
    blur_of,
    light_of,
    luma_of,
)

MATTE: Final = "face_matte"
"""Layer of a crop's mattes: visible face, outline, what is before the face, hair."""
_VISIBLE: Final = ("skin", "brows", "eyes", "nose", "lips", "mouth")
_EDGE_NOISE: Final = 0.03
"""Standard deviation in net space that is grain, not an edge."""
_TOP_HALF: Final = float(np.finfo(np.float16).max)


@dataclass(frozen=True, eq=False)
class Cut:
    """A crop: `rgb` [S, S, 3] scene-linear in the working space, `mattes` [S, S, 4] in 0…1 (as
    `MATTE`), the [2, 3] `matrix` from plate pixels, and `measured`, fields of `SetFace`."""

    rgb: Pixels
    mattes: Pixels
    matrix: Array
    measured: dict[str, Any]
    descriptor: Array


@dataclass(frozen=True, eq=False)
class Cutter:
    """What cuts need beside a plate: networks on their device, and how large crops are."""

    parser: ParsingNet
    describer: Describer
    crop_size: int
    device: torch.device

    def cut(self, working: Pixels, image: Image, face: Face, *, path: Path, frame: int) -> Cut:
        """The crop of a face and all that is measured on it. `working` [H, W, 3] are the data
        window's pixels in the working space; inf and nan are filled from around.

        Raises PlateError when the face lies outside the picture or its landmarks are no face's.
        """
        part, side = image.part, stored_size(self.crop_size)
        aspect = part.pixel_aspect
        square = face.points * [aspect, 1.0]
        matrix = stored_matrix(face.points, crop_size=self.crop_size, pixel_aspect=aspect)
        pose = head_pose(apply(matrix, face.points))
        back = inverted(matrix)
        scale = float(np.sqrt(abs(np.linalg.det(back[:, :2]))))
        box = covered_window(back, (side, side), margin_px=4 + int(4 * max(1.0, scale)))
        box = box.intersection(part.data_window)
        if box.empty:
            raise PlateError("the face lies outside the picture", got=f"face {face.id}",
                             file=path, frame=frame)  # fmt: skip
        here = np.ascontiguousarray(working[box.slices_in(part.data_window)])
        view = View(to_tensor(to_net(here), device=self.device), (box.x, box.y), aspect)
        inner = back.copy()
        inner[:, 2] -= (box.x, box.y)
        net = warp_affine(view.pixels, inner, (side, side), border="clamp").cpu()

        with torch.inference_mode():
            parts = self.parser(cut_aligned(view, [face], self.parser.SIZE)).softmax(1).cpu()
            wide = self.parser(_shrunk(net, self.parser.SIZE).to(self.device)).softmax(1).cpu()
            descriptor = self.describer(cut_aligned(view, [face], self.describer.SIZE))[0]
        points = apply(matrix, face.points)
        polygon = polygon_matte(outline(points), (side, side))
        spread = self._spread(parts, wide, side)
        mattes = torch.cat(self._mattes(spread, net, polygon), 1)
        weight = polygon[0, 0].numpy()
        shares = spread[0].numpy()
        measured = {
            "score": round(float(np.clip(face.score, 0, 1)), 4),
            "confidence": round(float(np.clip(face.confidence.mean(), 0, 1)), 4),
            "points": tuple((round(float(x), 3), round(float(y), 3)) for x, y in face.points),
            "matrix": tuple(float(v) for v in matrix.flatten()),
            "face_px": round(Pose.of(square).face_px, 2),
            "resolution": round(scale * DENSITY, 4),
            **dict(zip(("yaw_deg", "pitch_deg", "roll_deg"),
                       (round(angle, 2) for angle in pose.angles_deg), strict=True)),
            "expression": expression(points, pose),
            "occlusion": _share(shares[CLASSES.index("occluder")], weight),
            "glasses": _share(shares[CLASSES.index("glasses")], weight),
            "outside": _outside(back, weight, part.data_window),
            "broken": round(float((~np.isfinite(here)).any(-1).mean()), 5),
            **self._pictured(view, face, parts),
        }  # fmt: skip
        rgb = np.clip(to_pixels(from_net(net)), -_TOP_HALF, _TOP_HALF)
        look = descriptor.to("cpu", torch.float64).numpy()
        return Cut(rgb, to_pixels(mattes), matrix, measured, look)

    def _mattes(self, spread: Tensor, net: Tensor, polygon: Tensor) -> tuple[Tensor, ...]:
        """Visible face, outline, what is before it and hair, [1, 1, S, S] each, their edges where
        the picture has them."""
        visible = spread[:, [CLASSES.index(name) for name in _VISIBLE]].sum(1)
        front = spread[:, [CLASSES.index("occluder"), CLASSES.index("glasses")]].sum(1)
        coarse = torch.stack([visible, front, spread[:, CLASSES.index("hair")]], 1).clamp(0, 1)
        guide = net.mean(1, keepdim=True)
        radius = max(1, round(self.crop_size * DENSITY / self.parser.SIZE))
        refined = [
            levels(guided_matte(plane, guide, radius_px=radius, noise=_EDGE_NOISE),
                   black=0.1, white=0.9)
            for plane in torch.chunk(coarse, 3, 1)
        ]  # fmt: skip
        return refined[0], polygon, refined[1], refined[2]

    def _spread(self, parts: Tensor, wide: Tensor, side: int) -> Tensor:
        """The parser's shares [1, 12, S, S] on the stored crop: those of the aligned crop, for
        which it was trained, and around it those of the whole."""
        size = self.parser.SIZE
        step = size / (self.crop_size * DENSITY)
        shift = size / 2 - step * side / 2
        inner = np.array([[step, 0.0, shift], [0.0, step, shift]])
        near = warp_affine(parts, inner, (side, side), filter="bilinear", border="clamp")
        whole = np.array([[size / side, 0.0, 0.0], [0.0, size / side, 0.0]])
        far = warp_affine(wide, whole, (side, side), filter="bilinear", border="clamp")
        edge = side * (1 - 1 / MARGIN) / 2
        at = torch.arange(side) + 0.5
        inside = torch.minimum(at, side - at) - edge
        # Handed over within the aligned crop, so that its own edge is nowhere seen.
        ramp = (inside / (edge / 2)).clamp(0, 1)
        return torch.lerp(far, near, torch.minimum(ramp[:, None], ramp[None])).clamp(0, 1)

    def _pictured(self, view: View, face: Face, parts: Tensor) -> dict[str, Any]:
        """What is measured on smaller crops: light, blur, appearance."""
        small = to_pixels(cut_aligned(view, [face], BLUR_PX))
        shares = parts[0].permute(1, 2, 0).numpy()
        visible = shares[..., [CLASSES.index(name) for name in _VISIBLE]].sum(-1)
        skin = shares[..., [CLASSES.index("skin"), CLASSES.index("nose")]].sum(-1)
        aspect = view.pixel_aspect
        own = apply(crop_matrix(face.points, size=LIGHT_PX, pixel_aspect=aspect), face.points)
        light = light_of(_resized(from_net(small), LIGHT_PX), _resized(skin, LIGHT_PX),
                         head_pose(own))  # fmt: skip
        luma = luma_of(small)
        return {
            "light": light,
            "blur": blur_of(luma, _resized(visible, BLUR_PX)),
            "appearance": appearance(luma),
        }


def write_crop(file: Path, cut: Cut, *, space: str, metadata: dict[str, MetaValue]) -> None:
    """A crop as half-float EXR: `R,G,B` and the layer `MATTE`, in one part. Raises OutputError."""
    side = cut.rgb.shape[0]
    window = Box(0, 0, side, side)
    half = cut.rgb.astype(np.float16)
    channels = {c: np.ascontiguousarray(half[..., i]) for i, c in enumerate("RGB")}
    part = Part(channels, window, window, metadata={"oiio:ColorSpace": space})
    mattes = Layer(MATTE, ("red", "green", "blue", "alpha"), cut.mattes, "matte")
    write_image(file, Image((part,), ("R", "G", "B"), color_space=space), [mattes],
                metadata=metadata, single_part=True, threads=1)  # fmt: skip


def _shrunk(net: Tensor, size: int) -> Tensor:
    """The whole stored crop [1, 3, S, S] at another size."""
    step = net.shape[-1] / size
    return warp_affine(net, np.array([[step, 0.0, 0.0], [0.0, step, 0.0]]), (size, size),
                       border="clamp")  # fmt: skip


def _resized(image: Pixels, size: int) -> Pixels:
    how = cv2.INTER_AREA if image.shape[0] >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=how), np.float32)


def _share(plane: Pixels, weight: Pixels) -> float:
    """How much of the matte `weight` a plane covers, 0…1."""
    share = float((plane * weight).sum()) / max(float(weight.sum()), 1.0)
    return round(min(max(share, 0.0), 1.0), 4)


def _outside(back: Array, weight: Pixels, window: Box) -> float:
    """How much of the matte lies beyond the picture; `back` maps the crop to the plate."""
    rows, columns = np.nonzero(weight > 0.5)
    if len(rows) == 0:
        return 1.0
    at = apply(back, np.stack([columns + 0.5, rows + 0.5], -1))
    inside = (at >= [window.x, window.y]).all(-1) & (at < [window.right, window.bottom]).all(-1)
    return round(1 - float(inside.mean()), 4)
