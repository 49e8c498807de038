"""What the fake of Nuke computes, against formulas written down here and files read elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from fake_nuke import FakeNuke, Node, Picture, read_exr, write_exr
from fake_nuke.pictures import RGBA

from vfxswap.geometry import Box

WINDOW = Box(-4, -3, 24, 18)


def ramp(value: float) -> Picture:
    return Picture({n: np.full((2, 2), value, np.float32) for n in RGBA}, Box(0, 0, 2, 2), 2, 2)


def reader(fake: FakeNuke, path: Path) -> Node:
    node: Node = fake.nuke.nodes.Read(file=path.as_posix(), raw=True)
    return node


def picture(seed: int = 0, window: Box = WINDOW) -> Picture:
    """Highlights, negatives, overscan; alpha between 0 and 1."""
    rng = np.random.default_rng(seed)
    planes = {n: rng.normal(0, 4, (window.height, window.width)).astype(np.float32) for n in RGBA}
    planes["rgba.alpha"] = rng.random((window.height, window.width)).astype(np.float32)
    planes["rgba.alpha"][:4] = 0
    planes["swap_matte.red"] = rng.random((window.height, window.width)).astype(np.float32)
    return Picture(planes, window, 16, 12)


class Bench:
    """Two pictures on disk, and nodes on them."""

    def __init__(self, fake: FakeNuke, folder: Path) -> None:
        self.fake = fake
        fake.root_node["format"].setValue("16 12 0 0 16 12 1 small")  # type: ignore[attr-defined]
        self.inputs = []
        for index in (0, 1):
            path = folder / f"in{index}.exr"
            source = picture(index)
            write_exr(str(path), source, source.channels, half=False, compression="none")
            self.inputs.append(reader(fake, path))
        self.b, self.a = (fake.picture(node, 1) for node in self.inputs)

    def __call__(self, kind: str, *, inputs: int = 1, **knobs: Any) -> Picture:
        node = getattr(self.fake.nuke.nodes, kind)(inputs=self.inputs[:inputs])
        for name, value in knobs.items():
            node[name].setValue(value)
        return self.fake.picture(node, 1)


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    with FakeNuke() as fake:
        yield Bench(fake, tmp_path)


def same(one: Picture, other: Picture, names: Any = RGBA) -> bool:
    return one.bbox == other.bbox and all(
        np.array_equal(one.plane(n), other.plane(n), equal_nan=True) for n in names
    )


def test_a_file_comes_back_bit_for_bit_with_a_black_pixel_around_overscan(bench: Bench) -> None:
    source = picture(0)
    assert bench.b.bbox == WINDOW.grown(1)
    assert bench.b.channels.keys() == source.channels.keys()
    for name, plane in source.channels.items():
        assert np.array_equal(bench.b.plane(name)[1:-1, 1:-1], plane)
        assert not bench.b.plane(name)[0].any() and not bench.b.plane(name)[:, -1].any()


def test_a_file_without_overscan_keeps_its_window(tmp_path: Path) -> None:
    source = picture(0, Box(0, 0, 16, 12))
    write_exr(str(tmp_path / "a.exr"), source, RGBA, half=True, compression="Zip (1 scanline)")
    again = read_exr(str(tmp_path / "a.exr"))
    assert again.bbox == Box(0, 0, 16, 12)
    halves = source.plane("rgba.red").astype(np.float16).astype(np.float32)
    assert np.array_equal(again.plane("rgba.red"), halves)


def test_a_missing_file_is_an_error_or_black_as_the_read_says(bench: Bench, tmp_path: Path) -> None:
    node: Any = reader(bench.fake, tmp_path / "none.%04d.exr")
    node["last"].setValue(2000)
    with pytest.raises(RuntimeError, match=r"none.1001.exr: Read error: No such file"):
        bench.fake.picture(node, 1001)
    node["on_error"].setValue("black")
    assert not bench.fake.picture(node, 1001).plane("rgba.red").any()


def test_a_switch_passes_one_input_untouched(bench: Bench) -> None:
    assert same(bench("Switch", inputs=2, which=1), bench.a)
    assert same(bench("Switch", inputs=2, which=0), bench.b)
    assert same(bench("Switch", inputs=2, which=7), bench.a), "beyond the last: the last"


def test_a_disabled_node_passes_its_first_input(bench: Bench) -> None:
    assert same(bench("Grade", white=3, disable=True), bench.b)


def test_crop_counts_from_the_lower_left(bench: Bench) -> None:
    cut = bench("Crop", box=[2, 1, 10, 5])
    assert cut.bbox == Box(2, 7, 8, 4), "rows 1 to 4 from below are 7 to 10 from above"
    whole = bench.b.plane("rgba.red", Box(2, 7, 8, 4))
    assert np.array_equal(cut.plane("rgba.red"), whole)
    assert bench("Crop", box=[2, 1, 10, 5], reformat=True).bbox == Box(0, 0, 8, 4)


def test_copy_takes_channels_of_a(bench: Bench) -> None:
    made = bench("Copy", inputs=2, from0="rgba.red", to0="rgba.alpha")
    assert np.array_equal(made.plane("rgba.alpha"), bench.a.plane("rgba.red"))
    assert np.array_equal(made.plane("rgba.green"), bench.b.plane("rgba.green"))


def test_shuffle_moves_channels_and_fills(bench: Bench) -> None:
    rows = "2 swap_matte.red 0 0 rgba.alpha 0 3 white -1 -1 rgba.green 0 1"
    made = bench("Shuffle2", mappings=rows)
    assert np.array_equal(made.plane("rgba.alpha"), bench.b.plane("swap_matte.red"))
    assert (made.plane("rgba.green") == 1).all()
    assert np.array_equal(made.plane("rgba.red"), bench.b.plane("rgba.red"))


@pytest.mark.parametrize(
    ("operation", "formula"),
    [
        ("over", lambda a, b, m: a + b * (1 - m)), ("plus", lambda a, b, m: a + b),
        ("multiply", lambda a, b, m: a * b), ("mask", lambda a, b, m: b * m),
        ("stencil", lambda a, b, m: b * (1 - m)), ("copy", lambda a, b, m: a),
    ],
)  # fmt: skip
def test_merge_follows_its_formula(
    bench: Bench, operation: str, formula: Callable[[Any, Any, Any], Any]
) -> None:
    made = bench("Merge2", inputs=2, operation=operation)
    alpha = bench.a.plane("rgba.alpha")
    for name in RGBA:
        wanted = formula(bench.a.plane(name), bench.b.plane(name), alpha)
        assert np.array_equal(made.plane(name), wanted), name


def test_keymix_is_exact_where_its_mask_is_0_or_1(bench: Bench) -> None:
    mask = bench.fake.nuke.nodes.Constant(
        inputs=[], channels="alpha", color=[0, 0, 0, 1], format="8 12 0 0 8 12"
    )
    node = bench.fake.nuke.nodes.Keymix(inputs=[*bench.inputs, mask])
    assert same(bench.fake.picture(node, 1), bench.a)
    node["invertMask"].setValue(True)
    assert same(bench.fake.picture(node, 1), bench.b)


def test_grade_follows_its_formula_and_keeps_negatives(bench: Bench) -> None:
    made = bench("Grade", white=2, add=0.5, black_clamp=False)
    wanted = np.float32(2) * bench.b.plane("rgba.red") + np.float32(0.5)
    assert np.array_equal(made.plane("rgba.red"), wanted) and wanted.min() < 0
    assert np.array_equal(made.plane("rgba.alpha"), bench.b.plane("rgba.alpha"))
    masked = bench("Grade", white=2, black_clamp=False, maskChannelInput="rgba.alpha")
    clear = bench.b.plane("rgba.alpha") == 0
    assert np.array_equal(masked.plane("rgba.red")[clear], bench.b.plane("rgba.red")[clear])
    assert bench("Grade").plane("rgba.red").min() == 0, "Nuke's default clamps blacks"


def test_a_conversion_to_the_same_space_changes_no_bit(bench: Bench) -> None:
    assert same(bench("OCIOColorSpace"), bench.b)
    other = bench("OCIOColorSpace", out_colorspace="Linear Rec.709 (sRGB)")
    assert not np.array_equal(other.plane("rgba.red"), bench.b.plane("rgba.red"))
    assert np.array_equal(other.plane("rgba.alpha"), bench.b.plane("rgba.alpha"))


def test_reformat_repeats_pixels(bench: Bench) -> None:
    big = bench("Reformat", type="scale", scale=4, filter="impulse", pbb=True)
    assert (big.width, big.height) == (64, 48)
    assert np.array_equal(big.plane("rgba.red")[::4, ::4], bench.b.plane("rgba.red"))


def test_st_map_of_identity_gives_the_picture_back(tmp_path: Path) -> None:
    window = Box(0, 0, 16, 12)
    y, x = np.mgrid[0:12, 0:16].astype(np.float32)
    uv = {"swap_uv.red": (x + 0.5) / 16, "swap_uv.green": 1 - (y + 0.5) / 12}
    with FakeNuke() as fake:
        source = picture(0, window)
        write_exr(str(tmp_path / "p.exr"), source, RGBA, half=False, compression="none")
        st = Picture(uv, window, 16, 12)
        write_exr(str(tmp_path / "s.exr"), st, uv, half=False, compression="none")
        node = fake.nuke.nodes.STMap(
            inputs=[reader(fake, tmp_path / n) for n in ("p.exr", "s.exr")],
            uv="swap_uv", filter="impulse",
        )  # fmt: skip
        assert same(fake.picture(node, 1), source)


def test_what_the_fake_cannot_compute_exactly_it_refuses(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="impulse"):
        bench("Reformat", type="scale", scale=2)
    with pytest.raises(RuntimeError, match="whites"):
        bench("Grade", white_clamp=True)
    with pytest.raises(RuntimeError, match="raw"):
        bench.fake.picture(bench.fake.nuke.nodes.Read(file="x.exr"), 1)


def test_parts_with_different_windows_are_misread(tmp_path: Path) -> None:
    specs = []
    for index, width in enumerate((16, 8)):
        spec = oiio.ImageSpec(width, 12, 1, oiio.HALF)
        spec.full_width, spec.full_height = 16, 12
        spec.channelnames = (f"layer{index}.red",)
        spec.attribute("oiio:subimagename", f"part{index}")
        specs.append(spec)
    path = str(tmp_path / "a.exr")
    out = oiio.ImageOutput.create(path)
    assert out is not None and out.open(path, tuple(specs))
    for index, spec in enumerate(specs):
        if index:
            out.open(path, spec, "AppendSubimage")
        out.write_image(np.zeros((12, spec.width, 1), np.float16))
    out.close()
    with pytest.raises(RuntimeError, match="misread by Nuke: parts differ in data window"):
        read_exr(path)


def test_a_shim_is_caught_that_forgets_to_reload(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    with FakeNuke() as fake:
        node = reader(fake, path)
        write_exr(str(path), ramp(1), RGBA, half=False, compression="none")
        assert fake.picture(node, 1).plane("rgba.red")[0, 0] == 1
        write_exr(str(path), ramp(2), RGBA, half=False, compression="none")
        assert fake.picture(node, 1).plane("rgba.red")[0, 0] == 1, "what it read before"
        node["reload"].execute()  # type: ignore[attr-defined]
        assert fake.picture(node, 1).plane("rgba.red")[0, 0] == 2
