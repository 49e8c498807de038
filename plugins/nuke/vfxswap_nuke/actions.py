"""What the buttons do. Imports `nuke`.

A button runs on the main thread: it reads the node, has Nuke write the inputs, and hands the rest
to a thread, which never touches a node itself. Without the GUI all of it happens at once, and
what fails raises.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from typing import Any, Callable, Iterator

import nuke

from vfxswap_nuke import background, host
from vfxswap_nuke import node as nodes
from vfxswap_nuke.engine_client import Engine, EngineError
from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.files import copy
from vfxswap_nuke.foreground import Foreground, Wanted, want
from vfxswap_nuke.jobs import build_job, frame_range, named_files, numbers_by_name
from vfxswap_nuke.layout import card_of
from vfxswap_nuke.runs import CANCELLED, FAILED, Run
from vfxswap_nuke.settings import PluginSettings, load_settings
from vfxswap_nuke.snapshot import NodeState

_STATUS_S = 0.5
_POLL_S = 1.0


class _Ready:
    """A render whose inputs are written."""

    def __init__(self, node: nuke.Node, *, only_frame: int | None = None) -> None:
        self.node = node
        _refuse_second(node)
        self.settings: PluginSettings = load_settings()
        self.engine: Engine = host.engine(self.settings)
        # Before a plate is written: a missing engine, or one without this effect, is told first.
        description = self.engine.describe()
        self.state: NodeState = nodes.read_node(node, only_frame=only_frame)
        row = host.effect_row(description, self.state.effect)
        self.effects = [str(effect["name"]) for effect in description["effects"]]
        self.job, self.warnings = build_job(self.state, row)
        self.files = named_files(self.job, row)
        cards = {
            picture["setting"]: nodes.card_for(node, picture["setting"])
            for picture in row.get("pictures", ())
            if picture["card"] and picture["setting"] in self.state.pictures
        }
        nodes.write_inputs(node, self.state)
        for setting, card in cards.items():
            copy(card, card_of(self.state.layout.picture(setting)))

    def run(self) -> Run:
        """A new render of it."""
        total = len(self.state.frames) * len(self.state.views)
        title = f"{self.state.effect} {frame_range(self.state.frames)}"
        run = Run(self.state.name, title, total)
        run.folder = self.state.layout.folder
        for warning in self.warnings:
            run.say("", note=warning)
        return run

    def wanted(self, run: Run) -> Wanted:
        """What is to be rendered. Raises NodeError, EngineError."""
        return want(
            self.state, self.job, run, engine=self.engine, effects=self.effects,
            settings=self.settings, files=self.files,
        )  # fmt: skip


def render(node: nuke.Node) -> None:
    """Renders a node's frames."""
    with _told(node):
        _render(_Ready(node))


def render_frame(node: nuke.Node) -> None:
    """Renders the current frame."""
    with _told(node):
        _render(_Ready(node, only_frame=int(nuke.frame())))


def render_background(node: nuke.Node) -> None:
    """Renders a node's frames by an engine of its own."""
    if not nuke.GUI:
        # A farm ends what a task leaves behind: there, the render is the task.
        render(node)
        return
    with _told(node):
        ready = _Ready(node)
        _thread(lambda: _start_background(ready), "background")


def cancel(node: nuke.Node) -> None:
    """Ends what a node renders, in the background too."""
    with _told(node):
        attach_background(node)
        running = host.RUNS.of(node.fullName())
        for run in running:
            run.cancel()
        if not running:
            nodes.set_status(node, "nothing is rendering")


def entry_knobs(node: nuke.Node, setting: str) -> None:
    """Makes a knob of each line of a setting that holds numbers by name."""
    with _told(node):
        lines: Any = node[nodes.PREFIX + setting]
        numbers = numbers_by_name(str(lines.value() or ""))
        if not numbers and not nodes.entries(node, setting):
            raise NodeError(f"{setting} has no lines yet: write one, as in name=0.5")
        nodes.add_entries(node, setting, numbers)
        lines.setValue("")


def attach_background(node: nuke.Node) -> None:
    """Finds a background render that an earlier session of Nuke started, and follows it."""
    if any(run.kind == "background" for run in host.RUNS.of(node.fullName())):
        return
    with contextlib.suppress(NodeError):
        state = nodes.read_node(node)
        run = background.attach(state, settings=load_settings())
        if run is not None:
            _show(run, node)
            _follow_in_thread(run, node)


def save_job(node: nuke.Node) -> str:
    """Writes a node's inputs and its job file, for a farm; the file's path."""
    ready = _Ready(node)
    path = ready.state.layout.job(ready.state.proxy)
    background.write_job(path, ready.job)
    return path


def _render(ready: _Ready) -> None:
    run = ready.run()
    _show(run, ready.node)
    if nuke.GUI:
        _thread(lambda: host.watch(run), "progress")
        _thread(lambda: _perform(run, ready), "render")
        return
    said = _thread(lambda: host.watch(run), "progress")
    _perform(run, ready)
    said.join()
    nuke.tprint(f"vfxswap {run.node}: {run.message}")
    if run.state == FAILED:
        raise NodeError(run.message)


def _perform(run: Run, ready: _Ready) -> None:
    try:
        Foreground(run, ready.wanted(run), ready.engine).perform()
    except (NodeError, EngineError, OSError) as error:
        run.end(_state_of(run), str(error))
    except Exception as error:
        # A thread's error would be seen by nobody.
        run.say("", note=traceback.format_exc())
        run.end(FAILED, f"a fault in the plug-in: {error!r}")
    host.on_main(_finish, run, ready.node)


def _state_of(run: Run) -> str:
    """What a render is that stopped on the way."""
    return CANCELLED if run.cancelled.is_set() else FAILED


def _start_background(ready: _Ready) -> None:
    run = ready.run()
    _show(run, ready.node)
    try:
        wanted = ready.wanted(run)
        started = background.start(ready.state, wanted, settings=ready.settings)
    except (NodeError, EngineError, OSError) as error:
        run.end(_state_of(run), str(error))
        host.on_main(_finish, run, ready.node)
        return
    host.RUNS.replace(run, started)
    _listen(started, ready.node)
    if run.cancelled.is_set():
        started.cancel()
    _follow(started, ready.node)


def _follow_in_thread(run: background.BackgroundRun, node: nuke.Node) -> None:
    _thread(lambda: _follow(run, node), "background")


def _follow(run: background.BackgroundRun, node: nuke.Node) -> None:
    while not run.over:
        run.poll()
        if not run.over:
            time.sleep(_POLL_S)
    host.on_main(_finish, run, node)


def _show(run: Run, node: nuke.Node) -> None:
    """Puts a render on the list and its state on the node's status line."""
    host.RUNS.add(run)
    _listen(run, node)


def _listen(run: Run, node: nuke.Node) -> None:
    spoken = [0.0]

    def tell(run: Run) -> None:
        now = time.monotonic()
        if not run.over and now - spoken[0] >= _STATUS_S:
            spoken[0] = now
            host.on_main(nodes.set_status, node, run.status())

    run.listen(tell)


def _finish(run: Run, node: nuke.Node) -> None:
    """On the main thread, when a render is over."""
    cache = f"\ncache: {run.cache_words}" if run.cache_words else ""
    nodes.set_status(node, run.status() + cache)
    if run.state == FAILED:
        # No message box: nobody may be there, and the artist may be at something else.
        nuke.tprint(f"vfxswap {run.node}: {run.message}")
    if run.finished:
        with contextlib.suppress(ValueError, NodeError):
            nodes.show_result(node)


def _refuse_second(node: nuke.Node) -> None:
    """Two renders of one take would write the same files."""
    attach_background(node)
    if host.RUNS.of(node.fullName()):
        raise NodeError(f"{node.name()} is rendering; cancel that first")


@contextlib.contextmanager
def _told(node: nuke.Node) -> Iterator[None]:
    """What is wrong is one sentence for the artist; without the GUI it raises as well."""
    try:
        yield
    except (NodeError, EngineError, OSError, RuntimeError) as error:
        if not nuke.GUI:
            raise
        nodes.set_status(node, str(error))
        host.complain(f"{node.name()}: {error}")


def _thread(call: Callable[[], Any], name: str) -> threading.Thread:
    thread = threading.Thread(target=call, name=f"vfxswap {name}", daemon=True)
    thread.start()
    return thread
