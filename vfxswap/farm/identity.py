"""What a worker and a submission must have in common, as tags: the same code, the same models.

A worker declares its tags as Dask resources when it starts; a task demands those that it needs.
So Dask itself gives no task to a worker that would make other pixels.
https://distributed.dask.org/en/stable/resources.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import vfxswap
from vfxswap.errors import ModelError
from vfxswap.io.weights import WEIGHTS_FILE, StoredModel, list_models
from vfxswap.persona import card_sha256

if TYPE_CHECKING:
    from vfxswap.render.plan import Plan

DECIDING = (
    "align",
    "color.py",
    "effects",
    "farm/engine.py",
    "geometry.py",
    "image.py",
    "io",
    "job.py",
    "nets",
    "ops",
    "persona.py",
    "render",
    "settings.py",
    "shot.py",
)
"""Modules that decide pixels, or what a worker is told."""

SLOTS = 2
"""Tasks that a worker takes at once: while one computes, the other reads ahead or writes what it
computed."""

_CODE, _MODEL = "vfxswap code", "vfxswap model"
_DIGITS = 12


@cache
def code_tag() -> str:
    """Version, and hash of the modules that decide pixels as they lie on disk at the first call."""
    package = Path(vfxswap.__file__).parent
    digest = hashlib.sha256()
    for name in DECIDING:
        place = package / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(f"{file.relative_to(package).as_posix()}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"{_CODE} {vfxswap.__version__} {digest.hexdigest()[:_DIGITS]}"


def provided() -> dict[str, float]:
    """Tags of this process, as Dask resources, which count the tasks that it takes at once: of
    its code, and of every model whose weights are whole."""
    whole = (stored for stored in list_models(broken=[]) if _is_whole(stored))
    return dict.fromkeys((code_tag(), *(_model_tag(stored) for stored in whole)), float(SLOTS))


def needed(plan: Plan) -> tuple[str, ...]:
    """Tags that a worker must have for this job. Raises ModelError."""
    from vfxswap.render.models import model_of_stage
    from vfxswap.render.tracking import IDENTITY, STAGE

    models = dict(plan.shelf.used)
    tracked = plan.job.tracks and Path(plan.job.tracks).is_file()
    if any(step.effect.needs_faces for step in plan.steps) and not tracked:
        tracking = plan.job.tracking
        stages = [(STAGE, tracking.landmarks), *([(IDENTITY, "")] if tracking.identify else [])]
        for stored in (model_of_stage(*stage) for stage in stages):
            models[stored.card.name] = stored
    return (code_tag(), *sorted(map(_model_tag, models.values())))


def objection(tags: Iterable[str], *, wanted: Collection[str]) -> str:
    """Why a worker with these `tags` gets no task of a job that needs the `wanted` ones, in words;
    "" when it has them all."""
    found = {_subject(tag): _value(tag) for tag in tags}
    for tag in wanted:
        subject, value = _subject(tag), _value(tag)
        if found.get(subject) == value:
            continue
        if subject == _CODE:
            if subject not in found:
                return "it is no vfxswap worker (wanted one that `vfxswap farm worker` starts)"
            return f"it runs other code (got vfxswap {found[subject]}; wanted {value})"
        name = subject.removeprefix(f"{_MODEL} ")
        return f"its model {name} is another (got {found.get(subject, 'none')}; wanted {value})"
    return ""


def _model_tag(stored: StoredModel) -> str:
    # The card states the hash of the weights.
    return f"{_MODEL} {stored.card.name} {card_sha256(stored.card)[:_DIGITS]}"


def _is_whole(stored: StoredModel) -> bool:
    try:
        with (stored.folder / WEIGHTS_FILE).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return False
    return found == stored.card.weights_sha256


def _subject(tag: str) -> str:
    return " ".join(tag.split(" ", 2)[:2]) if tag.startswith(_CODE) else tag.rpartition(" ")[0]


def _value(tag: str) -> str:
    return tag[len(_subject(tag)) + 1 :]


def checked_models(plan: Plan, wanted: Collection[str]) -> None:
    """Raises ModelError when a job was opened with another model than its `wanted` tag says: it
    was exchanged after the worker started."""
    stated = {_subject(tag): _value(tag) for tag in wanted}
    for stored in plan.shelf.used.values():
        tag = _model_tag(stored)
        if stated.get(_subject(tag), _value(tag)) != _value(tag):
            raise ModelError(
                f"model {stored.card.name} was exchanged while the worker ran",
                got=_value(tag),
                wanted=stated[_subject(tag)],
                file=stored.folder,
            )
