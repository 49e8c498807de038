from __future__ import annotations

import numpy as np
import pytest
import torch

from vfxswap.ops.convert import to_pixels, to_tensor


def test_pixels_come_back_bit_for_bit() -> None:
    pixels = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(np.float32)
    pixels[0, 0] = np.inf, np.nan, -0.0
    tensor = to_tensor(pixels)
    assert tensor.shape == (1, 3, 5, 7)
    assert tensor[0, 2, 4, 6] == pixels[4, 6, 2]
    assert to_pixels(tensor).tobytes() == pixels.tobytes()


def test_a_single_plane_becomes_one_channel() -> None:
    matte = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert torch.equal(to_tensor(matte), torch.arange(6.0).reshape(1, 1, 2, 3))


def test_tensors_do_not_share_memory_with_the_plate() -> None:
    pixels = np.zeros((2, 2, 1), np.float32)
    tensor = to_tensor(pixels)
    tensor += 1
    back = to_pixels(tensor)
    back += 1
    assert pixels.max() == 0
    assert float(tensor.max()) == 1


def test_batches_and_lone_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="wanted"):
        to_pixels(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match="wanted"):
        to_tensor(np.zeros(4, np.float32))
