"""Knobs: the subset of Nuke's classes that scripts and plug-ins of this project use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fake_nuke.array_knobs import (
    Array_Knob,
    Boolean_Knob,
    Disable_Knob,
    Double_Knob,
    Enumeration_Knob,
    Int_Knob,
    Tuple_Knob,
)
from fake_nuke.guard import on_main
from fake_nuke.knob_base import (
    EvalString_Knob,
    File_Knob,
    Knob,
    Multiline_Eval_String_Knob,
    PyScript_Knob,
    Script_Knob,
    String_Knob,
    Tab_Knob,
    Text_Knob,
    quoted,
)

__all__ = [
    "Array_Knob",
    "Boolean_Knob",
    "Disable_Knob",
    "Double_Knob",
    "Enumeration_Knob",
    "EvalString_Knob",
    "File_Knob",
    "Int_Knob",
    "Knob",
    "Link_Knob",
    "Multiline_Eval_String_Knob",
    "PyScript_Knob",
    "Script_Knob",
    "String_Knob",
    "Tab_Knob",
    "Text_Knob",
    "Tuple_Knob",
    "linked",
    "quoted",
]


class Link_Knob(Knob):
    """Another knob of the same script, shown here: `VfxPlateWrite.datatype`."""

    def __init__(self, name: str = "", label: str | None = None, value: str | None = None) -> None:
        self._link = ""
        super().__init__(name, label, value)

    def _set(self, value: Any) -> None:
        self._link = value

    def _from_script(self, words: str) -> None:
        self._target()._from_script(words)

    def _target(self) -> Knob:
        node, _, knob = self._link.rpartition(".")
        assert self._node is not None
        inside = self._node._find_child(node)
        if inside is None:
            raise NameError(f"{self._full_name()} links to {self._link}, which is not there")
        return inside._knob(knob)

    def _number(self, frame: float) -> float:
        return self._target()._number(frame)

    def _text(self, frame: float) -> str:
        return self._target()._text(frame)

    @on_main
    def setLink(self, s: str) -> None:
        self._link = s

    @on_main
    def getLink(self) -> str:
        return self._link

    @on_main
    def getLinkedKnob(self) -> Knob:
        return self._target()

    @on_main
    def value(self) -> Any:
        return self._target().value()  # type: ignore[attr-defined]

    @on_main
    def setValue(self, value: Any) -> Any:
        return self._target().setValue(value)  # type: ignore[attr-defined]


def linked(knobs: Mapping[str, Knob]) -> Iterator[Link_Knob]:
    """The links among some knobs."""
    return (knob for knob in knobs.values() if isinstance(knob, Link_Knob))
