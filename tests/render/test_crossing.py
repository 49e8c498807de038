"""Who is who holds through crossings, absences and cuts, on rendered performers."""

from __future__ import annotations

from pathlib import Path

import pytest
from crossing import identity_errors, write_crossing

from vfxswap.job import Job, Output, Plate
from vfxswap.render.prepare import track_shot

SHOTS = 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_performers_keep_their_ids_in_ten_shots(tmp_path: Path) -> None:
    confused = []
    for seed in range(SHOTS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        shot = write_crossing(folder, seed)
        job = Job(plate=Plate(pattern=shot.pattern), output=Output(pattern=str(folder / "o.#.exr")))
        tracks = track_shot(job, folder / "t.json")
        wrong, seen, missed = identity_errors(shot, {n: tracks.faces(n) for n in shot.truth})
        assert missed < 0.1 * seen
        # That a performer is there all at once may count as a cut, too.
        assert 1025 in tracks.cuts[""]
        confused += [seed] if wrong else []
    assert not confused, confused
