"""Plates that are broken and disks that are full: one error, one sentence, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plates import plain, sink_for, some_layers, write_with_oiio

from vfxswap.errors import OutputError, PlateError
from vfxswap.io.exr import find_anomalies, read_image, verify_image, write_image, write_png


def test_anomalies_are_counted_by_part_and_channel() -> None:
    plate = plain(kind=np.float32)
    red = np.zeros((6, 9), np.float32)
    red[0, :3], red[1, 0], red[2, 0] = np.nan, np.inf, -np.inf
    clean = {n: np.zeros((6, 9), np.float16) for n in "GBA"}
    found = find_anomalies(plate.with_channels({"R": red, **clean}))
    assert [(a.channel, a.inf, a.nan) for a in found] == [("R", 2, 3)]


def test_a_deep_plate_is_refused_with_a_sentence(tmp_path: Path) -> None:
    spec, data = oiio.ImageSpec(4, 3, 2, oiio.FLOAT), oiio.DeepData()
    spec.channelnames, spec.deep = ("A", "Z"), True
    data.init(12, 2, (oiio.FLOAT, oiio.FLOAT), ("A", "Z"))
    for pixel in range(12):
        data.set_samples(pixel, 2)
    sink = sink_for(tmp_path / "deep.exr")
    assert sink.open(str(tmp_path / "deep.exr"), spec)
    assert sink.write_deep_image(data)
    assert sink.close()
    with pytest.raises(PlateError, match=r"deep\.exr, frame 7: deep EXR .*flatten"):
        read_image(tmp_path / "deep.exr", frame=7)


@pytest.mark.parametrize("single", [False, True])
def test_a_file_cut_off_anywhere_is_incomplete(tmp_path: Path, single: bool) -> None:
    write_image(tmp_path / "whole.exr", plain(), some_layers(6, 9), single_part=single)
    whole = (tmp_path / "whole.exr").read_bytes()
    cut = tmp_path / "cut.exr"
    for size in [*range(0, len(whole), 23), len(whole) - 1]:
        cut.write_bytes(whole[:size])
        assert not verify_image(cut)
        with pytest.raises(PlateError, match=r"cut\.exr, frame 12: ") as caught:
            read_image(cut, frame=12)
        assert "\n" not in str(caught.value)
    assert verify_image(tmp_path / "whole.exr")


@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("compression", ["none", "zip", "piz", "dwaa"])
def test_a_cut_plate_of_any_storage_is_incomplete(
    tmp_path: Path, compression: str, tile: int
) -> None:
    pixels = np.random.default_rng(0).random((53, 70, 4)).astype(np.float16)
    tiles = {"tile_width": tile, "tile_height": tile} if tile else {}
    write_with_oiio(tmp_path / "p.exr", pixels, compression=compression, **tiles)
    whole = (tmp_path / "p.exr").read_bytes()
    for share in (0.05, 0.3, 0.6, 0.95, 0.9999):
        (tmp_path / "cut.exr").write_bytes(whole[: int(len(whole) * share)])
        assert not verify_image(tmp_path / "cut.exr")
        with pytest.raises(PlateError):
            read_image(tmp_path / "cut.exr")


@pytest.mark.parametrize("suffix", ["png", "tif", "dpx", "jpg", "hdr"])
def test_a_cut_picture_of_another_format_is_a_plate_error(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"p.{suffix}"
    write_with_oiio(
        whole, np.random.default_rng(0).random((60, 90, 3), np.float32), kind=oiio.UINT8
    )
    assert read_image(whole).part.data_window.width == 90
    content = whole.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9, 0.999):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(PlateError, match="frame 4: "):
            read_image(cut, frame=4)


def test_a_file_whose_writer_died_is_incomplete(tmp_path: Path) -> None:
    """A writer that dies leaves zeros in the chunk table; readers may fill the lines with black."""
    write_image(tmp_path / "p.exr", plain(height=40, width=30))
    raw = bytearray((tmp_path / "p.exr").read_bytes())
    table = raw.index(b"vfxswap/version")
    table = raw.index(b"\0", raw.index(b"0.1.0", table)) + 1
    raw[table + 8 * 39 : table + 8 * 40] = bytes(8)
    (tmp_path / "p.exr").write_bytes(raw)
    assert not verify_image(tmp_path / "p.exr")
    with pytest.raises(PlateError, match="1 of 40 chunks missing"):
        read_image(tmp_path / "p.exr")


@settings(max_examples=80, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), seed=st.integers(0, 3))
def test_a_damaged_file_reads_or_raises_a_plate_error(at: float, value: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.exr"
        write_image(path, plain(), some_layers(6, 9)[:seed])
        raw = bytearray(path.read_bytes())
        raw[int(at * len(raw))] = value
        path.write_bytes(raw)
        with contextlib.suppress(PlateError):
            read_image(path)
        verify_image(path)


@pytest.mark.parametrize("name", ["p.exr", "p.png", "p.tif", "p.dpx"])
def test_missing_empty_and_foreign_files_are_plate_errors(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(PlateError, match="frame 5: no such file"):
        read_image(path, frame=5)
    for content in (b"", b"\0" * 100, b"no picture at all"):
        path.write_bytes(content)
        with pytest.raises(PlateError, match="frame 5: ") as caught:
            read_image(path, frame=5)
        assert "\n" not in str(caught.value)
        assert not verify_image(path)
    with pytest.raises(PlateError):
        read_image(tmp_path)


# Writing that fails -------------------------------------------------------------------------------


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel refuses to grow files beyond `size`, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 500, 20_000])
def test_when_the_disk_is_full_the_old_result_stays_and_nothing_else(
    tmp_path: Path, size: int
) -> None:
    path = tmp_path / "out.exr"
    write_image(path, plain())
    before = path.read_bytes()
    with file_size_limit(size), pytest.raises(OutputError, match=r"out\.exr: cannot be written"):
        write_image(path, plain(height=200, width=300), some_layers(200, 300))
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == ["out.exr"]
    with file_size_limit(100), pytest.raises(OutputError):
        write_png(tmp_path / "sheet.png", np.random.default_rng(0).random((99, 99, 3), np.float32))
    assert leftovers(tmp_path) == ["out.exr"]


def test_what_cannot_be_written_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OutputError):
        write_image(tmp_path / "file" / "out.exr", plain())
    (tmp_path / "folder.exr").mkdir()
    with pytest.raises(OutputError, match="a folder of that name"):
        write_image(tmp_path / "folder.exr", plain())
    with pytest.raises(OutputError, match="results are EXR"):
        write_image(tmp_path / "out.png", plain())
    with pytest.raises(OutputError, match="metadata cannot be written"):
        write_image(tmp_path / "out.exr", plain(), metadata={"vfxswap/thing": object()})
    assert leftovers(tmp_path) == ["file", "folder.exr"]


@pytest.mark.parametrize("mode", [0o555, 0o444, 0o000])
def test_without_permission_writing_is_an_output_error(mode: int) -> None:
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "out").mkdir()
        folder.chmod(0o755)
        (folder / "out").chmod(mode)
        try:
            if root:  # whom permissions do not bind
                os.seteuid(65534)
            with pytest.raises(OutputError, match="Permission denied"):
                write_image(folder / "out" / "out.exr", plain())
        finally:
            if root:
                os.seteuid(0)
            (folder / "out").chmod(0o755)
        assert leftovers(folder / "out") == []


def test_when_a_small_disk_runs_full_nothing_is_left(tmp_path: Path) -> None:
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if not mounted or mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        write_image(tmp_path / "small.exr", plain())
        with pytest.raises(OutputError, match="No space left"):
            write_image(tmp_path / "big.exr", plain(height=200, width=300))
        assert leftovers(tmp_path) == ["small.exr"]
        assert verify_image(tmp_path / "small.exr")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_png_holds_display_values(tmp_path: Path) -> None:
    rgb = np.array([[[0, 0.5, 1], [-1, 2, np.nan]]], np.float32)
    write_png(tmp_path / "sheet.png", rgb)
    found = read_image(tmp_path / "sheet.png").part.channels
    assert [found[n].tolist() for n in "RGB"] == [[[0, 0]], [[128, 255]], [[255, 0]]]
