"""Net space inverts; colour spaces are found by job, file or rule, and convert without clamping."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PyOpenColorIO as ocio  # noqa: N813
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vfxswap.color import ColorManager, from_net, to_net
from vfxswap.errors import ColorError
from vfxswap.geometry import Box
from vfxswap.image import Image, MetaValue, Part, TypedTuple

FINITE = st.floats(float(np.float32(-1e37)), float(np.float32(3e38)), width=32)
REC709 = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)


@pytest.fixture(scope="module")
def colors() -> ColorManager:
    return ColorManager("ocio://cg-config-v2.2.0_aces-v1.3_ocio-v2.4")


def plate(color_space: str = "", **metadata: MetaValue) -> Image:
    box = Box(0, 0, 2, 1)
    part = Part({n: np.zeros((1, 2), np.float16) for n in "RGB"}, box, box, metadata=metadata)
    return Image((part,), ("R", "G", "B"), color_space=color_space)


# Net space ----------------------------------------------------------------------------------------


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_net_space_gives_every_finite_value_back(values: list[float]) -> None:
    linear = np.array(values, np.float32)
    tolerance = np.where(np.abs(linear) < 7e4, 4e-6, 1e-5) * np.abs(linear) + 2e-8
    assert np.all(np.abs(from_net(to_net(linear)).astype(np.float64) - linear) <= tolerance)


@given(FINITE, FINITE)
def test_net_space_keeps_order(one: float, other: float) -> None:
    low, high = sorted((one, other))
    net = to_net(np.array([low, high], np.float32))
    assert net[0] <= net[1]


def test_every_half_float_is_told_from_its_neighbours_in_net_space() -> None:
    halves = np.arange(0, 0x7C00, dtype=np.uint16).view(np.float16)
    halves = np.concatenate([-halves[:0:-1], halves])
    net = to_net(halves)
    assert net.dtype == np.float32
    assert np.all(np.diff(net) >= 0)
    assert np.array_equal(from_net(net).astype(np.float16)[halves > 1e-3], halves[halves > 1e-3])
    assert np.array_equal(from_net(net).astype(np.float16)[halves < -1e-3], halves[halves < -1e-3])


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20))
def test_arrays_and_tensors_agree(values: list[float]) -> None:
    linear = np.array(values, np.float32)
    tensor = to_net(torch.from_numpy(linear))
    np.testing.assert_allclose(tensor.numpy(), to_net(linear), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        from_net(tensor).numpy(), from_net(tensor.numpy()), rtol=5e-6, atol=1e-7
    )


def test_net_space_is_acescct_where_acescct_is_defined(colors: ColorManager) -> None:
    """Down to ACEScct's code value 0; the config's own curve is the reference."""
    linear = np.geomspace(1e-6, 60000, 3000, dtype=np.float32).reshape(10, 100, 3)
    np.testing.assert_allclose(to_net(linear), colors.from_working(linear, "ACEScct"), atol=2e-6)
    small = np.linspace(-0.0069, 0.01, 300, dtype=np.float32).reshape(1, 100, 3)
    np.testing.assert_allclose(to_net(small), colors.from_working(small, "ACEScct"), atol=2e-6)


def test_broken_values_stay_broken_in_net_space() -> None:
    broken = np.array([np.inf, -np.inf, np.nan], np.float32)
    tensor = torch.from_numpy(broken)
    for curved in (to_net(broken), from_net(broken), to_net(tensor), from_net(tensor)):
        np.testing.assert_array_equal(np.asarray(curved), broken)


def test_half_tensors_are_computed_in_float_and_gradients_are_finite() -> None:
    assert to_net(torch.tensor([0.18], dtype=torch.bfloat16)).dtype == torch.float32
    for curve in (to_net, from_net):
        values = torch.tensor([-5.0, 0.0, 0.0078125, 0.5, 7.0], requires_grad=True)
        (slope,) = torch.autograd.grad(curve(values).sum(), values)
        assert bool(torch.isfinite(slope).all())
        assert bool((slope > 0).all())


def test_net_space_needs_no_color_library() -> None:
    code = "import sys, vfxswap.color; print(*{'PyOpenColorIO', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# The plate's space --------------------------------------------------------------------------------


def test_the_jobs_word_wins_over_the_files(colors: ColorManager) -> None:
    found = colors.resolve(plate("ACES2065-1"), "p.exr", "lin_rec709_scene")
    assert found == ("Linear Rec.709 (sRGB)", "stated by the job")
    assert not found.assumed


@pytest.mark.parametrize(
    ("said", "metadata", "space"),
    [
        ("lin_rec709_scene", {}, "Linear Rec.709 (sRGB)"),
        ("ACEScg", {}, "ACEScg"),
        ("srgb_rec709_scene", {}, "sRGB Encoded Rec.709 (sRGB)"),
        ("sRGB", {}, "sRGB Encoded Rec.709 (sRGB)"),
        ("Linear", {}, "Linear Rec.709 (sRGB)"),
        ("", {"acesImageContainerFlag": 1}, "ACES2065-1"),
        ("", {"chromaticities": TypedTuple("chromaticities", REC709)}, "Linear Rec.709 (sRGB)"),
        (
            "",
            {"chromaticities": (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)},
            "ACEScg",
        ),
    ],
)
def test_the_files_word_is_taken_and_named_as_the_reason(
    colors: ColorManager, said: str, metadata: dict[str, Any], space: str
) -> None:
    found = colors.resolve(plate(said, **metadata), "p.exr")
    assert found.space == space
    assert "the file" in found.reason
    assert not found.assumed


@pytest.mark.parametrize(
    ("said", "metadata"),
    [
        ("", {}),
        ("Studio Log 7", {}),
        ("", {"chromaticities": (0.7, 0.3, 0.2, 0.7, 0.1, 0.1, 0.3, 0.3)}),
    ],
)
def test_what_nobody_says_is_assumed_and_said_so(
    colors: ColorManager, said: str, metadata: dict[str, Any]
) -> None:
    found = colors.resolve(plate(said, **metadata), "p.exr")
    assert found.space == "ACES2065-1"
    assert found.assumed
    assert "default file rule" in found.reason
    assert said in found.reason
    assert ("chromaticities" in found.reason) == bool(metadata)


def test_an_unknown_space_is_a_bad_job_that_names_the_nearest(colors: ColorManager) -> None:
    with pytest.raises(ColorError, match=r"unknown colour space \(got 'ACESCG2'; wanted ACEScg or"):
        colors.resolve(plate(), "p.exr", "ACESCG2")
    with pytest.raises(ColorError, match="unknown colour space"):
        colors.to_working(np.zeros((1, 1, 3), np.float32), "nothing")


# Configs ------------------------------------------------------------------------------------------


def studio_config(folder: Path) -> Path:
    """A small config of its own names, as old studio configs are, with a file rule."""
    config = ocio.Config.CreateRaw()
    matrix = [0.6954522414, 0.1406786965, 0.1638690622, 0, 0.0447945634, 0.8596711185, 0.0955343182,
              0, -0.0055258826, 0.0040252103, 1.0015006723, 0, 0, 0, 0, 1]  # fmt: skip
    config.addColorSpace(ocio.ColorSpace(name="plate_lin", aliases=["lin_ap0"]))
    work = ocio.ColorSpace(name="studio_lin", aliases=["lin_ap1"])
    work.setTransform(ocio.MatrixTransform(matrix), ocio.COLORSPACE_DIR_TO_REFERENCE)
    config.addColorSpace(work)
    config.setRole("scene_linear", "studio_lin")
    config.setRole("aces_interchange", "plate_lin")
    config.setMajorVersion(2)
    rules = config.getFileRules()
    rules.insertRule(0, "scans", "plate_lin", "*scan*", "exr")
    config.setFileRules(rules)
    path = folder / "config.ocio"
    path.write_text(config.serialize())
    return path


def test_the_environments_config_wins_over_the_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OCIO", raising=False)
    assert ColorManager().working == "ACEScg"
    monkeypatch.setenv("OCIO", str(studio_config(tmp_path)))
    assert ColorManager().working == "studio_lin"
    assert ColorManager("ocio://cg-config-v2.2.0_aces-v1.3_ocio-v2.4").working == "ACEScg"


def test_file_rules_and_aliases_of_a_studios_config_are_used(tmp_path: Path) -> None:
    colors = ColorManager(studio_config(tmp_path))
    by_rule = colors.resolve(plate(), "/show/a_scan.1001.exr")
    assert by_rule.space == "plate_lin"
    assert "file rule scans" in by_rule.reason
    assert not by_rule.assumed
    assert colors.resolve(plate("ACEScg"), "p.exr").space == "studio_lin"
    assert colors.resolve(plate(), "p.exr").assumed


def test_sheets_look_alike_under_a_config_without_srgb(
    tmp_path: Path, colors: ColorManager
) -> None:
    rgb = np.random.default_rng(0).uniform(-0.1, 1.2, (4, 5, 3)).astype(np.float32)
    studio = ColorManager(studio_config(tmp_path))
    np.testing.assert_allclose(studio.to_display(rgb), colors.to_display(rgb), atol=2e-3)


@pytest.mark.parametrize("text", [None, "no config", "ocio_profile_version: 2\n"])
def test_a_config_that_cannot_be_used_is_a_bad_job(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config.ocio"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ColorError, match=r"config\.ocio: ") as caught:
        ColorManager(path)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


# Conversions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["ACES2065-1", "lin_rec709", "lin_rec2020", "ACEScg"])
def test_linear_spaces_keep_negative_and_huge_values(colors: ColorManager, space: str) -> None:
    rgb = np.random.default_rng(0).uniform(-1, 60000, (7, 9, 3)).astype(np.float32)
    rgb[0] = -rgb[0]
    before = rgb.copy()
    there = colors.to_working(rgb, space)
    assert there.min() < -10000
    assert there.max() > 10000
    np.testing.assert_allclose(colors.from_working(there, space), rgb, rtol=1e-5, atol=0.02)
    np.testing.assert_array_equal(rgb, before)
    assert there is not rgb


def test_conversion_agrees_with_published_primaries(colors: ColorManager) -> None:
    """Rec.709 red in ACEScg: 0.6131, 0.0702, 0.0206 (Bradford, S-2014-004 primaries)."""
    red = np.array([[[1, 0, 0]]], np.float32)
    np.testing.assert_allclose(
        colors.to_working(red, "lin_rec709")[0, 0], (0.6131, 0.0702, 0.0206), atol=1e-4
    )


@pytest.mark.parametrize("space", ["ACEScg", "lin_rec709", "srgb_tx", "ACEScct"])
def test_inf_and_nan_survive_conversion(colors: ColorManager, space: str) -> None:
    rgb = np.array([[[np.inf, 1, 1], [1, np.nan, 1], [0.5, 0.5, 0.5]]], np.float32)
    there = colors.to_working(rgb, space)
    assert not np.isfinite(there[0, 0]).all()
    assert np.isnan(there[0, 1]).any()
    assert np.isfinite(there[0, 2]).all()


def test_the_working_space_is_left_bit_for_bit(colors: ColorManager) -> None:
    octets = np.random.default_rng(0).integers(0, 256, (5, 7, 12), dtype=np.uint8)
    rgb = octets.view(np.float32)
    assert colors.to_working(rgb, "scene_linear").tobytes() == rgb.tobytes()


def test_display_is_srgb_clipped_to_0_and_1(colors: ColorManager) -> None:
    grey = np.array([[[v] * 3 for v in (-1, 0, 0.18, 1, 50, np.nan, np.inf)]], np.float32)
    shown = colors.to_display(grey)[0, :, 0]
    np.testing.assert_allclose(shown, (0, 0, 0.4614, 1, 1, 0, 1), atol=1e-4)
