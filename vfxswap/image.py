"""Images as read: every channel in its own type, with windows, aspect and metadata; and layers
as effects return them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from vfxswap.geometry import Box

Pixels = NDArray[np.float32]
"""Working pixels: [H, W, C] or [H, W] float32, top row first."""
MetaValue = Any
"""The value of an attribute: str, int, float, a tuple of them, or a TypedTuple."""


class TypedTuple(tuple[Any, ...]):
    """Values of an EXR attribute that plain types cannot tell apart, and the EXR type `kind`:
    timecode, v2i, rational, chromaticities, stringvector … One `bytes` for an opaque type."""

    kind: str

    def __new__(cls, kind: str, values: Iterable[Any]) -> Self:
        made = super().__new__(cls, values)
        made.kind = kind
        return made


ChannelArray = NDArray[Any]
"""[H, W] pixels of one channel in the type they were read in."""


@dataclass(frozen=True, eq=False)
class Part:
    """One part (EXR) or the only image of a file.

    `channels` keeps file order; each array is [H, W] over the data window in the type read
    (float16, float32, uint32, uint16, uint8). `metadata` holds every attribute of the file
    as read, apart from those that the fields here state.
    """

    channels: Mapping[str, ChannelArray]
    data_window: Box
    display_window: Box
    pixel_aspect: float = 1.0
    name: str = ""
    view: str = ""
    metadata: Mapping[str, MetaValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (self.data_window.height, self.data_window.width)
        for name, pixels in self.channels.items():
            if pixels.shape != shape:
                raise ValueError(f"channel {name} is {pixels.shape}, data window is {shape}")


@dataclass(frozen=True, eq=False)
class Image:
    """One frame (of one view) as read. Part `main` holds the colour that effects work on.

    `rgb_names` are the three channels of that part that make the picture (one name three times
    for a luminance image); `alpha_name` is its alpha, if any. `color_space` is what the file
    says of itself ("" when it says nothing).
    """

    parts: tuple[Part, ...]
    rgb_names: tuple[str, str, str]
    main: int = 0
    alpha_name: str | None = None
    color_space: str = ""

    @property
    def part(self) -> Part:
        """The part that effects work on."""
        return self.parts[self.main]

    def rgb(self) -> Pixels:
        """[H, W, 3] float32 over the data window, in the plate's own colour space and range.

        Integer channels are scaled to 0…1. Nothing is clamped; inf and nan stay.
        """
        planes = []
        for name in self.rgb_names:
            plane = self.part.channels[name]
            values = plane.astype(np.float32)
            if plane.dtype.kind == "u":
                values /= np.float32(np.iinfo(plane.dtype).max)
            planes.append(values)
        return np.stack(planes, axis=-1)

    def with_channels(self, changed: Mapping[str, ChannelArray]) -> Image:
        """The same image with some channels of the main part replaced; the rest is shared."""
        part = replace(self.part, channels={**self.part.channels, **changed})
        parts = tuple(part if i == self.main else p for i, p in enumerate(self.parts))
        return replace(self, parts=parts)


LayerKind = Literal["color", "matte", "data"]


@dataclass(frozen=True, eq=False)
class Layer:
    """A named result: `pixels` [H, W, C] float32 over the plate's data window, C = len(channels).

    "color" is scene-linear in the working space, "matte" is 0…1, "data" is anything else (UV,
    vectors, depth; written as float). `premultiplied` is only said of colour with alpha.
    """

    name: str
    channels: tuple[str, ...]
    pixels: Pixels
    kind: LayerKind
    premultiplied: bool | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.channels) <= 4 or self.pixels.shape[2:] != (len(self.channels),):
            raise ValueError(f"layer {self.name}: {self.channels} on {self.pixels.shape}")
        if any(len(c) < 2 for c in self.channels):
            raise ValueError(f"layer {self.name}: single-letter channel in {self.channels}")


def matched_type(pixels: Pixels, like: ChannelArray) -> ChannelArray:
    """[H, W] float32 pixels in the type of `like`.

    Integers are scaled from 0…1, rounded and clipped (the type can hold no more); halves keep
    their largest finite value instead of overflowing to inf.
    """
    if like.dtype.kind == "u":
        top = np.iinfo(like.dtype).max
        held = np.clip(np.nan_to_num(pixels.astype(np.float64)), 0.0, 1.0)
        return np.rint(held * top).astype(like.dtype)
    if like.dtype == np.float16:
        top16 = float(np.finfo(np.float16).max)
        finite = np.isfinite(pixels)
        return np.where(finite, np.clip(pixels, -top16, top16), pixels).astype(np.float16)
    return pixels.astype(like.dtype)
