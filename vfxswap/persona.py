"""Personas, the consent behind them, and the cards that models carry.

Consent is a record and a guard, not a lock: it keeps honest people from mistakes and leaves a
trail (ids and hashes in every output). Whoever edits code or cards can get round it. Parties
are named by ids; no names of persons belong in a card.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, JsonValue, model_validator

from vfxswap.errors import ConsentError
from vfxswap.settings import Settings

REVOCATIONS_VARIABLE = "VFXSWAP_REVOCATIONS"
"""Environment variable that names the studio's revocation list."""

Use = Literal["swap", "train", "face_set", "feature_reference", "prescription"]
"""What a likeness may be used for: written by a swap, trained or extended as a persona, put in a
face set, taken as a feature reference, measured for a prescription estimate."""

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
"""Lower-case letters, digits, `_`, `.`, `-`: fit for a file name, unfit for a person's name."""
PersonaId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""As `Id`, without dots and with a letter first: it is a part of tensor names."""
ShowName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Consent(Settings):
    """What a party allowed: for which shows, which uses, until when, by which document."""

    granted_by: Id = Field(description="Id of the granting party in the studio's records; no name.")
    shows: tuple[ShowName, ...] = Field(
        min_length=1, description="Shows that may use the likeness."
    )
    uses: tuple[Use, ...] = Field(min_length=1, description="Uses that are allowed.")
    expires: date = Field(description="Last day of validity (UTC).")
    document_sha256: Sha256 = Field(description="SHA-256 of the signed document.")
    signature: str = Field(
        default="", description="Detached signature of the document; kept as a record, not checked."
    )


class Persona(Settings):
    """A likeness that a model can write: of a synthetic performer, or of a person who consented."""

    id: PersonaId = Field(description="Name of the persona in jobs and files.")
    synthetic: bool = Field(default=False, description="No real person's likeness.")
    consent: Consent | None = Field(default=None, description="Required unless synthetic.")
    description: str = Field(default="", description="What it looks like; no names of persons.")
    net_mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] | None = Field(
        default=None, description="Mean colour inside the matte over training, in net space."
    )

    @model_validator(mode="after")
    def _one_ground(self) -> Self:
        if self.synthetic and self.consent is not None:
            raise ValueError(f"persona {self.id} is synthetic and has a consent, wanted one")
        return self


class Metric(Settings):
    """A measured number and the command that gave it."""

    value: FiniteFloat = Field(description="The number.")
    unit: str = Field(default="", description="Its unit.")
    command: str = Field(min_length=1, description="Command line that measured it.")
    note: str = Field(default="", description="On what, and how to read it.")


def _as_stored(value: Any) -> Any:
    """Settings as a file gives them back: tuples as lists, unset ones (None) left out."""
    if isinstance(value, list | tuple):
        return [_as_stored(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_stored(item) for key, item in value.items() if item is not None}
    return value


class ModelCard(Settings):
    """What a model is, where it came from and who allowed it; lies beside its weights."""

    card_version: Literal[1] = Field(default=1, description="Version of this form.")
    name: Id = Field(description="Name of the model, and of its folder.")
    version: str = Field(default="1", description="Version of the model.")
    effect: str = Field(description="Effect or stage that it serves, as in swap or landmarks.")
    description: str = Field(default="", description="What it does, in a sentence.")
    network: str = Field(description="Key of vfxswap.nets.NETS.")
    network_settings: Annotated[dict[str, JsonValue], BeforeValidator(_as_stored)] = Field(
        default_factory=dict, description="Settings that build the network; unset ones left out."
    )
    crop_size: int | None = Field(
        default=None, ge=4, description="Width and height of its crop, in pixels."
    )
    primaries: str = Field(
        default="",
        description="Linear colour space that it was trained in; empty: the working space.",
    )
    weights_sha256: Sha256 | Literal[""] = Field(
        default="", description="SHA-256 of weights.safetensors; empty until they are saved."
    )
    licence: str = Field(description="SPDX identifier of the weights' licence.")
    synthetic: bool = Field(description="Trained on synthetic performers alone.")
    training_data: str = Field(description="What it was trained on and where that came from.")
    training_licence: str = Field(description="Licence of the training data.")
    recipe: str = Field(description="Command line that trains it again.")
    metrics: dict[str, Metric] = Field(default_factory=dict, description="Measured quality.")
    negative_results: tuple[str, ...] = Field(
        default=(), description="What was tried and failed, and what the model cannot do."
    )
    personas: tuple[Persona, ...] = Field(default=(), description="Likenesses that it can write.")

    @model_validator(mode="after")
    def _personas_agree(self) -> Self:
        ids = [persona.id for persona in self.personas]
        if len(set(ids)) < len(ids):
            raise ValueError(f"persona ids {', '.join(ids)} are not unique")
        real = [persona.id for persona in self.personas if not persona.synthetic]
        if self.synthetic and real:
            raise ValueError(f"the card says synthetic, persona {real[0]} does not")
        return self

    def persona(self, persona_id: str) -> Persona | None:
        """The persona of that id, if the model has it."""
        return next((p for p in self.personas if p.id == persona_id), None)


def check_consent(
    persona: Persona,
    *,
    show: str,
    use: Use,
    today: date | None = None,
    revoked: Collection[str] = (),
) -> None:
    """Returns when this likeness may be used so; else raises ConsentError with one sentence.

    `revoked` holds consent ids, document hashes, granting parties or persona ids, in any mixture
    (see `revocations`); it also stops synthetic personas. `today` is the UTC date unless given.
    """
    who, consent = f"persona {persona.id}", persona.consent
    marks = {persona.id, consent_id(persona)}
    if consent is not None:
        marks |= {consent.granted_by, consent.document_sha256}
    if withdrawn := sorted(marks & set(revoked)):
        raise ConsentError(
            f"{who}: consent is revoked", got=f"{withdrawn[0]} on the revocation list"
        )
    if persona.synthetic:
        return
    if consent is None:
        raise ConsentError(f"{who} is not synthetic and has no consent")
    if show not in consent.shows:
        raise ConsentError(
            f"{who}: consent does not cover this show",
            got=show or "no show (name it by --show or VFXSWAP_SHOW)",
            wanted=", ".join(consent.shows),
        )
    if use not in consent.uses:
        raise ConsentError(
            f"{who}: consent does not cover this use", got=use, wanted=", ".join(consent.uses)
        )
    if (today or datetime.now(UTC).date()) > consent.expires:
        raise ConsentError(f"{who}: consent expired on {consent.expires.isoformat()}")


def is_picture(likeness: str) -> bool:
    """Whether a likeness is that of a picture file: such names have a suffix, and ids of personas
    no dot."""
    return "." in likeness.replace("\\", "/").rpartition("/")[2]


def consent_id(persona: Persona) -> str:
    """Id of the consent for outputs and revocation lists: "synthetic", "none", or `consent-` and
    16 hex digits of the granting party and its document, whatever else the record says."""
    if persona.consent is None:
        return "synthetic" if persona.synthetic else "none"
    ground = f"{persona.consent.granted_by}\n{persona.consent.document_sha256}"
    return f"consent-{hashlib.sha256(ground.encode()).hexdigest()[:16]}"


def card_sha256(card: ModelCard) -> str:
    """SHA-256 (hex) of what a card says: its JSON, keys sorted, without fields left at default,
    so that fields added to the form later do not change the hash of older cards."""
    content = card.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def revocations(*files: str | os.PathLike[str]) -> frozenset[str]:
    """Revoked ids of the list that $VFXSWAP_REVOCATIONS names, if set, and of `files`.

    A list is UTF-8 text: one id a line (consent id, document hash, granting party or persona),
    `#` begins a remark. Raises ConsentError when a named list cannot be read: it may hold what
    stops this job.
    """
    named = os.environ.get(REVOCATIONS_VARIABLE, "")
    return frozenset(_listed([*([named] if named else []), *files]))


def _listed(files: Iterable[str | os.PathLike[str]]) -> Iterable[str]:
    for file in files:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise ConsentError("revocation list cannot be read", file=file) from None
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        yield from filter(None, lines)
