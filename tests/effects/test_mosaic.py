from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from mosaic_world import CPU, effect, encoder, frame, generator, plate

from vfxswap import color
from vfxswap.effects.base import Frame, LoadedNet
from vfxswap.effects.mosaic import Mosaic, MosaicSettings
from vfxswap.effects.mosaic_settings import weighted
from vfxswap.effects.outputs import LAYERS
from vfxswap.errors import JobError, ModelError, PlateError
from vfxswap.image import Pixels
from vfxswap.nets.mosaic import MosaicGeneratorSettings
from vfxswap.persona import ModelCard
from vfxswap.settings import validated


def wanted(**values: object) -> MosaicSettings:
    return validated(MosaicSettings, {"size_min_px": 16, "size_max_px": 32, **values})


def matte(width: int = 192, height: int = 128) -> Pixels:
    """1 in the middle, soft to its left, 0 outside."""
    values = np.zeros((height, width), np.float32)
    values[30:90, 40:120] = 1
    values[30:90, 30:40] = 0.5
    return values


def test_layers_are_the_declared_ones_over_the_whole_frame() -> None:
    settings = wanted()
    result = effect(settings)(frame(plate()), settings, {})
    assert [layer.name for layer in result.layers] == [spec.name for spec in LAYERS["mosaic"]]
    assert [layer.channels for layer in result.layers] == [s.channels for s in LAYERS["mosaic"]]
    assert all(layer.pixels.shape[:2] == (128, 192) for layer in result.layers)
    assert (result.matte > 0.5).mean() >= 0.79
    assert result.notes == ()


@pytest.mark.parametrize("shape", ["rectangle", "ellipse", "hexagon", "soft", "picture"])
@pytest.mark.parametrize("layout", ["random", "grid", "overlapping", "adaptive"])
def test_outside_the_matte_the_plate_keeps_its_bits(shape: str, layout: str) -> None:
    settings = wanted(shape=shape, layout=layout, coverage=0.4)
    rgb = plate()
    rgb[0, 0] = [np.nan, np.inf, -3.0]
    area = matte()
    mattes = {"area": area, "shape": matte(64, 64), "holdout": np.roll(area, 60, 1)}
    result = effect(settings)(frame(rgb, mattes=mattes), settings, {})
    outside = result.matte == 0
    assert (outside[area == 0]).all()
    assert (outside[mattes["holdout"] == 1]).all()
    assert np.array_equal(result.rgb[outside].view(np.uint32), rgb[outside].view(np.uint32))
    assert result.matte.max() > 0.4
    assert np.isfinite(result.rgb[~outside]).all()


def test_one_frame_gives_the_same_pixels_again() -> None:
    settings = wanted(rotation_deg=40, aspect_max=2, themes="flowers, gems=2")
    first, again = (effect(settings)(frame(plate()), settings, {}) for _ in range(2))
    assert np.array_equal(first.rgb, again.rgb)


def test_the_mean_of_a_patch_is_the_plates() -> None:
    settings = wanted(layout="grid", size_max_px=32, edge_px=0, contrast_match=0)
    rgb = plate()
    result = effect(settings)(frame(rgb), settings, {})
    net, made = color.to_net(rgb), color.to_net(result.rgb)
    for y in range(0, 128, 32):
        for x in range(0, 192, 32):
            here = (slice(y, y + 32), slice(x, x + 32))
            assert np.allclose(net[here].mean((0, 1)), made[here].mean((0, 1)), atol=0.02)


@pytest.mark.parametrize("level", [0.001, 0.05, 12.0, 900.0])
def test_light_keeps_its_scale_far_beyond_what_networks_have_seen(level: float) -> None:
    settings = wanted(layout="grid", edge_px=0)
    result = effect(settings)(frame(plate() * 0.2 + np.float32(level)), settings, {})
    assert np.exp(np.log(result.rgb.clip(1e-6)).mean()) == pytest.approx(level + 0.1, rel=0.3)


def test_a_highlight_of_12_comes_through_at_its_scale() -> None:
    settings = wanted(layout="grid", edge_px=0, contrast_match=1)
    rgb = plate() * 0.3
    rgb[64 - 6 : 64 + 6, 80 - 6 : 80 + 6] = 12.0
    shown = effect(settings)(frame(rgb), settings, {}).rgb
    without = wanted(layout="grid", edge_px=0, contrast_match=1, highlights=0)
    lost = effect(without)(frame(rgb), without, {}).rgb
    assert np.median(shown[60:68, 76:84]) == pytest.approx(12, rel=0.2)
    assert shown.max() < 14
    assert lost[60:68, 76:84].max() < 4


def test_quarters_of_a_patch_take_the_plates_light_as_far_as_is_asked() -> None:
    rgb = plate(seed=4) + np.float32(0.1)

    def apart(light_match: float) -> float:
        settings = wanted(
            layout="grid", size_max_px=32, edge_px=0, contrast_match=0, light_match=light_match
        )
        made = color.to_net(effect(settings)(frame(rgb), settings, {}).rgb)
        cells = [p.reshape(16, 8, 24, 8, 3).mean((1, 3)) for p in (color.to_net(rgb), made)]
        return float(np.abs(cells[0] - cells[1]).mean())

    none, half, whole = (apart(value) for value in (0, 0.5, 1))
    assert whole < 0.6 * half < 0.6 * 0.75 * none


def test_equal_areas_differ_by_patch_and_stay_with_it_and_variety_0_makes_them_equal() -> None:
    even = np.full((128, 192, 3), 0.2, np.float32)

    def shown(variety: float, number: int = 1) -> Pixels:
        settings = wanted(layout="grid", size_max_px=32, edge_px=0, variety=variety)
        made = effect(settings, free=8)(frame(even, number=number), settings, {}).rgb
        return made.reshape(4, 32, 6, 32, 3).swapaxes(1, 2).reshape(24, -1)

    assert np.ptp(shown(0), axis=0).max() < 1e-5
    assert (np.abs(shown(1)[:, None] - shown(1)[None]).max(-1) > 1e-3).sum() == 24 * 23
    assert np.array_equal(shown(1), shown(1, number=9))
    assert np.ptp(shown(2), axis=0).mean() > 1.5 * np.ptp(shown(1), axis=0).mean()


def test_holes_in_the_plate_are_closed_by_the_mosaic() -> None:
    settings = wanted(layout="grid", edge_px=0)
    rgb = plate()
    rgb[40:44, 50:60] = np.nan
    result = effect(settings)(frame(rgb), settings, {})
    assert np.isfinite(result.rgb).all()


def test_a_plate_without_a_finite_pixel_is_refused_in_a_sentence() -> None:
    settings = wanted()
    with pytest.raises(PlateError, match="frame 1001: the plate holds no finite pixel"):
        effect(settings)(frame(np.full((128, 192, 3), np.nan, np.float32)), settings, {})


def test_an_empty_area_lets_the_plate_through_and_says_so() -> None:
    settings = wanted()
    rgb = plate()
    result = effect(settings)(
        frame(rgb, mattes={"area": np.zeros((128, 192), np.float32)}), settings, {}
    )
    assert np.array_equal(result.rgb, rgb)
    assert result.notes == ("the area is empty: the plate goes through",)
    faces = wanted(area="faces")
    result = effect(faces)(frame(rgb), faces, {})
    assert result.notes == ("no face found: the plate goes through",)
    assert not result.matte.any()


def test_ids_and_their_colours_stay_with_a_patch_that_moves() -> None:
    settings = wanted(motion="drift", drift_x_px=8, layout="grid", size_max_px=32, edge_px=0)
    run = effect(settings)
    first, second = (
        run(frame(plate(), number=number), settings, {}).layers[2].pixels for number in (0, 1)
    )
    assert np.array_equal(first[:, :180], second[:, 8:188])
    assert set(np.unique(first[..., 3])) == set(range(1, 25))


def test_the_st_map_stays_within_its_patch() -> None:
    settings = wanted(rotation_deg=45)
    result = effect(settings)(frame(plate()), settings, {})
    ids, uv = result.layers[2].pixels[..., 3], result.layers[3].pixels
    assert ((uv >= 0).all(-1) == (ids > 0)).all()
    assert uv.max() <= 1
    assert ((ids > 0) <= (result.matte > 0)).all()


def test_themes_are_chosen_by_weights_matte_or_luminance() -> None:
    def shown(**values: object) -> Pixels:
        settings = wanted(layout="grid", edge_px=0, color_match=0, **values)
        mattes = {"theme": (np.arange(192) >= 96).astype(np.float32)[None].repeat(128, 0)}
        return effect(settings)(frame(ramp, mattes=mattes), settings, {}).rgb

    ramp = np.geomspace(0.001, 2, 192, dtype=np.float32)[None, :, None].repeat(128, 0).repeat(3, 2)
    flowers, gems = shown(themes="flowers"), shown(themes="gems")
    by_matte = shown(themes="flowers, gems", theme_by="matte")
    assert np.array_equal(by_matte[:, :96], flowers[:, :96])
    assert np.array_equal(by_matte[:, 96:], gems[:, 96:])
    by_light = shown(themes="flowers, gems", theme_by="luminance")
    assert np.array_equal(by_light[:, :32], flowers[:, :32])
    assert np.array_equal(by_light[:, -32:], gems[:, -32:])
    assert np.array_equal(shown(themes="flowers, gems=0"), flowers)
    mixed = shown(themes="flowers, gems")
    assert not np.array_equal(mixed, flowers)
    assert not np.array_equal(mixed, gems)


def test_feedback_goes_through_a_theme_again() -> None:
    once, twice = wanted(), wanted(feedback=1)
    other = wanted(feedback=1, feedback_theme="gems")
    shown = [effect(s)(frame(plate()), s, {}).rgb for s in (once, twice, other)]
    assert not np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[1], shown[2])


def test_a_list_that_is_given_back_gives_the_same_picture() -> None:
    free = wanted(rotation_deg=20)
    run = effect(free)
    prepared = run.prepare([frame(plate())])
    given = wanted(rotation_deg=20, patches=json.dumps(prepared["patches"]))
    first, second = run(frame(plate()), free, prepared), effect(given)(frame(plate()), given, {})
    assert np.abs(first.rgb - second.rgb).mean() < 1e-3
    assert (first.layers[2].pixels != second.layers[2].pixels).mean() < 0.001


def test_paste_order_goes_by_what_is_asked() -> None:
    for order in ("size", "luminance", "back"):
        settings = wanted(order=order, layout="overlapping", overlap=0.6)
        run = effect(settings)
        patches = run.prepare([frame(plate())])["patches"]
        top = run(frame(plate()), settings, {}).layers[2].pixels[..., 3].astype(int)
        if order == "size":
            shown = [patches[i - 1]["width"] for i in np.unique(top) if i]
            assert np.mean(shown) < np.mean([row["width"] for row in patches])
        if order == "back":
            assert top[-1].min() > top[0].max() - len(patches) // 4


def test_work_resolution_changes_pixels_but_not_the_layout() -> None:
    plain, fine, coarse = (wanted(work_scale=scale) for scale in (1, 2, 0.5))
    shown = [effect(s)(frame(plate()), s, {}) for s in (plain, fine, coarse)]
    for other, near in zip(shown[1:], (0.03, 0.08)):
        assert other.rgb.shape == shown[0].rgb.shape
        assert np.abs(other.matte - shown[0].matte).mean() < near
        seen, wanted_rgb = (cv2.blur(r.rgb, (9, 9)) for r in (other, shown[0]))
        assert np.abs(seen - wanted_rgb).mean() < near / 2
        assert np.array_equal(np.unique(other.layers[2].pixels[..., 3]),
                              np.unique(shown[0].layers[2].pixels[..., 3]))  # fmt: skip


def test_overscan_does_not_move_the_patches() -> None:
    settings = wanted(layout="grid", edge_px=0)
    ids = []
    for at in ((0, 0), (-16, -8)):
        rgb = plate()
        result = effect(settings)(frame(rgb, at=at), settings, {})
        ids.append(result.layers[2].pixels[..., 3])
    assert np.array_equal(ids[1][8:, 16:], ids[0][:-8, :-16])


class _Shelf:
    """Models of a job by name."""

    def __init__(self, **models: LoadedNet) -> None:
        self._models = {name.replace("_", "-"): net for name, net in models.items()}

    def for_persona(self, persona: str) -> LoadedNet:
        raise AssertionError("a mosaic has no persona")

    def for_stage(self, stage: str) -> LoadedNet:
        raise AssertionError(stage)

    def picture(self, file: str) -> Pixels:
        raise ModelError("no pictures here", got=file)

    def reference(self, picture: str) -> Frame:
        raise ModelError("no pictures here", got=picture)

    def by_name(self, name: str) -> LoadedNet:
        if name not in self._models:
            raise ModelError("no such model", got=name, wanted="perhaps mosaic-flowers")
        return self._models[name]


def _card(name: str, sha256: str = "0" * 64) -> ModelCard:
    return ModelCard(
        name=name, effect="mosaic", network="mosaic_generator", licence="Apache-2.0",
        synthetic=True, training_data="none", training_licence="none", recipe="none",
        weights_sha256=sha256,
    )  # fmt: skip


def _theme(sha256: str) -> LoadedNet:
    net = generator(1)
    shape: MosaicGeneratorSettings = net.settings
    net.settings = shape.model_copy(update={"encoder": "e", "encoder_sha256": sha256})
    return LoadedNet(_card("mosaic-flowers"), net)


def test_an_unknown_theme_is_refused_with_the_nearest_names() -> None:
    shelf = _Shelf(mosaic_flowers=_theme("0" * 64), e=LoadedNet(_card("e"), encoder()))
    with pytest.raises(ModelError, match="got mosaic-flwers; wanted perhaps mosaic-flowers"):
        Mosaic.load([wanted(themes="flwers")], shelf, CPU)


def test_a_theme_of_another_encoder_is_refused_in_a_sentence() -> None:
    shelf = _Shelf(mosaic_flowers=_theme("1" * 64), e=LoadedNet(_card("e"), encoder()))
    with pytest.raises(ModelError, match="theme flowers was trained for another encoder"):
        Mosaic.load([wanted()], shelf, CPU)


def test_faces_are_tracked_only_where_they_are_asked_for() -> None:
    shelf = _Shelf(mosaic_flowers=_theme("0" * 64), e=LoadedNet(_card("e"), encoder()))
    assert not Mosaic.load([wanted()], shelf, CPU).needs_faces
    assert Mosaic.load([wanted(area="faces")], shelf, CPU).needs_faces
    assert Mosaic.load([wanted(motion="tracks")], shelf, CPU).needs_faces


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"coverage": 0}, "coverage is wrong"),
        ({"themes": "flowers=x"}, "weight of theme flowers is 'x', wanted a number"),
        ({"themes": "flowers, flowers"}, "named twice"),
        ({"themes": "a=0"}, "no theme has a weight above 0"),
        ({"patches": "[{"}, "patch list is no valid JSON"),
        ({"size_min_px": 50}, "size_min_px 50.0 is above size_max_px 32.0"),
        ({"patches": [{"id": 1, "x": 0, "y": 0, "width": 9, "height": 9}] * 2}, "not unique"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_a_sentence(
    values: dict[str, object], says: str
) -> None:
    with pytest.raises(JobError, match=says):
        wanted(**values)


def test_weights_are_read_as_written() -> None:
    assert weighted("flowers, gems=0.5") == {"flowers": 1.0, "gems": 0.5}


def test_loading_changes_no_global_state_of_torch() -> None:
    before = torch.random.get_rng_state()
    settings = wanted()
    run = effect(settings)
    torch.random.set_rng_state(before)
    run(frame(plate()), settings, {})
    assert torch.equal(torch.random.get_rng_state(), before)
