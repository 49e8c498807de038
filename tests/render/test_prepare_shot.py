"""What needs the whole shot is done once, kept on disk, and changes no pixel of the render."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from average_effect import Average
from command_line import ROOT
from command_line import Shot as CommandLine
from small_shot import plate_image, write_face_tracks, write_shot

from vfxswap import effects
from vfxswap.errors import CancelledError, OutputError
from vfxswap.io import prepared as storage
from vfxswap.io.exr import write_image
from vfxswap.io.prepared import PreparedEffect, read_prepared, write_prepared
from vfxswap.job import EffectSpec, Job, MatteSource, Output, Plate
from vfxswap.render import Event, prepare_shot, render

HERE = Path(__file__).parent
FRAMES = (1001, 1002, 1003, 1004)
PATIENCE_S = 280.0
"""Processes take seconds to import torch, and many times that on a machine with other work."""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setitem(effects.EFFECTS, "average", Average)
    monkeypatch.setattr(Average, "seen", [])
    return average_job(tmp_path, write_shot(tmp_path, FRAMES))


def average_job(folder: Path, plate: str) -> Job:
    return Job(
        plate=Plate(pattern=plate),
        frames="1001-1004",
        effects=(EffectSpec(effect="average", settings={"noise": 0.5}),),
        output=Output(pattern=str(folder / "out" / "comp.#.exr")),
    )


def writing_to(job: Job, folder: Path) -> Job:
    return job.model_copy(update={"output": Output(pattern=str(folder / "comp.#.exr"))})


def stored(job: Job) -> Path:
    return Path(job.output.pattern).with_name("comp.prepared.json.gz")


def pictures(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.exr")}


def process(*arguments: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", HERE)))}
    return subprocess.Popen([sys.executable, "-m", "average_effect", *arguments], env=env)


def test_when_the_shot_is_prepared_then_renders_do_not_prepare_again(job: Job) -> None:
    done = prepare_shot(job)
    assert done.prepared_file == stored(job) and done.tracks_file is None
    assert Average.seen == list(FRAMES)
    first = stored(job).read_bytes()
    for frame in FRAMES:
        assert render(job, frames=(frame,)).exit_code == 0
    assert Average.seen == list(FRAMES) and stored(job).read_bytes() == first


def test_prepared_or_not_the_pixels_are_the_same(job: Job, tmp_path: Path) -> None:
    render(job, threads=1)
    whole = pictures(tmp_path / "out")
    prepared = stored(job).read_bytes()
    for name in ("stored", "alone"):
        other = job.model_copy(
            update={"output": Output(pattern=str(tmp_path / name / "comp.#.exr"))}
        )
        if name == "stored":
            prepare_shot(other, threads=1)
            assert stored(other).read_bytes() == prepared
        for frame in reversed(FRAMES):
            if name == "alone":
                stored(other).unlink(missing_ok=True)
            render(other, frames=(frame,), threads=1)
        assert pictures(tmp_path / name) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"effects": (EffectSpec(effect="average", settings={"gain": 3.0}),)},
        {"seed": 3},
        {"frames": "1001-1003"},
        {"handles": 1},
    ],
)
def test_when_the_job_changes_then_its_shot_is_prepared_again(
    job: Job, change: dict[str, object]
) -> None:
    prepare_shot(job)
    first = stored(job).read_bytes()
    Average.seen.clear()
    prepare_shot(job.model_copy(update=change))
    assert Average.seen and stored(job).read_bytes() != first


def test_when_the_plate_changes_then_its_shot_is_prepared_again(job: Job, tmp_path: Path) -> None:
    prepare_shot(job)
    Average.seen.clear()
    write_image(tmp_path / "plate.1003.exr", plate_image(77))
    render(job, frames=(1001,))
    assert Average.seen == list(FRAMES)


def test_when_only_the_second_effect_changes_then_the_first_is_kept(job: Job) -> None:
    two = (job.effects[0], EffectSpec(effect="average", settings={"gain": 5.0}))
    prepare_shot(job.model_copy(update={"effects": two}))
    kept = read_prepared(stored(job))
    Average.seen.clear()
    changed = (two[0], EffectSpec(effect="average", settings={"gain": 6.0}))
    prepare_shot(job.model_copy(update={"effects": changed}))
    again = read_prepared(stored(job))
    assert Average.seen == list(FRAMES) and again[0] == kept[0] and again[1] != kept[1]


def test_folders_and_mounts_do_not_matter(job: Job, tmp_path: Path) -> None:
    prepare_shot(job)
    (tmp_path / "mount").symlink_to(tmp_path)
    Average.seen.clear()
    render(average_job(tmp_path / "mount", str(tmp_path / "mount" / "plate.#.exr")))
    assert not Average.seen


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f\x8b\x08\x00",
        gzip.compress(b"[" * 100_000),
        gzip.compress(b'{"format": "vfxswap-prepared", "version": 2, "effects": []}'),
        gzip.compress(b'{"format": "vfxswap-prepared", "version": 1, "effects": [7]}'),
    ],
)
def test_when_the_file_is_damaged_then_the_shot_is_prepared_again(job: Job, content: bytes) -> None:
    prepare_shot(job)
    whole = stored(job).read_bytes()
    for damaged in (content, whole[: len(whole) // 2]):
        stored(job).write_bytes(damaged)
        assert read_prepared(stored(job)) == ()
        assert render(job).exit_code == 0
        assert stored(job).read_bytes() == whole


def test_a_small_file_cannot_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    effect = PreparedEffect(effect="average", key="0" * 64, values={"paths": [0] * 5000})
    path = tmp_path / "p.json.gz"
    write_prepared(path, [effect])
    assert read_prepared(path) == (effect,)
    monkeypatch.setattr(storage, "MAX_BYTES", 5000)
    assert read_prepared(path) == ()
    with pytest.raises(OutputError, match="too large"):
        write_prepared(tmp_path / "q.json.gz", [effect])


def test_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(2000) * 10.0 ** np.arange(-200, 200, 0.2)
    path = tmp_path / "p.json.gz"
    write_prepared(
        path, [None, PreparedEffect(effect="e", key="0" * 64, values={"x": values.tolist()})]
    )
    none, effect = read_prepared(path)
    assert none is None and effect is not None and effect.values["x"] == values.tolist()


def test_when_several_processes_prepare_and_render_at_once_then_nothing_is_torn(
    job: Job, tmp_path: Path
) -> None:
    render(job, threads=1)
    whole, prepared = pictures(tmp_path / "out"), stored(job).read_bytes()
    other = writing_to(job, tmp_path / "many")
    other.write(tmp_path / "job.json")
    file = str(tmp_path / "job.json")
    running = [
        process("prepare", file),
        process("render", file, "1001-1002"),
        process("render", file, "1002-1004"),
    ]
    try:
        assert [p.wait(timeout=PATIENCE_S) for p in running] == [0, 0, 0]
    finally:
        for each in running:
            each.kill()
    assert pictures(tmp_path / "many") == whole and stored(other).read_bytes() == prepared
    assert not list((tmp_path / "many").glob(".*"))


def test_frames_that_cannot_be_read_are_told_and_left_out(job: Job, tmp_path: Path) -> None:
    (tmp_path / "plate.1002.exr").write_bytes(b"no picture")
    events: list[Event] = []
    prepare_shot(job, progress=events.append)
    assert [e.frame for e in events if e.kind == "failed"] == [1002]
    assert Average.seen == [1001, 1003, 1004]
    report = render(job)
    assert [f.frame for f in report.failed] == [1002] and len(report.written) == 3


def test_when_cancelled_then_nothing_is_stored(job: Job) -> None:
    cancel = threading.Event()
    with pytest.raises(CancelledError):
        prepare_shot(job, progress=lambda _: cancel.set(), cancel=cancel)
    assert not stored(job).exists()


def test_when_the_folder_cannot_be_written_then_only_preparing_fails(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("cannot be written", got="No space left on device")

    monkeypatch.setattr("vfxswap.render.prepare.write_prepared", full)
    with pytest.raises(OutputError, match="No space"):
        prepare_shot(job)
    assert render(job).exit_code == 0


def test_the_command_prepares_tracks_where_the_render_finds_them(tmp_path: Path) -> None:
    shot = CommandLine(tmp_path)
    swap = ("swap", shot.plate, "--frames", "1001-1003", "--persona", "alder", "-o",
            "out/comp.#.exr", "--save-job", "job.json", "--dry-run")  # fmt: skip
    assert shot.run(*swap).returncode == 0
    done = shot.run("prepare", "job.json", "--progress", "json")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["event"] == "done" and last["tracks"] == str(tmp_path / "out/comp.tracks.json")
    assert "prepared" not in last and shot.written() == ["comp.tracks.json"]
    again = shot.run("render", "job.json", "--frames", "1002", "--progress", "json")
    stages = {json.loads(line).get("stage") for line in again.stdout.splitlines()}
    assert again.returncode == 0 and "prepare" not in stages


def test_a_bad_job_is_not_prepared(tmp_path: Path) -> None:
    shot = CommandLine(tmp_path)
    tracks = write_face_tracks(tmp_path / "other.json", "other.#.exr", (1001,))
    shot.swap("--save-job", "job.json", "--dry-run")
    job = json.loads((tmp_path / "job.json").read_text())
    (tmp_path / "job.json").write_text(json.dumps({**job, "tracks": str(tracks)}))
    done = shot.run("prepare", "job.json")
    assert done.returncode == 2 and "another shot" in done.stderr


def test_vectors_that_patches_follow_are_read_while_preparing_and_stand_for_it(
    tmp_path: Path,
) -> None:
    plate = write_shot(tmp_path, FRAMES)
    image = plate_image(1001)
    still = np.full(image.rgb().shape[:2], 0.5, np.float32)

    def write(level: float) -> None:
        for frame in FRAMES:
            part = replace(image.part, channels={"Y": np.full_like(still, level)})
            write_image(tmp_path / f"drift.{frame}.exr", replace(image, parts=(part,)))

    job = Job(
        plate=Plate(pattern=plate),
        frames="1001-1004",
        effects=(
            EffectSpec(
                effect="mosaic",
                settings={
                    "motion": "vectors",
                    "drift_x_px": 8.0,
                    "layout": "grid",
                    "size_min_px": 8,
                    "size_max_px": 8,
                },
                mattes={"drift_x": MatteSource(pattern=str(tmp_path / "drift.#.exr"))},
            ),
        ),
        output=Output(pattern=str(tmp_path / "out" / "comp.#.exr")),
    )

    def paths() -> dict[str, str]:
        file = prepare_shot(job, threads=1).prepared_file
        assert file is not None
        found = json.loads(gzip.decompress(file.read_bytes()))
        values: dict[str, str] = found["effects"][0]["values"]["paths"]
        return values

    write(1.0)
    moving = paths()
    assert moving["1001"] != moving["1004"]
    write(0.5)
    staying = paths()
    assert staying["1001"] == staying["1004"]
