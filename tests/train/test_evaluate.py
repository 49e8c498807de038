"""Truth evaluation: what is counted, what is compared, and that perfect swaps score as such."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vfxswap.errors import JobError
from vfxswap.nets.comb import Comb, CombSettings
from vfxswap.nets.identity import IdentityNet, IdentitySettings
from vfxswap.persona import Persona
from vfxswap.train.crops import GUESTS, Crops, CropSet, seeded, stored_size
from vfxswap.train.evaluate import (
    BASELINES,
    display,
    evaluate,
    flip_error,
    masked_scores,
    write_sheet,
)
from vfxswap.train.evaluate_acting import expression_gate, flicker, identity_margin

COLOURS = {"amber": (0.0, 0.0, 0.0), "basalt": (0.05, -0.02, -0.04)}
PERSONAS = tuple(
    Persona(id=name, synthetic=True, net_mean=(0.4 + r, 0.4 + g, 0.4 + b))
    for name, (r, g, b) in COLOURS.items()
)


class Unchanged(Comb):
    """A comb that gives its input back: a perfect swap between faces that differ in colour."""

    def forward(self, x: Tensor, persona: str, *, alpha: float = 1.0) -> Tensor:
        return x


def comb(kind: type[Comb] = Unchanged) -> Comb:
    return kind(CombSettings(personas=tuple(COLOURS), level=3, width=0.02))


def same_faces_in_other_colours(*, count: int = 8, paired: bool = True) -> CropSet:
    side = stored_size(32)
    coarse = torch.rand(count, 3, 9, 9, generator=seeded(1)) * 0.3 + 0.25
    face = F.interpolate(coarse, (side, side), mode="bicubic")
    matte = torch.zeros(count, 1, side, side, dtype=torch.uint8)
    matte[..., side // 4 : -side // 4, side // 4 : -side // 4] = 255
    roles = {}
    for role, colour in {**COLOURS, GUESTS: (0.1, 0.1, 0.1)}.items():
        pixels = face + torch.tensor(colour).view(1, 3, 1, 1)
        # float32: the perfect swap shall be limited by arithmetic alone
        roles[role] = Crops(pixels, matte, matte.clone(), torch.zeros(count, 70, 2))
    return CropSet(32, paired, roles)


def test_psnr_and_ssim_count_the_matte_alone() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((2, 20, 20, 3)).astype(np.float32)
    matte = torch.zeros(2, 1, 20, 20, dtype=torch.bool)
    matte[:, :, 5:12, 4:9] = True
    got = rng.random(truth.shape).astype(np.float32)
    got[:, 5:12, 4:9] = truth[:, 5:12, 4:9] + np.float32(0.1)
    psnr, ssim = masked_scores(got, truth, matte)
    np.testing.assert_allclose(psnr, 20.0, atol=1e-4)
    got[:, 5:12, 4:9] = truth[:, 5:12, 4:9]
    psnr, ssim = masked_scores(got, truth, matte)
    np.testing.assert_allclose(psnr, 100.0)
    np.testing.assert_allclose(ssim, 1.0)


def test_frames_without_a_face_do_not_count() -> None:
    truth = np.full((3, 16, 16, 3), 0.5, np.float32)
    matte = torch.ones(3, 1, 16, 16, dtype=torch.bool)
    matte[1] = False
    psnr, _ = masked_scores(truth, truth, matte)
    assert len(psnr) == 2


def test_display_is_srgb_clipped() -> None:
    net = torch.tensor([[0.41358840, 1.2, -0.5]]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    grey = torch.full((1, 3, 2, 2), 0.41358840)
    np.testing.assert_allclose(display(grey), 0.4613, atol=1e-3)
    shown = display(net)
    assert shown.min() >= 0
    assert shown.max() <= 1


def test_a_perfect_swap_beats_every_baseline() -> None:
    report = evaluate(comb(), PERSONAS, same_faces_in_other_colours())
    assert report.frames == 8
    assert report.swapped_frames == 16
    assert report.psnr["swap"] > 80
    assert report.ssim["swap"] > 0.9999
    assert report.psnr["unswapped"] < 30
    assert report.margin_db == pytest.approx(
        report.psnr["swap"] - max(report.psnr[b] for b in BASELINES)
    )
    assert {(p.performer, p.persona) for p in report.pairs} == {
        ("amber", "basalt"),
        ("basalt", "amber"),
    }
    assert [p.performer for p in report.own] == ["amber", "basalt"]
    assert [p.performer for p in report.unseen] == [GUESTS, GUESTS]


def test_the_colour_ratio_of_the_personas_matters() -> None:
    grey = tuple(p.model_copy(update={"net_mean": (0.4, 0.4, 0.4)}) for p in PERSONAS)
    crops = same_faces_in_other_colours()
    right = evaluate(comb(), PERSONAS, crops).psnr["swap"]
    assert evaluate(comb(), grey, crops).psnr["swap"] < right - 20


class Constant(Comb):
    """A comb that answers one picture whatever it is shown."""

    def forward(self, x: Tensor, persona: str, *, alpha: float = 1.0) -> Tensor:
        return torch.linspace(0, 1, 32).expand_as(x)


def test_when_swaps_are_perfect_then_the_gate_is_passed_and_a_constant_fails_it() -> None:
    crops = same_faces_in_other_colours()
    for gate in expression_gate(comb(), PERSONAS, crops):
        assert (gate.top1, gate.closer, gate.own_top1) == (1.0, 1.0, 1.0)
        assert gate.chance == pytest.approx(1 / 8)
    for gate in expression_gate(comb(Constant), PERSONAS, crops):
        assert gate.top1 <= 0.25
        assert gate.closer < 0.75
    assert [g.region for g in expression_gate(comb(), PERSONAS, crops)] == ["mouth", "eyes"]


def test_when_only_the_mouth_is_right_then_the_eyes_fail_alone() -> None:
    class LowerHalf(Comb):
        def forward(self, x: Tensor, persona: str, *, alpha: float = 1.0) -> Tensor:
            return torch.cat((x[..., :17, :].mean(0, keepdim=True).expand_as(x[..., :17, :]),
                              x[..., 17:, :]), 2)  # fmt: skip

    mouth, eyes = expression_gate(comb(LowerHalf), PERSONAS, same_faces_in_other_colours())
    assert mouth.top1 == 1.0
    assert eyes.top1 < 0.5


def test_flicker_is_what_changes_beyond_the_truth() -> None:
    class Nervous(Comb):
        def forward(self, x: Tensor, persona: str, *, alpha: float = 1.0) -> Tensor:
            sign = torch.ones(len(x)).view(-1, 1, 1, 1)
            sign[::2] = -1
            return x + 0.05 * sign * float(persona == "amber")

    crops = same_faces_in_other_colours()
    calm = flicker(comb(), PERSONAS, crops)
    assert calm.swap < 1e-3
    nervous = flicker(comb(Nervous), PERSONAS, crops)
    assert nervous.own > 0.02
    assert nervous.ratio == pytest.approx(1.0, abs=0.15)


def test_identity_margin_is_high_for_swaps_and_negative_for_the_plate() -> None:
    class Channels(IdentityNet):
        def forward(self, crop: Tensor) -> Tensor:
            return F.normalize(crop.mean((2, 3)) - 0.4, dim=1)

    crops = same_faces_in_other_colours()
    net = Channels(IdentitySettings(width=4, length=8))
    for crop_set in crops.roles.values():
        crop_set.face.fill_(255)
        crop_set.polygon.fill_(255)
    swap = identity_margin(comb(), PERSONAS, crops, net)
    assert swap is not None
    assert swap.margin > 0
    assert swap.nearest > 0.7
    grey = tuple(p.model_copy(update={"net_mean": (0.4, 0.4, 0.4)}) for p in PERSONAS)
    kept = identity_margin(comb(), grey, crops, net)
    assert kept is not None
    assert kept.margin < 0
    assert identity_margin(comb(), PERSONAS[:1], crops, net) is None


def test_flip_is_nothing_for_the_truth_and_counts_the_matte_alone() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random((2, 32, 32, 3)).astype(np.float32)
    matte = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    matte[:, :, 8:24, 8:24] = True
    assert flip_error(truth, truth, matte) == 0
    outside = truth.copy()
    outside[:, :8] = 0
    assert flip_error(outside, truth, matte) == 0
    small, large = (np.clip(truth + step, 0, 1) for step in (0.02, 0.2))
    assert 0 < flip_error(small, truth, matte) < flip_error(large, truth, matte) < 1


def test_flip_takes_light_not_codes() -> None:
    """Steps of one size in sRGB look alike at any grey; as light they would not."""
    matte = torch.ones(1, 1, 48, 48, dtype=torch.bool)
    found = []
    for grey in (0.3, 0.8):
        truth = np.full((1, 48, 48, 3), grey, np.float32)
        found.append(flip_error(truth + np.float32(0.05), truth, matte))
    assert found[0] == pytest.approx(found[1], rel=0.2)


def test_unfit_sets_are_refused() -> None:
    with pytest.raises(JobError, match="unpaired crops of 32 px"):
        evaluate(comb(), PERSONAS, same_faces_in_other_colours(paired=False))
    with pytest.raises(JobError, match=r"lack a persona .*cedar"):
        evaluate(comb(), (*PERSONAS, Persona(id="cedar", synthetic=True)),
                 same_faces_in_other_colours())  # fmt: skip
    nameless = tuple(p.model_copy(update={"net_mean": None}) for p in PERSONAS)
    with pytest.raises(JobError, match="no mean colour"):
        evaluate(comb(), nameless, same_faces_in_other_colours())


def test_sheet_shows_target_swap_and_truth_of_every_pair(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.png", comb(), PERSONAS, same_faces_in_other_colours(), columns=4)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (2 * (3 * 32 + 6) * 2, 4 * 32 * 2, 3)
    swap, truth = sheet[64:128].astype(int), sheet[128:192].astype(int)
    assert np.abs(swap - truth).max() <= 1
