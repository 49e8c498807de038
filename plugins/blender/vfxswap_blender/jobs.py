# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node asks of the engine, and what its frames depend on; without bpy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .mapping import at_frames
from .sequences import Clip, ranges
from .store import content, file_state, key_of, write_whole

SHOW_VARIABLE = "VFXSWAP_SHOW"
CARD_SUFFIX = ".card.toml"


@dataclass(frozen=True)
class Wish:
    """What a node wants of the engine, whichever frame. `mattes` are clips and channels by role,
    `files` the settings that name a file, `spaces` the colour spaces of those that are linked;
    `tracks` is an artist's file or empty."""

    effect: str
    clip: Clip
    mattes: Mapping[str, tuple[Clip, str]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    spaces: Mapping[str, str] = field(default_factory=dict)
    tracks: str = ""
    show: str = ""
    seed: int = 0


class States:
    """States of input files: size and time; with `memory` (a file) the hash of their content,
    kept so that it is computed once."""

    def __init__(self, memory: str = "") -> None:
        self._memory = memory
        self._known: dict[str, list[str]] = {}
        self._changed = False
        if memory:
            try:
                with open(memory, encoding="utf-8") as file:
                    self._known = json.load(file)
            except (OSError, ValueError):
                self._known = {}

    def of(self, path: str) -> str:
        """The state of a file; "missing" without it."""
        state = file_state(path)
        if not self._memory or state == "missing":
            return state
        name = os.path.basename(path)
        if self._known.get(name, [""])[0] != state:
            self._known[name] = [state, content(path)]
            self._changed = True
        return self._known[name][1]

    def write(self) -> None:
        """Keeps what was computed. Raises OSError."""
        if self._changed:
            write_whole(self._memory, json.dumps(self._known).encode())
            self._changed = False


def shot_state(wish: Wish, states: States) -> str:
    """Hash of the whole shot: tracks, and so every frame, depend on all of it."""
    files = [[number, states.of(wish.clip.path(number))] for number in wish.clip.frames]
    return key_of([wish.clip.pattern, wish.clip.color_space, wish.clip.layer, files])


def frame_key(
    wish: Wish,
    number: int,
    settings: Mapping[str, Any],
    *,
    shot: str,
    states: States,
    identity: Mapping[str, Any],
) -> str:
    """Hash of all that a frame's pixels depend on."""
    mattes = {
        role: [clip.layer, channel, states.of(clip.path(number))]
        for role, (clip, channel) in wish.mattes.items()
    }
    return key_of(
        {
            "engine": dict(identity),
            "shot": shot,
            "frame": number,
            "effect": wish.effect,
            "settings": {**settings, **wish.files},
            "files": {name: file_states(path) for name, path in wish.files.items()},
            "spaces": dict(wish.spaces),
            "mattes": mattes,
            "tracks": file_state(wish.tracks) if wish.tracks else "",
            # The engine takes an empty show from its environment, which is this one.
            "show": wish.show or os.environ.get(SHOW_VARIABLE, ""),
            "seed": wish.seed,
        }
    )


def file_states(path: str) -> list[str]:
    """State of a file that a setting names, and of the card that may lie beside it."""
    beside = os.path.splitext(path)[0] + CARD_SUFFIX
    return [file_state(path), file_state(beside)] if path else []


def job_of(wish: Wish, settings: Mapping[int, Mapping[str, Any]], *, tracks: str) -> dict[str, Any]:
    """The job, all but its output. `settings` are by frame number; `tracks` is where the shot's
    tracks are kept. Raises ValueError for a setting that cannot vary."""
    clip = wish.clip
    spaces = {"spaces": dict(wish.spaces)} if wish.spaces else {}
    return {
        "plate": {"pattern": clip.pattern, "color_space": clip.color_space, "layer": clip.layer},
        "frames": ranges(clip.frames),
        "show": wish.show,
        "seed": wish.seed,
        "tracks": wish.tracks or tracks,
        "effects": [
            {
                "effect": wish.effect,
                "settings": {**at_frames(settings), **wish.files},
                **spaces,
                "mattes": {
                    role: {"pattern": matte.pattern, "channel": channel}
                    for role, (matte, channel) in wish.mattes.items()
                },
            }
        ],
    }


def mistimed(wish: Wish, frames: Sequence[int]) -> str:
    """The role of a matte whose frames are not numbered as the plate's are; "" for none."""
    for role, (matte, _) in wish.mattes.items():
        if matte.still:
            continue
        if any(matte.number(frame) != wish.clip.number(frame) for frame in frames):
            return role
    return ""
