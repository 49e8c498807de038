"""Tracks leave and come back by the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Shot

from vfxswap.io.tracks import read_tracks


@pytest.fixture
def shot(tmp_path: Path) -> Shot:
    return Shot(tmp_path)


def test_a_table_goes_out_and_comes_back_as_edits(shot: Shot) -> None:
    assert shot.run("tracks", "export", "t.json", "--to", "csv", "-o", "t.csv").returncode == 0
    table = shot.folder / "t.csv"
    lines = table.read_text().splitlines()
    words = lines[1].split(",")
    lines[1] = ",".join([*words[:4], "1.25", "2.5", words[6]])
    table.write_text("\n".join(lines))
    done = shot.run("tracks", "import", "t.json", "t.csv")
    assert (done.returncode, done.stderr) == (0, "1 more edits\n")
    edits = read_tracks(shot.folder / "t.json").edits[""]
    assert [e.points for each in edits.values() for e in each] == [{0: (1.25, 2.5)}]


def test_nuke_nodes_are_printed_or_written(shot: Shot) -> None:
    printed = shot.run("tracks", "export", "t.json", "--to", "tracker4", "--points", "all")
    assert printed.stdout.startswith("Tracker4 {")
    assert "{ 1 31 70 }" in printed.stdout
    shot.run("tracks", "export", "t.json", "--to", "cornerpin2d", "-o", "pin.nk")
    assert (shot.folder / "pin.nk").read_text().startswith("CornerPin2D {")


def test_a_wrong_landmark_is_a_bad_job(shot: Shot) -> None:
    done = shot.run("tracks", "export", "t.json", "--to", "tracker4", "--points", "nose")
    assert done.returncode == 2
    assert "no landmarks" in done.stderr


def test_settings_of_tracking_are_options(shot: Shot) -> None:
    done = shot.run("track", shot.plate, "--cuts", "1002", "--no-smooth", "-o", "new.json")
    assert done.returncode == 0, done.stderr
    assert read_tracks(shot.folder / "new.json").cuts == {"": (1002,)}
