"""What a result file is made of: the comp, its layers and the plate's other parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from vfxswap import __version__
from vfxswap.geometry import Box
from vfxswap.image import (
    ChannelArray,
    Image,
    Layer,
    MetaValue,
    Part,
    TypedTuple,
    matched_type,
)
from vfxswap.io.attributes import STRUCTURE, encode
from vfxswap.io.openexr import PartToWrite

_SHARED: Final = ("timeCode", "chromaticities")
"""Attributes that the OpenEXR library wants alike in all parts."""
_STORAGE: Final = frozenset(
    {
        "Orientation",
        "planarconfig",
        "textureformat",
        "oiio:AverageColor",
        "oiio:BitsPerSample",
        "oiio:ConstantColor",
        "oiio:RowsPerChunk",
        "oiio:SHA-1",
        "oiio:subimages",
    }
)
"""What OpenImageIO says of a file's storage or pixels; of a result it would be untrue."""
_STORAGE_PREFIXES: Final = ("openexr:", "tiff:", "png:", "jpeg:", "targa:", "bmp:", "webp:")
_EXR_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "smpte:TimeCode": ("timeCode", "timecode"),
    "smpte:KeyCode": ("keyCode", "keycode"),
    "DateTime": ("capDate", "string"),
    "ImageDescription": ("comments", "string"),
    "Copyright": ("owner", "string"),
    "ExposureTime": ("expTime", "float"),
    "FNumber": ("aperture", "float"),
}
"""OpenImageIO's names for what EXR has standard attributes for: name and type there."""


def assemble(
    image: Image, layers: Sequence[Layer], metadata: Mapping[str, MetaValue], *, single_part: bool
) -> tuple[Box, list[PartToWrite]]:
    """Data window and parts of a result: the rules are those of `io.exr.write_image`."""
    main = image.part
    window = main.data_window
    others = [p for i, p in enumerate(image.parts) if i != image.main]
    others = [p for p in others if not any(_is_of_layer(p.name, layer) for layer in layers)]
    for part in others:
        window = window.union(part.data_window)

    kept = {n: p for n, p in main.channels.items() if not any(_is_of_layer(n, x) for x in layers)}
    attributes = {_kept_name(k): v for k, v in _exr_metadata(main.metadata).items()}
    attributes["vfxswap/version"] = __version__
    for layer in layers:
        if layer.premultiplied is not None:
            attributes[f"vfxswap/{layer.name}/premultiplied"] = int(layer.premultiplied)
    attributes.update(metadata)
    shared: dict[str, MetaValue] = {k: attributes[k] for k in _SHARED if k in attributes}

    comp = _placed(kept, main.data_window, window)
    parts = [PartToWrite(main.name or "rgba", comp, attributes, main.view)]
    for layer in layers:
        stated = f"vfxswap/{layer.name}/premultiplied"
        own = {k: v for k, v in attributes.items() if k in _SHARED or k == stated}
        planes = _placed(_layer_channels(layer), main.data_window, window)
        parts.append(PartToWrite(layer.name, planes, own, main.view))
    for index, part in enumerate(others):
        named = _with_part_name(part, index)
        own = {k: v for k, v in _exr_metadata(part.metadata).items() if k not in _SHARED}
        own.update(shared)
        planes = _placed(named.channels, part.data_window, window)
        parts.append(PartToWrite(named.name, planes, own, part.view))
    return window, [_merged(parts)] if single_part else _unique(parts)


def _is_of_layer(name: str, layer: Layer) -> bool:
    return name == layer.name or name.startswith(layer.name + ".")


def _kept_name(name: str) -> str:
    """A plate that is itself a result keeps what made it, apart from what makes the new one."""
    if name.startswith("vfxswap/") and not name.endswith("/premultiplied"):
        return "vfxswap/previous/" + name.removeprefix("vfxswap/")
    return name


def _exr_metadata(metadata: Mapping[str, MetaValue]) -> dict[str, MetaValue]:
    """What describes the content, in EXR's names and types; storage and unwritable values drop."""
    kept: dict[str, MetaValue] = {}
    for name, value in metadata.items():
        if name in STRUCTURE or name in _STORAGE or name.startswith(_STORAGE_PREFIXES):
            continue
        if name in _EXR_NAMES:
            name, kind = _EXR_NAMES[name]
            value = _as_kind(value, kind)
        try:
            encode(value)
        except TypeError:
            continue
        kept[name] = value
    return kept


def _as_kind(value: MetaValue, kind: str) -> MetaValue:
    if kind == "string":
        return str(value)
    return float(value) if kind == "float" else TypedTuple(kind, value)


def _layer_channels(layer: Layer) -> dict[str, ChannelArray]:
    like = np.zeros(0, np.float32 if layer.kind == "data" else np.float16)
    return {
        f"{layer.name}.{channel}": matched_type(layer.pixels[..., i], like)
        for i, channel in enumerate(layer.channels)
    }


def _placed(channels: Mapping[str, ChannelArray], own: Box, window: Box) -> dict[str, ChannelArray]:
    """Channels in EXR types, over `window`."""
    placed = {}
    for name, pixels in channels.items():
        if pixels.dtype in (np.uint8, np.uint16):
            top = np.float32(np.iinfo(pixels.dtype).max)
            kind = np.float16 if pixels.dtype == np.uint8 else np.float32
            pixels = (pixels.astype(np.float32) / top).astype(kind)
        elif pixels.dtype not in (np.float16, np.float32, np.uint32):
            pixels = pixels.astype(np.float32)
        if own != window:
            grown = np.zeros((window.height, window.width), pixels.dtype)
            grown[own.slices_in(window)] = pixels
            pixels = grown
        placed[name] = pixels
    return placed


def _with_part_name(part: Part, index: int) -> Part:
    """Bare channel names of a further part carry its name, so that no host takes them for the
    comp's (Nuke ignores part names once a channel has a dot)."""
    name = part.name or f"part{index + 1}"
    channels = {n if "." in n else f"{name}.{n}": p for n, p in part.channels.items()}
    return replace(part, name=name, channels=channels)


def _merged(parts: Sequence[PartToWrite]) -> PartToWrite:
    channels: dict[str, ChannelArray] = {}
    for part in parts:
        for name, pixels in part.channels.items():
            channels.setdefault(name if name not in channels else f"{part.name}.{name}", pixels)
    attributes = {k: v for part in reversed(parts) for k, v in part.attributes.items()}
    return replace(parts[0], channels=channels, attributes=attributes)


def _unique(parts: Sequence[PartToWrite]) -> list[PartToWrite]:
    """EXR wants part names to differ."""
    seen: set[str] = set()
    renamed = []
    for part in parts:
        name, number = part.name, 2
        while name in seen:
            name, number = f"{part.name}_{number}", number + 1
        seen.add(name)
        renamed.append(replace(part, name=name))
    return renamed
