from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfxswap.geometry import Array
from vfxswap.ops.patches import pasted, sampled


def disc(u: Tensor, v: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
    return ((1 - torch.hypot(u, v)) * half_width / 3).clamp(0, 1)


def square(u: Tensor, v: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
    inside = (u.abs() <= 1) & (v.abs() <= 1)
    return inside.float()


def turned(centre: Array, size: Array, angle: Array) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    maps = np.zeros((len(centre), 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = c * size[:, 0], -s * size[:, 1]
    maps[:, 1, 0], maps[:, 1, 1] = s * size[:, 0], c * size[:, 1]
    maps[:, :, 2] = centre - maps[:, :, :2].sum(2) / 2
    return maps


def random_maps(count: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-5, 65, (count, 2))
    return turned(centre, rng.uniform(4, 30, (count, 2)), rng.uniform(-3, 3, count))


def painted(
    patches: Tensor, maps: Array, order: NDArray[np.int64], size: int
) -> tuple[Tensor, Tensor]:
    """The plain reference: one patch after the other over the whole picture."""
    rgb, alpha = torch.zeros(size, size, 3), torch.zeros(size, size)
    for which in order.tolist():
        one = pasted(
            patches[which : which + 1], maps[which : which + 1], np.array([0]), (size, size),
            shape=disc,
        )  # fmt: skip
        rgb = rgb * (1 - one.alpha[..., None]) + one.rgb
        alpha = alpha * (1 - one.alpha) + one.alpha
    return rgb, alpha


def test_pasting_in_rounds_equals_painting_one_after_the_other() -> None:
    maps, order = random_maps(60), np.random.default_rng(1).permutation(60)
    patches = torch.rand(60, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    at_once = pasted(patches, maps, order, (60, 60), shape=disc)
    rgb, alpha = painted(patches, maps, order, 60)
    assert torch.equal(at_once.rgb, rgb)
    assert torch.equal(at_once.alpha, alpha)


def test_a_patch_in_place_comes_back_pixel_for_pixel() -> None:
    picture = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(2))
    y, x = np.mgrid[0:5, 0:6].reshape(2, -1) * 8.0 + 4
    maps = turned(np.stack([x, y], 1), np.full((30, 2), 8.0), np.zeros(30))
    tiles = sampled(picture, maps, 8)
    back = pasted(tiles, maps, np.arange(30), (40, 48), shape=square)
    assert torch.allclose(back.rgb.permute(2, 0, 1)[None], picture, atol=2e-6)
    assert torch.equal(back.index, torch.arange(30, dtype=torch.int32).reshape(5, 6)
                       .repeat_interleave(8, 0).repeat_interleave(8, 1))  # fmt: skip


def test_the_st_map_is_nought_at_the_bottom_left() -> None:
    maps = turned(np.array([[10.0, 10.0]]), np.array([[8.0, 4.0]]), np.zeros(1))
    made = pasted(torch.zeros(1, 3, 4, 4), maps, np.array([0]), (20, 20), shape=square)
    assert made.uv[11, 6].tolist() == pytest.approx([1 / 16, 1 / 8])
    assert made.uv[8, 13].tolist() == pytest.approx([15 / 16, 7 / 8])
    assert (made.uv[0, 0] == -1).all()


def test_the_patch_that_is_last_in_order_lies_on_top() -> None:
    maps = turned(np.array([[8.0, 8.0], [9.0, 8.0]]), np.full((2, 2), 6.0), np.zeros(2))
    patches = torch.tensor([0.25, 0.75]).reshape(2, 1, 1, 1).expand(2, 3, 4, 4)
    for order in ([0, 1], [1, 0]):
        made = pasted(patches, maps, np.array(order), (16, 16), shape=square)
        assert float(made.rgb[8, 8, 0]) == pytest.approx(float(patches[order[-1], 0, 0, 0]))
        assert made.index[8, 8] == order[-1]


def test_a_ramp_is_read_where_it_is_whatever_the_turn() -> None:
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    ramp = torch.stack([x, y, x + y])[None]
    maps = turned(np.array([[30.0, 34.0]]), np.array([[12.0, 20.0]]), np.array([0.6]))
    tile = sampled(ramp, maps, 16)[0]
    u = (np.arange(16) + 0.5) / 16
    px = maps[0, :, 0, None, None] * u[None, None] + maps[0, :, 1, None, None] * u[None, :, None]
    px = px + maps[0, :, 2, None, None]
    assert np.allclose(tile[:2].numpy(), px, atol=1e-4)


def test_large_patches_do_not_alias() -> None:
    stripes = (torch.arange(256) % 2).float().expand(1, 1, 256, 256)
    maps = turned(np.array([[128.0, 128.0]]), np.array([[240.0, 240.0]]), np.zeros(1))
    tile = sampled(stripes.contiguous(), maps, 16)
    assert torch.allclose(tile, torch.full_like(tile, 0.5), atol=0.01)


def test_nothing_is_pasted_without_patches() -> None:
    empty = pasted(torch.zeros(0, 3, 4, 4), np.zeros((0, 2, 3)), np.zeros(0, np.int64), (6, 7),
                   shape=square)  # fmt: skip
    assert not empty.alpha.any()
    assert (empty.index == -1).all()
