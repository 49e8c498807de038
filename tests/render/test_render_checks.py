"""Jobs that cannot work are refused before anything is written, and checks say so."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from rendered import shot
from small_shot import (
    SYNTHETIC,
    gain_effect,
    gain_job,
    plate_image,
    write_models,
)

from vfxswap.errors import ConsentError, JobError, ModelError
from vfxswap.io.exr import write_image
from vfxswap.job import EffectSpec, MatteSource, Output
from vfxswap.render import check, render

__all__ = ["gain_effect", "shot"]


# Jobs that cannot work --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"effects": (EffectSpec(effect="gian"),)}, JobError, "gain"),
        ({"effects": (EffectSpec(effect="gain", settings={"gian": 1}),)}, JobError, "perhaps gain"),
        ({"effects": (EffectSpec(effect="gain", settings={"gain": -1}),)}, JobError, "gain"),
        ({"output": Output(pattern="comp.exr")}, JobError, "frame number"),
        ({"output": Output(pattern="comp.#.png")}, JobError, "EXR"),
        ({"effects": (EffectSpec(effect="swap", settings={"persona": "alde"}),)}, ModelError,
         "alder"),
        ({"effects": (EffectSpec(effect="swap", settings={"persona": "rowan"}),)}, ConsentError,
         "show"),
        ({"effects": (EffectSpec(effect="swap", settings={"persona": "willow"}),),
          "show": "kestrel"}, ConsentError, "expired"),
    ],
)  # fmt: skip
def test_a_bad_job_is_refused_before_anything_is_written(
    shot: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    error: type[Exception],
    says: str,
) -> None:
    monkeypatch.setenv("VFXSWAP_MODELS", str(write_models(shot / "models")))
    job = gain_job(shot).model_copy(update=change)
    with pytest.raises(error, match=says):
        render(job)
    findings = [f for f in check(job) if f.level == "error"]
    assert any(says in f.message and f.exit_code == 2 for f in findings)
    assert not (shot / "out").exists()


def test_the_plate_is_never_overwritten(shot: Path) -> None:
    job = gain_job(shot).model_copy(update={"output": Output(pattern=str(shot / "plate.####.exr"))})
    before = (shot / "plate.1001.exr").read_bytes()
    with pytest.raises(JobError, match="overwrite the plate"):
        render(job)
    assert (shot / "plate.1001.exr").read_bytes() == before


def test_frames_outside_the_job_are_refused(shot: Path) -> None:
    with pytest.raises(JobError, match="1009"):
        render(gain_job(shot), frames=(1001, 1009))


# Checks -----------------------------------------------------------------------------------------


def test_a_good_job_has_no_findings_and_checking_leaves_nothing(shot: Path) -> None:
    before = sorted(shot.rglob("*"))
    assert check(gain_job(shot)) == []
    assert sorted(shot.rglob("*")) == before


def test_check_finds_what_a_render_would_trip_over(shot: Path) -> None:
    (shot / "plate.1002.exr").write_bytes(b"no picture")
    image = plate_image(1003)
    image.part.channels["R"][0, 0] = np.inf
    write_image(shot / "plate.1003.exr", image)
    job = gain_job(shot, "1001-1005")
    spec = job.effects[0].model_copy(
        update={"mattes": {"holdout": MatteSource(pattern=str(shot / "roto.#.exr"))}}
    )
    said = {f.message: f for f in check(job.model_copy(update={"effects": (spec,)}))}
    text = "\n".join(said)
    assert "1 of 5 frames are missing" in text and "1005" in text
    assert "plate.1002.exr" in text and "roto.1001.exr" in text
    assert "channel R holds inf or nan on 1003" in text
    assert {f.exit_code for f in said.values() if f.level == "error"} == {1}


def test_check_warns_when_the_disk_is_too_small(
    shot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    usage = shutil.disk_usage(shot)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert any("needed" in f.message for f in check(gain_job(shot)))


def test_tampered_weights_are_found(shot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = write_models(shot / "models")
    monkeypatch.setenv("VFXSWAP_MODELS", str(models))
    weights = models / "tinycomb" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    job = gain_job(shot).model_copy(
        update={"effects": (EffectSpec(effect="swap", settings={"persona": SYNTHETIC}),)}
    )
    assert any("weights are not those of the card" in f.message for f in check(job))
    with pytest.raises(ModelError, match="damaged"):
        render(job)
