"""A shot of fifty small frames for a farm, and an engine that nodes run."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import JsonValue
from small_shot import SYNTHETIC, write_face_tracks, write_models, write_shot

from vfxswap.farm.submission import Submission
from vfxswap.io.exr import read_image
from vfxswap.job import EffectSpec, Job, Output, Plate

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FRAMES = tuple(range(1001, 1051))
PATIENCE_S = 480.0
"""For anything that a loaded machine may delay."""


class FarmShot:
    """A folder whose name has what shells stumble on: a plate, models, tracks, a job file, and an
    executable engine that knows effect `slow` as well."""

    def __init__(self, folder: Path, *, wait_s: float = 0.0, frames: str = "1001-1050") -> None:
        self.folder = folder / 'it\'s a "shot" $HOME 100%'
        self.folder.mkdir()
        self.plate = write_shot(self.folder / "plates", FRAMES[:3])
        for frame in FRAMES[3:]:
            name = f"plate.{1001 + frame % 3}.exr"
            os.link(self.folder / "plates" / name, self.folder / "plates" / f"plate.{frame}.exr")
        self.models = write_models(self.folder / "models")
        tracks = write_face_tracks(self.folder / "t.json", self.plate, FRAMES)
        self.engine = self._engine()
        effects: tuple[dict[str, JsonValue], ...] = (
            {"effect": "swap", "settings": {"persona": SYNTHETIC}},
            {"effect": "slow", "settings": {"wait_s": wait_s, "noise": 0.1}},
        )
        self.job = Job(
            plate=Plate(pattern=self.plate),
            frames=frames,
            effects=tuple(EffectSpec.model_validate(effect) for effect in effects),
            tracks=str(tracks),
            output=Output(pattern=str(self.folder / "out" / "comp.#.exr")),
        )
        self.job_file = self.write(self.job, "shot.job.json")

    def write(self, job: Job, name: str) -> Path:
        """Puts a job on disk."""
        job.write(self.folder / name)
        return self.folder / name

    def into(self, name: str) -> Path:
        """A job file of the same shot that writes elsewhere, under a name of its own."""
        output = Output(pattern=str(self.folder / name / "comp.#.exr"))
        return self.write(self.job.model_copy(update={"output": output}), f"{name}.job.json")

    def submission(self, job_file: Path | None = None, *, chunk: int = 5) -> Submission:
        """The whole shot, one thread an engine."""
        file = job_file or self.job_file
        return Submission(
            job=Job.read(file),
            job_file=file,
            frames=FRAMES,
            chunk=chunk,
            device="cpu",
            threads=1,
        )

    @property
    def command(self) -> str:
        """The engine as a word of a shell."""
        return shlex.quote(str(self.engine))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The engine as one process."""
        return subprocess.run(
            [self.engine, *arguments], capture_output=True, text=True, timeout=PATIENCE_S,
            check=False,
        )  # fmt: skip

    def _engine(self) -> Path:
        path = self.folder / "engine"
        places = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "worker")]
        path.write_text(
            f"#!{sys.executable} -P\n"
            "import os, runpy, sys\n"
            f"sys.path[:0] = {places!r}\n"
            f"os.environ.update(VFXSWAP_MODELS={str(self.models)!r}, OMP_NUM_THREADS='1')\n"
            f"os.environ['PYTHONPATH'] = {os.pathsep.join(places)!r}\n"
            f"runpy.run_path({str(ROOT / 'tests/worker/slow_engine.py')!r}, run_name='__main__')\n"
        )
        path.chmod(0o755)
        return path


def frame_files(folder: Path) -> list[Path]:
    """Frames under their final names."""
    return sorted(folder.glob("comp.*.exr"))


def leftovers(folder: Path) -> list[str]:
    """Whatever is hidden or half-written in a folder of results, tracks aside."""
    return sorted(p.name for p in folder.iterdir() if p.suffix == ".tmp" or ".tmp" in p.name)


def assert_whole(folder: Path) -> None:
    """All fifty frames are there and can be read to the last pixel, and nothing else is left."""
    files = frame_files(folder)
    assert [int(f.name.split(".")[1]) for f in files] == list(FRAMES)
    for file in files:
        image = read_image(file)
        assert image.part.channels["R"].shape
    assert leftovers(folder) == []


def digests(folder: Path) -> dict[str, str]:
    """Hashes of the frames' files."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in frame_files(folder)}


def wait_until(true: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S) -> None:
    """Waits, and fails with `what` was waited for."""
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {patience_s:g} s"
        time.sleep(0.1)
