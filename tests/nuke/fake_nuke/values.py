"""What Nuke computes from text: expressions of numbers, Tcl in strings, frame numbers in names."""

from __future__ import annotations

import math
import os
import re
import threading
import tkinter
from collections.abc import Callable
from typing import Any

Look = Callable[[str], Any]
"""The value of a name such as `parent.vfx_use`; raises NameError for an unknown one."""

_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|([A-Za-z_][A-Za-z0-9_.]*)|(==|!=|<=|>=|&&|\|\||.))"
)
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "pow": math.pow, "int": lambda x: float(math.trunc(x)), "floor": lambda x: float(math.floor(x)),
    "ceil": lambda x: float(math.ceil(x)), "min": min, "max": max, "abs": abs,
}  # fmt: skip
_LEVELS = (("||",), ("&&",), ("==", "!="), ("<", ">", "<=", ">="), ("+", "-"), ("*", "/", "%"))


class ExpressionError(Exception):
    """An expression that cannot be computed, which in Nuke is a node in error."""


def evaluate(text: str, look: Look) -> float:
    """An expression of numbers, names and the operators of C. Raises ExpressionError."""
    parser = _Parser(text, look)
    value = parser.choice()
    if parser.token:
        raise ExpressionError(f"{text}: {parser.token!r} is not understood")
    return value


class _Parser:
    def __init__(self, text: str, look: Look) -> None:
        self._text, self._look = text, look
        self._tokens = [m.group().strip() for m in _TOKEN.finditer(text.strip())]

    @property
    def token(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _take(self, wanted: str = "") -> str:
        token = self.token
        if not token or (wanted and token != wanted):
            raise ExpressionError(f"{self._text}: got {token!r}, wanted {wanted or 'more'}")
        return self._tokens.pop(0)

    def choice(self) -> float:
        value = self._binary(0)
        if self.token != "?":
            return value
        self._take()
        yes = self.choice()
        self._take(":")
        no = self.choice()
        return yes if value else no

    def _binary(self, level: int) -> float:
        if level == len(_LEVELS):
            return self._unary()
        value = self._binary(level + 1)
        while self.token in _LEVELS[level]:
            value = _apply(self._take(), value, self._binary(level + 1))
        return value

    def _unary(self) -> float:
        token = self._take()
        if token == "-":
            return -self._unary()
        if token == "!":
            return float(not self._unary())
        if token == "(":
            value = self.choice()
            self._take(")")
            return value
        if token[0].isdigit() or token[0] == ".":
            return float(token)
        if self.token == "(" and token in _FUNCTIONS:
            self._take()
            arguments = [self.choice()]
            while self.token == ",":
                self._take()
                arguments.append(self.choice())
            self._take(")")
            return float(_FUNCTIONS[token](*arguments))
        try:
            return float(self._look(token))
        except (NameError, TypeError, ValueError) as error:
            raise ExpressionError(f"{self._text}: {error}") from None


def _apply(sign: str, a: float, b: float) -> float:
    table: dict[str, Callable[[], float | bool]] = {
        "||": lambda: bool(a) or bool(b), "&&": lambda: bool(a) and bool(b),
        "==": lambda: a == b, "!=": lambda: a != b, "<": lambda: a < b, ">": lambda: a > b,
        "<=": lambda: a <= b, ">=": lambda: a >= b, "+": lambda: a + b, "-": lambda: a - b,
        "*": lambda: a * b, "/": lambda: a / b, "%": lambda: math.fmod(a, b),
    }  # fmt: skip
    return float(table[sign]())


class _Substitution:
    """An interpreter that can do nothing but fill in text."""

    def __init__(self) -> None:
        self._look: Look = lambda name: ""
        self._frame, self._failed = 0, ""
        tcl = self._tcl = tkinter.Tcl()
        for name in tcl.splitlist(tcl.eval("info commands")):
            if name not in ("subst", "format", "rename"):
                tcl.call("rename", name, "")
        tcl.createcommand("value", self._value)
        tcl.createcommand("frame", lambda: str(self._frame))
        tcl.createcommand("file", _file)
        tcl.call("rename", "rename", "")

    def run(self, text: str, look: Look, frame: int) -> str:
        before = self._look, self._frame
        self._look, self._frame, self._failed = look, frame, ""
        try:
            return str(self._tcl.call("subst", "-nobackslashes", "-novariables", text))
        except tkinter.TclError as error:
            raise ExpressionError(f"{text}: {self._failed or error}") from None
        finally:
            self._look, self._frame = before

    def _value(self, name: str, *_: str) -> str:
        try:
            return as_text(self._look(name))
        except NameError as error:
            self._failed = str(error)
            raise


_LOCAL = threading.local()


def substitute(text: str, look: Look, frame: int) -> str:
    """`text` with its Tcl in brackets run: value, frame, format and parts of `file` alone.

    Raises ExpressionError, for every other command too.
    """
    if "[" not in text:
        return text
    if not hasattr(_LOCAL, "substitution"):
        _LOCAL.substitution = _Substitution()
    made: str = _LOCAL.substitution.run(text, look, frame)
    return made


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _file(part: str, path: str) -> str:
    if part == "rootname":
        return os.path.splitext(path)[0]
    return {"dirname": os.path.dirname, "tail": os.path.basename}[part](path)


def frame_name(name: str, frame: int, view: str) -> str:
    """A file name with `%V` as the view, and `%04d` or `####` as the frame."""

    def number(match: re.Match[str]) -> str:
        digits = match.group(1)
        return str(frame).zfill(len(match.group()) if digits is None else int(digits or 1))

    return re.sub(r"%0?(\d*)d|#+", number, name.replace("%V", view))
