"""Takes: one performance by every persona, as crops on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vfxswap.align.crop import template
from vfxswap.errors import CancelledError
from vfxswap.geometry import STABLE
from vfxswap.synth import takes as module
from vfxswap.synth.performance import SINGLE, actions, single_expression
from vfxswap.synth.takes import Takes, render_takes, take
from vfxswap.train.crops import DENSITY, GUESTS, MARGIN, read_crops, stored_size

SMALL = Takes(count=3, seed=4, crop_size=32, guests=3)


def test_a_take_depends_on_its_number_alone() -> None:
    once, again = take(SMALL, 2), take(SMALL, 2)
    other = take(SMALL, 1)
    assert list(once) == ["amber", "basalt", "cedar", GUESTS]
    for role, crops in once.items():
        assert torch.equal(crops.pixels, again[role].pixels)
        assert torch.equal(crops.points, again[role].points)
        assert not torch.equal(crops.pixels, other[role].pixels)


def test_faces_lie_on_the_template_with_a_margin_around() -> None:
    for crops in take(SMALL, 0).values():
        side = stored_size(32)
        assert crops.pixels.shape == (1, 3, side, side)
        assert bool(torch.isfinite(crops.pixels).all())
        in_crop = (crops.points[0].numpy() - side / 2) / DENSITY + 16
        off = (in_crop - template(32))[list(STABLE)]
        assert abs(off.mean(0)).max() < 0.02  # a least-squares fit keeps the centre
        assert crops.face.float().mean() > 0.1 * 255
        assert MARGIN > 1


def test_expression_takes_keep_pose_and_light() -> None:
    still = SMALL.model_copy(update={"vary": "expression", "guests": 0})
    one, two = take(still, 0)["cedar"], take(still, 1)["cedar"]
    nose = slice(27, 31)
    torch.testing.assert_close(one.points[:, nose], two.points[:, nose], atol=0.5, rtol=0)
    assert not torch.allclose(one.points, two.points, atol=0.5)


def test_a_single_expression_is_one_action_at_readable_strength() -> None:
    rng = np.random.default_rng(3)
    drawn = [single_expression(rng) for _ in range(200)]
    known = [set(actions(**one).nonzero()[0].tolist()) for one in SINGLE]
    found = [set(state.actions.nonzero()[0].tolist()) for state in drawn]
    assert all(each in known for each in found)
    assert all(any(each == one for each in found) for one in known)
    assert all(state.actions.max() >= 0.3 for state in drawn if state.actions.any())
    glances = [abs(state.gaze_yaw) for state in drawn if not state.actions.any()]
    assert max(glances) > 0.3


def test_single_takes_change_the_acting_and_nothing_else() -> None:
    bare = SMALL.model_copy(update={"guests": 0, "personas": ("cedar",)})
    mixed, single = take(bare, 1)["cedar"], take(bare.model_copy(update={"single_share": 1.0}), 1)
    nose, mouth = slice(27, 31), slice(48, 68)
    torch.testing.assert_close(
        mixed.points[:, nose], single["cedar"].points[:, nose], atol=1, rtol=0
    )
    assert not torch.allclose(mixed.points[:, mouth], single["cedar"].points[:, mouth], atol=1)


def test_whole_shards_are_kept_and_missing_ones_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD", 1)
    with pytest.raises(CancelledError):
        render_takes(tmp_path, SMALL, processes=0, stop=lambda: True)
    first = tmp_path / "takes-00000.safetensors"
    assert [f.name for f in tmp_path.glob("*.safetensors")] == [first.name]
    time = first.stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    render_takes(tmp_path, SMALL, processes=0, progress=lambda *n: seen.append(n))
    assert seen == [(2, 3), (3, 3)]
    assert first.stat().st_mtime_ns == time
    crops = read_crops(tmp_path)
    assert crops.paired
    assert crops.crop_size == 32
    assert {role: len(c) for role, c in crops.roles.items()} == dict.fromkeys(
        ("amber", "basalt", "cedar", GUESTS), 3
    )
    for role, played in take(SMALL, 2).items():
        assert torch.equal(crops.roles[role].pixels[2:], played.pixels)
