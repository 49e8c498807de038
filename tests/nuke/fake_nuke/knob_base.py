"""What all knobs have, and those that hold text.

Names, arguments and returned types are those of Nuke's own classes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fake_nuke import values
from fake_nuke.guard import on_main, session

if TYPE_CHECKING:
    from fake_nuke.nodes import Node


class Knob:
    """A named value of a node. Setting it from another thread than the main one is an error."""

    def __init__(self, name: str = "", label: str | None = None, value: Any = None) -> None:
        self._name, self._label, self._tip = name, label, ""
        self._node: Node | None = None
        self._flags: set[int] = set()
        self._enabled = self._visible = True
        if value is not None:
            self._set(value)

    # For the fake itself ------------------------------------------------------------------------

    def _set(self, value: Any) -> None:
        raise NotImplementedError(type(self).__name__)

    def _from_script(self, words: str) -> None:
        """Takes a value as it stands in a script, one Tcl word."""
        self._set(words)

    def _to_script(self) -> str | None:
        """The value as Tcl text, None for one that need not be written."""
        return None

    def _number(self, frame: float) -> float:
        raise TypeError(f"{self._full_name()} is no number")

    def _text(self, frame: float) -> str:
        """What `[value …]` gives."""
        raise TypeError(f"{self._full_name()} is no text")

    def _full_name(self) -> str:
        return f"{self._node._name}.{self._name}" if self._node is not None else self._name

    def _look(self, name: str, frame: float) -> Any:
        if self._node is None:
            raise NameError(f"{self._name} belongs to no node")
        return self._node._look(name, frame)

    def _changed(self) -> None:
        if self._node is not None:
            session().knob_changed(self._node, self)

    # Nuke's -------------------------------------------------------------------------------------

    def Class(self) -> str:
        return type(self).__name__

    @on_main
    def name(self) -> str:
        return self._name

    @on_main
    def label(self) -> str:
        return self._label if self._label is not None else self._name

    @on_main
    def setLabel(self, label: str) -> None:
        self._label = label

    @on_main
    def tooltip(self) -> str:
        return self._tip

    @on_main
    def setTooltip(self, tooltip: str) -> None:
        self._tip = tooltip

    @on_main
    def node(self) -> Node:
        assert self._node is not None
        return self._node

    @on_main
    def enabled(self) -> bool:
        return self._enabled

    @on_main
    def setEnabled(self, enabled: bool) -> None:
        self._enabled = bool(enabled)

    @on_main
    def visible(self) -> bool:
        return self._visible

    @on_main
    def setVisible(self, visible: bool) -> None:
        self._visible = bool(visible)

    @on_main
    def setFlag(self, flag: int) -> None:
        self._flags.add(flag)

    @on_main
    def clearFlag(self, flag: int) -> None:
        self._flags.discard(flag)

    @on_main
    def getFlag(self, flag: int) -> bool:
        return flag in self._flags


class String_Knob(Knob):
    def __init__(self, name: str = "", label: str | None = None, value: str | None = None) -> None:
        self._value = ""
        super().__init__(name, label, value)

    def _set(self, value: Any) -> None:
        if not isinstance(value, str):
            raise TypeError(f"{self._full_name()}: a string was wanted, got {value!r}")
        self._value = value

    def _to_script(self) -> str | None:
        return quoted(self._value)

    def _text(self, frame: float) -> str:
        return self._value

    @on_main
    def setValue(self, val: str) -> None:
        self._set(val)
        self._changed()

    @on_main
    def value(self) -> str:
        return self._value

    @on_main
    def getValue(self) -> str:
        return self._value

    @on_main
    def setText(self, text: str) -> None:
        self._set(text)

    @on_main
    def getText(self) -> str:
        return self._value


class EvalString_Knob(String_Knob):
    def _text(self, frame: float) -> str:
        return values.substitute(self._value, lambda n: self._value_of(n, frame), int(frame))

    def _value_of(self, name: str, frame: float) -> Any:
        found = self._look(name, frame)
        return found._text(frame) if isinstance(found, Knob) else found

    def _file_on(self, frame: int, view: str = "") -> str:
        """The file of a frame and view (the script's first without one): its Tcl run, then view
        and number filled in."""
        return values.frame_name(self._text(frame), frame, view or session().views[0])

    @on_main
    def evaluate(self, frame: float | None = None) -> str:
        return self._file_on(session().frame_now if frame is None else int(frame))


class Multiline_Eval_String_Knob(EvalString_Knob):
    pass


class File_Knob(EvalString_Knob):
    @on_main
    def fromUserText(self, text: str) -> None:
        self._set(text)

    @on_main
    def getEvaluatedValue(self) -> str:
        """The name with its Tcl run, and its frame number still a pattern."""
        return self._text(session().frame_now)


class Script_Knob(String_Knob):
    @on_main
    def execute(self) -> None:
        assert self._node is not None
        session().run_script_knob(self._node, self)

    @on_main
    def command(self) -> str:
        return self._value


class PyScript_Knob(Script_Knob):
    pass


class Text_Knob(Knob):
    def __init__(self, name: str = "", label: str | None = None, value: str | None = None) -> None:
        self._value = ""
        super().__init__(name, label, value)

    def _set(self, value: Any) -> None:
        if not isinstance(value, str):
            raise TypeError(f"{self._full_name()}: a string was wanted, got {value!r}")
        self._value = value

    def _to_script(self) -> str | None:
        return quoted(self._value) if self._value else None

    @on_main
    def setValue(self, text: str) -> None:
        self._set(text)

    @on_main
    def value(self) -> str:
        return self._value


class Tab_Knob(Knob):
    """A tab, or the begin (1) or end (-1) of a group of knobs; a group's value is whether it is
    open."""

    _group = 0
    _open = True

    def _set(self, value: Any) -> None:
        if self._group != 1 or value not in ("0", "1"):
            raise TypeError(f"{self._full_name()}: a tab has no value, got {value!r}")
        self._open = value == "1"

    def _to_script(self) -> str | None:
        return str(int(self._open)) if self._group == 1 else None


def quoted(text: str) -> str:
    """Text as one word of Tcl."""
    return '"' + re.sub(r'([\\"\[\]{}$])', r"\\\1", text).replace("\n", "\\n") + '"'
