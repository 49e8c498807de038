"""Screens: still patterns of the pixel's place that a style network sees beside the picture.

Out of a plain area convolutions cannot know where a dot, a pane or a stitch should lie; a printer's
screen says so. Each is a function of a pixel's column and row alone, so frames of a shot, strips of
a picture and every device have the same; the drawn media take the places of their marks from them.

Functions are written as TorchScript takes them: the script for Nuke runs this very code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SCREENS = (
    "dots_a", "dots_b", "dots_c", "spot", "spot_value", "pane", "pane_value", "tile", "tile_value",
    "stitch", "stitch_value", "line_a", "line_b", "line_c", "grid", "cloud_a", "cloud_b", "tooth",
)  # fmt: skip
"""Channels in order: three halftone screens; jittered dots, irregular panes, hand-cut tiles and
slanted stitches, each with a random value of its own; lines at 45°, -40° and level; a draughtsman's
grid; two soft noises and a fine one."""


def screens(columns: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """[1, K, H, W] float32 in -1…1 on `device`, K = len(SCREENS), for the pixels at `columns` [W]
    and `rows` [H], int64 on the CPU: those of a whole picture, of a strip, mirrored ones.

    Whole 127ths, so that bytes hold them (`packed`) and devices that round otherwise agree.
    """
    found = torch.stack(_planes(columns, rows, device))[None]
    return found.mul_(127).round_().div_(127)


def packed(found: Tensor) -> Tensor:
    """Screens as int8, a quarter of the memory; `unpacked` gives the same numbers back."""
    return (found * 127).round_().to(torch.int8)


def unpacked(kept: Tensor) -> Tensor:
    """See `packed`."""
    return kept.float().div_(127)


def _planes(columns: Tensor, rows: Tensor, device: torch.device) -> list[Tensor]:
    """The screens before they are rounded, each [H, W]."""
    found: list[Tensor] = []
    for angle in [0.26, 1.31, 0.785]:
        first = _wave(columns, rows, device, 11.0, angle, 0.0)
        found.append(0.5 * (first + _wave(columns, rows, device, 11.0, angle + 0.5 * math.pi, 0.0)))
    near, _, value = _cells(columns, rows, device, 11, 0.25, 2, 1)
    found += [(1 - near / 3.6).clamp(min=-1.0), value]
    near, next_near, value = _cells(columns, rows, device, 23, 0.36, 3, 4)
    found += [((next_near - near) / 5.5 - 1).clamp(max=1.0), value]
    cloud_a = _cloud(columns, rows, device, 44, 7)
    cloud_b = _cloud(columns, rows, device, 38, 9)
    tile, value = _bricks(columns, rows, device, 13.0, 13.0, 0.0, 3 * cloud_a, 3 * cloud_b, 11)
    found += [tile / 2.2 - 1, value]
    stitch, value = _bricks(columns, rows, device, 19.0, 6.5, 0.6, 2 * cloud_b, 3 * cloud_a, 13)
    found += [stitch / 1.5 - 1, value]
    found.append(_wave(columns, rows, device, 9.0, 0.785, 0.9))
    found.append(_wave(columns, rows, device, 9.0, -0.7, 0.9))
    found.append(_wave(columns, rows, device, 7.0, 1.53, 1.1))
    found.append(_grid(columns, rows, device, 24))
    tooth = _smooth(columns, rows, device, 4, 15) + _smooth(columns, rows, device, 7, 16)
    found += [cloud_a, cloud_b, 0.6 * tooth]
    return [field.clamp(-1.0, 1.0) for field in found]


def place_hash(x: Tensor, y: Tensor, salt: int) -> Tensor:
    """White noise in -1…1, float32, of integer places that broadcast: xorshift and multiply."""
    word = 0xFFFFFFFF
    mixed = (x * 374761393 + y * 668265263 + salt * 2246822519) & word
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & word
    mixed = ((mixed ^ (mixed >> 16)) * 1274126177) & word
    return (mixed ^ (mixed >> 15)).float() * (2 / 0xFFFFFFFF) - 1


def _wave(
    columns: Tensor, rows: Tensor, device: torch.device, period: float, angle: float, wobble: float
) -> Tensor:
    """Cosine [H, W] across lines `period` pixels apart, slightly bent: of sums of a column's and a
    row's phase, so that two short tables in double precision make the plane."""
    turn = 2 * math.pi / period
    x, y = columns.double() + 0.5, rows.double() + 0.5
    along_x = turn * math.cos(angle) * x + wobble * torch.sin(x * (2 * math.pi / 83))
    along_y = turn * math.sin(angle) * y + wobble * torch.sin(y * (2 * math.pi / 71) + 2)
    cos_x, sin_x = along_x.cos().float().to(device), along_x.sin().float().to(device)
    cos_y, sin_y = along_y.cos().float().to(device), along_y.sin().float().to(device)
    return cos_y[:, None] * cos_x[None] - sin_y[:, None] * sin_x[None]


def _grid(columns: Tensor, rows: Tensor, device: torch.device, pitch: int) -> Tensor:
    """1 on the lines of a square grid, falling to -1 two pixels beside them."""
    x, y = torch.remainder(columns, pitch), torch.remainder(rows, pitch)
    off_x = torch.minimum(x, pitch - x).float().to(device)
    off_y = torch.minimum(y, pitch - y).float().to(device)
    return 1 - torch.minimum(off_y[:, None], off_x[None])


def _cells(
    columns: Tensor, rows: Tensor, device: torch.device, period: int, jitter: float, span: int,
    salt: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Distance in pixels to the nearest and the next of points jittered by `jitter` periods in a
    square grid, and the nearest one's random value (Worley 1996), [H, W] each; of the points of
    span × span cells: 2 find the nearest where it is less than 1 - jitter periods away."""
    before = (span - 1) * period // 2
    i, j = _floored(columns - before, period), _floored(rows - before, period)
    i0, j0 = int(i.min()), int(j.min())
    x = torch.arange(i0, int(i.max()) + span)[None]
    y = torch.arange(j0, int(j.max()) + span)[:, None]
    points_x = (period * (0.5 + jitter * place_hash(x, y, salt))).to(device)
    points_y = (period * (0.5 + jitter * place_hash(x, y, salt + 1))).to(device)
    values = place_hash(x, y, salt + 2).to(device)
    inside_x = ((columns - i * period).float() + 0.5).to(device)[None]
    inside_y = ((rows - j * period).float() + 0.5).to(device)[:, None]
    i, j = (i - i0).to(device), (j - j0).to(device)
    near = torch.full([len(rows), len(columns)], 1e9, device=device)
    next_near, value = near.clone(), torch.zeros_like(near)
    for down in range(span):
        for right in range(span):
            at = points_x.index_select(1, i + right).index_select(0, j + down)
            away = (at - (inside_x - right * period)).square_()
            at = points_y.index_select(1, i + right).index_select(0, j + down)
            away += (at - (inside_y - down * period)).square_()
            own = values.index_select(1, i + right).index_select(0, j + down)
            value = torch.where(away < near, own, value)
            next_near = torch.minimum(next_near, torch.maximum(near, away))
            near = torch.minimum(near, away)
    return near.sqrt(), next_near.sqrt(), value


def _bricks(
    columns: Tensor, rows: Tensor, device: torch.device, length: float, height: float, angle: float,
    bend_x: Tensor, bend_y: Tensor, salt: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Distance in pixels to the border of bricks in courses that are each shifted by chance, turned
    by `angle` and bent by fields [H, W] in pixels; and each brick's random value."""
    x = (columns.float() + 0.5).to(device)[None] + bend_x
    y = (rows.float() + 0.5).to(device)[:, None] + bend_y
    along = x * math.cos(angle) + y * math.sin(angle)
    across = (y * math.cos(angle) - x * math.sin(angle)) / height
    course = across.floor()
    first = int(course.min())
    index = course.long() - first
    courses = torch.arange(first, int(course.max()) + 1)
    shifts = place_hash(courses, torch.zeros_like(courses), salt).to(device)
    along = along / length + shifts[index]
    brick = along.floor()
    from_end = along - brick
    from_side = across - course
    away = torch.minimum(
        length * torch.minimum(from_end, 1 - from_end),
        height * torch.minimum(from_side, 1 - from_side),
    )
    left, right = int(brick.min()), int(brick.max())
    table = place_hash(torch.arange(left, right + 1)[None], courses[:, None], salt + 1).to(device)
    value = table.flatten()[index * (right - left + 1) + (brick.long() - left)]
    return away, value


def _cloud(
    columns: Tensor, rows: Tensor, device: torch.device, period: int, salt: int
) -> Tensor:  # fmt: skip
    """Two octaves of soft noise [H, W]."""
    coarse = _smooth(columns, rows, device, period, salt)
    return 0.8 * coarse + 0.35 * _smooth(columns, rows, device, (period * 2) // 5, salt + 1)


def _smooth(
    columns: Tensor, rows: Tensor, device: torch.device, period: int, salt: int
) -> Tensor:  # fmt: skip
    """Soft noise [H, W] in -1…1 between random values `period` pixels apart."""
    i, j = _floored(columns, period), _floored(rows, period)
    i0, j0 = int(i.min()), int(j.min())
    x = torch.arange(i0, int(i.max()) + 2)[None]
    y = torch.arange(j0, int(j.max()) + 2)[:, None]
    table = place_hash(x, y, salt)
    share_x = _eased((columns - i * period).float() / period)[None]
    share_y = _eased((rows - j * period).float() / period)[:, None].to(device)
    left, right = table.index_select(1, i - i0), table.index_select(1, i - i0 + 1)
    across = (left + share_x * (right - left)).to(device)
    top = (j - j0).to(device)
    above, below = across.index_select(0, top), across.index_select(0, top + 1)
    return above + share_y * (below - above)


def _eased(share: Tensor) -> Tensor:
    return share * share * (3 - 2 * share)


def _floored(place: Tensor, period: int) -> Tensor:
    return torch.div(place, period, rounding_mode="floor")


def named(height: int, width: int, origin: tuple[int, int] = (0, 0)) -> dict[str, Tensor]:
    """The screens of a picture by name, [H, W] each, from `origin` (x, y) on; on the CPU and not
    rounded, so that random values tell cells apart."""
    columns, rows = torch.arange(width) + origin[0], torch.arange(height) + origin[1]
    return dict(zip(SCREENS, _planes(columns, rows, torch.device("cpu"))))
