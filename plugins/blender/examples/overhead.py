# SPDX-License-Identifier: GPL-3.0-or-later
"""Seconds a frame of a swap in Blender, beside the engine alone and Blender alone.

    vfxswap synth -o FOLDER/plate.####.exr --frames 4 --first-frame 1 --width 1920 --height 1080 \
        --framing-m 0.5 --no-truth
    blender -b --python overhead.py -- FOLDER [--engine VFXSWAP] [--persona NAME] [--rounds 5]

Writes FOLDER/overhead.json and prints it as a table. The extension must be installed. A Python that
has bpy runs this file as well. Everything is measured in one run: the engine is the one that the
nodes use, asked for the very job that they ask, and all ways take turns, so that a busy machine
hits each alike. The engine is warm and has its tracks; medians of the rounds are told, of the time
on the clock and (on Linux) of the time on the processor, of Blender and engine together, which
other programs hardly change.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

MODULE = "bl_ext.user_default.vfxswap_blender"
WAYS = {
    "engine": "Engine alone",
    "engine_single": "Engine alone, a frame at a time",
    "plain": "Blender alone: the plate read, composited, written",
    "auto": "From file",
    "tap": "Tap",
    "bake": "Bake: the operator",
    "baked": "Bake: the render after it",
    "cached": "From file, from the cache",
}


def main() -> None:
    """Measures, prints and writes."""
    words = argparse.ArgumentParser(prog="overhead.py")
    words.add_argument("folder", type=Path)
    words.add_argument("--engine", default="")
    words.add_argument("--persona", default="basalt")
    words.add_argument("--rounds", type=int, default=5)
    given = words.parse_args(sys.argv[sys.argv.index("--") + 1 :])
    folder = given.folder.absolute()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert bpy.ops.preferences.addon_enable(module=MODULE) == {"FINISHED"}
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.device = "cpu"
    if given.engine:
        preferences.engine = given.engine
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        preferences.cache = os.path.join(scratch, "cache")
        measured = Bench(folder, Path(scratch), given.persona).run(given.rounds)
    (folder / "overhead.json").write_text(json.dumps(measured, indent=1) + "\n")
    for line in table(measured):
        print(line)


class Bench:
    """A scene with a plate and one node, rendered in every way."""

    def __init__(self, folder: Path, scratch: Path, persona: str) -> None:
        self.scratch = scratch
        self.api, self.session = (
            importlib.import_module(f"{MODULE}.{name}") for name in ("api", "session")
        )
        files = sorted(folder.glob("plate.*.exr"))
        self.frames = len(files)
        self.scene = bpy.context.scene
        self.tree = self.api.made_tree(self.scene)
        self.plate = self._plate(files[0])
        self.width, self.height = self.plate.image.size
        self._set_up()
        assert bpy.ops.vfxswap.add_node(effect="swap") == {"FINISHED"}
        self.node = self.tree.nodes["VFXSwap Swap"]
        self.group = self.node.node_tree
        self.settings = self.group.vfxswap_swap
        self.settings.persona = persona
        self.tree.links.new(self.plate.outputs[0], self.node.inputs["Image"])
        self.jobs: list[dict[str, Any]] = []
        self.service = self.session.service()
        self._listen()

    def _plate(self, first: Path) -> Any:
        image = bpy.data.images.load(str(first))
        image.source = "SEQUENCE"
        image.colorspace_settings.name = "Linear Rec.709"
        node = self.tree.nodes.new("CompositorNodeImage")
        node.image, node.frame_duration, node.use_auto_refresh = image, self.frames, True
        return node

    def _set_up(self) -> None:
        render = self.scene.render
        self.scene.frame_start, self.scene.frame_end = 1, self.frames
        render.resolution_x, render.resolution_y = self.width, self.height
        render.resolution_percentage = 100
        if hasattr(render, "compositor_device"):
            render.compositor_device = "CPU"
        settings = render.image_settings
        if hasattr(settings, "media_type"):
            settings.media_type = "IMAGE"
        settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR", "16", "ZIP"
        render.filepath, render.use_file_extension = str(self.scratch / "out.####.exr"), False

    def _listen(self) -> None:
        """Keeps the jobs that nodes ask for."""
        asked = self.service.render

        def render(job: dict[str, Any], frames: str, on_event: Any) -> Any:
            self.jobs.append(job)
            return asked(job, frames, on_event)

        self.service.render = render

    # Ways ---------------------------------------------------------------------------------------

    def run(self, rounds: int) -> dict[str, Any]:
        """Every way once unmeasured, then in turns."""
        clock: dict[str, list[float]] = {way: [] for way in WAYS}
        processor: dict[str, list[float]] = {way: [] for way in WAYS}
        for index in range(rounds + 1):
            for way, (seconds, busy) in self._turn(index).items():
                if index:
                    clock[way].append(seconds / self.frames)
                    processor[way].append(busy / self.frames)
        return {
            "blender": bpy.app.version_string,
            "engine": self.service.hello()["version"],
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS", "as many as cores"),
            "size": [self.width, self.height],
            "frames": self.frames,
            "rounds": rounds,
            "seconds_a_frame": {way: statistics.median(s) for way, s in clock.items()},
            "processor_seconds_a_frame": {
                way: statistics.median(s) for way, s in processor.items()
            },
            "every_round": {"clock": clock, "processor": processor},
        }

    def _turn(self, index: int) -> dict[str, tuple[float, float]]:
        amount = iter(1.0 - 0.001 * (4 * index + step) for step in range(4))

        def anew(mode: str) -> None:
            """What was never asked is in no cache."""
            self.group.vfxswap.mode = mode
            self.settings.amount = next(amount)

        found = {}
        self._show(self.plate.outputs[0])
        found["plain"] = self._timed(self._render)
        self._show(self.node.outputs["Image"])
        anew("AUTO")
        found["auto"] = self._timed(self._render)
        job = {**self.jobs[-1], "frames": f"1-{self.frames}"}
        found["cached"] = self._timed(self._render)
        found["engine"] = self._timed(lambda: self._alone(job))
        del self.jobs[:]
        anew("TAP")
        found["tap"] = self._timed(self._render)
        jobs = list(self.jobs)
        assert len(jobs) == self.frames
        found["engine_single"] = self._timed(lambda: [self._alone(job) for job in jobs])
        anew("BAKE")
        found["bake"] = self._timed(self._bake)
        found["baked"] = self._timed(self._render)
        return found

    def _show(self, output: Any) -> None:
        self.tree.links.new(output, self.api.output_socket(self.tree))

    def _render(self) -> None:
        bpy.ops.render.render(animation=True)
        self._check()

    def _bake(self) -> None:
        assert bpy.ops.vfxswap.bake(group=self.group.name) == {"FINISHED"}
        self._check()

    def _check(self) -> None:
        """No plate went through in place of a result."""
        path = self.scratch / "cache" / "report.json"
        entries = json.loads(path.read_text())["entries"] if path.exists() else []
        assert not [entry for entry in entries if entry["level"] == "ERROR"], entries

    def _alone(self, job: dict[str, Any]) -> dict[str, Any]:
        """Asks the engine, and nothing else."""
        output = {**job["output"], "pattern": str(self.scratch / "alone" / "frame.####.exr")}
        report: dict[str, Any] = self.service._engine.render({**job, "output": output}).result()
        return report

    def _timed(self, work: Callable[[], object]) -> tuple[float, float]:
        """Seconds on the clock, and on the processor in Blender and the engine."""
        self.service.hello()
        clock, own, engine = time.perf_counter(), time.process_time(), self._engine_s()
        work()
        busy = time.process_time() - own + self._engine_s() - engine
        return time.perf_counter() - clock, busy

    def _engine_s(self) -> float:
        try:
            stat = Path(f"/proc/{self.service._engine.pid}/stat").read_text()
        except OSError:
            return 0.0
        fields = stat.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def table(measured: dict[str, Any]) -> list[str]:
    """The figures in lines: seconds a frame, and times what the engine alone takes."""
    clock, busy = measured["seconds_a_frame"], measured["processor_seconds_a_frame"]
    width, height = measured["size"]
    lines = [
        f"Blender {measured['blender']}, vfxswap {measured['engine']}, {width}x{height}, "
        f"{measured['frames']} frames, medians of {measured['rounds']} rounds; {measured['cpu']}, "
        f"{measured['cores']} cores, OMP_NUM_THREADS {measured['threads']}",
        f"{'clock':>16} {'processor':>17}",
    ]
    for way, label in WAYS.items():
        pairs = (
            f"{each[way]:7.2f} s ({each[way] / each['engine']:4.2f})" for each in (clock, busy)
        )
        lines.append("  ".join((*pairs, label)))
    return lines


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "")


if __name__ == "__main__":
    main()
