"""What earlier runs knew: plates by content, frames by what they showed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from face_footage import moving, picture, write_face_models, write_footage

from vfxswap.align.cuts import THUMBNAIL
from vfxswap.errors import PlateError
from vfxswap.geometry import Face
from vfxswap.io.exr import write_image
from vfxswap.io.tracks import read_tracks
from vfxswap.job import Job, Output, Plate
from vfxswap.render.plan import Unit
from vfxswap.render.prepare import track_shot
from vfxswap.render.tracking import Sighting
from vfxswap.train.face_set_memory import Lines, PlateFiles, Sightings


def test_lines_survive_a_torn_end(tmp_path: Path) -> None:
    file = tmp_path / "work" / "lines.jsonl"
    with Lines(file) as lines:
        assert lines.read() == []
        offsets = [lines.add({"n": n}) for n in range(3)]
    with file.open("ab") as stream:
        stream.write(b'{"n": 3, "torn')
    with Lines(file) as lines:
        assert [line["n"] for _, line in lines.read()] == [0, 1, 2]
        lines.add({"n": 4})
        assert lines.at(offsets[1]) == {"n": 1}
    with Lines(file) as lines:
        found = lines.read()
        assert [line["n"] for _, line in found] == [0, 1, 2, 4]
        assert lines.at(found[-1][0]) == {"n": 4}


def test_a_file_is_read_again_only_when_size_or_time_differ(tmp_path: Path) -> None:
    plate = tmp_path / "a.exr"
    plate.write_bytes(b"one")
    with Lines(tmp_path / "plates.jsonl") as lines:
        first = PlateFiles(lines).sha256(plate)
    stat = plate.stat()
    plate.write_bytes(b"two")
    os.utime(plate, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with Lines(tmp_path / "plates.jsonl") as lines:
        files = PlateFiles(lines)
        assert files.sha256(plate) == first  # as it was told: the same size and time
        os.utime(plate)
        second = files.sha256(plate)
        assert second != first
        plate.write_bytes(b"one")
        assert files.sha256(plate) == first
        with pytest.raises(PlateError, match="frame 7: no such file"):
            files.sha256(tmp_path / "absent.exr", 7)


def test_sightings_are_recalled_as_they_were_remembered(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plate = tmp_path / "a.0001.exr"
    plate.write_bytes(b"pixels")
    unit = Unit(1, "", plate, tmp_path / "out.exr")
    look = rng.normal(0, 1, 96)
    faces = tuple(
        Face(i, rng.uniform(0, 4000, (70, 2)), rng.random(70), 0.9 - i / 10, look if i else None)
        for i in range(2)
    )
    seen = Sighting(faces, rng.normal(0, 0.1, (3, *THUMBNAIL)))
    with Lines(tmp_path / "p.jsonl") as plates, Lines(tmp_path / "s.jsonl") as lines:
        memory = Sightings(lines, PlateFiles(plates), "weights")
        assert memory.recall(unit) is None
        kept = memory.remember(unit, seen)
        other = Sightings(lines, PlateFiles(plates), "other weights")
        assert other.recall(unit) is None
        assert memory.recall(replace(unit, view="left")) is None
    with Lines(tmp_path / "p.jsonl") as plates, Lines(tmp_path / "s.jsonl") as lines:
        back = Sightings(lines, PlateFiles(plates), "weights").recall(unit)
    assert back is not None
    for a, b, c in zip(back.faces, kept.faces, faces, strict=True):
        assert np.array_equal(a.points, b.points) and a.score == b.score == c.score
        assert np.abs(a.points - c.points).max() < 3e-4
        assert (a.descriptor is None) == (c.descriptor is None)
    assert np.array_equal(back.thumbnail, kept.thumbnail)
    assert np.abs(back.thumbnail - seen.thumbnail).max() <= 1 / 256 + 1e-9


def test_a_shot_is_tracked_again_on_changed_frames_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFXSWAP_MODELS", str(write_face_models(tmp_path / "models")))
    pattern, _ = write_footage(tmp_path / "plates", moving())
    job = Job(
        plate=Plate(pattern=pattern), output=Output(pattern=str(tmp_path / "unused.####.exr"))
    )

    def looked(name: str) -> int:
        with Lines(tmp_path / "p.jsonl") as plates, Lines(tmp_path / "s.jsonl") as lines:
            memory = Sightings(lines, PlateFiles(plates), "blind")
            track_shot(job, tmp_path / name, device="cpu", threads=1, memory=memory)
            return memory.looked

    assert [looked("a.json"), looked("b.json")] == [5, 0]
    assert read_tracks(tmp_path / "a.json") == read_tracks(tmp_path / "b.json")
    (tmp_path / "plates" / "clip.0001.exr").touch()
    write_image(tmp_path / "plates" / "clip.0003.exr", picture(moving()[3], ground=0.4))
    assert looked("c.json") == 1
