"""Consent guards a likeness; cards keep what they say."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vfxswap.errors import ConsentError
from vfxswap.persona import (
    REVOCATIONS_VARIABLE,
    Consent,
    Metric,
    ModelCard,
    Persona,
    card_sha256,
    check_consent,
    consent_id,
    revocations,
)

DOCUMENT = "ab" * 32
LAST_DAY = date(2031, 5, 1)


def consent(**changed: Any) -> Consent:
    fields = {
        "granted_by": "party-0412",
        "shows": ("NORTH", "south_2"),
        "uses": ("swap",),
        "expires": LAST_DAY,
        "document_sha256": DOCUMENT,
    }
    return Consent.model_validate(fields | changed)


REAL = Persona(id="performer-7", consent=consent())
AMBER = Persona(id="amber", synthetic=True)


def card(**changed: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "name": "comb-starter",
        "effect": "swap",
        "network": "comb",
        "network_settings": {"personas": ("amber",), "level": 5, "width": 0.25},
        "crop_size": 128,
        "licence": "Apache-2.0",
        "synthetic": True,
        "training_data": "synthetic performers",
        "training_licence": "CC0-1.0",
        "recipe": "vfxswap train comb-starter",
        "metrics": {"psnr": Metric(value=30.5, unit="dB", command="vfxswap bench --json")},
        "negative_results": ("teeth are soft",),
        "personas": (AMBER,),
    }
    return ModelCard.model_validate(fields | changed)


def test_consent_holds_for_its_shows_and_uses_to_its_last_day() -> None:
    for show in ("NORTH", "south_2"):
        check_consent(REAL, show=show, use="swap", today=LAST_DAY)


@pytest.mark.parametrize(
    ("persona", "asked", "sentence"),
    [
        (Persona(id="performer-7"), {}, "performer-7 is not synthetic and has no consent"),
        (REAL, {"show": "WEST"}, r"does not cover this show \(got WEST; wanted NORTH, south_2\)"),
        (REAL, {"show": "north"}, "does not cover this show"),
        (REAL, {"show": ""}, "got no show"),
        (REAL, {"use": "train"}, r"does not cover this use \(got train; wanted swap\)"),
        (REAL, {"today": date(2031, 5, 2)}, "consent expired on 2031-05-01"),
        (REAL, {"revoked": {consent_id(REAL)}}, "consent is revoked"),
        (REAL, {"revoked": {DOCUMENT}}, "consent is revoked"),
        (REAL, {"revoked": {"party-0412"}}, "consent is revoked"),
        (REAL, {"revoked": {"performer-7"}}, "consent is revoked"),
        (AMBER, {"revoked": {"amber"}}, "consent is revoked"),
    ],
)
def test_without_valid_consent_one_sentence_says_why(
    persona: Persona, asked: dict[str, Any], sentence: str
) -> None:
    request: dict[str, Any] = {"show": "NORTH", "use": "swap", "today": date(2030, 1, 1)} | asked
    with pytest.raises(ConsentError, match=sentence) as raised:
        check_consent(persona, **request)
    assert persona.id in str(raised.value) and "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_synthetic_persona_needs_no_show() -> None:
    check_consent(AMBER, show="", use="train", revoked={"someone-else"})


def test_expiry_is_judged_by_today_unless_told_otherwise() -> None:
    over = Persona(id="performer-7", consent=consent(expires=date(2001, 1, 1)))
    with pytest.raises(ConsentError, match="expired on 2001-01-01"):
        check_consent(over, show="NORTH", use="swap")


def test_a_consent_id_outlives_changes_of_scope_but_not_of_document() -> None:
    wider = Persona(id="renamed", consent=consent(shows=("EAST",), expires=date(2040, 1, 1)))
    other = Persona(id="performer-7", consent=consent(document_sha256="cd" * 32))
    assert consent_id(wider) == consent_id(REAL) != consent_id(other)
    assert (consent_id(AMBER), consent_id(Persona(id="x"))) == ("synthetic", "none")


@pytest.mark.parametrize("name", ["Jane Doe", "jane doe", "", "-a", "a/b", "a" * 65])
def test_names_of_persons_do_not_fit_an_id(name: str) -> None:
    with pytest.raises(ValidationError):
        consent(granted_by=name)
    with pytest.raises(ValidationError):
        Persona(id=name, synthetic=True)


@pytest.mark.parametrize("name", ["a.b", "7th"])
def test_a_persona_id_is_fit_for_tensor_names(name: str) -> None:
    assert consent(granted_by=name).granted_by == name
    with pytest.raises(ValidationError):
        Persona(id=name, synthetic=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"shows": ()},
        {"uses": ()},
        {"uses": ("anything",)},
        {"document_sha256": "ab"},
        {"expires": "never"},
        {"name": "Jane"},
    ],
)
def test_an_incomplete_consent_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        consent(**changed)


def test_a_synthetic_persona_with_a_consent_is_a_contradiction() -> None:
    with pytest.raises(ValidationError, match="synthetic and has a consent"):
        Persona(id="amber", synthetic=True, consent=consent())


def test_a_synthetic_card_cannot_hold_a_real_persona() -> None:
    with pytest.raises(ValidationError, match="performer-7 does not"):
        card(personas=(AMBER, REAL))
    assert card(personas=(AMBER, REAL), synthetic=False).persona("performer-7") == REAL


def test_personas_of_a_card_have_different_ids() -> None:
    with pytest.raises(ValidationError, match="not unique"):
        card(personas=(AMBER, AMBER))


def test_network_settings_are_kept_as_a_file_gives_them_back() -> None:
    kept = card(network_settings={"latent": None, "levels": (1, 2.0), "deep": {"a": None, "b": 1}})
    assert kept.network_settings == {"levels": [1, 2.0], "deep": {"b": 1}}


def test_the_card_hash_survives_json_and_spelled_out_defaults() -> None:
    again = ModelCard.model_validate_json(card().model_dump_json())
    assert again == card()
    assert card_sha256(again) == card_sha256(card(version="1", description=""))


def test_a_field_added_to_the_form_later_keeps_the_hash_of_older_cards() -> None:
    class LaterCard(ModelCard):
        reviewed_by: str = ""

    later = LaterCard.model_validate(card().model_dump())
    assert card_sha256(later) == card_sha256(card())


@given(
    st.sampled_from(
        [
            {"licence": "MIT"},
            {"weights_sha256": "00" * 32},
            {"metrics": {}},
            {"network_settings": {"personas": ["amber"], "level": 6, "width": 0.25}},
            {"personas": (Persona(id="amber", synthetic=True, net_mean=(0.4, 0.3, 0.25)),)},
            {"training_data": "something else"},
        ]
    )
)
def test_the_card_hash_changes_with_what_the_card_says(changed: dict[str, Any]) -> None:
    assert card_sha256(card(**changed)) != card_sha256(card())


def test_revocations_come_from_the_studio_and_from_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REVOCATIONS_VARIABLE, raising=False)
    assert revocations() == frozenset()
    studio, job = tmp_path / "studio.txt", tmp_path / "job.txt"
    studio.write_text(f"# withdrawn\n\n{DOCUMENT}  # by letter\n")
    job.write_text("party-0412\n")
    monkeypatch.setenv(REVOCATIONS_VARIABLE, str(studio))
    assert revocations(job) == {DOCUMENT, "party-0412"}
    assert revocations() == {DOCUMENT}


def test_a_revocation_list_that_cannot_be_read_stops_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REVOCATIONS_VARIABLE, str(tmp_path / "gone.txt"))
    with pytest.raises(ConsentError, match=r"gone\.txt: revocation list cannot be read"):
        revocations()
