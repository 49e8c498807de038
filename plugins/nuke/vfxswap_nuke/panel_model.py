"""What the panel shows and does, without Qt and without Nuke."""

from __future__ import annotations

import datetime
import os
import shlex
import subprocess
import threading
from typing import Any, Iterable, Mapping, NamedTuple

from vfxswap_nuke.engine_client import clean_environment, find_engine
from vfxswap_nuke.runs import CANCELLED, DONE, FAILED, RUNNING, WAITING, Run
from vfxswap_nuke.settings import PluginSettings

SCHEDULERS = ("dask", "slurm", "openjd", "opencue")
"""Those of `vfxswap submit --to`."""

SYNTHETIC, VALID, WRONG_SHOW, EXPIRED, MISSING = (
    "synthetic", "valid", "wrong show", "expired", "missing",
)  # fmt: skip
"""States of a consent. The engine asks for it anew with every job; this is for the eye."""

_STATE_WORDS = {
    WAITING: "waiting",
    RUNNING: "rendering",
    DONE: "done",
    FAILED: "failed",
    CANCELLED: "cancelled",
}


class ConsentState(NamedTuple):
    """Whether a likeness may be written for a show, and in words why."""

    state: str
    words: str

    @property
    def good(self) -> bool:
        """Whether the engine would let it be written."""
        return self.state in (SYNTHETIC, VALID)


class Choice(NamedTuple):
    """Something that a model offers: a persona, a style, a theme."""

    name: str
    model: str
    effect: str
    kind: str
    """The list of the model's row that it is in, as in personas."""
    thumb: str
    """Picture file, empty where there is none."""
    consent: ConsentState | None
    """None for what is no likeness."""


class Card(NamedTuple):
    """A model as the panel shows it."""

    name: str
    effect: str
    facts: str
    choices: list[Choice]


def consent_state(
    row: Mapping[str, Any] | None, *, show: str, today: datetime.date
) -> ConsentState:
    """The state of a consent, of a model row's `consents`."""
    if row is None or row.get("id") in (None, "none"):
        return ConsentState(MISSING, "no consent")
    if row["id"] == "synthetic":
        return ConsentState(SYNTHETIC, "synthetic")
    if str(row.get("expires", "")) < today.isoformat():
        return ConsentState(EXPIRED, "expired {}".format(row.get("expires")))
    if show not in row.get("shows", ()):
        allowed = ", ".join(row.get("shows", ()))
        return ConsentState(WRONG_SHOW, f"for {allowed} only")
    return ConsentState(VALID, "until {}".format(row["expires"]))


def cards(rows: Iterable[Mapping[str, Any]], *, show: str, today: datetime.date) -> list[Card]:
    """The models that can be chosen from first, then those that all effects share."""
    made = [_card(row, show=show, today=today) for row in rows]
    return sorted(made, key=_place)


def choices(made: Iterable[Card]) -> list[Choice]:
    """What the models offer: likenesses first, then what has a picture, then what has a name
    alone; within these by kind, as the models have them."""
    found = [choice for card in made for choice in card.choices]
    return sorted(found, key=lambda c: (c.consent is None, not c.thumb, c.kind))


def _place(card: Card) -> tuple[bool, bool, str, str]:
    likenesses = any(choice.consent is not None for choice in card.choices)
    return not card.choices, not likenesses, card.effect, card.name


def _card(row: Mapping[str, Any], *, show: str, today: datetime.date) -> Card:
    thumbs: Mapping[str, str] = row.get("thumbs", {})
    consents: Mapping[str, Any] = row.get("consents", {})
    choices = []
    lists = {kind: names for kind, names in row.items() if isinstance(names, list)}
    listed = {name for names in lists.values() for name in names}
    # A model that is one theme has a picture of it and no list.
    lists.setdefault("themes", [name for name in thumbs if name not in listed])
    for kind, names in lists.items():
        for name in names:
            likeness = name in consents
            consent = consent_state(consents[name], show=show, today=today) if likeness else None
            choices.append(
                Choice(str(name), row["name"], row["effect"], kind, thumbs.get(name, ""), consent)
            )
    ground = "synthetic · " if row.get("synthetic") else ""
    facts = "{} · version {} · {}{}".format(
        row.get("licence", "no licence"), row.get("version", "?"), ground, str(row["sha256"])[:12]
    )
    return Card(row["name"], row["effect"], facts, choices)


def knob_of(choice: Choice, knobs: Iterable[str]) -> str | None:
    """The setting of a node that takes this choice: the one named as the model's list of them,
    in the singular or as it is; None where the node has none."""
    known = set(knobs)
    for name in (choice.kind[:-1], choice.kind):
        if name in known:
            return name
    return None


def state_words(run: Run) -> str:
    """The state of a render in a word."""
    if run.kind == "submit" and run.state == DONE:
        return "submitted"
    return _STATE_WORDS[run.state]


class SubmitRun(Run):
    """A job on its way to a farm: `vfxswap submit` as a process of its own."""

    kind = "submit"

    def __init__(
        self,
        job_file: str,
        scheduler: str,
        *,
        words: str = "",
        node: str = "",
        settings: PluginSettings,
    ) -> None:
        super().__init__(node, f"to {scheduler}", 1)
        self.folder = os.path.dirname(job_file)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        # Read as a shell would, run without one: nothing in it is expanded or executed.
        more = shlex.split(settings.submit) + shlex.split(words)
        self.command = [
            find_engine(settings.engine), "submit", job_file, "--to", scheduler,
            "--progress", "plain", *more,
        ]  # fmt: skip

    def perform(self) -> None:
        """Runs the command to its end; blocks."""
        self.say("submitting", note=" ".join(shlex.quote(word) for word in self.command))
        try:
            with self._lock:
                if self.cancelled.is_set():
                    self.end(CANCELLED, "cancelled")
                    return
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=clean_environment(),
                    start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        except OSError as error:
            self.end(FAILED, str(error))
            return
        assert self._process.stdout is not None
        last = ""
        with self._process.stdout as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").strip()
                if text:
                    last = text
                    self.say(text)
                    self.advance(0)
        code = self._process.wait()
        if code == 0:
            self.advance(1)
            self.end(DONE, last or "submitted")
        elif self.cancelled.is_set() or code == 143:
            self.end(CANCELLED, "cancelled")
        else:
            self.end(FAILED, last or f"vfxswap submit ended with {code}")

    def cancel(self) -> None:
        """Ends the command; what a scheduler has in its queue stays there."""
        super().cancel()
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()

    def status(self) -> str:
        """For one line."""
        return self.message
