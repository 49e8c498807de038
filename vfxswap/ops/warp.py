"""Affine resampling, once each way: plate to crop and crop to plate.

Pixel coordinates have x right, y down and centres at +0.5. The filter follows the exact position of
every output pixel (within 1e-6 of its definition, no fixed-point steps), so that nothing jitters in
slow moves. Where the picture shrinks, the filter widens with it; from a factor of two on the
picture is first halved by an aligned Lanczos decimation, which keeps the cost bounded.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap.geometry import Array, Box

Filter = Literal["lanczos3", "bilinear"]
Border = Literal["zeros", "clamp"]

_LOBES: dict[Filter, int] = {"lanczos3": 3, "bilinear": 1}
_TILE_PX = 256
_PHASES = 2048


def warp_affine(
    image: Tensor,
    matrix: Tensor | Array,
    size: tuple[int, int],
    *,
    filter: Filter = "lanczos3",
    border: Border = "zeros",
) -> Tensor:
    """`image` [B, C, H, W] resampled to [B, C, *size], float32; size is (height, width).

    `matrix` [B, 2, 3] or [2, 3] (float64) maps *output* pixel coordinates to *input* pixel
    coordinates. A shift by whole pixels, and so the identity, copies bits. Outside the input the
    picture is 0 ("zeros") or repeats its edge ("clamp"). Lanczos overshoots beside hard edges, so
    warp in net space and clip mattes to 0…1 yourself.

    An inf or nan pixel would spread over the filter's support and, through whatever follows, over
    the whole crop. Resampled pictures are therefore first repaired by `filled`; whole-pixel
    shifts copy such pixels as they are.

    Raises ValueError for shapes that do not fit and for a matrix that is not finite.
    """
    if image.ndim != 4 or min(size) < 0:
        raise ValueError(f"image of shape {tuple(image.shape)} to size {size}")
    maps = np.asarray(matrix.cpu() if isinstance(matrix, Tensor) else matrix, dtype=np.float64)
    maps = np.broadcast_to(maps, (image.shape[0], 2, 3)) if maps.ndim == 2 else maps
    if maps.shape != (image.shape[0], 2, 3) or not np.isfinite(maps).all():
        raise ValueError(f"matrix {maps.tolist()} for {image.shape[0]} pictures")
    warped = [_warp(x.float(), m, size, filter, border) for x, m in zip(image, maps, strict=True)]
    return torch.stack(warped) if warped else image.new_zeros((0, image.shape[1], *size))


def warp_field(image: Tensor, displacement: Tensor, *, border: Border = "clamp") -> Tensor:
    """`image` [1, C, H, W] moved by a dense backward field [1, 2, H, W]: each pixel takes what
    lies `displacement` (x right, y down, in pixels) from it. Returns [1, C, H, W] float32.

    Lanczos-3 as in `warp_affine`; the filter keeps its width, so fields that shrink the picture
    to less than about two thirds alias. Where the field is 0 bits are copied, if the picture is
    finite; an inf or nan is first repaired by `filled`. Raises ValueError for shapes that do not
    fit and for a field that is not finite.
    """
    if image.ndim != 4 or displacement.shape != (1, 2, *image.shape[2:]) or len(image) != 1:
        raise ValueError(f"picture {tuple(image.shape)} by field {tuple(displacement.shape)}")
    if not bool(torch.isfinite(displacement).all()):
        raise ValueError("a field that is not finite")
    source = filled(image[0].float())
    moved = source.new_empty(source.shape)
    tables = [_table("lanczos3", 1.0).to(source)] * 2
    height, width = source.shape[1:]
    # MPS has no float64: positions there come from the CPU.
    place = torch.device("cpu") if source.device.type == "mps" else source.device
    field = displacement[0].to(place, torch.float64)
    for top in range(0, height, _TILE_PX):
        for left in range(0, width, _TILE_PX):
            here = (slice(top, top + _TILE_PX), slice(left, left + _TILE_PX))
            dx, dy = field[0][here], field[1][here]
            x = dx + torch.arange(left, left + dx.shape[1], dtype=torch.float64, device=place)
            y = (
                dy
                + torch.arange(top, top + dy.shape[0], dtype=torch.float64, device=place)[:, None]
            )
            # Beyond the edge there is nothing new, only a larger copy of it.
            x, y = x.clamp(-4, width + 3), y.clamp(-4, height + 3)
            moved[(slice(None), *here)] = _gathered(source, x, y, tables, border)
    return moved[None]


def filled(image: Tensor) -> Tensor:
    """`image` [..., H, W] with every inf or nan replaced by the mean of its finite neighbours.

    Neighbours are those of a 3×3 window of the same channel; holes larger than that close from
    their rim inwards, at most 16 pixels deep, and hold 0 beyond. A finite image is returned as
    it is, not copied.
    """
    # A sum finds them in one pass without memory of its own; huge values may only look like it.
    if bool(torch.isfinite(image.sum())):
        return image
    finite = torch.isfinite(image)
    if bool(finite.all()):
        return image
    planes = image.reshape(-1, 1, *image.shape[-2:])
    known = finite.reshape_as(planes)
    values = torch.where(known, planes, torch.zeros_like(planes))
    for _ in range(16):
        count = F.avg_pool2d(known.to(values.dtype), 3, 1, 1)
        mean = F.avg_pool2d(values, 3, 1, 1) / count.clamp_min(1.0 / 9.0)
        values = torch.where(known, values, mean)
        known = known | (count > 0)
        if bool(known.all()):
            break
    return values.reshape_as(image)


def inverted(matrix: Array) -> Array:
    """The [2, 3] matrix that undoes `matrix` [2, 3]; numpy's LinAlgError when there is none."""
    inner = np.linalg.inv(matrix[:, :2])
    return np.concatenate([inner, -inner @ matrix[:, 2:]], axis=1)


def between_windows(
    matrix: Array, *, output: tuple[float, float] = (0, 0), input: tuple[float, float] = (0, 0)
) -> Array:
    """`matrix` [2, 3] for arrays whose first pixels lie at `output` and `input` (x, y).

    With it a plate whose data window starts at `input` is read, or only the window of the plate
    that starts at `output` is computed.
    """
    shifted = np.array(matrix, dtype=np.float64)
    shifted[:, 2] += shifted[:, :2] @ np.asarray(output, dtype=np.float64) - np.asarray(input)
    return shifted


def covered_window(matrix: Array, size: tuple[int, int], *, margin_px: int = 0) -> Box:
    """Smallest pixel window around an array of `size` (height, width) mapped by `matrix` [2, 3]."""
    height, width = size
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    mapped = corners @ np.asarray(matrix, dtype=np.float64).T
    left, top = np.floor(mapped.min(0)).astype(int)
    right, bottom = np.ceil(mapped.max(0)).astype(int)
    return Box(int(left), int(top), int(right - left), int(bottom - top)).grown(margin_px)


def _warp(
    image: Tensor, matrix: Array, size: tuple[int, int], filter: Filter, border: Border
) -> Tensor:
    shift = matrix[:, 2]
    if np.array_equal(matrix[:, :2], np.eye(2)) and np.array_equal(shift, np.rint(shift)):
        window = Box(int(shift[0]), int(shift[1]), size[1], size[0])
        return _window(image, window, border).clone()
    image, matrix = _needed(image, matrix, size, filter, border)
    image = filled(image)
    if image.shape[1] == 0 or image.shape[2] == 0:
        return image.new_zeros((image.shape[0], *size))
    for axis in (0, 1):
        while _steps(matrix)[axis] >= 2.0:
            image = _halved(image, axis, border)
            matrix[axis] /= 2.0
    tables = [_table(filter, step).to(image) for step in _steps(matrix)]
    out = image.new_empty((image.shape[0], *size))
    for top in range(0, size[0], _TILE_PX):
        for left in range(0, size[1], _TILE_PX):
            tile = (min(_TILE_PX, size[0] - top), min(_TILE_PX, size[1] - left))
            x, y = _positions(between_windows(matrix, output=(left, top)), tile, image.device)
            out[:, top : top + tile[0], left : left + tile[1]] = _gathered(
                image, x, y, tables, border
            )
    return out


def _steps(matrix: Array) -> tuple[float, float]:
    """Input pixels along x and y that one output pixel spans, at least 1."""
    x, y = np.hypot(matrix[:, 0], matrix[:, 1]).tolist()
    # Rounding in a rotation's cosine and sine must not cost the fast weights.
    return (x if x > 1.0 + 1e-6 else 1.0), (y if y > 1.0 + 1e-6 else 1.0)


def _needed(
    image: Tensor, matrix: Array, size: tuple[int, int], filter: Filter, border: Border
) -> tuple[Tensor, Array]:
    """The part of the picture that the warp reads, so that a big plate costs no more."""
    steps = _steps(matrix)
    reach = math.ceil(2 * _LOBES[filter] * max(steps)) + 4
    inside = Box(0, 0, image.shape[2], image.shape[1])
    # An even start keeps decimated grids, and so pixels, independent of what else is asked for.
    grid = 2 ** max(0, math.ceil(math.log2(max(steps))))
    wanted = covered_window(matrix, size, margin_px=reach)
    x, y = wanted.x // grid * grid, wanted.y // grid * grid
    wanted = Box(x, y, wanted.right - x, wanted.bottom - y)
    if border == "clamp" and inside.intersection(wanted).empty:
        return image, np.array(matrix)
    wanted = inside.intersection(wanted)
    rows, columns = wanted.slices_in(inside)
    return image[:, rows, columns], between_windows(matrix, input=(wanted.x, wanted.y))


def _window(image: Tensor, window: Box, border: Border) -> Tensor:
    """`window` of image [C, H, W], beyond its edges by the border rule."""
    channels, height, width = image.shape
    common = Box(0, 0, width, height).intersection(window)
    if common == window:
        return image[:, window.y : window.bottom, window.x : window.right]
    if border == "clamp":
        rows = torch.arange(window.y, window.bottom, device=image.device).clamp(0, height - 1)
        columns = torch.arange(window.x, window.right, device=image.device).clamp(0, width - 1)
        return image[:, rows][:, :, columns]
    out = image.new_zeros((channels, window.height, window.width))
    if not common.empty:
        y, x = common.y - window.y, common.x - window.x
        out[:, y : y + common.height, x : x + common.width] = image[
            :, common.y : common.bottom, common.x : common.right
        ]
    return out


def _halved(image: Tensor, axis: int, border: Border) -> Tensor:
    """Half as many pixels along x (axis 0) or y (axis 1), by an aligned Lanczos-3 filter."""
    image = image if axis == 0 else image.transpose(1, 2)
    _, height, width = image.shape
    padded = _window(image, Box(-5, 0, 2 * ((width + 1) // 2) + 10, height), border)
    taps = _weights(torch.tensor([0.5]), "lanczos3", 2.0)[0]
    kernel = taps.to(image).reshape(1, 1, 1, -1)
    half = F.conv2d(padded[:, None], kernel, stride=(1, 2))[:, 0]
    return half if axis == 0 else half.transpose(1, 2).contiguous()


def _gathered(image: Tensor, x: Tensor, y: Tensor, tables: list[Tensor], border: Border) -> Tensor:
    """One tile: the picture at positions `x`, `y` [h, w] (see `_positions`). Six (or twelve) taps
    of a row lie side by side in a copy of the source, so a weighted sum over rows of that copy
    (`embedding_bag`, the fastest gather that torch has) and one product over columns give the
    two-dimensional filter."""
    taps = [table.shape[1] // 2 for table in tables]
    column, row = torch.floor(x), torch.floor(y)
    wx = _looked_up((x - column).reshape(-1).to(image), tables[0])
    wy = _looked_up((y - row).reshape(-1).to(image), tables[1])
    left, top = int(column.min()) - taps[0] // 2 + 1, int(row.min()) - taps[1] // 2 + 1
    source = _window(
        image,
        Box(left, top, int(column.max()) + taps[0] // 2 + 1 - left,
            int(row.max()) + taps[1] // 2 + 1 - top),
        border,
    )  # fmt: skip
    channels, height, width = source.shape
    span = taps[0] * channels
    flat = F.pad(source.permute(1, 2, 0).reshape(-1), (0, span - channels))
    rows = flat.as_strided((height * width, span), (channels, 1)).contiguous()
    first = (row - row.min()) * width + (column - column.min())
    down = torch.arange(taps[1], device=image.device, dtype=torch.int32) * width
    index = first.reshape(-1, 1).to(image.device, torch.int32) + down
    summed = F.embedding_bag(index, rows, mode="sum", per_sample_weights=wy)
    out = torch.bmm(wx[:, None], summed.reshape(-1, taps[0], channels))[:, 0]
    return out.T.reshape(channels, *x.shape)


def _positions(matrix: Array, size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Input positions of output pixels, [H, W] float64, where whole numbers are pixel centres."""
    # MPS has no float64: positions there come from the CPU.
    device = torch.device("cpu") if device.type == "mps" else device
    u = torch.arange(size[1], dtype=torch.float64, device=device) + 0.5
    v = torch.arange(size[0], dtype=torch.float64, device=device)[:, None] + 0.5
    (a, b, c), (d, e, f) = matrix.tolist()
    return a * u + b * v + (c - 0.5), d * u + e * v + (f - 0.5)


def _table(filter: Filter, step: float) -> Tensor:
    """Rows for `_looked_up`: the weights at each of many fractions beside the step to the next."""
    weights = _weights(torch.arange(_PHASES + 1, dtype=torch.float64) / _PHASES, filter, step)
    return torch.cat([weights[:-1], weights.diff(dim=0)], 1)


def _looked_up(fraction: Tensor, table: Tensor) -> Tensor:
    """Weights [N, taps] at fractions [N] in 0…1, linear between the rows of the table: within
    1e-6 of the filter, exact at 0, and far quicker than six sines a pixel."""
    place = fraction * _PHASES
    row = place.to(torch.int32).clamp_max_(_PHASES - 1)
    start, change = F.embedding(row, table).chunk(2, 1)
    return torch.addcmul(start, change, (place - row)[:, None])


def _weights(fraction: Tensor, filter: Filter, step: float) -> Tensor:
    """Weights [N, taps] of the taps around a position, that sum to 1.

    `fraction` [N] in 0…1 is the way from the tap left of the position to the next. The filter
    is stretched by `step` ≥ 1. At fraction 0 and step 1 they are 0 but for one 1.
    """
    half = math.ceil(_LOBES[filter] * step)
    taps = torch.arange(1 - half, half + 1, dtype=torch.float64)
    distance = (taps - fraction[:, None]) / step
    if filter == "bilinear":
        weights = (1.0 - distance.abs()).clamp_min(0.0)
    else:
        weights = torch.sinc(distance) * torch.sinc(distance / 3.0) * (distance.abs() < 3.0)
    return weights / weights.sum(1, keepdim=True)
