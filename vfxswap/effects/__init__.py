"""Effects by name: what they do, their settings, and the effects themselves.

The tables are filled on first use: the effects' networks load torch, which takes seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfxswap.effects.base import Effect
    from vfxswap.persona import Use
    from vfxswap.settings import Settings

HELP = {
    "swap": "Swap a persona onto the faces of a shot.",
    "style": "Redraw a shot in a style, or in a blend of styles.",
    "mosaic": "Rebuild a shot from patches of a theme.",
    "guided": "Change glasses, lenses and light by named numbers.",
    "features": "Move features of a face towards those of a reference picture.",
}
"""What each effect does."""

PICTURE_USES: dict[str, Use] = {"features": "feature_reference", "guided": "prescription"}
"""What an effect does with a person on a picture, which consent must allow."""

SETTINGS: dict[str, type[Settings]]
"""What an artist may set, by effect."""

EFFECTS: dict[str, type[Effect]]
"""The effects, by name."""


def __getattr__(name: str) -> object:
    if name == "SETTINGS":
        from vfxswap.effects.features_settings import FeaturesSettings
        from vfxswap.effects.guided_settings import GuidedSettings
        from vfxswap.effects.mosaic_settings import MosaicSettings
        from vfxswap.effects.style_settings import StylePassSettings
        from vfxswap.effects.swap_settings import SwapSettings

        settings = {
            "swap": SwapSettings,
            "style": StylePassSettings,
            "mosaic": MosaicSettings,
            "guided": GuidedSettings,
            "features": FeaturesSettings,
        }
        return globals().setdefault(name, settings)
    if name == "EFFECTS":
        from vfxswap.effects.features import Features
        from vfxswap.effects.guided import Guided
        from vfxswap.effects.mosaic import Mosaic
        from vfxswap.effects.style import StylePass
        from vfxswap.effects.swap import Swap

        effects = {
            "swap": Swap,
            "style": StylePass,
            "mosaic": Mosaic,
            "guided": Guided,
            "features": Features,
        }
        return globals().setdefault(name, effects)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
