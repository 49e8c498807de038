# ruff: noqa: PTH101, PTH103, PTH116, PTH118, PTH123, UP031
"""Run by each Python that a Nuke carries: the plug-in against an engine of a few lines.

python3.7 shim_on_old_python.py FOLDER
"""

from __future__ import annotations

import os
import stat
import sys
import time

from vfxswap_nuke import background, foreground
from vfxswap_nuke.curves import keyframed
from vfxswap_nuke.engine_client import Engine
from vfxswap_nuke.jobs import build_job
from vfxswap_nuke.layout import Layout, file_of
from vfxswap_nuke.runs import Run
from vfxswap_nuke.settings import PluginSettings
from vfxswap_nuke.snapshot import KnobState, NodeState

ENGINE = """#!%s
import json, os, sys

def say(**event):
    print(json.dumps(event), flush=True)

def frames_of(text):
    for part in text.split(","):
        first, _, last = part.partition("-")
        for frame in range(int(first), int(last or first) + 1):
            yield frame

def render(job, frames, id=None):
    for frame in frames_of(frames):
        path = job["output"]["pattern"].replace("%%04d", "%%04d" %% frame)
        with open(path + ".tmp", "w") as file:
            file.write("%%d %%s" %% (frame, job["effects"][0]["settings"]))
        os.replace(path + ".tmp", path)
        say(event="frame_done", id=id, stage="render", finished=1, total=1, percent=1.0,
            frame=frame, view="", path=path, seconds=0.1)
    say(event="done", id=id, exit_code=0, report={})

if sys.argv[1] == "render":
    with open(sys.argv[2]) as file:
        render(json.load(file), sys.argv[sys.argv.index("--frames") + 1])
    sys.exit()
say(event="hello", protocol=1, version="9.9", device="cpu", effects=["dots"])
for line in sys.stdin:
    asked = json.loads(line)
    if asked["request"] == "models":
        row = {"name": "m", "effect": "dots", "sha256": "a", "card_sha256": "b"}
        say(event="done", id=asked["id"], exit_code=0, report={"models": [row]})
    elif asked["request"] == "render":
        render(asked["job"], asked["frames"], asked["id"])
    elif asked["request"] == "check":
        say(event="done", id=asked["id"], exit_code=0, report={"findings": []})
"""

ROW = {
    "name": "dots",
    "settings": [
        {"name": "amount", "type": "number", "minimum": 0, "maximum": 1, "keyframes": True},
        {"name": "count", "type": "integer", "keyframes": True},
        {"name": "on", "type": "boolean", "keyframes": True},
        {"name": "names", "type": "object", "additionalProperties": {"type": "string"}},
    ],
}


def main(folder: str) -> None:
    engine_file = os.path.join(folder, "engine")
    with open(engine_file, "w") as file:
        file.write(ENGINE % sys.executable)
    os.chmod(engine_file, os.stat(engine_file).st_mode | stat.S_IXUSR)
    cache = folder + "/cache"
    layout = Layout(cache, cache + "/v1", per_view=False)
    os.makedirs(layout.folder)
    for frame in (1, 2, 3):
        with open(file_of(layout.plate, frame, ""), "w") as file:
            file.write("plate %d" % frame)
    settings = PluginSettings(engine=engine_file)
    knobs = {
        "amount": KnobState(0.5, {1: 0.0, 2: 0.5, 3: 1.0}),
        "count": KnobState(3.0),
        "on": KnobState(True),
        "names": KnobState("a=b\nc = d"),
    }
    with Engine(engine_file) as engine:
        for amount, made in ((0.25, 3), (0.5, 3), (0.25, 0)):
            state = NodeState(
                "Node1", "dots", layout=layout, frames=range(1, 4), views=[""],
                knobs=dict(knobs, amount=KnobState(amount)),
            )  # fmt: skip
            job, warnings = build_job(state, ROW)
            assert not warnings, warnings
            run = Run("Node1", "dots", 3)
            wanted = foreground.want(
                state, job, run, engine=engine, effects=["dots"], settings=settings
            )
            foreground.Foreground(run, wanted, engine).perform()
            kept = ", 3 from the cache" if not made else ""
            assert run.message == "%d rendered%s" % (made, kept), run.message
            with open(file_of(layout.result(1), 2, "")) as file:
                assert str(amount) in file.read()
        state.knobs["amount"] = KnobState(0.75)
        job, _ = build_job(state, ROW)
        wanted = foreground.want(
            state, job, run, engine=engine, effects=["dots"], settings=settings
        )
        started = background.start(state, wanted, settings=settings)
        until = time.time() + 60
        while not started.over and time.time() < until:
            started.poll()
            time.sleep(0.05)
        assert started.message == "3 rendered", started.message
    keys = keyframed({1: 0.0, 2: 0.5, 3: 1.0})
    assert keys == {"keys": {"1": 0.0, "3": 1.0}, "interpolation": "linear"}, keys
    print(tuple(sys.version_info[:3]))


if __name__ == "__main__":
    main(sys.argv[1])
