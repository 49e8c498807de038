"""Who is who holds through crossings, absences and cuts, on rendered performers."""

from __future__ import annotations

from pathlib import Path

import pytest
from crossing import identity_errors, write_crossing

from vfxswap.job import Job, Output, Plate
from vfxswap.render.prepare import track_shot


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_no_performer_gets_anothers_id(tmp_path: Path, seed: int) -> None:
    shot = write_crossing(tmp_path, seed)
    job = Job(plate=Plate(pattern=shot.pattern), output=Output(pattern=str(tmp_path / "out.#.exr")))
    tracks = track_shot(job, tmp_path / "t.json")
    wrong, seen, missed = identity_errors(shot, {n: tracks.faces(n) for n in shot.truth})
    assert wrong == 0
    assert missed < 0.1 * seen
    assert tracks.cuts[""] == (1025,)
