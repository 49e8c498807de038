"""Models on disk are what their cards say, or are refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from pydantic import Field
from torch import nn

from vfxswap.errors import ConsentError, ModelError, OutputError
from vfxswap.io.weights import (
    CARD_FILE,
    MODELS_VARIABLE,
    WEIGHTS_FILE,
    StoredModel,
    find_model,
    find_persona,
    list_models,
    load_net,
    load_tensors,
    model_roots,
    read_card,
    save_model,
    write_card,
)
from vfxswap.nets import NETS
from vfxswap.persona import Consent, Metric, ModelCard, Persona, card_sha256, consent_id
from vfxswap.settings import Settings

PERSONAS = tuple(Persona(id=name, synthetic=True) for name in ("amber", "basalt", "cedar"))


class TinySettings(Settings):
    personas: tuple[str, ...]
    width: int = Field(default=4, ge=1)


class TinyComb(nn.Module):
    settings_type = TinySettings

    def __init__(self, settings: TinySettings) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, settings.width)
        self.norm = nn.BatchNorm1d(settings.width)
        self.decoders = nn.ModuleDict(
            {name: nn.Linear(settings.width, 3) for name in settings.personas}
        )

    def forward(self, x: torch.Tensor, persona: str) -> torch.Tensor:
        return cast("torch.Tensor", self.decoders[persona](self.norm(self.encoder(x))))


class TinyStage(nn.Module):
    def __init__(self, *, width: int = 2) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, Any]", NETS), "tiny", TinyComb)
    monkeypatch.setitem(cast("dict[str, Any]", NETS), "tiny-stage", TinyStage)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order: exact comparisons of nets stay exact."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder of models, before those that come with the package."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv(MODELS_VARIABLE, str(folder))
    return folder


def card(**changed: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "name": "tiny-comb",
        "effect": "swap",
        "description": 'Says "hello"\nand é.',
        "network": "tiny",
        "network_settings": {"personas": [p.id for p in PERSONAS], "width": 4},
        "crop_size": 4,
        "licence": "Apache-2.0",
        "synthetic": True,
        "training_data": "nothing",
        "training_licence": "CC0-1.0",
        "recipe": "none",
        "metrics": {
            "loss": Metric(value=0.1, command="none"),
            "tiny": Metric(value=1e-9, command="n"),
        },
        "personas": PERSONAS,
    }
    return ModelCard.model_validate(fields | changed)


def trained(seed: int = 0) -> TinyComb:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = TinyComb(TinySettings(personas=tuple(p.id for p in PERSONAS)))
        net(torch.randn(8, 3), "amber")
    return net


def saved(root: Path, name: str = "tiny-comb", **changed: Any) -> StoredModel:
    return save_model(root / name, card(name=name, **changed), trained().state_dict())


def test_a_saved_model_reads_back_as_it_was(root: Path) -> None:
    stored = saved(root)
    assert read_card(stored.folder) == stored.card
    digest = hashlib.sha256((stored.folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    assert stored.card == card(weights_sha256=digest)
    tensors = load_tensors(stored.folder, stored.card)
    for name, tensor in trained().state_dict().items():
        kept = tensor.half() if tensor.is_floating_point() else tensor
        assert tensors[name].dtype == kept.dtype and torch.equal(tensors[name], kept)


def test_without_half_tensors_keep_their_type(root: Path) -> None:
    stored = save_model(root / "tiny-comb", card(), trained().state_dict(), half=False)
    tensors = load_tensors(stored.folder, stored.card)
    for name, tensor in trained().state_dict().items():
        assert tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor)


def test_the_same_tensors_give_the_same_bytes_in_any_order(root: Path) -> None:
    state = trained().state_dict()
    backwards = dict(reversed(list(state.items())))
    first = save_model(root / "a", card(name="a"), state)
    second = save_model(root / "b", card(name="b"), backwards)
    assert (root / "a" / WEIGHTS_FILE).read_bytes() == (root / "b" / WEIGHTS_FILE).read_bytes()
    assert first.card.weights_sha256 == second.card.weights_sha256


@pytest.mark.parametrize("half", [True, False])
def test_tensors_that_share_memory_are_saved_whole(root: Path, half: bool) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    stored = save_model(root / "t", card(name="t"), {"a": base, "b": base, "c": base.T}, half=half)
    tensors = load_tensors(stored.folder, stored.card)
    assert torch.equal(tensors["a"], tensors["b"]) and torch.equal(tensors["c"].float(), base.T)


@pytest.mark.parametrize(("value", "half"), [(float("nan"), False), (1e6, True)])
def test_weights_that_are_not_finite_are_not_saved(root: Path, value: float, half: bool) -> None:
    stored = saved(root)
    with pytest.raises(ModelError, match="tensor x of model tiny-comb is not finite"):
        save_model(stored.folder, card(), {"x": torch.tensor([value])}, half=half)
    assert load_tensors(stored.folder, read_card(stored.folder))


def test_saving_over_a_file_leaves_nothing_behind(root: Path) -> None:
    (root / "tiny-comb").write_text("in the way")
    with pytest.raises(OutputError):
        saved(root)
    assert [entry.name for entry in root.iterdir()] == ["tiny-comb"]


def test_a_card_that_cannot_be_put_in_place_leaves_no_temporary_file(root: Path) -> None:
    (root / "tiny-comb" / CARD_FILE).mkdir(parents=True)
    with pytest.raises(OutputError, match=r"card\.toml"):
        saved(root)
    assert {entry.name for entry in (root / "tiny-comb").iterdir()} == {CARD_FILE}


@pytest.mark.parametrize("where", [0, 20, -1])
def test_one_changed_byte_of_the_weights_is_refused(root: Path, where: int) -> None:
    stored = saved(root)
    file = stored.folder / WEIGHTS_FILE
    data = bytearray(file.read_bytes())
    data[where] ^= 1
    file.write_bytes(data)
    for load in (
        lambda: load_tensors(stored.folder, stored.card),
        lambda: load_net(stored.card, stored.folder, device="cpu"),
    ):
        with pytest.raises(ModelError, match=r"weights\.safetensors: .*not those of the card"):
            load()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('licence = "Apache-2.0"', 'licence = "MIT"'),
        ('id = "basalt"', 'id = "basalt", net_mean = [0, 0, 0]'),
        ("value = 0.1\n", "value = 0.01\n"),
        ("crop_size = 4", "crop_size = 8"),
        (r'card_sha256 = ".*?"\n', ""),
    ],
)
def test_a_changed_card_is_refused(root: Path, old: str, new: str) -> None:
    stored = saved(root)
    file = stored.folder / CARD_FILE
    changed, times = re.subn(old, new, file.read_text())
    assert times == 1
    file.write_text(changed)
    with pytest.raises(ModelError, match=r"card\.toml: model card was tampered with"):
        find_model("tiny-comb")


def test_a_card_hash_of_other_weights_is_tampering_too(root: Path) -> None:
    stored = saved(root)
    other = save_model(root / "other", card(name="other"), trained(1).state_dict())
    text = (stored.folder / CARD_FILE).read_text()
    swapped = text.replace(stored.card.weights_sha256, other.card.weights_sha256)
    (stored.folder / CARD_FILE).write_text(swapped)
    with pytest.raises(ModelError, match="tampered"):
        read_card(stored.folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("not toml", "no valid TOML"),
        ("\xff", "no valid TOML"),
        ("", r"name is missing \(and 7 more\)"),
        ('licens = "MIT"', r"licens is unknown.*perhaps licence"),
    ],
)
def test_what_is_no_card_is_refused_in_one_sentence(root: Path, text: str, sentence: str) -> None:
    stored = saved(root)
    (stored.folder / CARD_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=sentence) as raised:
        read_card(stored.folder)
    assert str(stored.folder / CARD_FILE) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("file", [WEIGHTS_FILE, CARD_FILE])
def test_a_missing_file_is_named(root: Path, file: str) -> None:
    stored = saved(root)
    (stored.folder / file).unlink()
    with pytest.raises(ModelError, match=rf"{re.escape(str(stored.folder / file))}: .* missing"):
        load_tensors(stored.folder, read_card(stored.folder))


def test_a_file_of_the_right_hash_that_is_no_safetensors_is_refused(root: Path) -> None:
    stored = saved(root)
    pickled = b"\x80\x04."
    (stored.folder / WEIGHTS_FILE).write_bytes(pickled)
    claims = card(weights_sha256=hashlib.sha256(pickled).hexdigest())
    with pytest.raises(ModelError, match="no safetensors file"):
        load_tensors(stored.folder, claims)


def test_only_wanted_tensors_are_loaded(root: Path) -> None:
    stored = saved(root)
    tensors = load_tensors(stored.folder, stored.card, prefixes=["encoder.", "decoders.cedar."])
    assert {name.rpartition(".")[0] for name in tensors} == {"encoder", "decoders.cedar"}
    with pytest.raises(ModelError, match=r"no tensor begins with 'decoders.dune.'"):
        load_tensors(stored.folder, stored.card, prefixes=["encoder.", "decoders.dune."])


def test_a_loaded_net_gives_what_the_saved_half_weights_give(root: Path) -> None:
    stored = saved(root)
    net = load_net(stored.card, stored.folder, device="cpu")
    assert not net.training
    assert not any(p.requires_grad or p.dtype != torch.float32 for p in net.parameters())
    reference = trained().half().float().eval()
    x = torch.linspace(-1, 1, 12).reshape(4, 3)
    assert torch.equal(net(x, "cedar"), reference(x, "cedar"))


def test_a_net_of_one_persona_equals_the_whole_one_there(root: Path) -> None:
    stored = saved(root)
    whole = load_net(stored.card, stored.folder, device="cpu")
    part = load_net(stored.card, stored.folder, device="cpu", personas={"cedar"})
    x = torch.linspace(-1, 1, 12).reshape(4, 3)
    assert torch.equal(part(x, "cedar"), whole(x, "cedar"))
    assert not [name for name in part.state_dict() if "amber" in name or "basalt" in name]


def test_a_net_takes_the_type_asked_for(root: Path) -> None:
    stored = saved(root)
    net = load_net(stored.card, stored.folder, device="cpu", dtype=torch.bfloat16)
    assert {p.dtype for p in net.parameters()} == {torch.bfloat16}


def test_a_net_without_settings_type_takes_keywords(root: Path) -> None:
    stage = card(name="s", network="tiny-stage", network_settings={"width": 3}, personas=())
    stored = save_model(root / "s", stage, TinyStage(width=3).state_dict())
    net = load_net(stored.card, stored.folder, device="cpu")
    assert cast("TinyStage", net).layer.in_features == 3


def test_loading_leaves_the_random_generator_alone(root: Path) -> None:
    stored = saved(root)
    before = torch.random.get_rng_state()
    load_net(stored.card, stored.folder, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"network": "tinny"}, r"no such network \(got tinny; wanted perhaps tiny"),
        ({"network_settings": {"personas": ["amber"], "widht": 4}}, "widht is unknown.*width"),
        ({"network_settings": {"personas": ["amber"], "width": 0}}, "width is wrong"),
        ({"network_settings": {"personas": ["amber"]}}, "do not fit network tiny: Unexpected key"),
        ({"network_settings": {"personas": ["amber", "dune"]}}, "do not fit network tiny: "),
        ({"network": "tiny-stage"}, "tiny-stage does not build"),
    ],
)
def test_a_card_that_does_not_fit_its_weights_is_refused(
    root: Path, changed: dict[str, Any], sentence: str
) -> None:
    stored = saved(root, **changed)
    with pytest.raises(ModelError, match=sentence) as raised:
        load_net(stored.card, stored.folder, device="cpu")
    assert "\n" not in str(raised.value)


def test_an_unknown_persona_of_a_net_is_named_with_the_nearest(root: Path) -> None:
    stored = saved(root)
    with pytest.raises(ModelError, match=r"no such persona \(got ceder; wanted perhaps cedar\)"):
        load_net(stored.card, stored.folder, device="cpu", personas=["ceder"])


def test_a_persona_finds_its_model(root: Path) -> None:
    dune = Persona(id="dune", synthetic=True)
    saved(root)
    other = saved(root, "other", personas=(dune,))
    assert find_persona("dune") == (other.card, other.folder) == find_persona("other/dune")


@pytest.mark.parametrize(
    ("persona", "sentence"),
    [
        ("basallt", r"no model has such a persona \(got basallt; wanted perhaps basalt"),
        ("tiny-comb/ambre", r"tiny-comb has no such persona \(got ambre; wanted perhaps amber"),
        ("tiny-com/amber", r"no such model \(got tiny-com; wanted perhaps .*tiny-comb"),
    ],
)
def test_an_unknown_persona_is_answered_with_the_nearest_names(
    root: Path, persona: str, sentence: str
) -> None:
    saved(root)
    with pytest.raises(ModelError, match=sentence):
        find_persona(persona)


def test_a_broken_card_is_told_when_a_persona_is_not_found(root: Path) -> None:
    saved(root)
    (saved(root, "torn").folder / CARD_FILE).write_text("torn = ")
    assert find_persona("amber").card.name == "tiny-comb"
    with pytest.raises(ModelError, match=r"unreadable: .*torn/card\.toml.*got zzz"):
        find_persona("zzz")


def test_a_persona_of_two_models_must_be_asked_for_by_model(root: Path) -> None:
    saved(root)
    saved(root, "other")
    with pytest.raises(ModelError, match=r"several models .*wanted other/amber, tiny-comb/amber"):
        find_persona("amber")
    assert find_persona("other/amber").card.name == "other"


def test_earlier_roots_come_first(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(root)
    studio = tmp_path / "studio"
    saved(studio, licence="LicenseRef-Studio")
    saved(studio, "studio-comb")
    monkeypatch.setenv(MODELS_VARIABLE, f"{studio}:{root}")
    assert find_model("tiny-comb").card.licence == "LicenseRef-Studio"
    monkeypatch.setenv(MODELS_VARIABLE, f"{root}:{studio}")
    assert find_model("tiny-comb").card.licence == "Apache-2.0"
    assert find_persona("amber").folder == root / "tiny-comb"


def test_models_that_come_with_the_package_are_found_after_named_ones(root: Path) -> None:
    roots = model_roots()
    assert roots[0] == root
    assert [r.name for r in roots[1:]] == ["models"]


def test_a_root_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(ModelError, match="VFXSWAP_MODELS names a folder that is not there"):
        list_models()


def test_a_list_of_models_shows_broken_ones_apart_or_raises(root: Path) -> None:
    good, torn = saved(root), saved(root, "torn")
    (torn.folder / CARD_FILE).write_text("torn = ")
    (root / "no-model").mkdir()
    broken: list[ModelError] = []
    listed = [model for model in list_models(broken=broken) if model.folder.parent == root]
    assert listed == [good]
    assert [error.file for error in broken] == [torn.folder / CARD_FILE]
    with pytest.raises(ModelError, match="torn"):
        list_models()


def test_a_row_names_what_a_list_shows(root: Path) -> None:
    stored = saved(root)
    assert stored.row() == {
        "name": "tiny-comb",
        "version": "1",
        "effect": "swap",
        "personas": ["amber", "basalt", "cedar"],
        "styles": [],
        "features": [],
        "sha256": stored.card.weights_sha256,
        "card_sha256": card_sha256(stored.card),
        "licence": "Apache-2.0",
        "synthetic": True,
        "folder": str(root / "tiny-comb"),
        "thumbs": {},
        "consents": {name: {"id": "synthetic"} for name in ("amber", "basalt", "cedar")},
    }
    thumb = stored.folder / "thumbs" / "basalt.jpg"
    thumb.parent.mkdir()
    thumb.touch()
    assert stored.row()["thumbs"] == {"basalt": str(thumb)}


def test_a_model_is_found_by_folder_whatever_the_folder_is_called(root: Path) -> None:
    stored = saved(root)
    moved = root / "elsewhere"
    stored.folder.rename(moved)
    assert find_model(moved) == find_model(str(moved)) == (stored.card, moved)
    with pytest.raises(ModelError, match=r"card and folder differ in name \(got tiny-comb"):
        find_model("elsewhere")


def test_a_persona_needs_a_ground_before_its_model_is_written(root: Path) -> None:
    real = Persona(id="performer-7")
    with pytest.raises(ConsentError, match="performer-7 is not synthetic and has no consent"):
        saved(root, personas=(real,), synthetic=False)
    assert not (root / "tiny-comb").exists()


def test_a_changed_consent_is_written_with_a_new_card_hash(root: Path) -> None:
    agreed = Consent.model_validate(
        {
            "granted_by": "party-1",
            "shows": ["NORTH"],
            "uses": ["swap"],
            "expires": "2031-01-01",
            "document_sha256": "ab" * 32,
        }
    )
    stored = saved(root, personas=(Persona(id="performer-7", consent=agreed),), synthetic=False)
    longer = agreed.model_copy(update={"expires": agreed.expires.replace(year=2033)})
    persona = stored.card.personas[0].model_copy(update={"consent": longer})
    changed = stored.card.model_copy(update={"personas": (persona,)})
    write_card(stored.folder, changed)
    assert read_card(stored.folder) == changed
    assert card_sha256(changed) != card_sha256(stored.card)
    assert load_tensors(stored.folder, changed)


def test_a_row_tells_shows_and_term_of_a_consent_and_no_party() -> None:
    consent = Consent(
        granted_by="party-7",
        shows=("kestrel",),
        uses=("swap",),
        expires=date(2031, 5, 1),
        document_sha256="ab" * 32,
    )
    persona = Persona(id="rowan", consent=consent)
    own = card(synthetic=False, personas=(persona,))
    row = StoredModel(own, Path("m")).row()
    told = {"shows": ["kestrel"], "uses": ["swap"], "expires": "2031-05-01"}
    assert row["consents"] == {"rowan": {"id": consent_id(persona), **told}}
    assert "party-7" not in str(row)
