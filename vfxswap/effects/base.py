"""What an effect is: a frame in, named layers with mattes out. No files, no hosts, no farm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vfxswap.geometry import Array, Box, Face
from vfxswap.image import Layer, Pixels
from vfxswap.persona import ModelCard
from vfxswap.settings import Settings

Prepared = Mapping[str, Any]
"""JSON values: what an effect computed over the whole shot."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of one view as an effect sees it.

    `rgb` [H, W, 3] float32 covers `data_window`, scene-linear in the working space; it may be
    negative, exceed 1 and hold inf or nan. `mattes` [H, W] float32 0…1 by role ("holdout",
    "garbage", or an effect's own names). `seed` is all the randomness a frame may use.
    """

    number: int
    rgb: Pixels
    data_window: Box
    display_window: Box
    seed: int
    pixel_aspect: float = 1.0
    view: str = ""
    faces: tuple[Face, ...] = ()
    mattes: Mapping[str, Pixels] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class EffectResult:
    """`rgb` [H, W, 3] as in the frame; where `matte` [H, W] is exactly 0 it does not count: the
    comp takes the plate there. Layers are full frame also where nothing was done."""

    rgb: Pixels
    matte: Pixels
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LoadedNet:
    """A network on its device, in eval mode, with the card that describes it; `primaries` [3, 3]
    takes working pixels (columns) to the primaries that it was trained in, None when it was trained
    in the working space."""

    card: ModelCard
    net: nn.Module
    primaries: Array | None = None


class Models(Protocol):
    """Where an effect gets its networks from; the caller reads the files."""

    def for_persona(self, persona: str) -> LoadedNet:
        """The comb that has this persona, with at least its decoder. Raises ModelError."""
        ...

    def by_name(self, name: str) -> LoadedNet:
        """A model by its name. Raises ModelError."""
        ...

    def for_stage(self, stage: str) -> LoadedNet:
        """The model that serves a stage such as "parsing". Raises ModelError."""
        ...

    def picture(self, file: str) -> Pixels:
        """A still, [H, W, 4] in the working space, premultiplied; alpha is 1 where it has none.
        Raises PlateError, ColorError."""
        ...

    def reference(self, picture: str) -> Frame:
        """A picture that something is taken from, with its most prominent face alone. Raises
        JobError without a face, PlateError, ModelError, ColorError."""
        ...


class Effect(Protocol):
    """A named function of a frame. One object serves one job; calling it has no memory."""

    name: ClassVar[str]
    settings_type: ClassVar[type[Settings]]
    needs_faces: ClassVar[bool]
    """Whether the shot is tracked first, so that frames come with their faces."""

    @classmethod
    def load(cls, settings: Sequence[Settings], models: Models, device: torch.device) -> Self:
        """An effect ready for every one of `settings` (a job's values at all its keys)."""
        ...

    @classmethod
    def likenesses(cls, settings: Settings) -> tuple[str, ...]:
        """Whose likeness these settings would write, by whose consent: ids of personas, and
        files of reference pictures (`persona.is_picture` tells them apart)."""
        ...

    def prepare(self, frames: Iterable[Frame]) -> Prepared:
        """What needs the whole shot. Frames come in order; most effects return {}."""
        ...

    def __call__(self, frame: Frame, settings: Settings, prepared: Prepared) -> EffectResult:
        """One frame. `settings` hold this frame's keyframed values."""
        ...


def select(matte: Pixels, inside: NDArray[Any], plate: NDArray[Any]) -> NDArray[Any]:
    """`inside` where the matte is above 0, else the plate: by selection, so bits stay.

    matte [H, W]; the others [H, W] or [H, W, C] of one type.
    """
    chosen = matte > 0
    return np.where(chosen[..., None] if plate.ndim == 3 else chosen, inside, plate)
