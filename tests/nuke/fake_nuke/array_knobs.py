"""Knobs that hold numbers, switches and choices; they may be animated or computed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

from tcl_loader import split_list

from fake_nuke import values
from fake_nuke.guard import on_main, session
from fake_nuke.knob_base import Knob, quoted

_CURVE = re.compile(r"curve(?:\s+[iclkKh])*((?:\s+x-?[\d.]+(?:\s+[-\d.e]+)+)+)\s*")


class Array_Knob(Knob):
    """One number, that may be animated or computed."""

    def __init__(self, name: str = "", label: str | None = None, value: Any = None) -> None:
        self._value: float = 0.0
        self._keys: dict[float, float] = {}
        self._expression = ""
        self._range = (0.0, 1.0)
        super().__init__(name, label, value)

    def _set(self, value: Any) -> None:
        if isinstance(value, (str, bytes)) or not isinstance(value, (int, float)):
            raise TypeError(f"{self._full_name()}: a number was wanted, got {value!r}")
        self._value, self._expression = float(value), ""

    def _from_script(self, words: str) -> None:
        inner = split_list(words)
        if words.startswith("{") and len(inner) == 1:
            text = inner[0]
            # A word in braces is an expression; its own braces or quotes fall away.
            curve = _CURVE.fullmatch(text.strip())
            if curve:
                self._keys = _keys(curve.group(1))
            else:
                self._expression = split_list(text)[0] if text.startswith('"') else text
        else:
            self._set_text(words)

    def _set_text(self, text: str) -> None:
        self._value = float(text)

    def _to_script(self) -> str | None:
        if self._keys:
            keys = " ".join(f"x{f:g} {v:.9g}" for f, v in sorted(self._keys.items()))
            return f"{{{{curve {keys}}}}}"
        return f"{{{{{self._expression}}}}}" if self._expression else self._plain()

    def _plain(self) -> str:
        return f"{self._value:.9g}"

    def _number(self, frame: float) -> float:
        if self._expression:
            return values.evaluate(self._expression, lambda n: self._number_of(n, frame))
        if self._keys:
            return _between(self._keys, frame)
        return self._value

    def _number_of(self, name: str, frame: float) -> float:
        if name in ("frame", "t"):
            return frame
        found = self._look(name, frame)
        return found._number(frame) if isinstance(found, Knob) else float(found)

    def _text(self, frame: float) -> str:
        return values.as_text(self._typed(self._number(frame)))

    def _typed(self, value: float) -> Any:
        return value

    @on_main
    def value(self) -> Any:
        return self._typed(self._number(session().frame_now))

    @on_main
    def getValue(self) -> Any:
        return self._number(session().frame_now)

    @on_main
    def getValueAt(self, frame: float) -> float:
        return self._number(frame)

    @on_main
    def valueAt(self, frame: float) -> float:
        return self._number(frame)

    @on_main
    def setValue(self, value: Any) -> bool:
        if self._keys:
            self._keys[session().frame_now] = float(value)
        else:
            self._set(value)
        self._changed()
        return True

    @on_main
    def setValueAt(self, value: float, time: float) -> bool:
        if not self._keys:
            self.setValue(value)
            return True
        self._keys[time] = float(value)
        return True

    @on_main
    def setAnimated(self) -> bool:
        if not self._keys:
            self._keys = {session().frame_now: self._value}
        return True

    @on_main
    def clearAnimated(self) -> bool:
        self._value = self._number(session().frame_now)
        self._keys, self._expression = {}, ""
        return True

    @on_main
    def isAnimated(self) -> bool:
        return bool(self._keys) or bool(self._expression)

    @on_main
    def getKeyList(self) -> list[float]:
        return sorted(self._keys)

    @on_main
    def getNumKeys(self) -> int:
        return len(self._keys)

    @on_main
    def isKeyAt(self, frame: float) -> bool:
        return frame in self._keys

    @on_main
    def hasExpression(self) -> bool:
        return bool(self._expression)

    @on_main
    def setExpression(self, expression: str) -> bool:
        self._expression = expression
        return True

    @on_main
    def setRange(self, low: float, high: float) -> None:
        self._range = (low, high)

    @on_main
    def min(self) -> float:
        return self._range[0]

    @on_main
    def max(self) -> float:
        return self._range[1]


class Double_Knob(Array_Knob):
    pass


class Int_Knob(Array_Knob):
    def _set_text(self, text: str) -> None:
        self._value = float(int(text, 0))

    def _plain(self) -> str:
        return str(int(self._value))

    def _typed(self, value: float) -> int:
        return int(value)


class Boolean_Knob(Array_Knob):
    def _set(self, value: Any) -> None:
        super()._set(bool(value) if isinstance(value, (bool, int, float)) else value)

    def _set_text(self, text: str) -> None:
        if text not in ("true", "false", "1", "0"):
            raise ValueError(f"{self._full_name()}: {text!r} is no switch")
        self._value = float(text in ("true", "1"))

    def _plain(self) -> str:
        return "true" if self._value else "false"

    def _typed(self, value: float) -> bool:
        return bool(value)


class Disable_Knob(Boolean_Knob):
    pass


class Enumeration_Knob(Array_Knob):
    def __init__(
        self, name: str = "", label: str | None = None, values: Any = (), value: Any = None
    ) -> None:
        self._options = [str(option) for option in values]
        super().__init__(name, label, value)

    def _set(self, value: Any) -> None:
        if isinstance(value, str):
            if value not in self._options:
                raise ValueError(f"{self._full_name()}: {value!r} is none of {self._options}")
            self._value = float(self._options.index(value))
        else:
            super()._set(value)
            if not 0 <= self._value < len(self._options):
                raise ValueError(f"{self._full_name()}: there is no option {value!r}")
        self._expression = ""

    def _set_text(self, text: str) -> None:
        self._set(text)

    def _plain(self) -> str:
        return quoted(self._options[int(self._value)]) if self._options else '""'

    def _typed(self, value: float) -> str:
        return self._options[int(value)]

    @on_main
    def values(self) -> list[str]:
        return list(self._options)

    @on_main
    def setValues(self, options: list[str]) -> None:
        self._options = [str(option) for option in options]

    @on_main
    def numValues(self) -> int:
        return len(self._options)

    @on_main
    def enumName(self, n: int) -> str:
        return self._options[n]


class Tuple_Knob(Knob):
    """Several numbers: a box, a colour, a position. Not one of Nuke's classes: the fake's nodes
    alone hold them, and no plug-in of ours sets one."""

    def __init__(self, name: str = "", label: str | None = None, value: Any = None) -> None:
        self._numbers: tuple[Array_Knob, ...] = ()
        super().__init__(name, label, value)

    def _set(self, value: Any) -> None:
        self._numbers = tuple(_single(v) for v in value)

    def _from_script(self, words: str) -> None:
        parts = []
        for word in split_list(words):
            part = Array_Knob(self._name)
            part._node = self._node
            part._from_script(word if _is_number(word) else f"{{{word}}}")
            parts.append(part)
        self._numbers = tuple(parts)

    def _to_script(self) -> str | None:
        words = [n._to_script() or "0" for n in self._numbers]
        inner = [w[1:-1] if w.startswith("{{") else w for w in words]
        return words[0] if len(words) == 1 else "{" + " ".join(inner) + "}"

    def _at(self, frame: float, count: int) -> tuple[float, ...]:
        numbers = tuple(n._number(frame) for n in self._numbers)
        return numbers * count if len(numbers) == 1 else numbers

    @on_main
    def value(self) -> Any:
        now = self._at(session().frame_now, 1)
        return now[0] if len(now) == 1 else list(now)

    @on_main
    def setValue(self, value: Any) -> bool:
        self._set(value if isinstance(value, (list, tuple)) else [value])
        return True


def _single(value: float) -> Array_Knob:
    knob = Array_Knob()
    knob._set(value)
    return knob


def _is_number(word: str) -> bool:
    with contextlib.suppress(ValueError):
        float(word)
        return True
    return False


def _keys(text: str) -> dict[float, float]:
    return {float(f): float(v) for f, v in re.findall(r"x(-?[\d.]+)\s+([-\d.e]+)", text)}


def _between(keys: Mapping[float, float], frame: float) -> float:
    """Straight between keys (Nuke's own curves are smooth: tests look at keys alone)."""
    before = [f for f in keys if f <= frame]
    after = [f for f in keys if f >= frame]
    if not before or not after:
        return keys[min(after) if after else max(before)]
    low, high = max(before), min(after)
    t = 0.0 if low == high else (frame - low) / (high - low)
    return keys[low] * (1 - t) + keys[high] * t
