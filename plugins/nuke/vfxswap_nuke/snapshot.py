"""A node as it is at one moment: taken on Nuke's main thread, worked on by any other."""

from __future__ import annotations

from typing import Mapping, Union

from vfxswap_nuke.layout import Layout

Scalar = Union[bool, int, float, str]


ENTRY = "__"
"""Between a setting and the name of a number that it holds, in the name of that number's knob."""


class KnobState:
    """A knob's value, and for an animated one its value on every frame."""

    def __init__(self, value: Scalar, samples: Mapping[int, Scalar] | None = None) -> None:
        self.value = value
        self.samples = dict(samples) if samples is not None else None


class NodeState:
    """What decides the pixels of a render, beside the pictures themselves."""

    def __init__(
        self,
        name: str,
        effect: str,
        *,
        layout: Layout,
        frames: range,
        views: list[str],
        knobs: dict[str, KnobState],
        proxy: int = 1,
        space: str = "",
        config: str = "",
        show: str = "",
        seed: int = 0,
        roles: list[str] | None = None,
        pictures: list[str] | None = None,
    ) -> None:
        self.name = name
        """Full name in the script, as in `Group1.VfxSwap1`."""
        self.effect = effect
        self.layout = layout
        self.frames = frames
        self.views = views
        """One empty name where views have no files of their own."""
        self.knobs = knobs
        """By name of the setting; of an entry as in `style__ink_wash`."""
        self.proxy = proxy
        self.space = space
        """Colour space of the files between Nuke and the engine."""
        self.config = config
        """OCIO config file, empty for what the environment names."""
        self.show = show
        self.seed = seed
        self.roles = roles or []
        """Matte roles whose inputs are connected."""
        self.pictures = pictures or []
        """Settings whose pictures are given by inputs that are connected."""
