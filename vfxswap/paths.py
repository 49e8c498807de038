"""Paths of one machine in the words of another: `P:\\shots` there is `/mnt/shots` here.

A rule replaces a leading folder, whole components at a time (never `/shots2` by a rule for
`/shots`); of several rules that fit the longest wins, of two alike the earlier. Either side may be
POSIX or Windows; a Windows source is compared without regard to ASCII case and takes both slashes.
What follows gets the separators of the destination. Rules of OpenJD's path mapping
(specification "How Jobs Are Run", `pathmapping-1.0`) are of the same form.
"""

from __future__ import annotations

import json
import os
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from vfxswap.errors import JobError

VARIABLE: Final = "VFXSWAP_PATH_MAP"
"""Environment variable with further rules: `FROM=TO;FROM=TO`."""
_OPENJD_VERSION: Final = "pathmapping-1.0"
_WINDOWS_START = re.compile(r"[A-Za-z]:[\\/]|\\\\|//[^/]")
_PAIR = re.compile(r"(.+?)=((?:/|\\\\|[A-Za-z]:[\\/]).*)")
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_WANTED = r"FROM=TO with absolute folders, as in P:\shots=/mnt/shots"


def is_windows(path: str) -> bool:
    """Whether this is an absolute path of Windows: `P:\\x`, `P:/x`, `\\\\server\\share`."""
    return bool(_WINDOWS_START.match(path)) and not path.startswith("//")


@dataclass(frozen=True)
class Rule:
    """One folder for another; `windows` says how `source` is to be read."""

    source: str
    destination: str
    windows: bool

    @classmethod
    def of(cls, source: str, destination: str, *, windows: bool | None = None) -> Self:
        """Raises JobError unless both are absolute."""
        windows = is_windows(source) if windows is None else windows
        rooted = bool(_WINDOWS_START.match(source)) if windows else source.startswith("/")
        if not rooted or not (destination.startswith("/") or is_windows(destination)):
            raise JobError("no path mapping", got=f"{source}={destination}", wanted=_WANTED)
        return cls(source, destination, windows)

    @property
    def depth(self) -> int:
        """Components of the source."""
        return len(_components(self.source, windows=self.windows))

    def apply(self, path: str) -> str | None:
        """The path here; None when the rule does not fit."""
        if self.windows != is_windows(path) and not (self.windows and path.startswith("//")):
            return None
        source = _components(self.source, windows=self.windows)
        parts = _components(path, windows=self.windows)
        if len(parts) < len(source):
            return None
        for ours, theirs in zip(source, parts, strict=False):
            if ours != theirs and not (self.windows and _folded(ours) == _folded(theirs)):
                return None
        slash = "\\" if is_windows(self.destination) else "/"
        rest = parts[len(source) :]
        start = self.destination.rstrip("/\\") if rest else self.destination
        return slash.join([start, *rest])


@dataclass(frozen=True)
class PathMap:
    """Rules in the order in which they were given."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def stated(cls, pairs: Iterable[str], file: str | os.PathLike[str] | None = None) -> Self:
        """Of `FROM=TO` pairs, then of a file with OpenJD's rules, then of $VFXSWAP_PATH_MAP.

        Rules of the file for URIs are passed over. Raises JobError.
        """
        rules = [_pair(text) for text in pairs]
        rules += _openjd_rules(Path(file)) if file is not None else []
        rules += [_pair(text) for text in os.environ.get(VARIABLE, "").split(";") if text.strip()]
        return cls(tuple(rules))

    def apply(self, path: str) -> str:
        """The path here; as it is when no rule fits."""
        for rule in sorted(self.rules, key=lambda rule: -rule.depth):
            found = rule.apply(path)
            if found is not None:
                return found
        return path


NO_MAP: Final = PathMap()
"""Leaves all paths as they are."""


def _pair(text: str) -> Rule:
    stated = _PAIR.fullmatch(text.strip())
    if stated is None:
        raise JobError("no path mapping", got=text, wanted=_WANTED)
    return Rule.of(stated[1], stated[2])


def _openjd_rules(file: Path) -> list[Rule]:
    try:
        data: Any = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobError(f"path mapping cannot be read: {error.strerror}", file=file) from None
    except (ValueError, RecursionError) as error:
        raise JobError(f"path mapping is no valid JSON: {error}", file=file) from None
    stated = data.get("path_mapping_rules", []) if isinstance(data, dict) else None
    # The runner writes an empty object when there are no rules.
    known = isinstance(data, dict) and data.get("version", _OPENJD_VERSION) == _OPENJD_VERSION
    if not known or not isinstance(stated, list):
        raise JobError("no path mapping rules", wanted=f'"version": "{_OPENJD_VERSION}"', file=file)
    return [rule for each in stated if (rule := _openjd_rule(each, file)) is not None]


def _openjd_rule(stated: Any, file: Path) -> Rule | None:
    names = ("source_path_format", "source_path", "destination_path")
    if not isinstance(stated, dict) or not all(isinstance(stated.get(n), str) for n in names):
        raise JobError(
            "path mapping rule is wrong", got=str(stated)[:80], wanted=", ".join(names), file=file
        )
    kind, source, destination = (stated[name] for name in names)
    if kind.upper() == "URI":
        return None
    if kind.upper() not in ("POSIX", "WINDOWS"):
        raise JobError("path mapping rule is wrong", got=kind, wanted="POSIX or WINDOWS", file=file)
    return Rule.of(source, destination, windows=kind.upper() == "WINDOWS")


def _components(path: str, *, windows: bool) -> list[str]:
    """Root, drive or `//` of a server, then folders; `.` and `..` are resolved in the words."""
    text = path.replace("\\", "/") if windows else path
    root = "//" if windows and text.startswith("//") else "/" if text.startswith("/") else ""
    parts: list[str] = [root] if root else []
    for part in text.split("/"):
        if part == ".." and len(parts) > 1:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return parts


def _folded(part: str) -> str:
    return part.translate(_ASCII_LOWER)
