"""Renders onto a disk of its own that runs full, or that may no longer be written, mid-shot.

Runs inside `unshare -rm`, where a tmpfs of a few hundred KB can be mounted by anybody, and prints
one JSON object about what it saw.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from small_shot import Gain, gain_job

from vfxswap import effects
from vfxswap.render import Event, Report, render
from vfxswap.render.shot_report import shot_report


def mount(out: Path, options: str) -> None:
    """Mounts a tmpfs, or changes the one that is there."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(out)], check=True)


def seen(report: Report, out: Path) -> dict[str, Any]:
    """What a render says, and what lies on the disk then."""
    return {
        "exit_code": report.exit_code,
        "written": [w.frame for w in report.written],
        "failed": {f.frame: str(f.error) for f in report.failed},
        "not_reached": report.not_reached,
        "files": sorted(p.name for p in out.iterdir()),
    }


def main(folder: Path, fault: str) -> None:
    """`fault`: "full" or "readonly"."""
    effects.EFFECTS["gain"] = Gain
    out = folder / "out"
    out.mkdir()
    mount(out, "size=200k" if fault == "full" else "size=9m")
    job = gain_job(folder, "1001-1030")

    def listen(event: Event) -> None:
        if fault == "readonly" and event.kind == "done" and event.stage == "render":
            subprocess.run(["mount", "-o", "remount,ro", str(out)], check=True)

    first = seen(render(job, threads=1, progress=listen), out)
    states = {f.frame: f.state for f in shot_report(job).frames}
    subprocess.run(["mount", "-o", "remount,rw,size=9m", str(out)], check=True)
    rest = seen(render(job, threads=1, skip_existing=True), out)
    whole = shot_report(job).exit_code
    print(json.dumps({"first": first, "states": states, "rest": rest, "report": whole}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
