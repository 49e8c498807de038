"""Images as read, layers, and going back to a channel's own type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfxswap.effects.base import select
from vfxswap.geometry import Box
from vfxswap.image import Image, Layer, Part, TypedTuple, matched_type

BOX = Box(-1, 2, 4, 3)


def image(kind: Any, names: tuple[str, str, str] = ("R", "G", "B")) -> Image:
    rng = np.random.default_rng(0)
    dtype = np.dtype(kind)
    shape = (BOX.height, BOX.width)

    def plane() -> Any:
        if dtype.kind == "u":
            return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        return rng.uniform(-1, 60000, shape).astype(dtype)

    part = Part({n: plane() for n in dict.fromkeys(names)}, BOX, Box(0, 0, 8, 8))
    other = Part({"Z": plane()}, BOX, Box(0, 0, 8, 8), name="depth")
    return Image((other, part), names, main=1)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float16, np.float32])
def test_pixels_go_to_float_and_back_without_change(kind: Any) -> None:
    plate = image(kind)
    rgb = plate.rgb()
    assert rgb.dtype == np.float32
    assert rgb.shape == (BOX.height, BOX.width, 3)
    for i, name in enumerate(plate.rgb_names):
        channel = plate.part.channels[name]
        back = matched_type(rgb[..., i], channel)
        assert back.dtype == channel.dtype
        assert back.tobytes() == channel.tobytes()


def test_integers_span_0_to_1() -> None:
    plane = np.array([[0, 128, 255]], np.uint8)
    box = Box(0, 0, 3, 1)
    plate = Image((Part({"Y": plane}, box, box),), ("Y", "Y", "Y"))
    np.testing.assert_allclose(plate.rgb()[0, :, 0], (0, 128 / 255, 1))
    assert (plate.rgb()[..., 0] == plate.rgb()[..., 2]).all()


@given(st.floats(width=32))
def test_a_value_in_a_channels_type_is_the_nearest_it_can_hold(value: float) -> None:
    pixels = np.array([[value]], np.float32)
    half = matched_type(pixels, np.zeros(0, np.float16))[0, 0]
    if np.isnan(value):
        assert np.isnan(half)
    elif np.isinf(value):
        assert half == value
    else:
        assert np.isfinite(half), "a finite value does not become inf"
        clipped = float(np.clip(value, -65504, 65504))
        assert abs(float(half) - clipped) <= abs(clipped) * 2**-11 + 2**-25
    level = matched_type(pixels, np.zeros(0, np.uint8))[0, 0]
    wanted = 0.0 if np.isnan(value) else float(np.clip(value, 0, 1)) * 255
    assert abs(float(level) - wanted) <= 0.5 + 1e-6
    assert matched_type(pixels, np.zeros(0, np.float32)).tobytes() == pixels.tobytes()


def test_changed_channels_replace_only_themselves() -> None:
    plate = image(np.float16)
    red = np.zeros((BOX.height, BOX.width), np.float16)
    changed = plate.with_channels({"R": red})
    assert changed.part.channels["R"] is red
    assert list(changed.part.channels) == ["R", "G", "B"]
    assert changed.part.channels["G"] is plate.part.channels["G"]
    assert changed.parts[0] is plate.parts[0]
    assert plate.part.channels["R"] is not red


def test_selection_takes_the_plates_bits_where_the_matte_is_zero() -> None:
    octets = np.random.default_rng(1).integers(0, 256, (5, 6, 12), dtype=np.uint8)
    plate = octets.view(np.float32)
    inside = np.ones_like(plate)
    matte = np.zeros((5, 6), np.float32)
    matte[2, 3], matte[0, 0], matte[1, 1] = 1e-30, -0.0, 1.0
    comp = select(matte, inside, plate)
    chosen = matte > 0
    assert chosen.sum() == 2
    assert comp[~chosen].tobytes() == plate[~chosen].tobytes()
    assert (comp[chosen] == 1).all()
    assert select(matte, inside[..., 0], plate[..., 0]).tobytes() == comp[..., 0].tobytes()


def test_channels_must_cover_the_data_window() -> None:
    with pytest.raises(ValueError, match="channel R"):
        Part({"R": np.zeros((4, 3))}, BOX, BOX)


@pytest.mark.parametrize(
    ("channels", "shape"),
    [((), (2, 2, 0)), (("red",), (2, 2)), (("red", "green"), (2, 2, 3)), (("r",), (2, 2, 1)),
     (("aa", "bb", "cc", "dd", "ee"), (2, 2, 5))],
)  # fmt: skip
def test_a_layer_has_one_to_four_multi_letter_channels(
    channels: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="layer x"):
        Layer("x", channels, np.zeros(shape, np.float32), "data")


def test_a_typed_tuple_is_a_tuple_that_knows_its_kind() -> None:
    code = TypedTuple("timecode", (1, 2))
    assert code.kind == "timecode"
    assert code == (1, 2)
