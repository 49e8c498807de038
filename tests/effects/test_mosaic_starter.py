"""The themes that ship."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mosaic_world import CPU, frame, plate

from vfxswap import color
from vfxswap.effects.mosaic import Mosaic, MosaicSettings
from vfxswap.io.weights import find_model, list_models
from vfxswap.render.models import Shelf

THEMES = ("eyes", "flowers", "galaxies", "gems", "numbers", "sunsets")


def test_six_themes_and_their_encoder_ship_within_their_budget() -> None:
    models = [m for m in list_models() if m.card.name.startswith("mosaic-")]
    assert {f"mosaic-{theme}" for theme in (*THEMES, "encoder")} <= {m.card.name for m in models}
    size = sum(f.stat().st_size for m in models for f in m.folder.rglob("*") if f.is_file())
    assert size < 7_000_000


@pytest.mark.parametrize("theme", THEMES)
def test_a_theme_shows_itself_and_keeps_the_light(theme: str) -> None:
    settings = MosaicSettings(
        themes=theme, layout="grid", size_min_px=32, size_max_px=32, edge_px=0, color_match=1
    )
    with torch.inference_mode():
        run = Mosaic.load([settings], Shelf(CPU), CPU)
        rgb = plate()
        made = run(frame(rgb), settings, {}).rgb
    before, after = color.to_net(rgb), color.to_net(made)
    assert np.abs(after - before).mean() > 0.01
    tiles = [p.reshape(4, 32, 6, 32, 3).mean((1, 3)) for p in (before, after)]
    assert np.abs(tiles[0] - tiles[1]).max() < 0.03


def test_cards_say_what_a_theme_keeps_beside_the_baseline() -> None:
    for theme in THEMES:
        metrics = find_model(f"mosaic-{theme}").card.metrics
        for name in ("structure_ssim", "theme_distance", "theme_recognised"):
            assert {name, f"{name}_nearest"} <= set(metrics)
