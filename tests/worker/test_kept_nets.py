"""Networks kept between renders: read once, never stale, and the same pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from small_shot import (
    CONSENTED,
    SYNTHETIC,
    gain_job,
    write_face_tracks,
    write_models,
    write_shot,
)

from vfxswap.errors import ModelError
from vfxswap.io.weights import WEIGHTS_FILE, find_model, load_net, load_tensors, save_model
from vfxswap.job import EffectSpec, Job
from vfxswap.render import Nets, render


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("VFXSWAP_MODELS", str(write_models(tmp_path / "models")))
    pattern = write_shot(tmp_path, (1001,))
    tracks = write_face_tracks(tmp_path / "t.json", pattern, (1001,))
    alone = {"occluders": 0, "hair": 0}  # no network beside the comb
    swap = EffectSpec(effect="swap", settings={"persona": SYNTHETIC, **alone})
    return gain_job(tmp_path, "1001").model_copy(update={"effects": (swap,), "tracks": str(tracks)})


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the networks that are read."""
    names: list[str] = []

    def telling(card: Any, *given: Any, **named: Any) -> Any:
        names.append(card.name)
        return load_net(card, *given, **named)

    monkeypatch.setattr("vfxswap.render.models.load_net", telling)
    return names


def result(job: Job, nets: Nets | None) -> bytes:
    report = render(job, nets=nets, threads=1)
    assert report.exit_code == 0
    return report.paths[0].read_bytes()


def test_a_kept_network_is_read_once_and_gives_the_same_bytes(job: Job, loads: list[str]) -> None:
    nets = Nets()
    first, second = result(job, nets), result(job, nets)
    assert loads == ["tinycomb"]
    assert first == second == result(job, None)


def test_other_personas_or_new_weights_are_read_anew(job: Job, loads: list[str]) -> None:
    nets = Nets()
    before = result(job, nets)
    alone = {"occluders": 0, "hair": 0}
    consented = EffectSpec(effect="swap", settings={"persona": CONSENTED, **alone})
    other = job.model_copy(update={"effects": (consented,), "show": "kestrel"})
    assert result(other, nets) != before
    assert loads == ["tinycomb"] * 2
    stored = find_model("tinycomb")
    tensors = load_tensors(stored.folder, stored.card)
    save_model(stored.folder, stored.card, {k: v * 1.5 for k, v in tensors.items()})
    assert result(job, nets) != before
    assert loads == ["tinycomb"] * 3


def test_weights_that_were_damaged_meanwhile_are_refused(job: Job) -> None:
    nets = Nets()
    result(job, nets)
    file = find_model("tinycomb").folder / WEIGHTS_FILE
    stat = file.stat()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ModelError, match="weights are not those of the card"):
        render(job, nets=nets)
