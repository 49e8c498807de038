"""The command line in a folder with a small plate, models and tracks."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from small_shot import SYNTHETIC, write_face_tracks, write_models, write_shot

from vfxswap.cli import main

ROOT = Path(__file__).parent.parent
FRAMES = (1001, 1002, 1003)
Done = subprocess.CompletedProcess[str]


class Shot:
    """A folder with a plate, models and tracks, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plate = write_shot(folder / "plates", FRAMES)
        self.models = write_models(folder / "models")
        self.tracks = write_face_tracks(folder / "t.json", self.plate, FRAMES)
        self.out = folder / "out"

    def env(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("VFXSWAP")}
        return {
            **kept,
            "VFXSWAP_MODELS": str(self.models),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            **more,
        }

    def process(self, *arguments: str, **env: str) -> Done:
        """The command line as a process of its own."""
        command = [sys.executable, "-m", "vfxswap", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.env(**env), capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip

    def run(self, *arguments: str, **env: str) -> Done:
        """The same in this process, which has imported torch already."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            for name in os.environ:
                if name.startswith("VFXSWAP"):
                    patch.delenv(name)
            for name, value in {"VFXSWAP_MODELS": str(self.models), **env}.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as left:
                main(arguments)
        code = left.value.code
        assert isinstance(code, int)
        return Done(list(arguments), code, out.getvalue(), err.getvalue())

    def swap(self, *arguments: str, persona: str = SYNTHETIC, **env: str) -> Done:
        return self.run(
            "swap", self.plate, "--frames", "1001-1003", "--persona", persona,
            "--tracks", str(self.tracks), "-o", "out/comp.#.exr", *arguments, **env,
        )  # fmt: skip

    def written(self) -> list[str]:
        return sorted(p.name for p in self.out.iterdir()) if self.out.exists() else []


def one_sentence(done: Done, code: int, *says: str) -> None:
    """The command refused with one sentence on stderr and this exit code."""
    lines = done.stderr.strip().splitlines()
    assert done.returncode == code, done.stderr
    assert len(lines) == 1 and lines[0].startswith("vfxswap: "), done.stderr
    for word in says:
        assert word in lines[0]
