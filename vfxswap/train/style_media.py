"""The drawn media by name, and the starter's styles: a medium in a palette of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vfxswap.image import Pixels
from vfxswap.train import style_marks as marks
from vfxswap.train import style_paints as paints
from vfxswap.train import style_prints as prints
from vfxswap.train.style_marks import Fields

Medium = Callable[[Pixels, Fields], Pixels]
Ramp = tuple[tuple[float, float, float], ...]

MEDIA: dict[str, Medium] = {
    "hatching": prints.hatching,
    "engraving": prints.engraving,
    "woodcut": prints.woodcut,
    "linocut": prints.linocut,
    "stipple": prints.stipple,
    "blueprint": prints.blueprint,
    "halftone": prints.halftone,
    "chalk": prints.chalk,
    "neon": prints.neon,
    "ink_wash": prints.ink_wash,
    "impasto": paints.impasto,
    "pointillism": paints.pointillism,
    "watercolour": paints.watercolour,
    "stained_glass": paints.stained_glass,
    "mosaic_tiles": paints.mosaic_tiles,
    "facets": paints.facets,
    "embroidery": paints.embroidery,
    "marbling": paints.marbling,
    "pastel": paints.pastel,
}
"""Each takes a display-referred picture [H, W, 3] in 0…1 with the screens of its place, and gives
it made in the medium. Lines, dots and tiles are 7 px and more apart: a style network at half of the
picture's size cannot draw finer ones."""


@dataclass(frozen=True)
class Palette:
    """Colours by tone, dark first, and how much of the picture's own colour stays."""

    ramp: Ramp
    keep: float = 0.3

    def on(self, picture: Pixels) -> Pixels:
        """The picture in these colours."""
        mapped = marks.palette_map(marks.tone(picture), list(self.ramp))
        return marks.clipped(self.keep * picture + (1 - self.keep) * mapped)


NIGHT = Palette(((0.04, 0.06, 0.22), (0.08, 0.24, 0.55), (0.20, 0.52, 0.66), (0.93, 0.77, 0.25),
                 (0.99, 0.95, 0.72)), 0.18)  # fmt: skip
"""Deep blues under yellow lights."""
MEADOW = Palette(((0.16, 0.12, 0.34), (0.18, 0.36, 0.42), (0.40, 0.60, 0.28), (0.93, 0.78, 0.42),
                  (0.98, 0.92, 0.84)), 0.25)  # fmt: skip
"""Violet shadows, greens, warm lights."""
CHAPEL = Palette(((0.10, 0.03, 0.22), (0.06, 0.18, 0.62), (0.75, 0.06, 0.14), (0.98, 0.62, 0.08),
                  (0.96, 0.94, 0.62)), 0.15)  # fmt: skip
"""Ruby, cobalt and gold."""
BATH = Palette(((0.05, 0.14, 0.20), (0.05, 0.38, 0.44), (0.30, 0.62, 0.58), (0.90, 0.72, 0.36),
                (0.96, 0.92, 0.80)), 0.15)  # fmt: skip
"""Sea greens with gold leaf."""
GARDEN = Palette(((0.16, 0.06, 0.20), (0.55, 0.10, 0.34), (0.22, 0.46, 0.30), (0.92, 0.55, 0.42),
                  (0.97, 0.90, 0.72)), 0.25)  # fmt: skip
"""Plum, leaf and coral."""
SHORE = Palette(((0.14, 0.20, 0.40), (0.26, 0.46, 0.66), (0.52, 0.72, 0.76), (0.94, 0.76, 0.70),
                 (0.99, 0.97, 0.93)), 0.22)  # fmt: skip
"""Washed blues and a rosy light."""
DUSK = Palette(((0.20, 0.10, 0.34), (0.46, 0.28, 0.60), (0.82, 0.48, 0.62), (0.98, 0.74, 0.54),
                (0.98, 0.94, 0.80)), 0.25)  # fmt: skip
"""Lilac and peach."""

POSTER = Palette(((0.06, 0.10, 0.36), (0.80, 0.12, 0.30), (0.98, 0.56, 0.16), (0.99, 0.88, 0.40),
                  (0.99, 0.97, 0.90)), 0.2)  # fmt: skip
"""Navy, crimson and yellow."""

PALETTES = {
    "halftone": POSTER,
    "impasto": NIGHT,
    "pointillism": MEADOW,
    "stained_glass": CHAPEL,
    "mosaic_tiles": BATH,
    "embroidery": GARDEN,
    "watercolour": SHORE,
    "pastel": DUSK,
}
"""Styles whose colours are their own; the others take the medium's inks."""


def drawn(style: str, picture: Pixels, *, origin: tuple[int, int] = (0, 0)) -> Pixels:
    """A picture in a style: its palette, then its medium, with the screens from `origin` (x, y) on.

    Display-referred [H, W, 3] in 0…1.
    """
    palette = PALETTES.get(style)
    coloured = picture if palette is None else palette.on(picture)
    fields = marks.fields_of(picture.shape[0], picture.shape[1], origin)
    return marks.clipped(MEDIA[style](coloured, fields))
