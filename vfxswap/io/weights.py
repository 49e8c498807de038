"""Models on disk: `models/<name>/card.toml` and `weights.safetensors`.

Both are checked by SHA-256 before use: the card carries a hash of what it says, and what it says
includes the hash of the weights. That finds damage and careless edits; it is no signature.
Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tomli_w

import vfxswap
from vfxswap.errors import ConsentError, ModelError
from vfxswap.files import atomic_path, write_atomically
from vfxswap.persona import ModelCard, Persona, card_sha256, consent_id
from vfxswap.settings import nearest, validated

if TYPE_CHECKING:
    import torch
    from torch import nn

CARD_FILE = "card.toml"
CHOICES = ("styles", "features")
"""Lists of what a network offers beside personas, by their names in its settings."""
WEIGHTS_FILE = "weights.safetensors"
THUMBS_FOLDER = "thumbs"
"""Small pictures of what a model offers (personas, styles), `<choice>.jpg`, for choosers."""
MODELS_VARIABLE = "VFXSWAP_MODELS"
"""Environment variable with further folders of models, separated as in PATH; they come first."""
_CARD_HASH = "card_sha256"


class StoredModel(NamedTuple):
    """A card and the folder that it was read from."""

    card: ModelCard
    folder: Path

    def row(self) -> dict[str, Any]:
        """What a list of models shows of it, as JSON values."""
        return {
            "name": self.card.name,
            "version": self.card.version,
            "effect": self.card.effect,
            "personas": [persona.id for persona in self.card.personas],
            **{name: self.card.network_settings.get(name, []) for name in CHOICES},
            "sha256": self.card.weights_sha256,
            "card_sha256": card_sha256(self.card),
            "licence": self.card.licence,
            "synthetic": self.card.synthetic,
            "folder": str(self.folder),
            "thumbs": {p.stem: str(p) for p in sorted(self.folder.glob(f"{THUMBS_FOLDER}/*.jpg"))},
            "consents": {p.id: _consent_row(p) for p in self.card.personas},
        }


def _consent_row(persona: Persona) -> dict[str, Any]:
    """What a list shows of the ground on which a persona may be written."""
    if persona.consent is None:
        return {"id": consent_id(persona)}
    kept = persona.consent.model_dump(mode="json", include={"shows", "uses", "expires"})
    return {"id": consent_id(persona), **kept}


def model_roots() -> tuple[Path, ...]:
    """Folders that hold models: those of $VFXSWAP_MODELS, then the ones that come with vfxswap
    (in the wheel, or `models/` of the checkout). Raises ModelError for a named one that is not
    there."""
    named = [Path(p) for p in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep) if p]
    for folder in named:
        if not folder.is_dir():
            raise ModelError(f"{MODELS_VARIABLE} names a folder that is not there", file=folder)
    package = Path(vfxswap.__file__).parent
    own = [package / "_bundled" / "models"]
    if (package.parent / "pyproject.toml").is_file():
        own.append(package.parent / "models")
    return (*named, *(folder for folder in own if folder.is_dir()))


def list_models(*, broken: list[ModelError] | None = None) -> list[StoredModel]:
    """Every model in the roots, by name; of two with one name the earlier root's.

    A card that cannot be read raises ModelError, or is put in `broken` when that is given.
    """
    models: dict[str, StoredModel] = {}
    for name, folder in _folders().items():
        try:
            models[name] = StoredModel(_named_card(name, folder), folder)
        except ModelError as error:
            if broken is None:
                raise
            broken.append(error)
    return [models[name] for name in sorted(models)]


def find_model(name_or_folder: str | os.PathLike[str]) -> StoredModel:
    """The model of that name, or in that folder (a path with a separator).

    Raises ModelError with the nearest names when there is none.
    """
    text = os.fspath(name_or_folder)
    if os.sep in text or isinstance(name_or_folder, Path):
        return StoredModel(read_card(text), Path(text))
    folders = _folders()
    if text not in folders:
        raise ModelError("no such model", got=text, wanted=nearest(text, folders))
    return StoredModel(_named_card(text, folders[text]), folders[text])


def find_persona(persona: str) -> StoredModel:
    """The model that can write this persona, given as `amber` or, with its model, `comb/amber`.

    Of several models the one from the earliest root; two of one root raise ModelError, as does a
    persona that no model has (with the nearest names).
    """
    model_name, _, persona_id = persona.rpartition("/")
    if model_name:
        found = find_model(model_name)
        if found.card.persona(persona_id) is None:
            known = [p.id for p in found.card.personas]
            raise ModelError(
                f"model {model_name} has no such persona",
                got=persona_id,
                wanted=nearest(persona_id, known),
            )
        return found
    broken: list[ModelError] = []
    models = list_models(broken=broken)
    having = [model for model in models if model.card.persona(persona_id) is not None]
    if not having:
        known = [p.id for model in models for p in model.card.personas]
        unread = f"; unreadable: {broken[0]}" if broken else ""
        raise ModelError(
            f"no model has such a persona{unread}",
            got=persona_id,
            wanted=nearest(persona_id, known),
        )
    for root in model_roots():
        here = [model for model in having if model.folder.parent == root]
        if len(here) > 1:
            choices = ", ".join(f"{model.card.name}/{persona_id}" for model in here)
            raise ModelError("several models have this persona", got=persona_id, wanted=choices)
        if here:
            return here[0]
    return having[0]


def read_card(folder: str | os.PathLike[str]) -> ModelCard:
    """The card in a folder; raises ModelError when it is missing, wrong, or has been changed
    since it was written (see `write_card`)."""
    file = Path(folder) / CARD_FILE
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError("model card is missing", file=file) from None
    except OSError as error:
        raise ModelError(f"model card cannot be read: {error.strerror}", file=file) from None
    except ValueError as error:
        raise ModelError(f"model card is no valid TOML: {error}", file=file) from None
    stated = content.pop(_CARD_HASH, None)
    card = validated(ModelCard, content, error_type=ModelError, file=file)
    if stated != card_sha256(card):
        raise ModelError(
            "model card was tampered with: its content does not match its card_sha256",
            got=card_sha256(card),
            wanted=stated or "a card_sha256 line",
            file=file,
        )
    return card


def write_card(folder: str | os.PathLike[str], card: ModelCard) -> None:
    """Writes a card, with its hash, into an existing model (after a change of consent, say).

    Raises ConsentError for a persona that is neither synthetic nor has a consent, OutputError.
    """
    write_atomically(Path(folder) / CARD_FILE, _card_text(card))


def save_model(
    folder: str | os.PathLike[str],
    card: ModelCard,
    tensors: Mapping[str, torch.Tensor],
    *,
    half: bool = True,
) -> StoredModel:
    """Writes card and weights into `folder` (made if need be); the same tensors give the same
    bytes. `half` stores floating tensors as float16, else they keep their type.

    Returns the model with the weights' hash in its card. Raises ModelError for tensors that are
    not finite (also by overflow of float16), ConsentError as `write_card`, OutputError; a model
    that was there before stays whole then.
    """
    import torch
    from safetensors.torch import save

    stored: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        kept = tensor.detach().to("cpu", copy=True)
        if kept.is_floating_point():
            kept = kept.half() if half else kept
            if not bool(torch.isfinite(kept).all()):
                raise ModelError(
                    f"tensor {name} of model {card.name} is not finite as {kept.dtype}"
                )
        stored[name] = kept.contiguous()
    data = save(stored)
    sealed = card.model_copy(update={"weights_sha256": hashlib.sha256(data).hexdigest()})
    target = Path(folder)
    text = _card_text(sealed)
    with atomic_path(target / WEIGHTS_FILE) as weights, atomic_path(target / CARD_FILE) as file:
        weights.write_bytes(data)
        file.write_bytes(text)
    return StoredModel(sealed, target)


def load_tensors(
    folder: str | os.PathLike[str], card: ModelCard, *, prefixes: Sequence[str] | None = None
) -> dict[str, torch.Tensor]:
    """The stored tensors by name, mapped from the file, in the type stored, on the CPU.

    `prefixes` keeps those whose names begin with one of them; only their pages are read again
    after the hash. Raises ModelError when the file is missing or is not what the card says, or a
    prefix matches nothing.
    """
    wanted = tuple(prefixes) if prefixes is not None else ("",)
    tensors = _tensors(Path(folder), card, lambda name: name.startswith(wanted))
    for prefix in wanted:
        if not any(name.startswith(prefix) for name in tensors):
            raise ModelError(f"no tensor begins with {prefix!r}", file=Path(folder) / WEIGHTS_FILE)
    return tensors


def load_net(
    card: ModelCard,
    folder: str | os.PathLike[str],
    *,
    device: torch.device | str,
    personas: Collection[str] | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """The card's network on `device`, in eval mode, without gradients, as float32 or `dtype`.

    `personas` builds and loads a network with these alone: its settings' `personas` are
    replaced, and only the tensors that such a network has are read. Raises ModelError for an
    unknown network or persona, settings that it does not take, and weights that do not fit.
    """
    import torch

    settings = dict(card.network_settings)
    if personas is not None:
        known = [persona.id for persona in card.personas]
        for persona in personas:
            if persona not in known:
                raise ModelError(
                    f"model {card.name} has no such persona",
                    got=persona,
                    wanted=nearest(persona, known),
                )
        settings["personas"] = [persona for persona in known if persona in personas]
    net = _built(card, settings)
    names = net.state_dict().keys()
    partial = personas is not None
    tensors = _tensors(Path(folder), card, lambda name: not partial or name in names)
    try:
        net.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = str(error).partition("\n\t")[2].partition("\n")[0]
        raise ModelError(
            f"weights do not fit network {card.network}: {reason}",
            file=Path(folder) / WEIGHTS_FILE,
        ) from None
    return net.to(device=device, dtype=dtype or torch.float32).eval().requires_grad_(False)


def _built(card: ModelCard, settings: dict[str, Any]) -> nn.Module:
    """The network, fresh: from its `settings_type` where it has one, else from keyword arguments.
    Building draws from the random generator, which is put back."""
    import torch

    from vfxswap.nets import NETS

    if card.network not in NETS:
        raise ModelError(
            f"model {card.name}: no such network",
            got=card.network,
            wanted=nearest(card.network, NETS),
        )
    network = NETS[card.network]
    settings_type = getattr(network, "settings_type", None)
    try:
        with torch.random.fork_rng(devices=[]):
            if settings_type is None:
                return network(**settings)
            return network(validated(settings_type, settings, error_type=ModelError))
    except (TypeError, ValueError) as error:
        raise ModelError(f"model {card.name}: {card.network} does not build: {error}") from None


def _tensors(folder: Path, card: ModelCard, keep: Callable[[str], bool]) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError, safe_open

    file = folder / WEIGHTS_FILE
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise ModelError("weights are missing", file=file) from None
    except OSError as error:
        raise ModelError(f"weights cannot be read: {error.strerror}", file=file) from None
    if found != card.weights_sha256:
        raise ModelError(
            "weights are not those of the card: damaged or exchanged",
            got=f"SHA-256 {found}",
            wanted=card.weights_sha256 or "a card that states their SHA-256",
            file=file,
        )
    try:
        with safe_open(file, framework="pt", device="cpu") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys() if keep(name)}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"weights are no safetensors file: {error}", file=file) from None


def _card_text(card: ModelCard) -> bytes:
    for persona in card.personas:
        if consent_id(persona) == "none":
            raise ConsentError(f"persona {persona.id} is not synthetic and has no consent")
    content = card.model_dump(mode="json", exclude_defaults=True)
    content = {"card_version": card.card_version, _CARD_HASH: card_sha256(card), **content}
    return tomli_w.dumps(content).encode()


def _folders() -> dict[str, Path]:
    """Folder of each model by name; an earlier root hides the same name in a later one."""
    folders: dict[str, Path] = {}
    for root in model_roots():
        for card in sorted(root.glob(f"*/{CARD_FILE}")):
            folders.setdefault(card.parent.name, card.parent)
    return folders


def _named_card(name: str, folder: Path) -> ModelCard:
    card = read_card(folder)
    if card.name != name:
        raise ModelError("card and folder differ in name", got=card.name, wanted=name, file=folder)
    return card
