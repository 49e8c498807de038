"""The command line as a farm or an artist meets it: real processes, exit codes, words."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import FRAMES, ROOT, Shot, one_sentence
from small_shot import (
    CONSENTED,
    LAPSED,
    SYNTHETIC,
    plate_image,
    write_face_tracks,
    write_shot,
)

from vfxswap.cli.progress import Dialect, finish, listener
from vfxswap.errors import PlateError
from vfxswap.io.exr import read_image, verify_image
from vfxswap.job import Job
from vfxswap.render.report import Event, Failure, Report


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    return Shot(tmp_path_factory.mktemp("cli"))


@pytest.fixture(autouse=True)
def _clean(shot: Shot) -> None:
    for path in shot.out.iterdir() if shot.out.exists() else ():
        path.unlink()


def test_help_answers_in_under_300_ms(shot: Shot) -> None:
    took = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = shot.process("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time: nothing waits here, and a busy machine must not fail this.
        took.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        assert done.returncode == 0 and "swap" in done.stdout and "doctor" in done.stdout
    assert min(took) < 0.3


@pytest.mark.parametrize("arguments", [["--help"], ["swap", "--help"], ["describe", "--json"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        "heavy = ('torch', 'OpenImageIO', 'cv2', 'PyOpenColorIO', 'anny', 'warp')\n"
        "atexit.register(lambda: print('LOADED', [m for m in heavy if m in sys.modules]))\n"
        f"from vfxswap.cli import main; main({arguments!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "LOADED []"


def test_swap_writes_frames_and_says_so(shot: Shot) -> None:
    one = ("--threads", "1")
    wanted = ("--save-job", "job.json", "--matte-grow-px", "1.5")
    done = shot.swap("--progress", "plain", *wanted, *one)
    assert done.returncode == 0, done.stderr
    assert shot.written() == [f"comp.{f}{s}" for f in FRAMES for s in (".exr", ".vfxswap.json")]
    assert "[render 3/3] frame 1003 done" in done.stdout and "3 written" in done.stderr
    metadata = read_image(shot.out / "comp.1001.exr").part.metadata
    assert metadata["vfxswap/persona"] == SYNTHETIC
    assert metadata["vfxswap/consent"] == "synthetic"
    assert metadata["vfxswap/model"] == "parsing-synthetic,tinycomb"
    job = Job.read(shot.folder / "job.json")
    assert job.effects[0].settings == {"persona": SYNTHETIC, "matte_grow_px": 1.5}
    pixels = (shot.out / "comp.1002.exr").read_bytes()
    (shot.out / "comp.1002.exr").write_bytes(pixels[:500])
    again = shot.process("render", "job.json", "--skip-existing", "--progress", "json", *one)
    assert again.returncode == 0, again.stderr
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert events[-1]["event"] == "done" and events[-1]["exit_code"] == 0
    assert [Path(p).name for p in events[-1]["written"]] == ["comp.1002.exr"]
    assert (shot.out / "comp.1002.exr").read_bytes() == pixels


def test_personas_go_by_face(shot: Shot) -> None:
    done = shot.swap("--persona", f"1={SYNTHETIC}", "--persona", "0=", "--save-job", "j.json",
                     "--dry-run")  # fmt: skip
    assert done.returncode == 0, done.stderr
    settings = Job.read(shot.folder / "j.json").effects[0].settings
    assert settings == {"persona": SYNTHETIC, "faces": {"0": "", "1": SYNTHETIC}}
    printed = json.loads(shot.swap("--amount", "0.5", "--dry-run").stdout)
    assert printed["effects"][0]["settings"]["amount"] == 0.5
    assert shot.written() == []


def test_a_shot_without_a_face_passes_through(shot: Shot) -> None:
    done = shot.run(
        "swap", shot.plate, "--frames", "1001-1002", "--persona", SYNTHETIC,
        "-o", "out/comp.#.exr", "--progress", "plain",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no face" in done.stdout
    result, plate = read_image(shot.out / "comp.1001.exr"), plate_image(1001)
    for name, pixels in plate.part.channels.items():
        assert np.array_equal(result.part.channels[name].view(np.uint8), pixels.view(np.uint8))
    mattes = [p for p in result.parts if p.name == "swap_matte"]
    assert len(mattes) == 1 and not any(c.any() for c in mattes[0].channels.values())
    kept = shot.out / "comp.tracks.json"
    assert kept.is_file()


def test_consent_is_asked_for(shot: Shot) -> None:
    arguments = ("swap", shot.plate, "--persona", CONSENTED, "-o", "out/comp.#.exr")
    one_sentence(shot.process(*arguments), 2, CONSENTED, "show", "kestrel")
    one_sentence(shot.swap("--show", "sparrow", persona=CONSENTED), 2, "sparrow")
    one_sentence(shot.swap("--show", "kestrel", persona=LAPSED), 2, "expired")
    (shot.folder / "revoked.txt").write_text("party-7\n")
    revoked = str(shot.folder / "revoked.txt")
    one_sentence(
        shot.swap("--show", "kestrel", "--revocations", revoked, persona=CONSENTED), 2, "revoked"
    )
    assert shot.written() == []
    done = shot.swap("--no-layers", persona=CONSENTED, VFXSWAP_SHOW="kestrel")
    assert done.returncode == 0, done.stderr
    assert (
        read_image(shot.out / "comp.1001.exr")
        .part.metadata["vfxswap/consent"]
        .startswith("consent-")
    )


def test_usage_errors_exit_with_2(shot: Shot) -> None:
    for wrong in (("swap",), ("swap", "p.#.exr", "--amount", "3", "-o", "o.#.exr"), ("fly",)):
        assert shot.run(*wrong).returncode == 2


def test_check_says_what_is_wrong_and_exits_with_it(shot: Shot) -> None:
    assert shot.swap("--save-job", "good.json", "--dry-run").returncode == 0
    assert shot.run("check", "good.json").stderr == "The job is good.\n"
    job = json.loads((shot.folder / "good.json").read_text())
    (shot.folder / "gap.json").write_text(json.dumps({**job, "frames": "1001-1005"}))
    gap = shot.run("check", "gap.json", "--json")
    assert gap.returncode == 2  # the tracks do not reach
    messages = [f["message"] for f in json.loads(gap.stdout)["findings"]]
    assert any("2 of 5 frames are missing" in m for m in messages)
    job["effects"][0]["settings"]["persona"] = "aldr"
    (shot.folder / "typo.json").write_text(json.dumps(job))
    typo = shot.run("check", "typo.json")
    assert typo.returncode == 2 and "alder" in typo.stderr


def test_track_writes_a_file_and_keeps_edits(shot: Shot) -> None:
    done = shot.run("track", shot.plate, "--frames", "1001-1002", "-o", "new.json")
    assert done.returncode == 0, done.stderr
    data = json.loads((shot.folder / "new.json").read_text())
    assert data["automatic"][""] == {"1001": [], "1002": []} and data["model"]["name"] == "blind"
    data["edits"] = {"": {"1001": [{"id": 3, "removed": True}]}}
    (shot.folder / "new.json").write_text(json.dumps(data))
    shot.run("track", shot.plate, "--frames", "1001-1003", "-o", "new.json")
    again = json.loads((shot.folder / "new.json").read_text())
    assert again["edits"][""]["1001"][0]["removed"] and len(again["automatic"][""]) == 3


def test_models_are_listed_for_programs(shot: Shot) -> None:
    rows = {row["name"]: row for row in json.loads(shot.run("models", "list", "--json").stdout)}
    row = rows["tinycomb"]
    assert row["effect"] == "swap" and row["personas"] == [SYNTHETIC, CONSENTED, LAPSED]
    assert len(row["sha256"]) == 64 and row["licence"] == "Apache-2.0" and not row["synthetic"]
    shown = shot.run("models", "show", "tinycomb")
    assert "whole" in shown.stdout and "party-7" in shown.stdout
    one_sentence(shot.run("models", "show", "tinycom"), 2, "tinycomb")
    one_sentence(shot.run("swap", shot.plate, "-o", "out/c.#.exr"), 2, "--persona")


def test_models_are_listed_in_columns_with_what_they_offer(shot: Shot) -> None:
    lines = shot.run("models", "list").stdout.splitlines()
    comb = next(line for line in lines if line.startswith("tinycomb "))
    assert comb.endswith(", ".join([SYNTHETIC, CONSENTED, LAPSED]))
    starts = {line.index("Apache-2.0") for line in lines if "Apache-2.0" in line}
    assert len(lines) > 1 and len(starts) == 1


def test_describe_gives_every_setting_with_its_words(shot: Shot) -> None:
    described = json.loads(shot.run("describe", "--json").stdout)
    swap = next(e for e in described["effects"] if e["name"] == "swap")
    settings = {s["name"]: s for s in swap["settings"]}
    assert settings["matte_grow_px"]["unit"] == "px" and settings["amount"]["maximum"] == 1
    assert all(s["help"] for s in settings.values())
    shown = shot.run("swap", "--help").stdout
    for name in settings.keys() - {"faces"}:
        assert f"--{name.replace('_', '-')}" in shown


def test_recipes_that_are_not_there_are_named(shot: Shot) -> None:
    one_sentence(shot.run("train", "comb", "comb-startr"), 2, "comb-starter")
    one_sentence(shot.run("train", "comb", "mine.toml"), 2, "mine.toml")
    one_sentence(shot.run("bench", "swap", "--model", "tinycomb"), 2, "synthetic")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (("synth",), ("--output", "--personas", "--pixel-aspect", "--truth")),
        (("train", "landmarks"), ("--iterations", "--out", "--work")),
        (("train", "comb"), ("--show", "--work")),
        (("demo",), ("--out",)),
        (("bench",), ("--json", "--quick")),
    ],
)
def test_commands_that_make_things_explain_themselves(
    shot: Shot, command: tuple[str, ...], options: tuple[str, ...]
) -> None:
    done = shot.run(*command, "--help")
    assert done.returncode == 0 and all(option in done.stdout for option in options)


def test_a_synthetic_shot_is_rendered(shot: Shot) -> None:
    pytest.importorskip("anny")
    done = shot.run(
        "synth", "-o", "synth/s.####.exr", "--frames", "1", "--width", "32", "--height", "24",
        "--texture-rows", "96", "--no-truth", "--progress", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["finished"] == 1
    assert verify_image(shot.folder / "synth" / "s.1001.exr")


def test_doctor_tells_a_healthy_from_a_broken_installation(shot: Shot) -> None:
    done = shot.run("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["ok"], done.stdout
    names = {f["name"] for f in report["findings"]}
    assert {"Python", "torch", "OpenImageIO", "OCIO config", "tinycomb", "device"} <= names
    broken = shot.run("doctor", OCIO="/nowhere.ocio")
    assert broken.returncode == 1 and "BROKEN" in broken.stdout and "$OCIO" in broken.stdout


def test_ctrl_c_finishes_the_frame_in_hand(shot: Shot) -> None:
    frames = range(1001, 1401)
    pattern = write_shot(shot.folder / "long", range(1001, 1002))
    for frame in frames[1:]:
        os.link(shot.folder / "long" / "plate.1001.exr", _fresh(shot, frame))
    tracks = write_face_tracks(shot.folder / "long.json", pattern, [1001])
    data = json.loads(tracks.read_text())
    by_frame = data["automatic"][""]
    data["automatic"][""] = {str(frame): by_frame["1001"] for frame in frames}
    tracks.write_text(json.dumps(data))
    command = [sys.executable, "-m", "vfxswap", "swap", pattern, "--frames", "1001-1400",
               "--persona", SYNTHETIC, "--tracks", str(tracks), "-o", "out/comp.#.exr",
               "--progress", "json"]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=shot.folder, env=shot.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "frame_done":
            break
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    last = json.loads(rest.splitlines()[-1])
    assert last["event"] == "done" and last["not_reached"]
    files = sorted(shot.out.glob("*.exr"))
    assert 0 < len(files) < 400 and all(verify_image(f) for f in files)
    assert not [p for p in shot.out.iterdir() if "tmp" in p.name]


def _fresh(shot: Shot, frame: int) -> Path:
    path = shot.folder / "long" / f"plate.{frame}.exr"
    path.unlink(missing_ok=True)
    return path


# Dialects -------------------------------------------------------------------------------------


def spoken(dialect: Dialect, capsys: pytest.CaptureFixture[str]) -> list[str]:
    report = Report(failed=[Failure(1002, "", PlateError("no such file", frame=1002))])
    with listener(dialect) as say:
        say(Event("prepare", "done", 1, 2, frame=1001))
        say(Event("render", "begin", 0, 3))
        say(Event("render", "done", 1, 3, 1001, path=Path("c.1001.exr"), seconds=0.5))
        say(Event("render", "note", 1, 3, frame=1002, message="no face found"))
        say(Event("render", "failed", 2, 3, frame=1002, message="frame 1002: no such file"))
    finish(dialect, report)
    return capsys.readouterr().out.splitlines()


def test_openjd_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = spoken(Dialect.OPENJD, capsys)
    assert "openjd_progress: 33.3" in lines and "openjd_progress: 66.7" in lines
    assert "openjd_status: frame 1001 done" in lines
    assert lines[-1] == "openjd_fail: frame 1002: no such file"


def test_openjd_hears_of_an_error_that_ends_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PlateError), listener(Dialect.OPENJD):
        raise PlateError("no frame of the plate is found", file="p.#.exr")
    said = capsys.readouterr().out.splitlines()
    assert said == ["openjd_fail: p.#.exr: no frame of the plate is found"]


def test_afanasy_lines_are_upper_case_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    lines = spoken(Dialect.AFANASY, capsys)
    assert [x for x in lines if x.startswith("PROGRESS")] == [
        "PROGRESS: 0%", "PROGRESS: 33%", "PROGRESS: 66%"
    ]  # fmt: skip


def test_tractor_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = spoken(Dialect.TRACTOR, capsys)
    assert "TR_PROGRESS 033%" in lines


def test_json_lines_are_objects(capsys: pytest.CaptureFixture[str]) -> None:
    events = [json.loads(line) for line in spoken(Dialect.JSON, capsys)]
    assert [e["event"] for e in events] == [
        "progress", "progress", "frame_done", "warning", "error", "done"
    ]  # fmt: skip
    assert events[-1]["failed"][0]["frame"] == 1002 and events[-1]["exit_code"] == 1


def test_auto_is_plain_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "[render 1/3] frame 1001 done in 0.50 s" in spoken(Dialect.AUTO, capsys)
