"""Plates and results on disk: bits, windows, types, names and attributes come back as they were."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plates import bits, noise, plain, sink_for, some_layers, write_with_oiio

from vfxswap.effects.base import select
from vfxswap.errors import PlateError
from vfxswap.geometry import Box
from vfxswap.image import Image, Part, TypedTuple, matched_type
from vfxswap.io.exr import read_image, verify_image, write_image

PIXEL_TYPES = (np.float16, np.float32, np.uint32)
METADATA = {
    "timeCode": TypedTuple("timecode", (0x01020304, 7)),
    "keyCode": TypedTuple("keycode", (1, 2, 3, 4, 5, 6, 7)),
    "framesPerSecond": TypedTuple("rational", (24000, 1001)),
    "chromaticities": TypedTuple("chromaticities", [0.75, 0.25, 0, 1, 0, -0.0625, 0.3125, 0.375]),
    "worldToCamera": TypedTuple("m44f", [float(i) for i in range(16)]),
    "capDate": "2026:11:21 03:12:14",
    "comments": 'Tür, 扉 and "quotes"',
    "cryptomatte/1a2b3c4/manifest": '{"hero":"3f8a1b2c"}',
    "nuke/node_hash": "abc",
    "shutter": 0.5,
    "take": -3,
    "opaque": TypedTuple("studioType", (b"\x00\x01\xff",)),
}


CHANNEL_NAMES = st.one_of(
    st.sampled_from(
        ["A", "Z", "id", "depth.Z", "N.x", "crypto00.red", "a.b.c.d", "r", "with space"]
    ),
    st.text("abcdXYZ_.-0ä", min_size=1, max_size=40).filter(lambda n: n.strip(".") == n),
)


@st.composite
def plates(draw: st.DrawFn) -> Image:
    width, height = draw(st.integers(1, 33)), draw(st.integers(1, 21))
    window = Box(draw(st.integers(-9, 9)), draw(st.integers(-9, 9)), width, height)
    display = Box(*draw(st.tuples(*[st.integers(-5, 5)] * 2, *[st.integers(1, 40)] * 2)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    color = draw(st.sampled_from([np.float16, np.float32]))
    kinds: dict[str, Any] = dict.fromkeys("RGB", color)
    for name in draw(st.lists(CHANNEL_NAMES, max_size=4)):
        kinds.setdefault(name, draw(st.sampled_from(PIXEL_TYPES)))
    channels = {n: noise(rng, kind, (height, width)) for n, kind in kinds.items()}
    aspect = float(np.float32(draw(st.sampled_from([1.0, 2.0, 0.9]))))
    part = Part(channels, window, display, aspect, metadata=METADATA)
    return Image((part,), ("R", "G", "B"), 0, next((n for n in "Aa" if n in kinds), None))


# Round trips ----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(plate=plates(), single=st.booleans(), with_layers=st.booleans())
def test_a_plate_comes_back_bit_for_bit_with_windows_and_metadata(
    plate: Image, single: bool, with_layers: bool
) -> None:
    part = plate.part
    layers = some_layers(part.data_window.height, part.data_window.width) if with_layers else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.exr"
        write_image(path, plate, layers, single_part=single)
        back = read_image(path)
    assert back.rgb_names == plate.rgb_names
    assert back.alpha_name == plate.alpha_name
    for name, pixels in part.channels.items():
        assert back.part.channels[name].dtype == pixels.dtype
        assert bits(back.part.channels[name]) == bits(pixels), name
    assert back.part.data_window == part.data_window
    assert back.part.display_window == part.display_window
    assert back.part.pixel_aspect == part.pixel_aspect
    for name, value in METADATA.items():
        found = back.part.metadata[name]
        assert found == value
        assert getattr(found, "kind", None) == getattr(value, "kind", None)


@settings(max_examples=30, deadline=None)
@given(plate=plates(), seed=st.integers(0, 2**32))
def test_where_the_matte_is_zero_every_channel_keeps_its_bits(plate: Image, seed: int) -> None:
    rng = np.random.default_rng(seed)
    window = plate.part.data_window
    shape = (window.height, window.width)
    matte = np.where(rng.random(shape) < 0.5, 0, rng.random(shape)).astype(np.float32)
    inside = rng.uniform(-1, 60000, (*shape, 3)).astype(np.float32)
    changed = {
        name: select(matte, matched_type(inside[..., i], plate.part.channels[name]),
                     plate.part.channels[name])
        for i, name in enumerate(plate.rgb_names)
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_image(Path(folder) / "out.exr", plate.with_channels(changed), some_layers(*shape))
        back = read_image(Path(folder) / "out.exr")
    outside = matte == 0
    for name, pixels in plate.part.channels.items():
        touched = name in plate.rgb_names
        here = outside if touched else np.ones_like(outside)
        assert bits(back.part.channels[name][here]) == bits(pixels[here]), name
        if touched and pixels.dtype == np.float32:
            i = plate.rgb_names.index(name)
            assert bits(back.part.channels[name][~outside]) == bits(inside[~outside][:, i])


@pytest.mark.parametrize("single", [False, True])
def test_another_reader_sees_the_same_pixels_types_and_names(tmp_path: Path, single: bool) -> None:
    plate, layers = plain(kind=np.float32), some_layers(6, 9)
    write_image(tmp_path / "out.exr", plate, layers, single_part=single)
    found: dict[str, Any] = {}
    for index in range(1 if single else 5):
        buffer = oiio.ImageBuf(str(tmp_path / "out.exr"), index, 0)
        spec = buffer.spec()
        pixels: Any = buffer.get_pixels(oiio.FLOAT)
        for i, name in enumerate(spec.channelnames):
            found[name] = pixels[..., i], str(spec.channelformat(i))
    assert len(found) == 4 + 4 + 4 + 1 + 2
    for name in "RGBA":
        assert found[name][1] == "float"
        np.testing.assert_array_equal(found[name][0], plate.part.channels[name])
    for layer in layers:
        for i, channel in enumerate(layer.channels):
            pixels, kind = found[f"{layer.name}.{channel}"]
            assert kind == ("float" if layer.kind == "data" else "half")
            tolerance = 0 if layer.kind == "data" else 2**-11
            np.testing.assert_allclose(pixels, layer.pixels[..., i], rtol=tolerance, atol=1e-7)


def test_added_metadata_and_premultiplication_are_stated_in_part_zero(tmp_path: Path) -> None:
    metadata = {"vfxswap/seed": 7, "vfxswap/model/sha256": "00ff", "vfxswap/big": 2**40}
    write_image(tmp_path / "out.exr", plain(), some_layers(6, 9), metadata=metadata)
    stated = read_image(tmp_path / "out.exr").part.metadata
    assert stated["vfxswap/seed"] == 7
    assert stated["vfxswap/model/sha256"] == "00ff"
    assert stated["vfxswap/big"] == str(2**40)
    assert stated["vfxswap/swap_face/premultiplied"] == 1
    assert "vfxswap/swap_matte/premultiplied" not in stated


def test_a_result_used_as_a_plate_keeps_who_it_shows(tmp_path: Path) -> None:
    write_image(tmp_path / "a.exr", plain(), some_layers(6, 9), metadata={"vfxswap/persona": "x"})
    write_image(tmp_path / "b.exr", read_image(tmp_path / "a.exr"), metadata={"vfxswap/seed": 1})
    stated = read_image(tmp_path / "b.exr").part.metadata
    assert stated["vfxswap/previous/persona"] == "x"
    assert stated["vfxswap/seed"] == 1
    assert "vfxswap/persona" not in stated
    assert stated["vfxswap/swap_face/premultiplied"] == 1, "the layer is still there"


def test_what_described_the_old_file_does_not_describe_the_new(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((70, 80, 3)).astype(np.float32)
    write_with_oiio(
        tmp_path / "tiled.exr", pixels, tile_width=32, tile_height=32, compression="piz",
        openexr__dwaCompressionLevel=30.0, oiio__ConstantColor="1,1,1",
    )  # fmt: skip
    write_image(tmp_path / "out.exr", read_image(tmp_path / "tiled.exr"))
    spec = oiio.ImageBuf(str(tmp_path / "out.exr")).spec()
    assert spec.tile_width == 0
    assert spec.getattribute("compression") == "zips"
    assert "oiio:ConstantColor" not in read_image(tmp_path / "out.exr").part.metadata
    raw = (tmp_path / "out.exr").read_bytes()[:2000]
    assert b"type\0string\0\x0d\0\0\0scanlineimage" in raw
    assert b"tiles\0" not in raw


@pytest.mark.parametrize("single", [False, True])
def test_further_parts_pass_through_raw_and_share_the_windows(tmp_path: Path, single: bool) -> None:
    rng = np.random.default_rng(3)
    display = Box(0, 0, 20, 10)
    main = Part({n: noise(rng, np.float16, (8, 16)) for n in "RGB"}, Box(2, 1, 16, 8), display,
                name="beauty", metadata={"timeCode": METADATA["timeCode"]})  # fmt: skip
    ids = Part(
        {"id": noise(rng, np.uint32, (8, 16))},
        Box(2, 1, 16, 8),
        display,
        name="ids",
        metadata={"manifest": "a=1", "chromaticities": METADATA["chromaticities"]},
    )
    wide = Part({n: noise(rng, np.float16, (12, 24)) for n in "RGB"}, Box(-2, -1, 24, 12),
                display, name="diffuse")  # fmt: skip
    plate = Image((ids, main, wide), ("R", "G", "B"), 1)
    write_image(tmp_path / "out.exr", plate, some_layers(8, 16), single_part=single)
    back = read_image(tmp_path / "out.exr")
    union = Box(-2, -1, 24, 12)
    assert back.main == 0
    assert {p.data_window for p in back.parts} == {union}
    found = {n: pixels for p in back.parts for n, pixels in p.channels.items()}
    inner = main.data_window.slices_in(union)
    assert found["ids.id"].dtype == np.uint32
    assert bits(found["ids.id"][inner]) == bits(ids.channels["id"])
    for name in "RGB":
        assert bits(found[name][inner]) == bits(main.channels[name])
        assert bits(found[f"diffuse.{name}"]) == bits(wide.channels[name])
        outside = np.ones((12, 24), bool)
        outside[inner] = False
        assert not found[name][outside].any()
    held = {k: v for p in back.parts for k, v in p.metadata.items()}
    assert held["manifest"] == "a=1"


def test_a_result_fed_back_keeps_one_layer_of_each_name(tmp_path: Path) -> None:
    first, second = some_layers(6, 9, seed=1), some_layers(6, 9, seed=2)
    for single in (False, True):
        write_image(tmp_path / "a.exr", plain(), first, single_part=single)
        write_image(tmp_path / "b.exr", read_image(tmp_path / "a.exr"), second)
        back = read_image(tmp_path / "b.exr")
        names = [n for p in back.parts for n in p.channels]
        assert len(names) == len(set(names)) == 15
        uv = {n: p for part in back.parts for n, p in part.channels.items()}["swap_uv.green"]
        np.testing.assert_array_equal(uv, second[3].pixels[..., 1])


# Reading what others wrote ----------------------------------------------------------------------


@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize(
    "compression", ["none", "rle", "zip", "zips", "piz", "pxr24", "b44a", "dwaa"]
)
def test_every_compression_reads_scanline_and_tiled(
    tmp_path: Path, compression: str, tile: int
) -> None:
    pixels = np.random.default_rng(0).random((53, 70, 4)).astype(np.float16)
    tiles = {"tile_width": tile, "tile_height": tile} if tile else {}
    write_with_oiio(tmp_path / "p.exr", pixels, compression=compression, **tiles)
    plate = read_image(tmp_path / "p.exr")
    assert verify_image(tmp_path / "p.exr")
    exact = compression not in ("b44a", "dwaa")
    for i, name in enumerate("RGBA"):
        found = plate.part.channels[name]
        assert found.dtype == np.float16
        if exact:
            assert bits(found) == bits(pixels[..., i])
        else:
            np.testing.assert_allclose(found, pixels[..., i], atol=0.3)


def test_the_first_level_of_a_mipmapped_texture_is_the_picture(tmp_path: Path) -> None:
    buffer = oiio.ImageBuf(oiio.ImageSpec(70, 53, 3, oiio.HALF))
    oiio.ImageBufAlgo.fill(buffer, (0.25, 0.5, 1.0))
    path = str(tmp_path / "mip.exr")
    assert oiio.ImageBufAlgo.make_texture(oiio.MakeTxTexture, buffer, path)
    plate = read_image(path)
    assert plate.part.data_window == Box(0, 0, 70, 53)
    np.testing.assert_array_equal(plate.rgb()[0, 0], (0.25, 0.5, 1.0))
    assert verify_image(path)


def test_named_parts_of_another_writer_keep_their_own_channel_names(tmp_path: Path) -> None:
    specs, path = [], str(tmp_path / "multi.exr")
    for name in ("diffuse", "rgba", "depth"):
        names = ("Z",) if name == "depth" else ("R", "G", "B")
        spec = oiio.ImageSpec(5, 4, len(names), oiio.FLOAT)
        spec.channelnames = names
        spec.attribute("oiio:subimagename", name)
        specs.append(spec)
    sink = sink_for(Path(path))
    assert sink.open(path, tuple(specs)), sink.geterror()
    for index, spec in enumerate(specs):
        assert not index or sink.open(path, spec, "AppendSubimage")
        assert sink.write_image(np.full((4, 5, spec.nchannels), index + 1, np.float32))
    assert sink.close()
    plate = read_image(path)
    assert [p.name for p in plate.parts] == ["diffuse", "rgba", "depth"]
    assert [sorted(p.channels) for p in plate.parts] == [["B", "G", "R"]] * 2 + [["Z"]]
    assert plate.main == 0
    assert read_image(path, part="rgba").rgb()[0, 0, 0] == 2
    assert read_image(path, part=2).rgb_names == ("Z", "Z", "Z")
    with pytest.raises(PlateError, match=r"no such part \(got beauty; wanted diffuse, rgba, depth"):
        read_image(path, part="beauty")


def test_views_of_one_file_are_chosen_by_name(tmp_path: Path) -> None:
    rng, box = np.random.default_rng(0), Box(0, 0, 4, 3)
    channels = {f"{v}{c}": noise(rng, np.float16, (3, 4)) for v in ("", "right.") for c in "RGB"}
    views = {"multiView": TypedTuple("stringvector", ("left", "right"))}
    flat = Image((Part(channels, box, box, metadata=views),), ("R", "G", "B"))
    write_image(tmp_path / "flat.exr", flat)
    assert read_image(tmp_path / "flat.exr").rgb_names == ("R", "G", "B")
    assert read_image(tmp_path / "flat.exr", view="left").rgb_names == ("R", "G", "B")
    right = read_image(tmp_path / "flat.exr", view="right")
    assert right.rgb_names == ("right.R", "right.G", "right.B")

    parts = tuple(
        Part({c: noise(rng, np.float16, (3, 4)) for c in "RGB"}, box, box, name=f"rgba_{v}", view=v)
        for v in ("left", "right")
    )
    write_image(tmp_path / "parts.exr", Image(parts, ("R", "G", "B")))
    assert len(read_image(tmp_path / "parts.exr").parts) == 2
    chosen = read_image(tmp_path / "parts.exr", view="right")
    assert [p.view for p in chosen.parts] == ["right"]
    for path in (tmp_path / "flat.exr", tmp_path / "parts.exr"):
        with pytest.raises(PlateError, match="no such view"):
            read_image(path, view="centre")


@pytest.mark.parametrize(
    ("names", "rgb"),
    [
        (("r", "g", "b"), ("r", "g", "b")),
        (("beauty.R", "beauty.G", "beauty.B", "spec.R", "spec.G", "spec.B"),
         ("beauty.R", "beauty.G", "beauty.B")),
        (("ViewLayer.Combined.R", "ViewLayer.Combined.G", "ViewLayer.Combined.B",
          "ViewLayer.AO.R", "ViewLayer.AO.G", "ViewLayer.AO.B"),
         ("ViewLayer.Combined.R", "ViewLayer.Combined.G", "ViewLayer.Combined.B")),
        (("Y", "A"), ("Y", "Y", "Y")),
        (("matte",), ("matte", "matte", "matte")),
    ],
)  # fmt: skip
def test_the_picture_is_found_by_the_channels_names(
    tmp_path: Path, names: tuple[str, ...], rgb: tuple[str, ...]
) -> None:
    box = Box(0, 0, 3, 2)
    channels = {n: np.ones((2, 3), np.float16) for n in names}
    write_image(tmp_path / "p.exr", Image((Part(channels, box, box),), (names[0],) * 3))
    assert read_image(tmp_path / "p.exr").rgb_names == rgb


def test_a_file_without_a_picture_says_which_channels_it_has(tmp_path: Path) -> None:
    box = Box(0, 0, 3, 2)
    channels = {n: np.ones((2, 3), np.float16) for n in ("N.X", "N.Y", "Z")}
    write_image(tmp_path / "p.exr", Image((Part(channels, box, box),), ("Z", "Z", "Z")))
    with pytest.raises(PlateError, match=r"frame 3: no picture .*channels N\.X, N\.Y, Z") as caught:
        read_image(tmp_path / "p.exr", frame=3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "kind", "count", "dtype", "tolerance"),
    [
        ("png", oiio.UINT8, 4, np.uint8, 0.51 / 255),
        ("png", oiio.UINT16, 3, np.uint16, 0.51 / 65535),
        ("tif", oiio.UINT16, 3, np.uint16, 0.51 / 65535),
        ("tif", oiio.FLOAT, 3, np.float32, 0),
        ("dpx", oiio.UINT16, 3, np.uint16, 0.51 / 65535),
        ("tga", oiio.UINT8, 3, np.uint8, 0.51 / 255),
        ("hdr", oiio.FLOAT, 3, np.float32, 0.01),
        ("png", oiio.UINT8, 1, np.uint8, 0.51 / 255),
    ],
)
def test_other_formats_come_through_the_same_door(
    tmp_path: Path, suffix: str, kind: Any, count: int, dtype: Any, tolerance: float
) -> None:
    pixels = np.random.default_rng(0).random((6, 9, count)).astype(np.float32)
    path = tmp_path / f"p.{suffix}"
    write_with_oiio(path, pixels, kind=kind, oiio__UnassociatedAlpha=1)
    plate = read_image(path)
    assert {p.dtype for p in plate.part.channels.values()} == {np.dtype(dtype)}
    np.testing.assert_allclose(plate.rgb() - pixels[..., :3], 0, atol=tolerance)
    if suffix == "png":
        assert plate.color_space == "srgb_rec709_scene"
    write_image(tmp_path / "out.exr", plate)
    back = read_image(tmp_path / "out.exr")
    half = 2**-11 if dtype == np.uint8 else 0
    np.testing.assert_allclose(back.rgb(), plate.rgb(), rtol=half, atol=1e-6 * half)


def test_timecode_of_a_dpx_becomes_the_exr_attribute(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 3), np.float32)
    spec = oiio.ImageSpec(4, 4, 3, oiio.UINT16)
    spec.attribute("smpte:TimeCode", oiio.TypeTimeCode, (0x01020304, 0))
    sink = sink_for(tmp_path / "p.dpx")
    assert sink.open(str(tmp_path / "p.dpx"), spec)
    assert sink.write_image(pixels)
    assert sink.close()
    write_image(tmp_path / "out.exr", read_image(tmp_path / "p.dpx"))
    found = read_image(tmp_path / "out.exr").part.metadata["timeCode"]
    assert found == (0x01020304, 0)
    assert found.kind == "timecode"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_stands_upright(tmp_path: Path, orientation: int) -> None:
    pixels = np.random.default_rng(0).random((4, 6, 3)).astype(np.float32)
    path = str(tmp_path / "p.tif")
    write_with_oiio(Path(path), pixels, kind=oiio.FLOAT, Orientation=orientation)
    wanted = oiio.ImageBufAlgo.reorient(oiio.ImageBuf(path)).get_pixels(oiio.FLOAT)
    np.testing.assert_array_equal(read_image(path).rgb(), wanted)
