"""Networks for a render's effects, read once, checked, and remembered for the outputs' metadata."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import cast

import torch
from torch import nn

from vfxswap.align.pose import LandmarkFinder
from vfxswap.color import ColorManager
from vfxswap.effects.base import Frame, LoadedNet
from vfxswap.errors import ModelError
from vfxswap.image import Pixels
from vfxswap.io.weights import (
    WEIGHTS_FILE,
    StoredModel,
    find_model,
    find_persona,
    list_models,
    load_net,
    model_roots,
)
from vfxswap.nets.run import Precision, accelerated
from vfxswap.persona import Persona, Use, card_sha256, check_consent, is_picture, revocations
from vfxswap.render.references import picture_sha256, read_card, read_reference, read_still
from vfxswap.settings import nearest

KEPT = 8


class Nets:
    """Networks as loaded, kept from one render to the next for processes that live long.

    One is given again only while its card and its file of weights (by inode, size and times) are
    what they were when its hash was checked. Networks are not changed by use, so pixels do not
    depend on what was kept. The `KEPT` used last are held. For one render at a time.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[object, nn.Module] = OrderedDict()

    def load(
        self, stored: StoredModel, personas: Collection[str] | None, *, device: torch.device
    ) -> nn.Module:
        """The network of a model with these personas, in float32. Raises ModelError."""
        named = None if personas is None else tuple(sorted(personas))
        key = (_state(stored), named, device)
        net = self._kept.get(key)
        if net is None:
            net = load_net(stored.card, stored.folder, device=device, personas=personas)
            self._kept[key] = net
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return net


class Shelf:
    """Gives effects their networks. A comb is read once, with the decoders of all `personas`."""

    def __init__(
        self,
        device: torch.device,
        *,
        personas: Collection[str] = (),
        precision: Precision = "half",
        nets: Nets | None = None,
        color: ColorManager | None = None,
        spaces: Mapping[str, str] | None = None,
    ) -> None:
        """`nets` are those kept from earlier renders; `color` is how reference pictures are read,
        unless by $OCIO or the built-in config; `spaces` are their colour spaces, by path, where
        the job states them."""
        self.nets = nets or Nets()
        self._device = device
        self.precision: Precision = precision
        self._personas = tuple(personas)
        self._given: dict[str, LoadedNet] = {}
        self.used: dict[str, StoredModel] = {}
        """Every model given out, by name."""
        self.pictures: dict[str, str] = {}
        """SHA-256 of every reference picture given out, by its path."""
        self._color = color
        self._spaces = spaces or {}

    def for_persona(self, persona: str) -> LoadedNet:
        """The comb that has this persona. Raises ModelError."""
        stored = find_persona(persona)
        ids = {_id(p) for p in (*self._personas, persona)}
        known = {p.id for p in stored.card.personas}
        return self._load(stored, sorted(ids & known))

    def by_name(self, name: str) -> LoadedNet:
        """A model by its name. Raises ModelError."""
        return self._load(find_model(name), None)

    def for_stage(self, effect: str, name: str = "") -> LoadedNet:
        """The model that serves a stage such as "landmarks", or the one of that name. Raises
        ModelError."""
        return self._load(model_of_stage(effect, name), None)

    def picture(self, file: str) -> Pixels:
        """A still, [H, W, 4] in the working space, premultiplied. Raises PlateError, ColorError."""
        self._color = self._color or ColorManager()
        pixels = read_still(file, color=self._color, space=self._spaces.get(file, ""))
        self.pictures[file] = picture_sha256(file)
        return pixels

    def reference(self, picture: str) -> Frame:
        """A picture with its largest face alone. Consent is checked elsewhere (`consented`).

        Raises JobError without a face, PlateError, ModelError, ColorError.
        """
        self._color = self._color or ColorManager()
        # As when tracking: not accelerated, and not one of the models that make the pixels.
        found = self.nets.load(model_of_stage("landmarks"), None, device=self._device)
        finder = cast(LandmarkFinder, found)
        frame = read_reference(
            picture,
            color=self._color,
            finder=finder,
            device=self._device,
            space=self._spaces.get(picture, ""),
        )
        self.pictures[picture] = picture_sha256(picture)
        return frame

    def _load(self, stored: StoredModel, personas: Collection[str] | None) -> LoadedNet:
        name = stored.card.name
        if name not in self._given:
            net = self.nets.load(stored, personas, device=self._device)
            # Anew for every render: an accelerated network remembers that memory ran out.
            matrix = None
            if space := stored.card.primaries:
                self._color = self._color or ColorManager()
                matrix = self._color.matrix_to(space)
            accelerated_net = accelerated(net, precision=self.precision)
            self._given[name] = LoadedNet(stored.card, accelerated_net, matrix)
            self.used[name] = stored
        return self._given[name]


def _state(stored: StoredModel) -> tuple[object, ...]:
    """What a network read from this model depends on."""
    try:
        stat = (stored.folder / WEIGHTS_FILE).stat()
    except OSError:
        found: tuple[int, ...] = ()
    else:
        found = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return (str(stored.folder.absolute()), card_sha256(stored.card), found)


def model_of_stage(effect: str, name: str = "") -> StoredModel:
    """The model of that name, or the first of the earliest root, whose card names this effect or
    stage. Raises ModelError."""
    broken: list[ModelError] = []
    found = [model for model in list_models(broken=broken) if model.card.effect == effect]
    if name and name not in [model.card.name for model in found]:
        names = [model.card.name for model in found]
        raise ModelError(f"no such model for {effect}", got=name, wanted=nearest(name, names))
    found = [model for model in found if name in ("", model.card.name)]
    if found:
        roots = list(model_roots())
        return min(found, key=lambda model: roots.index(model.folder.parent))
    raise broken[0] if broken else ModelError(f"no model for {effect} is installed")


def consented(
    persona: str, *, show: str, revocation_list: str = "", use: Use = "feature_reference"
) -> Persona:
    """The persona, when its likeness may be swapped in for this show, or who is on a picture or
    named by a card of its own, when they may be used so (features taken from them, say).

    Raises ModelError for an unknown persona, JobError for a picture that is not there,
    ConsentError without valid consent.
    """
    revoked = revocations(*([revocation_list] if revocation_list else []))
    if is_picture(persona):
        shown = read_card(persona)
        check_consent(shown, show=show, use=use, revoked=revoked)
        return shown
    found = find_persona(persona).card.persona(_id(persona))
    if found is None:
        raise ModelError("no model has such a persona", got=persona)
    check_consent(found, show=show, use="swap", revoked=revoked)
    return found


def _id(persona: str) -> str:
    """`comb/amber` names persona `amber`."""
    return persona.rpartition("/")[2]
