"""Results read by Nuke's published rules for names, windows and its fast scanline path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nuke_rules import BUILT_IN, nuke_channels, nuke_name, slow_reasons, window_faults

from vfxswap.geometry import Box
from vfxswap.image import Image, Layer, LayerKind, Part, TypedTuple
from vfxswap.io.exr import write_image
from vfxswap.io.openexr import Header, read_headers


def result(path: Path, *, single: bool) -> tuple[Header, ...]:
    """A plate with overscan, an anamorphic aspect, an AOV part and an id part, and our layers."""
    rng, window, display = np.random.default_rng(0), Box(-4, -3, 24, 18), Box(0, 0, 16, 12)
    timecode = {"timeCode": TypedTuple("timecode", (1, 2))}

    def part(names: str, name: str) -> Part:
        pixels = {n: rng.random((18, 24)).astype(np.float16) for n in names.split()}
        return Part(pixels, window, display, 2.0, name, metadata=timecode)

    def layer(name: str, channels: str, kind: LayerKind) -> Layer:
        names = tuple(channels.split())
        pixels = rng.random((18, 24, len(names))).astype(np.float32)
        return Layer(name, names, pixels, kind, True if kind == "color" else None)

    parts = (part("R G B A", "rgba"), part("R G B", "diffuse"), part("id", "ids"))
    plate = Image(parts, ("R", "G", "B"))
    layers = [
        layer("swap_face", "red green blue alpha", "color"),
        layer("swap_matte", "red green blue alpha", "matte"),
        layer("swap_conf", "red", "matte"),
        layer("swap_id", "red", "data"),
        layer("swap_uv", "red green", "data"),
    ]
    write_image(path, plate, layers, single_part=single)
    return read_headers(path)


@pytest.fixture(params=[False, True], ids=["multi-part", "single-part"])
def headers(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Header, ...]:
    return result(tmp_path / "out.exr", single=request.param)


def test_the_reader_follows_the_rules_it_states() -> None:
    assert nuke_name("R", "", True) == "rgba.red"
    assert nuke_name("diffuse.G", "x", True) == "diffuse.green"
    assert nuke_name("R", "diffuse", False) == "diffuse.red"
    assert nuke_name("a.b c.r", "", True) == "a_b_c.red"
    assert nuke_name("1st.Z", "", True) == "st.Z"


def test_every_channel_has_a_name_of_its_own_in_nuke(headers: tuple[Header, ...]) -> None:
    names = nuke_channels(headers)
    assert len(names) == len(set(names)) == 4 + 3 + 1 + 12


def test_the_comp_is_rgba_and_no_own_layer_adds_to_a_built_in_one(
    headers: tuple[Header, ...],
) -> None:
    names = nuke_channels(headers)
    assert {n for n in names if n.startswith("rgba.")} == set(BUILT_IN.values())
    ours = [n.partition(".") for n in names if n.startswith("swap_")]
    assert len(ours) == 12
    for layer in {layer for layer, _, _ in ours}:
        channels = [c for name, _, c in ours if name == layer]
        assert 1 <= len(channels) <= 4
        assert all(len(c) > 1 for c in channels)
        assert not layer.isdigit()


def test_own_channels_are_multi_letter_in_the_file_too(headers: tuple[Header, ...]) -> None:
    own = [c.name for h in headers for c in h.channels if c.name.startswith("swap_")]
    assert all(len(name.rpartition(".")[2]) > 1 for name in own)


def test_all_parts_share_windows_aspect_line_order_and_timecode(
    headers: tuple[Header, ...],
) -> None:
    assert {h.data_window for h in headers} == {Box(-4, -3, 24, 18)}
    assert {h.display_window for h in headers} == {Box(0, 0, 16, 12)}
    assert window_faults(headers) == []
    assert len({h.attributes["timeCode"] for h in headers}) == 1
    assert headers[0].attributes["pixelAspectRatio"] == 2.0


def test_nothing_keeps_a_file_from_the_fast_scanline_path(headers: tuple[Header, ...]) -> None:
    assert slow_reasons(headers) == []
    assert {h.attributes["compression"] for h in headers} == {(b"\x02",)}, "ZIPS"


def test_metadata_for_nuke_is_in_part_zero(headers: tuple[Header, ...]) -> None:
    assert headers[0].attributes["vfxswap/swap_face/premultiplied"] == 1
    assert "vfxswap/version" in headers[0].attributes
