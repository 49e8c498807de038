"""A child process that decodes pictures under limits, so that a native crash, a memory bomb or a
hang is an answer and not the end of the tests."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, cast

ROOT = Path(__file__).parents[2]
MEMORY_BYTES = 3 << 30
"""Address space of a decoder; the libraries alone take about 1 GiB of it."""
PATIENCE_S = 20.0


class Decoder:
    """Asks a child for one file after another, and starts another child when one died."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def look(self, path: Path) -> str:
        """ "whole", a PlateError's sentence, "escaped: …" for any other exception, or "died: …"."""
        child = self._child or self._start()
        stdin, stdout = cast("IO[str]", child.stdin), cast("IO[str]", child.stdout)
        late = threading.Timer(PATIENCE_S, child.kill)
        late.start()
        try:
            stdin.write(f"{path}\n")
            stdin.flush()
            answer = stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            hung = not late.is_alive()
            late.cancel()
        if answer.endswith("\n"):
            return answer.strip()
        code = child.wait()
        self._child = None
        return f"died: {'hung' if hung else f'exit code {code}'}"

    def close(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _start(self) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._child = subprocess.Popen(
            [sys.executable, __file__], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        return self._child


def main() -> None:
    """Answers each path on stdin with a line."""
    from vfxswap.errors import PlateError
    from vfxswap.io.exr import read_image, verify_image

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        try:
            verify_image(path)
            read_image(path).rgb()
            said = "whole"
        except PlateError as error:
            said = str(error).replace("\n", "\\n")
        except BaseException as error:
            said = f"escaped: {type(error).__name__}: {error}"
        print(said.encode("ascii", "backslashreplace").decode(), flush=True)


if __name__ == "__main__":
    main()
