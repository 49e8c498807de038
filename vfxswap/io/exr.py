"""Plates in, results out: EXR, and TIFF, DPX, PNG, JPEG … through the same door. The only user of
OpenImageIO.

EXR is decoded by OpenImageIO beside headers read by `io.openexr`, so that every channel keeps its
type, its name and its bits, and every attribute its name and type.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import OpenImageIO as oiio  # noqa: N813

from vfxswap.errors import OutputError, PlateError
from vfxswap.files import atomic_path
from vfxswap.geometry import Box
from vfxswap.image import ChannelArray, Image, Layer, MetaValue, Part, Pixels
from vfxswap.io.attributes import STRUCTURE
from vfxswap.io.openexr import Header, check_decoded_bytes, read_headers, write_scanlines
from vfxswap.io.picture import FilePath, choose
from vfxswap.io.result import assemble

_EXR_MAGIC: Final = b"\x76\x2f\x31\x01"
_TURNS: Final[Mapping[int, Callable[[Any], Any]]] = {
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: p[::-1].swapaxes(0, 1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: p[:, ::-1].swapaxes(0, 1),
}
"""What sets a camera's picture upright, by its Exif orientation."""


def read_image(
    path: FilePath,
    *,
    frame: int | None = None,
    part: int | str | None = None,
    view: str | None = None,
) -> Image:
    """One frame with all its parts and channels, each in its own type, bit for bit.

    `part` (index or name) and `view` choose the part that effects work on; without them it is the
    first with R, G, B (any case; else a layer such as `rgba.R`; else one luminance channel).
    Parts of views other than `view` are left out. `frame` only words the errors.

    Raises PlateError for what is missing, empty, cut off, damaged, deep, too large for any memory,
    or has no picture.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(4)
    except FileNotFoundError as error:
        raise PlateError("no such file", file=path, frame=frame) from error
    except OSError as error:
        raise PlateError("cannot be opened", got=error.strerror, file=path, frame=frame) from error
    if not start:
        raise PlateError("file is empty", got="0 bytes", wanted="a plate", file=path, frame=frame)
    is_exr = start == _EXR_MAGIC or Path(path).suffix.lower() == ".exr"
    parts = _exr_parts(path, frame) if is_exr else (_other_part(path, frame),)
    return choose(parts, path, frame, part, view)


@contextmanager
def _opened(path: FilePath, frame: int | None) -> Iterator[Any]:
    config = oiio.ImageSpec()
    for hint in ("oiio:UnassociatedAlpha", "oiio:RawColor"):
        config.attribute(hint, 1)
    source = oiio.ImageInput.open(os.fspath(path), config)
    if source is None:
        reason = _reason(oiio.geterror, path) or "unknown format"
        raise PlateError("cannot be read", got=reason, file=path, frame=frame)
    try:
        yield source
    except UnicodeDecodeError as error:
        raise PlateError("a name is not UTF-8", file=path, frame=frame) from error
    finally:
        source.close()


def _pixels(source: Any, path: FilePath, frame: int | None, *which: Any) -> Any:
    try:
        pixels = source.read_image(*which)
    except MemoryError as error:
        raise PlateError("does not fit into memory", file=path, frame=frame) from error
    if pixels is None:
        reason = _reason(source.geterror, path) or "pixels missing"
        raise PlateError("cannot be read", got=reason, file=path, frame=frame)
    return pixels


def _reason(told: Callable[[], str], path: FilePath) -> str:
    """OpenImageIO's error on one line, without the path, which ours name already."""
    try:
        text = told()
    except UnicodeDecodeError:
        return "a damaged file"
    return " ".join(text.split()).replace(f'"{os.fspath(path)}"', "file")[:200]


def _exr_parts(path: FilePath, frame: int | None) -> tuple[Part, ...]:
    headers = read_headers(path, frame=frame)
    for header in headers:
        if header.deep:
            raise PlateError(
                "deep EXR", got="deep samples", wanted="a flat plate (flatten it first)",
                file=path, frame=frame,
            )  # fmt: skip
        for channel in header.channels:
            if (channel.x_sampling, channel.y_sampling) != (1, 1):
                raise PlateError(
                    "subsampled channel", got=f"{channel.name} at {channel.x_sampling}x"
                    f"{channel.y_sampling}", wanted="full resolution", file=path, frame=frame,
                )  # fmt: skip
    with _opened(path, frame) as source:
        return tuple(_exr_part(source, i, h, path, frame) for i, h in enumerate(headers))


def _exr_part(source: Any, index: int, header: Header, path: FilePath, frame: int | None) -> Part:
    attributes = header.attributes
    name, view = str(attributes.get("name", "")), str(attributes.get("view", ""))
    aspect = attributes.get("pixelAspectRatio", 1.0)
    spec = source.spec(index, 0)
    order = _file_order(spec.channelnames, [c.name for c in header.channels], name)
    dtypes = {c.name: c.dtype for c in header.channels}
    channels: dict[str, ChannelArray] = {}
    for begin, end in _runs([dtypes[n] for n in order]):
        kind = _type_desc(dtypes[order[begin]])
        pixels = _pixels(source, path, frame, index, 0, begin, end, kind)
        for offset, channel in enumerate(order[begin:end]):
            channels[channel] = np.ascontiguousarray(pixels[..., offset])
    return Part(
        channels={c.name: channels[c.name] for c in header.channels},
        data_window=header.data_window,
        display_window=header.display_window,
        pixel_aspect=aspect if isinstance(aspect, float) and 0 < aspect < math.inf else 1.0,
        name=name,
        view=view,
        metadata={k: v for k, v in attributes.items() if k not in STRUCTURE},
    )


def _file_order(read: Sequence[str], stored: Sequence[str], part: str) -> list[str]:
    """OpenImageIO's channel order in the file's own names (it may put the part's in front)."""
    remaining, order = set(stored), []
    for name in read:
        plain = name if name in remaining else name.removeprefix(part + ".")
        if plain not in remaining:
            plain = next((n for n in remaining if n.lower() == plain.lower()), plain)
        remaining.discard(plain)
        order.append(plain)
    return order


def _runs(kinds: Sequence[Any]) -> Iterator[tuple[int, int]]:
    begin = 0
    for end in range(1, len(kinds) + 1):
        if end == len(kinds) or kinds[end] != kinds[begin]:
            yield begin, end
            begin = end


def _type_desc(dtype: np.dtype[Any]) -> Any:
    return {"f2": oiio.HALF, "f4": oiio.FLOAT, "u4": oiio.UINT32}[dtype.str[1:]]


def _jpeg_is_cut(path: FilePath) -> bool:
    """No end marker after the last start of scan: decoders fill the rest with grey, unasked."""
    data = Path(path).read_bytes()
    return data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[max(0, data.rfind(b"\xff\xda")) :]


def _other_part(path: FilePath, frame: int | None) -> Part:
    with _opened(path, frame) as source:
        if source.format_name() == "jpeg" and _jpeg_is_cut(path):
            raise PlateError("cut off", wanted="a finished file", file=path, frame=frame)
        spec = source.spec()
        check_decoded_bytes(spec.image_bytes(), path=path, frame=frame)
        native = (oiio.UINT8, oiio.UINT16, oiio.UINT32, oiio.HALF)
        kind = spec.format.basetype if spec.format.basetype in native else oiio.FLOAT
        pixels = _pixels(source, path, frame, 0, 0, 0, spec.nchannels, kind)
        metadata = {a.name: a.value for a in spec.extra_attribs}
        if spec.alpha_channel < 0:
            metadata.pop("oiio:UnassociatedAlpha", None)
        window = Box(spec.x, spec.y, spec.width, spec.height)
        display = Box(spec.full_x, spec.full_y, spec.full_width, spec.full_height)
        aspect = float(metadata.pop("PixelAspectRatio", 1.0)) or 1.0
        orientation = int(metadata.pop("Orientation", 1))
        if orientation in _TURNS:
            pixels = _TURNS[orientation](pixels)
            window = display = Box(0, 0, pixels.shape[1], pixels.shape[0])
            aspect = 1.0 / aspect if orientation > 4 else aspect
        return Part(
            channels={
                name: np.ascontiguousarray(pixels[..., i])
                for i, name in enumerate(spec.channelnames)
            },
            data_window=window,
            display_window=display,
            pixel_aspect=aspect,
            metadata=metadata,
        )


@dataclass(frozen=True, slots=True)
class Anomaly:
    """How many pixels of a channel are no finite number."""

    part: str
    channel: str
    inf: int
    nan: int


def find_anomalies(image: Image) -> tuple[Anomaly, ...]:
    """The channels of all parts that hold inf or nan, with their pixel counts."""
    found = []
    for part in image.parts:
        for name, pixels in part.channels.items():
            if pixels.dtype.kind != "f" or np.isfinite(pixels).all():
                continue
            infs, nans = int(np.isinf(pixels).sum()), int(np.isnan(pixels).sum())
            found.append(Anomaly(part.name, name, infs, nans))
    return tuple(found)


def verify_image(path: FilePath) -> bool:
    """Whether the file exists and all of it can be read (for EXR: finished and not cut off)."""
    try:
        with Path(path).open("rb") as file:
            if file.read(4) == _EXR_MAGIC:
                read_headers(path)
        with _opened(path, None) as source:
            index = 0
            while source.seek_subimage(index, 0):
                spec = source.spec()
                check_decoded_bytes(spec.image_bytes(), path=path, frame=None)
                kind = oiio.HALF if spec.format.basetype == oiio.HALF else oiio.FLOAT
                _pixels(source, path, None, index, 0, 0, spec.nchannels, kind)
                index += 1
            _reason(source.geterror, path)
            return index > 0
    except (PlateError, OSError):
        return False


def write_image(
    path: FilePath,
    image: Image,
    layers: Sequence[Layer] = (),
    *,
    metadata: Mapping[str, MetaValue] | None = None,
    single_part: bool = False,
    threads: int = 2,
) -> None:
    """The final comp and its layers as one scanline ZIPS EXR.

    Part 0 is `image`'s main part: channels in the plate's types, bit for bit (8-bit integers
    become half, others float, 0…1, since EXR has no such types), then `layers` (half; data as
    float; channels `name.red` …), then the plate's other parts, raw. A layer replaces a part or
    channels of its name. `single_part` puts all channels into one part. All parts share windows
    (the union, zeros outside a part's own) and aspect. Pixels are written as they are: bring
    colour layers into the plate's space first.

    The plate's metadata stays; `metadata` is added to part 0. The file appears whole, verified,
    or not at all. Raises OutputError.
    """
    if Path(path).suffix.lower() != ".exr":
        raise OutputError("results are EXR", got=Path(path).suffix or "no suffix", file=path)
    try:
        window, parts = assemble(image, layers, metadata or {}, single_part=single_part)
        with atomic_path(path) as temporary:
            with temporary.open("wb") as file:
                write_scanlines(
                    file,
                    parts,
                    data_window=window,
                    display_window=image.part.display_window,
                    pixel_aspect=image.part.pixel_aspect,
                    threads=threads,
                )
            if not verify_image(temporary):
                raise OutputError("does not read back after writing", file=path)
    except TypeError as error:
        raise OutputError("metadata cannot be written", got=str(error), file=path) from error


def write_png(path: FilePath, rgb: Pixels) -> None:
    """An 8-bit PNG of [H, W, 3] display-referred 0…1 values (clipped; nan is black).

    Raises OutputError.
    """
    levels = np.rint(np.clip(np.nan_to_num(rgb, nan=0.0, posinf=1.0, neginf=0.0), 0, 1) * 255)
    spec = oiio.ImageSpec(rgb.shape[1], rgb.shape[0], rgb.shape[2], oiio.UINT8)
    with atomic_path(path) as temporary:
        sink = oiio.ImageOutput.create(os.fspath(temporary))
        if sink is None:
            raise OutputError("cannot be written", got=Path(path).suffix, wanted=".png", file=path)
        written = sink.open(os.fspath(temporary), spec) and sink.write_image(
            np.ascontiguousarray(levels.astype(np.uint8))
        )
        if not (sink.close() and written and verify_image(temporary)):
            reason = _reason(sink.geterror, path) or "it does not read back, disk full?"
            raise OutputError("cannot be written", got=reason, file=path)
