"""Opening a face set to build on: whose it is, how it was made, and that nobody else builds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vfxswap.errors import ConsentError, JobError, ModelError
from vfxswap.geometry import Array
from vfxswap.io.weights import find_persona
from vfxswap.persona import Persona
from vfxswap.settings import validated
from vfxswap.train.face_set import (
    PERSONA_FILE,
    SetHeader,
    is_face_set,
    read_header,
    read_persona,
)
from vfxswap.train.face_set_looks import packed
from vfxswap.train.face_set_settings import FaceSetSettings


def opened_header(
    folder: Path, persona: Persona, stated: Mapping[str, Any], reference: Array | None
) -> SetHeader:
    """The header to go on with. Raises JobError when the set is of another persona or size."""
    look = "" if reference is None else packed(reference)
    if not is_face_set(folder):
        settings = validated(FaceSetSettings, dict(stated))
        return SetHeader(persona=persona.id, working_space="", settings=settings, reference=look,
                         finished=False)  # fmt: skip
    header = read_header(folder)
    if header.persona != persona.id:
        raise JobError("the set holds another persona", got=persona.id, wanted=header.persona,
                       file=folder)  # fmt: skip
    settings = validated(FaceSetSettings, {**header.settings.model_dump(), **stated})
    if settings.crop_size != header.settings.crop_size:
        raise JobError("the set has crops of another size", got=settings.crop_size,
                       wanted=header.settings.crop_size, file=folder)  # fmt: skip
    return header.model_copy(
        update={"settings": settings, "reference": look or header.reference, "finished": False}
    )


def card_of(name: str, folder: Path, *, card: Path | None = None) -> Persona:
    """A persona's card: the file `card`; else the set's own; else an installed model's.

    Raises JobError for a card of another persona or a wrong one, ConsentError without any.
    """
    if card is not None:
        persona = read_persona(card)
    elif (folder / PERSONA_FILE).is_file():
        persona = read_persona(folder / PERSONA_FILE)
    else:
        if not name:
            raise JobError("no persona is named", wanted="--persona")
        try:
            known = find_persona(name).card.persona(name)
        except ModelError:
            known = None
        if known is None:
            raise ConsentError(f"persona {name} has no card that says who allowed it",
                               wanted="--card FILE")  # fmt: skip
        persona = known.model_copy(update={"net_mean": None})
    if name and persona.id != name:
        raise JobError("the card is of another persona", got=persona.id, wanted=name,
                       file=card or folder)  # fmt: skip
    return persona


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds the set against a second builder. Raises JobError when there is one."""
    import fcntl

    (folder / "work").mkdir(parents=True, exist_ok=True)
    with (folder / "work" / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobError("another process is building this set", file=folder) from None
        except OSError:
            pass  # a file system without locks
        yield
