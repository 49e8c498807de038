"""Plates that vanish, links, killed renders and renders at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT
from command_line import Shot as CommandLine
from small_shot import Gain, gain_effect, gain_job, plate_image, write_shot

from vfxswap.errors import JobError
from vfxswap.geometry import Box
from vfxswap.io.exr import read_image, verify_image, write_image
from vfxswap.io.openexr import PartToWrite, write_scanlines
from vfxswap.job import Job, Output, Plate
from vfxswap.render import Event, render
from vfxswap.render.output import verify_sidecar

__all__ = ["gain_effect"]

FRAMES = tuple(range(1001, 1013))
PATIENCE_S = 130.0
RENDER = """
import os, signal, sys
from small_shot import Gain
from vfxswap import effects
from vfxswap.io import exr
from vfxswap.job import Job
from vfxswap.render import render
effects.EFFECTS["gain"] = Gain
real = exr.verify_image
def deadly(path):
    if sys.argv[2] in os.fspath(path) and ".tmp" in os.fspath(path):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path)
if sys.argv[2]:
    exr.verify_image = deadly
sys.exit(render(Job.read(sys.argv[1]), threads=1, skip_existing=sys.argv[3] == "go on").exit_code)
"""


@pytest.fixture
def shot(tmp_path: Path, gain_effect: type[Gain]) -> Path:
    write_shot(tmp_path, FRAMES)
    return tmp_path


def rendering(job: Path, *, deadly: str = "", how: str = "") -> subprocess.Popen[bytes]:
    """A process that renders a job; one that is killed while it writes the frame `deadly`."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", RENDER, str(job), deadly, how], env=env)


def pictures(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.exr"))}


def test_when_the_plate_vanishes_mid_shot_then_its_frames_are_named_and_going_on_completes(
    shot: Path,
) -> None:
    away = shot / "away"
    away.mkdir()

    def listen(event: Event) -> None:
        if event.kind == "done" and not list(away.iterdir()):
            for frame in FRAMES[6:]:
                (shot / f"plate.{frame}.exr").rename(away / f"plate.{frame}.exr")

    report = render(gain_job(shot, "1001-1012"), progress=listen)
    lost = {f.frame for f in report.failed}
    assert report.exit_code == 1 and {1011, 1012} <= lost <= set(FRAMES[6:])
    assert all("no such file" in str(f.error) for f in report.failed)
    assert {w.frame for w in report.written} == set(FRAMES) - lost
    for plate in away.iterdir():
        plate.rename(shot / plate.name)
    again = render(gain_job(shot, "1001-1012"), skip_existing=True)
    assert again.exit_code == 0 and {w.frame for w in again.written} == lost
    assert not list((shot / "out").glob("*.failed.json"))


def test_when_a_render_is_killed_while_writing_then_the_next_leaves_no_trace_of_it(
    shot: Path,
) -> None:
    job = gain_job(shot, "1001-1012")
    render(job, threads=1)
    whole = pictures(shot / "out")
    other = job.model_copy(update={"output": Output(pattern=str(shot / "killed" / "comp.#.exr"))})
    other.write(shot / "job.json")
    foreign = shot / "killed" / ".comp.1005.exr.0123456789.tmp"
    foreign.parent.mkdir()
    foreign.write_bytes(b"somebody else's")
    assert rendering(shot / "job.json", deadly="comp.1005").wait(PATIENCE_S) == -signal.SIGKILL
    left = [p for p in foreign.parent.iterdir() if ".tmp" in p.name and p != foreign]
    assert left and not (foreign.parent / "comp.1005.exr").exists()
    assert rendering(shot / "job.json", how="go on").wait(PATIENCE_S) == 0
    assert [p.name for p in foreign.parent.iterdir() if ".tmp" in p.name] == [foreign.name]
    assert pictures(foreign.parent) == whole


@pytest.mark.fault
def test_when_processes_render_the_same_frames_at_once_then_all_is_whole(shot: Path) -> None:
    job = gain_job(shot, "1001-1012", noise=0.5)
    render(job, threads=1)
    whole = pictures(shot / "out")
    other = job.model_copy(update={"output": Output(pattern=str(shot / "many" / "comp.#.exr"))})
    other.write(shot / "job.json")
    running = [rendering(shot / "job.json", how=how) for how in ("", "", "go on")]
    try:
        assert [p.wait(PATIENCE_S) for p in running] == [0, 0, 0]
    finally:
        for each in running:
            each.kill()
    assert pictures(shot / "many") == whole
    files = list((shot / "many").iterdir())
    assert len(files) == 24 and all(verify_sidecar(p) for p in files if p.suffix == ".exr")


# Links ----------------------------------------------------------------------------------------


def test_a_linked_folder_is_written_through_and_a_linked_frame_is_replaced(shot: Path) -> None:
    real, elsewhere = shot / "real", shot / "approved.exr"
    real.mkdir()
    elsewhere.write_bytes(b"approved")
    (shot / "out").symlink_to(real)
    (real / "comp.1001.exr").symlink_to(elsewhere)
    assert render(gain_job(shot, "1001-1002")).exit_code == 0
    assert elsewhere.read_bytes() == b"approved"
    assert not (real / "comp.1001.exr").is_symlink() and verify_image(real / "comp.1002.exr")


def test_a_plate_is_not_overwritten_through_a_link_even_when_its_first_frame_is_missing(
    shot: Path,
) -> None:
    (shot / "plate.1001.exr").unlink()
    (shot / "link").symlink_to(shot)
    output = Output(pattern=str(shot / "link" / "plate.####.exr"))
    job = gain_job(shot, "1001-1002").model_copy(update={"output": output})
    before = (shot / "plate.1002.exr").read_bytes()
    with pytest.raises(JobError, match="overwrite the plate"):
        render(job)
    assert (shot / "plate.1002.exr").read_bytes() == before


def test_relative_outputs_lie_where_the_command_was_given_or_beside_the_job(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    assert line.swap("--save-job", "jobs/job.json", "--frames", "1001").returncode == 0
    assert (tmp_path / "out" / "comp.1001.exr").is_file()
    job = Job.read(tmp_path / "jobs" / "job.json")
    text = job.model_dump_json().replace(job.output.pattern, "here/../there/c.#.exr")
    (tmp_path / "jobs" / "job.json").write_text(text)
    assert line.run("render", "jobs/job.json").returncode == 0
    assert verify_image(tmp_path / "jobs" / "there" / "c.1001.exr")


# Names that are paths -------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["../../evil", "/evil", "a/b", "..", "a\x00b", "%v", "#", "a\\b"])
def test_a_plates_view_never_leads_out_of_the_output_folder(
    tmp_path: Path, gain_effect: type[Gain], view: str
) -> None:
    plate = plate_image(1001)
    parts = [
        PartToWrite(str(i), plate.part.channels, {}, name) for i, name in enumerate(("left", view))
    ]
    folder = tmp_path / "deep" / "shot"
    folder.mkdir(parents=True)
    with (folder / "plate.1001.exr").open("wb") as file:
        window = plate.part.data_window
        write_scanlines(
            file, parts, data_window=window, display_window=Box(0, 0, 48, 32), pixel_aspect=1.0
        )
    output = Output(pattern=str(folder / "out" / "%V" / "comp.%V.#.exr"))
    job = gain_job(folder, "1001").model_copy(update={"output": output})
    before = {p for p in tmp_path.rglob("*") if not p.is_relative_to(folder / "out")}
    with pytest.raises(JobError, match="not a view"):
        render(job)
    after = {p for p in tmp_path.rglob("*") if not p.is_relative_to(folder / "out")}
    assert after == before


def test_layers_and_parts_of_hostile_names_stay_inside_the_file(
    tmp_path: Path, gain_effect: type[Gain]
) -> None:
    plate = plate_image(1001)
    parts = [
        PartToWrite("rgba", plate.part.channels, {}),
        PartToWrite("../../evil", {"/etc/x.Y": plate.part.channels["Z"]}, {}),
    ]
    with (tmp_path / "plate.1001.exr").open("wb") as file:
        write_scanlines(
            file, parts, data_window=plate.part.data_window, display_window=Box(0, 0, 48, 32),
            pixel_aspect=1.0,
        )  # fmt: skip
    assert render(gain_job(tmp_path, "1001")).exit_code == 0
    names = {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*")}
    assert names == {"plate.1001.exr", "out"}
    assert "../../evil" in [p.name for p in read_image(tmp_path / "out/comp.1001.exr").parts]


def test_names_that_are_no_text_do_not_stop_a_render(
    tmp_path: Path, gain_effect: type[Gain]
) -> None:
    image = plate_image(1001)
    metadata = {**image.part.metadata, "colorInteropID": "lin\udcff\x00"}
    channels = {**image.part.channels, "\udcff": image.part.channels["Z"] * float("nan")}
    write_image(tmp_path / "plate.1001.exr", image)
    with (tmp_path / "plate.1001.exr").open("wb") as file:
        write_scanlines(
            file, [PartToWrite("", channels, metadata)], data_window=image.part.data_window,
            display_window=Box(0, 0, 48, 32), pixel_aspect=1.0,
        )  # fmt: skip
    report = render(gain_job(tmp_path, "1001"))
    assert report.exit_code in (0, 1)
    for _, _, note in report.notes:
        note.encode()
    for failure in report.failed:
        str(failure.error).encode()


def test_a_still_plate_pattern_with_dots_stays_where_it_says(shot: Path) -> None:
    plate = Plate(pattern=str(shot / "nowhere" / ".." / "plate.#.exr"))
    job = gain_job(shot, "1001").model_copy(update={"plate": plate})
    (shot / "nowhere").mkdir()
    assert render(job).exit_code == 0
