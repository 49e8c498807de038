"""Pictures as Nuke holds them, and EXR files by its published reader's rules.

All channels are 32 bit floats. Windows count from the format's upper left corner, rows downwards;
Nuke's own count upwards, so knobs that hold a box are turned where they are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
from nuke_rules import nuke_name, window_faults
from numpy.typing import NDArray

from vfxswap.geometry import Box
from vfxswap.io.openexr import read_headers

Plane = NDArray[np.float32]
_FILE_NAMES = {"rgba.red": "R", "rgba.green": "G", "rgba.blue": "B", "rgba.alpha": "A"}
RGB = ("rgba.red", "rgba.green", "rgba.blue")
RGBA = (*RGB, "rgba.alpha")
_CODES = {
    "none": "none", "RLE": "rle", "Zip (1 scanline)": "zips", "Zip (16 scanlines)": "zip",
    "PIZ Wavelet (32 scanlines)": "piz",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Picture:
    """Channels over `bbox`, in a format of `width` x `height`."""

    channels: Mapping[str, Plane]
    bbox: Box
    width: int
    height: int
    aspect: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def plane(self, name: str, window: Box | None = None) -> Plane:
        """A channel over `window`: zero when there is none, its edge repeated outside the bbox."""
        window = window or self.bbox
        found = self.channels.get(name)
        if found is None:
            return np.zeros((window.height, window.width), np.float32)
        if window == self.bbox:
            return found
        rows = np.clip(np.arange(window.y, window.bottom) - self.bbox.y, 0, self.bbox.height - 1)
        columns = np.clip(np.arange(window.x, window.right) - self.bbox.x, 0, self.bbox.width - 1)
        return found[np.ix_(rows, columns)]

    def with_channels(self, channels: Mapping[str, Plane]) -> Picture:
        return replace(self, channels={**self.channels, **channels})

    def over(self, window: Box) -> Picture:
        """The same picture with another bbox."""
        return replace(
            self, bbox=window, channels={n: self.plane(n, window) for n in self.channels}
        )


def black(width: int, height: int, aspect: float = 1.0) -> Picture:
    return Picture({}, Box(0, 0, width, height), width, height, aspect)


def channel_set(text: str, known: Iterable[str]) -> list[str]:
    """The channels that a knob such as `rgb`, `all`, a layer or a list names, of those `known`."""
    found = sorted(known)
    words = text.replace("{", " ").replace("}", " ").split()
    chosen: list[str] = []
    for word in words:
        if word.startswith("-") or word in ("none", "false"):
            continue
        if word == "all":
            chosen += found
        elif word in ("rgb", "rgba", "alpha"):
            chosen += {"rgb": RGB, "rgba": RGBA, "alpha": RGBA[3:]}[word]
        elif "." in word:
            chosen.append(word)
        else:
            layer = [name for name in found if name.partition(".")[0] == word]
            if not layer:
                raise ValueError(f"no layer or channel {word}")
            chosen += layer
    return list(dict.fromkeys(chosen))


def read_exr(path: str) -> Picture:
    """A file as Nuke's reader gives it. Raises RuntimeError as a Read node would."""
    if not os.path.isfile(path):
        raise RuntimeError(f"{path}: Read error: No such file or directory")
    try:
        headers = read_headers(Path(path))
    except Exception as error:
        raise RuntimeError(f"{path}: Read error: {error}") from None
    faults = window_faults(headers)
    if faults:
        raise RuntimeError(f"{path}: misread by Nuke: {'; '.join(faults)}")
    window, display = headers[0].data_window, headers[0].display_window
    dotted = any("." in c.name for h in headers for c in h.channels)
    channels: dict[str, Plane] = {}
    source = oiio.ImageInput.open(path)
    if source is None:
        raise RuntimeError(f"{path}: Read error: {oiio.geterror()}")
    try:
        for index, header in enumerate(headers):
            part = str(header.attributes.get("name", ""))
            names = source.spec(index).channelnames
            assert sorted(names) == sorted(c.name for c in header.channels), names
            pixels = source.read_image(index, 0, 0, len(names), oiio.FLOAT)
            if pixels is None:
                raise RuntimeError(f"{path}: Read error: {source.geterror()}")
            pixels = np.asarray(pixels, np.float32).reshape(window.height, window.width, -1)
            for channel, name in enumerate(names):
                ours = nuke_name(name, part, dotted)
                if ours in channels:
                    raise RuntimeError(f"{path}: misread by Nuke: two channels are {ours}")
                channels[ours] = np.ascontiguousarray(pixels[..., channel])
    finally:
        source.close()
    box = Box(window.x - display.x, window.y - display.y, window.width, window.height)
    if window != display:
        # Nuke adds a black pixel around, so that the edge is not repeated outside.
        channels = {n: np.pad(c, 1) for n, c in channels.items()}
        box = box.grown(1)
    aspect = headers[0].attributes["pixelAspectRatio"]
    metadata = {f"exr/{n}": v for n, v in headers[0].attributes.items()}
    return Picture(channels, box, display.width, display.height, float(str(aspect)), metadata)


def write_exr(
    path: str, picture: Picture, names: Iterable[str], *, half: bool, compression: str
) -> None:
    """One part with R, G, B, A and `layer.channel`, as Nuke's Write does."""
    ours = sorted(names, key=lambda n: (RGBA.index(n) if n in RGBA else 4, n))
    if not ours:
        raise RuntimeError(f"{path}: nothing to write")
    box = picture.bbox
    spec = oiio.ImageSpec(box.width, box.height, len(ours), oiio.HALF if half else oiio.FLOAT)
    spec.x, spec.y = box.x, box.y
    spec.full_width, spec.full_height = picture.width, picture.height
    spec.channelnames = tuple(_FILE_NAMES.get(n, n) for n in ours)
    spec.attribute("PixelAspectRatio", picture.aspect)
    spec.attribute("compression", _CODES[compression])
    spec.attribute("openexr:type", "scanlineimage")
    for name, value in picture.metadata.items():
        if isinstance(value, str) and name.startswith("exr/vfxswap"):
            spec.attribute(name.removeprefix("exr/"), value)
    pixels = np.stack([picture.plane(n) for n in ours], -1)
    if half:
        with np.errstate(over="ignore"):
            pixels = pixels.astype(np.float16)
    out = oiio.ImageOutput.create(path)
    if out is None or not out.open(path, spec) or not out.write_image(pixels):
        raise RuntimeError(f"{path}: Write error: {out.geterror() if out else oiio.geterror()}")
    out.close()
