"""Training a comb: schedule, updates, resume, errors. Tiny nets on made-up crops."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from made_up_crops import PERSONAS, made_up, tiny

from vfxswap.errors import CancelledError, JobError, ModelError
from vfxswap.train import comb
from vfxswap.train.comb import CombTrainer
from vfxswap.train.comb_loop import train
from vfxswap.train.crops import (
    Crops,
    Jitter,
    cut,
    edge_extended,
    placements,
    read_crops,
    seeded,
    stored_size,
    write_description,
    write_shard,
)
from vfxswap.train.expression import readings
from vfxswap.train.extend import PersonaTrainer
from vfxswap.train.schedule import CombTraining, moment


def weights(trainer: CombTrainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in trainer.comb.state_dict().items()}


def test_fader_reaches_1_at_half_of_a_levels_iterations() -> None:
    training = tiny(iterations=(10, 20, 40), final_iterations=10)
    assert moment(training, 9).level == 0
    assert [moment(training, 10 + i).alpha for i in (0, 5, 10, 19)] == [0.0, 0.5, 1.0, 1.0]
    assert [moment(training, 30 + i).alpha for i in (0, 10, 20, 39)] == [0.0, 0.5, 1.0, 1.0]
    assert moment(training, 30).level == 2


def test_learning_rate_falls_only_after_the_last_level() -> None:
    training = CombTraining(level=2, iterations=(100, 100, 200), final_iterations=100)
    assert moment(training, 399).learning_rate == pytest.approx(1e-4)
    assert moment(training, 450).learning_rate == pytest.approx((1e-4 + 1e-5) / 2)
    assert moment(training, training.total_iterations).learning_rate == pytest.approx(1e-5)


def test_refinement_follows_with_its_own_rate_batch_and_weights() -> None:
    refinement = {"iterations": 200, "learning_rate": 3e-4, "batch": 5, "feature_gain": 4.0}
    plain = CombTraining(level=2, iterations=(100,), final_iterations=100)
    training = CombTraining.model_validate({**plain.model_dump(), "refinement": refinement})
    assert training.total_iterations == 600
    for iteration in (0, 150, 299, 350, 399):
        assert moment(training, iteration) == moment(plain, iteration)
    middle = moment(training, 500)
    assert (middle.level, middle.alpha, middle.batch, middle.feature_gain) == (2, 1.0, 5, 4.0)
    assert middle.learning_rate == pytest.approx((3e-4 + 1e-5) / 2)


def test_unpaired_iteration_updates_shared_weights_once_for_each_persona(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = CombTrainer(tiny(), made_up(paired=False), PERSONAS)
    for _ in range(7):
        trainer.step()
    changed: list[set[str]] = []
    step = trainer.optimiser.step

    def watched() -> None:
        before = weights(trainer)
        step()
        after = weights(trainer)
        changed.append({k for k in after if not torch.equal(before[k], after[k])})

    monkeypatch.setattr(trainer.optimiser, "step", watched)
    trainer.step()
    assert len(changed) == len(PERSONAS)
    decoders = []
    for names in changed:
        assert any(n.startswith("encoder.") for n in names)
        assert any(n.startswith("trunk.") for n in names)
        decoders.append({n.split(".")[1] for n in names if n.startswith("decoders.")})
    assert sorted(decoders, key=sorted) == [{p} for p in PERSONAS]


def test_paired_iteration_is_one_update_of_everything() -> None:
    trainer = CombTrainer(tiny(paired=True), made_up(), PERSONAS)
    for _ in range(7):
        trainer.step()
    before = weights(trainer)
    trainer.step()
    (steps,) = {int(s["step"]) for s in trainer.optimiser.state.values() if "step" in s}
    assert steps == 2
    after = weights(trainer)
    for persona in PERSONAS:
        key = f"decoders.{persona}.blocks.2.first.weight"
        assert not torch.equal(before[key], after[key])


def test_first_two_decoder_levels_stay_one_module() -> None:
    trainer = CombTrainer(tiny(), made_up(), PERSONAS)
    while trainer.iteration < trainer.training.total_iterations:
        trainer.step()
    names = trainer.comb.state_dict().keys()
    assert {n.split(".")[2] for n in names if n.startswith("trunk.blocks.")} == {"0", "1"}
    levels = {n.split(".")[3] for n in names if n.startswith("decoders.") and ".blocks." in n}
    assert levels == {"2"}


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("broken_at", [1, 2, 6, 11, 12, 13])
def test_resumed_training_equals_an_unbroken_one(
    tmp_path: Path, paired: bool, broken_at: int
) -> None:
    refinement = {"iterations": 3, "learning_rate": 1e-3, "batch": 3}
    training = tiny(paired=paired, pixel_weight=0.5, surroundings=0.2, refinement=refinement)
    crops = made_up()
    whole = train(CombTrainer(training, crops, PERSONAS), tmp_path / "whole").state_dict()
    first = CombTrainer(training, crops, PERSONAS)
    for _ in range(broken_at):
        first.step()
    first.save(tmp_path / "parts")
    torch.rand(17)  # whatever the global generator does must not matter
    second = CombTrainer(training, crops, PERSONAS)
    assert second.resume(tmp_path / "parts")
    assert second.iteration == broken_at
    parts = train(second, tmp_path / "parts").state_dict()
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_one_checkpoint_remains_and_the_log_has_a_line_each(tmp_path: Path) -> None:
    trainer = CombTrainer(tiny(), made_up(), PERSONAS)
    train(trainer, tmp_path, checkpoint_every=3, log_every=4)
    assert [p.name for p in tmp_path.glob("checkpoint-*")] == ["checkpoint-000000012"]
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [4, 8, 12]
    assert set(rows[0]["loss"]) == set(PERSONAS)


def test_stop_ends_after_the_iteration_in_hand_with_a_checkpoint(tmp_path: Path) -> None:
    trainer = CombTrainer(tiny(), made_up(), PERSONAS)
    with pytest.raises(CancelledError) as caught:
        train(trainer, tmp_path, stop=lambda: trainer.iteration >= 5)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert trainer.resume(tmp_path)
    assert trainer.iteration == 5


def test_preview_has_every_performer_as_every_persona() -> None:
    trainer = CombTrainer(tiny(), made_up(), PERSONAS)
    trainer.step()
    assert trainer.preview(0).shape == (3, 2 * 4, 3 * 4)
    while trainer.iteration < 9:
        trainer.step()
    assert trainer.preview(100).shape == (3, 2 * 16, 3 * 16)


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    trainer = CombTrainer(tiny(), made_up(), PERSONAS)
    trainer.step()
    trainer.save(tmp_path)
    other = CombTrainer(tiny(batch=3), made_up(), PERSONAS)
    with pytest.raises(JobError, match=r"other settings .*'batch': 2.*'batch': 3"):
        other.resume(tmp_path)


def test_damaged_checkpoint_is_refused_and_an_older_whole_one_used(tmp_path: Path) -> None:
    trainer = CombTrainer(tiny(), made_up(), PERSONAS)
    trainer.step()
    trainer.save(tmp_path)
    damaged = tmp_path / "checkpoint-000000009"
    damaged.mkdir()
    (damaged / "state.json").write_text('{"iteration": 9, "sha256": "0"}')
    (damaged / "tensors.safetensors").write_bytes(b"rubbish")
    assert trainer.resume(tmp_path)
    assert trainer.iteration == 1
    (tmp_path / "checkpoint-000000001" / "tensors.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="damaged"):
        trainer.resume(tmp_path)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    trainer = CombTrainer(tiny(), made_up(), PERSONAS)
    trainer.step()
    kept = trainer.save(tmp_path)
    with torch.no_grad():
        next(trainer.comb.parameters()).fill_(float("nan"))
    with pytest.raises(JobError, match="not finite at iteration 1"):
        trainer.save(tmp_path)
    assert list(tmp_path.iterdir()) == [kept]


def test_loss_that_is_not_finite_ends_training_before_weights_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = CombTrainer(tiny(), made_up(), ("amber",))
    before = weights(trainer)
    monkeypatch.setattr(comb, "level_loss", lambda *_, **__: torch.tensor([float("nan")]))
    with pytest.raises(JobError, match="loss is not finite at iteration 0"):
        trainer.step()
    for name, value in weights(trainer).items():
        assert torch.equal(value, before[name])


def test_crops_that_are_not_finite_are_refused_by_role_and_number() -> None:
    crops = made_up()
    crops.roles["basalt"].pixels[4, 1, 2, 3] = float("nan")
    crops.roles["basalt"].pixels[5, 0, 0, 0] = float("inf")
    with pytest.raises(JobError, match=r"crops of basalt .*not finite .*crop 4, 5"):
        CombTrainer(tiny(), crops, PERSONAS)


def test_a_single_frame_trains() -> None:
    trainer = CombTrainer(tiny(), made_up(count=1, paired=False), PERSONAS)
    while trainer.iteration < 8:
        trainer.step()
    assert all(torch.isfinite(v).all() for v in trainer.comb.state_dict().values())


def test_unfit_crops_are_refused() -> None:
    with pytest.raises(JobError, match=r"lack a persona .*cedar"):
        CombTrainer(tiny(), made_up(), (*PERSONAS, "cedar"))
    with pytest.raises(JobError, match="paired"):
        CombTrainer(tiny(paired=True), made_up(paired=False), PERSONAS)
    with pytest.raises(JobError, match="another size"):
        CombTrainer(tiny(level=1), made_up(), PERSONAS)


def test_training_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    want = torch.rand(4)
    torch.manual_seed(3)
    trainer = CombTrainer(tiny(), made_up(), PERSONAS)
    for _ in range(4):
        trainer.step()
    assert torch.equal(torch.rand(4), want)


def test_shards_are_read_back_in_order(tmp_path: Path) -> None:
    made = made_up()
    write_description(tmp_path, crop_size=16, paired=True, text="made up")
    for number, part in enumerate((slice(0, 4), slice(4, 6))):
        roles = {
            role: Crops(c.pixels[part], c.polygon[part], c.face[part], c.points[part])
            for role, c in made.roles.items()
        }
        write_shard(tmp_path / f"shard-{number}.safetensors", roles)
    read = read_crops(tmp_path)
    assert read.paired
    for role, crops in made.roles.items():
        assert torch.equal(read.roles[role].pixels, crops.pixels)
    with pytest.raises(JobError, match=r"lacks a role .*cedar"):
        read_crops(tmp_path, roles=["cedar"])
    with pytest.raises(JobError, match=r"crops\.json"):
        read_crops(tmp_path / "nowhere")


def test_centred_cut_shows_the_middle_of_the_stored_crop() -> None:
    side = stored_size(16)
    ramp = torch.arange(side).float() + 0.5
    pixels = ramp.expand(1, 3, side, side).half()
    matte = torch.full((1, 1, side, side), 255, dtype=torch.uint8)
    crops = Crops(pixels, matte, matte, torch.zeros(1, 70, 2))
    got = cut(crops, torch.tensor([0]), placements(1, None, seeded(0)), size=16).pixels[0, 0, 3]
    want = side / 2 + (torch.arange(16) + 0.5 - 8) * 1.25
    torch.testing.assert_close(got, want, atol=0.05, rtol=0)


def test_jitter_moves_input_and_target_alike() -> None:
    crops = made_up().roles["amber"]
    placement = placements(3, Jitter(shift=0.05), seeded(1))
    index = torch.tensor([0, 1, 2])
    one, two = (cut(crops, index, placement, size=16) for _ in range(2))
    assert torch.equal(one.pixels, two.pixels)
    assert not torch.allclose(
        one.pixels, cut(crops, index, placements(3, None, seeded(1)), size=16).pixels, atol=1e-3
    )


def test_edge_extension_keeps_the_inside_and_invents_no_new_colour() -> None:
    image = torch.rand(2, 3, 32, 32, generator=seeded(2))
    matte = torch.zeros(2, 1, 32, 32)
    matte[..., 8:20, 10:24] = 1
    extended = edge_extended(image, matte)
    inside = matte.expand_as(image) > 0
    torch.testing.assert_close(extended[inside], image[inside])
    kept = torch.where(inside, image, torch.nan)
    assert extended.max() <= kept.nan_to_num(-1).max() + 1e-5
    assert extended.min() >= kept.nan_to_num(2).min() - 1e-5
    changed = edge_extended(torch.where(inside, image, 9.0), matte)
    torch.testing.assert_close(changed, extended)


def test_an_added_persona_leaves_everything_else_bit_for_bit(tmp_path: Path) -> None:
    crops = made_up()
    base = train(CombTrainer(tiny(), crops, ("amber",)), tmp_path / "base")
    before = {k: v.clone() for k, v in base.state_dict().items()}
    for paired in (False, True):
        training = tiny(iterations=(2, 4, 6), paired=paired)
        trainer = PersonaTrainer(training, crops, base, "basalt")
        fresh = {k: v.clone() for k, v in trainer.comb.decoder_state("basalt").items()}
        extended = train(trainer, tmp_path / f"extended-{paired}")
        assert trainer.iteration == 8
        after = extended.state_dict()
        for name, value in before.items():
            assert torch.equal(after[name], value), name
        learned = extended.decoder_state("basalt")
        assert all(not torch.equal(fresh[k], learned[k]) for k in fresh if k.endswith("weight"))
        face = torch.rand(1, 3, 16, 16, generator=seeded(9))
        assert torch.equal(extended(face, "amber"), base(face, "amber"))


def test_an_extension_resumes_exactly_and_only_on_its_own_base(tmp_path: Path) -> None:
    crops, training = made_up(), tiny(iterations=(0, 0, 5))
    base = train(CombTrainer(tiny(), crops, ("amber",)), tmp_path / "base")
    whole = train(PersonaTrainer(training, crops, base, "basalt"), tmp_path / "whole")
    parts = PersonaTrainer(training, crops, base, "basalt")
    for _ in range(3):
        parts.step()
    parts.save(tmp_path / "parts")
    resumed = train(PersonaTrainer(training, crops, base, "basalt"), tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])
    other = train(CombTrainer(tiny(seed=4), crops, ("amber",)), tmp_path / "other")
    with pytest.raises(JobError, match="other settings"):
        PersonaTrainer(training, crops, other, "basalt").resume(tmp_path / "parts")
    with pytest.raises(JobError, match="already has"):
        PersonaTrainer(training, crops, base, "amber")
    with pytest.raises(JobError, match="cannot be used"):
        PersonaTrainer(training, crops, base, "double")


def test_landmarks_are_read_off_the_latent_and_the_reader_resumes_with_it(tmp_path: Path) -> None:
    training = tiny(landmark_weight=1.0, part_weight=1.0)
    whole = train(CombTrainer(training, made_up(), PERSONAS), tmp_path / "whole").state_dict()
    first = CombTrainer(training, made_up(), PERSONAS)
    for _ in range(7):
        first.step()
    assert first.reader is not None
    assert first.reader.linear.weight.abs().max() > 0
    first.save(tmp_path / "parts")
    parts = train(CombTrainer(training, made_up(), PERSONAS), tmp_path / "parts").state_dict()
    assert not any("reader" in name for name in parts)
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_readings_do_not_depend_on_how_the_crop_is_moved() -> None:
    crops = made_up().roles["amber"]
    index = torch.arange(6)
    still = placements(6, None, seeded(0))
    moved = still.clone()
    moved[:, :, 2] += 0.1
    side = crops.pixels.shape[-1]
    one = readings(crops.points[index], still, stored_px=side)
    torch.testing.assert_close(one, readings(crops.points[index], moved, stored_px=side))
    double = still.clone()
    double[:, :, :2] *= 0.5  # half the area: everything looks twice as large
    torch.testing.assert_close(2 * one, readings(crops.points[index], double, stored_px=side))


def test_a_training_that_starts_from_a_comb_keeps_its_weights_at_first(tmp_path: Path) -> None:
    base = train(CombTrainer(tiny(), made_up(), PERSONAS), tmp_path / "base")
    training = tiny(first_level=2, level=3, iterations=(9, 9, 4, 6))
    crops = made_up(size=32)
    started = CombTrainer(training, crops, ("basalt", "amber"), start=base)
    assert started.total_iterations == 12
    assert started.moment(0).alpha == 1.0
    assert [started.moment(i).level for i in (3, 4)] == [2, 3]
    face = torch.rand(1, 3, 16, 16, generator=seeded(9))
    for persona in PERSONAS:
        assert torch.equal(started.comb(face, persona), base(face, persona))
    before = {k: v.clone() for k, v in base.state_dict().items()}
    train(started, tmp_path / "more")
    assert all(torch.equal(v, before[k]) for k, v in base.state_dict().items())
    again = CombTrainer(training, crops, ("basalt", "amber"), start=base)
    assert again.resume(tmp_path / "more")
    with pytest.raises(JobError, match=r"another shape .*wanted"):
        CombTrainer(tiny(first_level=1), made_up(), PERSONAS, start=base)
    with pytest.raises(JobError, match="needs a comb to start from"):
        CombTrainer(tiny(first_level=1), made_up(), PERSONAS)


def test_recomputed_activations_give_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    kept = train(CombTrainer(tiny(), made_up(), PERSONAS), tmp_path / "kept").state_dict()
    trainer = CombTrainer(tiny(recompute_from=0), made_up(), PERSONAS)
    again = train(trainer, tmp_path / "again").state_dict()
    for name, value in kept.items():
        assert torch.equal(value, again[name]), name


def test_what_is_left_of_each_level_adds_up() -> None:
    trainer = CombTrainer(tiny(), made_up(), PERSONAS)
    assert trainer.iterations_left() == ((0, 2), (1, 4), (2, 6))
    for _ in range(7):
        trainer.step()
    assert trainer.iterations_left() == ((2, 5),)
