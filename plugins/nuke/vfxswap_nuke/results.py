"""Which frames of a result are there and made from what is asked for now."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Iterable, Mapping

from vfxswap_nuke.files import read_json, write_json
from vfxswap_nuke.inputs import Unit, digest
from vfxswap_nuke.layout import file_of
from vfxswap_nuke.store import Store


def frame_keys(
    job: Mapping[str, Any],
    hashes: Mapping[Unit, Mapping[str, str]],
    *,
    engine: Mapping[str, Any],
    edits: str = "",
    files: Mapping[str, str] | None = None,
) -> dict[Unit, str]:
    """By unit, a key of everything that decides its pixels.

    That is the job without paths, all pictures of the shot (tracks and what effects prepare
    depend on all of them), `files` by the settings that name them (marks of what they hold), an
    artist's `edits` of the tracks, and of the engine its version, its options and the hashes of
    its models.
    """
    files = files or {}
    plain = {name: job[name] for name in job if name not in ("plate", "output", "tracks", "frames")}
    plain["effects"] = [
        dict(
            effect,
            mattes=sorted(effect.get("mattes", {})),
            settings={n: v for n, v in effect["settings"].items() if n not in files},
        )
        for effect in job["effects"]
    ]
    plain["space"] = job["plate"].get("color_space", "")
    shot = [
        f"{unit[0]} {unit[1]} {name} {found}"
        for unit, by in hashes.items()
        for name, found in by.items()
    ]
    common = digest([_canonical(plain), _canonical(engine), edits, _canonical(dict(files)), *shot])
    return {unit: digest([common, str(unit[0]), unit[1]]) for unit in hashes}


def models_mark(rows: Iterable[Mapping[str, Any]], effect: str, effects: Iterable[str]) -> str:
    """A word that changes with the models that this effect may use: its own, and those of
    stages that all effects share. Models of other effects do not matter."""
    others = set(effects) - {effect}
    used = [row for row in rows if row["effect"] not in others]
    return digest("{} {} {}".format(r["name"], r["sha256"], r["card_sha256"]) for r in used)


def edits_in(tracks: str) -> str:
    """What an artist changed in a tracks file, as a word; empty for nothing."""
    edits = read_json(tracks).get("edits")
    return digest([_canonical(edits)]) if edits else ""


class Results:
    """The frames of one result, and the key that each was made by."""

    def __init__(self, pattern: str, index: str, store: Store) -> None:
        self.pattern = pattern
        self._index = index
        self._store = store
        self._known = read_json(index)

    def missing(self, keys: Mapping[Unit, str]) -> list[Unit]:
        """Units that must be rendered: neither in place nor in the store, which gives what it
        has."""
        return [
            unit
            for unit in keys
            if not (self.holds(unit, keys[unit]) or self._fetch(unit, keys[unit]))
        ]

    def any_kept(self, keys: Mapping[Unit, str]) -> bool:
        """Whether any unit need not be rendered."""
        return any(self.holds(unit, key) or self._store.has(key) for unit, key in keys.items())

    def holds(self, unit: Unit, key: str) -> bool:
        """Whether the file in place was made by this key and not changed since."""
        known = self._known.get(_name(unit))
        return bool(known) and known == self._entry(unit, key)

    def made(self, unit: Unit, key: str) -> None:
        """Notes that the engine wrote this unit by this key."""
        self._note(unit, key)
        self._store.keep(key, file_of(self.pattern, *unit))

    def save(self) -> str:
        """Writes the notes and keeps the store to its limit; what it holds, in words. A disk that
        is full costs no more than rendering again."""
        with contextlib.suppress(OSError):
            write_json(self._index, self._known)
        self._store.prune()
        return self._store.status()

    def _fetch(self, unit: Unit, key: str) -> bool:
        if not self._store.fetch(key, file_of(self.pattern, *unit)):
            return False
        self._note(unit, key)
        return True

    def _note(self, unit: Unit, key: str) -> None:
        entry = self._entry(unit, key)
        if entry is not None:
            self._known[_name(unit)] = entry

    def _entry(self, unit: Unit, key: str) -> dict[str, Any] | None:
        try:
            stat = os.stat(file_of(self.pattern, *unit))
        except OSError:
            return None
        return {"key": key, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _name(unit: Unit) -> str:
    return "{} {}".format(*unit)


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
