"""A running Nuke: its script, its main thread, its mode, and what it showed to the artist."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fake_nuke import guard, operators, scripts
from fake_nuke import knobs as k
from fake_nuke.classes import CLASSES
from fake_nuke.misuse import Misuse
from fake_nuke.nodes import Group, Node, Root

if TYPE_CHECKING:
    from fake_nuke.artist import Menu
    from fake_nuke.operators import Picture
    from fake_nuke.rendering import ProgressTask

_ANSWER_S = 60.0


class _Call:
    """A call that another thread asked the main thread for."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.function, self.kwargs = function, dict(kwargs or {})
        self.args = args if isinstance(args, tuple) else (args,)
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None


class FakeNuke:
    """`with FakeNuke(gui=True) as fake:` makes `import nuke` find it. The thread that enters is
    Nuke's main thread. On leaving, every Misuse is raised, also those that were caught."""

    def __init__(self, *, gui: bool = True, version: tuple[int, int] = (15, 1)) -> None:
        self.gui, self.version = gui, version
        self.messages: list[str] = []
        """What `nuke.message` showed, or said on the terminal."""
        self.answers: list[bool] = []
        """What the artist will answer to `nuke.ask`, first first."""
        self.printed: list[str] = []
        self.tasks: list[ProgressTask] = []
        self.misuses: list[Misuse] = []
        self.layers: dict[str, tuple[str, ...]] = {}
        self.files: dict[Node, dict[str, Picture]] = {}
        """What Read nodes hold; a file that changes is not seen until `reload`."""
        self.written: list[str] = []
        self.plugin_paths: list[str] = []
        self.menus: dict[str, Menu] = {}
        self.panels: dict[str, Any] = {}
        self.callbacks: dict[str, list[tuple[Callable[..., Any], Any, Any, str]]] = {}
        self.root_node = Root()
        self.scopes: list[Group] = [self.root_node]
        self.this: list[Node] = []
        self.this_knob: k.Knob | None = None
        self.frame_now = 1
        self.main_thread = threading.main_thread()
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._inside_call = False
        self._saved: dict[str, types.ModuleType | None] = {}
        self._path: list[str] = []
        self._before: set[str] = set()

    # Coming and going ---------------------------------------------------------------------------

    def __enter__(self) -> Self:
        from fake_nuke import api

        self.main_thread = threading.current_thread()
        guard.enter(self)
        self.nuke = api.module(self)
        self._path = list(sys.path)
        self._before = set(sys.modules)
        for module in (self.nuke, *api.companions(self)):
            self._saved[module.__name__] = sys.modules.get(module.__name__)
            sys.modules[module.__name__] = module
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for name, module in self._saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
        sys.path[:] = self._path
        self._forget_plugins()
        guard.leave(self)
        if self.misuses and error is None:
            raise self.misuses[0]

    def _forget_plugins(self) -> None:
        """Modules that speak to this Nuke end with it: the next one imports them anew."""
        for name in sorted(set(sys.modules) - self._before, reverse=True):
            module = sys.modules[name]
            if getattr(module, "nuke", None) is self.nuke:
                del sys.modules[name]
                package, _, last = name.rpartition(".")
                if package in sys.modules and hasattr(sys.modules[package], last):
                    delattr(sys.modules[package], last)

    # Rules --------------------------------------------------------------------------------------

    def misuse(self, sentence: str) -> Misuse:
        found = Misuse(sentence)
        self.misuses.append(found)
        return found

    def check_main(self, what: str) -> None:
        if threading.current_thread() is not self.main_thread:
            name = threading.current_thread().name
            raise self.misuse(f"{what} was called on the thread {name}, off Nuke's main thread")

    def need_gui(self, what: str) -> None:
        if not self.gui:
            raise self.misuse(f"{what} was called in a terminal session, which has no GUI")

    def modal(self, what: str) -> None:
        """Raises Misuse for a panel that would wait inside a call that another thread made."""
        self.check_main(what)
        if self._inside_call:
            raise self.misuse(f"{what} was called inside executeInMainThread: Nuke would hang")

    # The main thread ----------------------------------------------------------------------------

    def ask_main(self, function: Callable[..., Any], args: Any, kwargs: Any, *, wait: bool) -> Any:
        what = "executeInMainThreadWithResult" if wait else "executeInMainThread"
        if not self.gui:
            raise self.misuse(f"{what} in a terminal session: nothing would ever answer")
        if threading.current_thread() is self.main_thread:
            raise self.misuse(f"{what} from the main thread itself: Nuke would hang")
        call = _Call(function, args, kwargs)
        self._calls.put(call)
        if not wait:
            return None
        if not call.done.wait(_ANSWER_S):
            raise self.misuse(f"{what}: the main thread did not come back to its loop")
        if call.error is not None:
            raise call.error
        return call.result

    def pump(self, until: Callable[[], bool] | None = None, *, timeout_s: float = 60.0) -> None:
        """The GUI's loop: answers other threads until `until` is true, once without it.

        Raises TimeoutError, and the first error of a call that nobody waits for.
        """
        assert threading.current_thread() is self.main_thread
        end = time.monotonic() + timeout_s
        while True:
            self._answer()
            if until is None or until():
                return
            if time.monotonic() > end:
                raise TimeoutError(f"not so within {timeout_s:g} s; messages: {self.messages}")
            time.sleep(0.01)

    @property
    def waiting(self) -> bool:
        """Whether a thread waits for the main one."""
        return not self._calls.empty()

    def _answer(self) -> None:
        while not self._calls.empty():
            call = self._calls.get()
            self._inside_call = True
            try:
                call.result = call.function(*call.args, **call.kwargs)
            except BaseException as error:
                call.error = error
                self.printed.append(f"{type(error).__name__}: {error}")
            finally:
                self._inside_call = False
                call.done.set()

    # Scripts ------------------------------------------------------------------------------------

    def load(self, text: str) -> list[Node]:
        """Pastes a script's text into the current group."""
        made = scripts.read_into(self, text, self.scopes[-1])
        for node in made:
            self.called_back("onCreate", node)
        return made

    def open(self, path: str | os.PathLike[str]) -> None:
        """Opens a script in place of the one that is open."""
        self.clear()
        text = Path(path).read_text(encoding="utf-8")
        scripts.read_into(self, text, self.root_node, fresh=True)
        self.root_node._knobs["name"]._set(Path(path).absolute().as_posix())
        self.frame_now = int(self.root_node._value("first_frame", 0))
        self.called_back("onScriptLoad", self.root_node)

    def save(self, path: str | os.PathLike[str]) -> None:
        self.called_back("onScriptSave", self.root_node)
        self.root_node._knobs["name"]._set(Path(path).absolute().as_posix())
        Path(path).write_text(scripts.as_text(self), encoding="utf-8")

    def clear(self) -> None:
        self.called_back("onScriptClose", self.root_node)
        self.root_node._detach()
        self.root_node = Root()
        self.scopes[:] = [self.root_node]
        self.files.clear()
        self.layers.clear()

    def create(self, kind: str, *, text: str = "") -> Node:
        """A new node, of a class or of a gizmo file on the plug-in path. Raises RuntimeError."""
        scope = self.scopes[-1]
        for folder in self.plugin_paths:
            path = Path(folder) / f"{kind}.gizmo"
            if path.is_file():
                (node,) = scripts.read_into(self, path.read_text(encoding="utf-8"), scope)
                break
        else:
            if kind not in CLASSES or kind == "Root":
                raise RuntimeError(f"{kind}: Unknown command")
            (node,) = scripts.read_into(self, f"{kind} {{\n inputs 0\n {text}\n}}", scope)
        self.called_back("onCreate", node)
        return node

    def find(self, name: str) -> Node | None:
        """The node of a full name, from the current group."""
        if name == "root":
            return self.root_node
        node: Node | None = self.scopes[-1]
        for step in name.removeprefix("root.").split("."):
            node = node._find_child(step) if node is not None else None
        return node

    def root_format(self) -> tuple[int, int, float]:
        words = self.root_node._value("format", 0).split()
        return int(words[0]), int(words[1]), float(words[6]) if len(words) > 6 else 1.0

    # Evaluating ---------------------------------------------------------------------------------

    @property
    def views(self) -> list[str]:
        """The script's views, in order."""
        words = self.root_node._value("views", 0).split()
        return [word for word in words if not word.startswith("#")]

    def picture(self, node: Node, frame: int | None = None, view: str = "") -> Picture:
        """What a node gives on a frame of a view, the first one if none is named. Raises
        RuntimeError, as rendering it would."""
        return operators.Evaluation(self, self.frame_now if frame is None else frame, view)(node)

    def has_error(self, node: Node) -> bool:
        try:
            self.picture(node)
        except RuntimeError:
            return True
        return False

    def range_of(self, node: Node | None) -> tuple[int, int]:
        while node is not None:
            if node._kind == "Read":
                return int(node._value("first", 0)), int(node._value("last", 0))
            node = node._input(0)
        root = self.root_node
        return int(root._value("first_frame", 0)), int(root._value("last_frame", 0))

    def processor(self, source: str, target: str) -> Any:
        """The OCIO conversion by the script's config, as $OCIO or the root names it."""
        custom = str(self.root_node._value("customOCIOConfigPath", 0))
        return operators.processor(os.environ.get("OCIO", "") or custom, source, target)

    def execute(
        self, node: Node, first: int, last: int, step: int = 1, views: Sequence[str] | None = None
    ) -> None:
        """Renders frames of a Write, of all views without names of some. Raises RuntimeError at the
        first that fails."""
        if node._kind != "Write":
            raise RuntimeError(f"{node._full()} is not executable")
        wanted = self.views if views is None else list(views)
        if unknown := set(wanted) - set(self.views):
            raise RuntimeError(f"{node._full()}: no view {', '.join(sorted(unknown))}")
        if len(wanted) > 1 and "%V" not in str(node._knob("file")._to_script()):
            raise RuntimeError(f"{node._full()}: the fake writes one view a file")
        for frame in range(first, last + 1, step):
            for view in wanted:
                self.written.append(operators.Evaluation(self, frame, view).write(node))

    def farm_render(self, first: int, last: int) -> list[str]:
        """What `nuke -x` does: all Writes that are not disabled, in groups too."""
        before = len(self.written)
        for node in self.root_node._walk():
            if node._kind == "Write" and not node._value("disable", first):
                self.execute(node, first, last)
        return self.written[before:]

    # The artist ---------------------------------------------------------------------------------

    def press(self, node: Node, knob: str) -> None:
        """Presses a button. What its script raises is raised here; Nuke would show a traceback."""
        assert threading.current_thread() is self.main_thread
        found = node._knob(knob)
        assert isinstance(found, k.PyScript_Knob), f"{knob} is no button"
        self.run_script_knob(node, found)

    def run_script_knob(self, node: Node, knob: k.Script_Knob) -> None:
        if knob._name == "reload" and node._kind == "Read":
            self.files.pop(node, None)
            return
        if knob._name == "Render" and node._kind == "Write":
            self.execute(node, *self.range_of(node))
            return
        with self.of(node, knob):
            exec(compile(knob._value, f"<{knob._full_name()}>", "exec"), {"nuke": self.nuke})

    @contextmanager
    def of(self, node: Node, knob: k.Knob | None = None) -> Iterator[None]:
        """`nuke.thisNode()` and `nuke.thisKnob()` while a callback runs."""
        before, self.this_knob = self.this_knob, knob
        self.this.append(node)
        try:
            yield
        finally:
            self.this.pop()
            self.this_knob = before

    def knob_changed(self, node: Node, knob: k.Knob) -> None:
        with self.of(node, knob):
            self.called_back("knobChanged", node)

    def called_back(self, event: str, node: Node) -> None:
        for function, args, kwargs, kind in list(self.callbacks.get(event, ())):
            if kind in ("*", node._kind):
                with self.of(node, self.this_knob):
                    function(*_tuple(args), **dict(kwargs or {}))

    def load_plugin(self, root: Path) -> None:
        """What Nuke does with a folder of $NUKE_PATH: init.py, then menu.py in the GUI.

        An error in either is raised: it would stop Nuke from starting.
        """
        self.plugin_paths.insert(0, str(root))
        sys.path.insert(0, str(root))
        for name in ("init.py", "menu.py") if self.gui else ("init.py",):
            path = root / name
            if path.is_file():
                code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
                exec(code, {"__file__": str(path), "__name__": name[:-3], "nuke": self.nuke})

    def choose(self, path: str) -> None:
        """Chooses a menu's command: `Nodes/vfxswap/VfxSwap`."""
        menu, *rest = path.split("/")
        item = self.menus[menu].findItem("/".join(rest))
        if item is None:
            raise KeyError(f"no menu command {path}")
        item.invoke()


def _tuple(args: Any) -> Sequence[Any]:
    return args if isinstance(args, (tuple, list)) else (args,)


Kwargs = Mapping[str, Any]
