"""Settings of the style pass; they load no network, so that help and knobs come quickly."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from vfxswap.settings import Settings

STARTER = "style-starter"
AREAS = ("style_a", "style_b", "style_c")
"""Settings that name a style for an input matte of the same name."""


def read_blend(value: Any) -> Any:
    """`ink_wash` and `ink_wash=0.7 neon=0.3` (blanks or commas between) as weights by name; other
    values as they are. Raises ValueError for a weight that is no number."""
    if not isinstance(value, str):
        return value
    blend: dict[str, float] = {}
    for word in value.replace(",", " ").split():
        name, equals, weight = word.partition("=")
        try:
            blend[name] = float(weight) if equals else 1.0
        except ValueError:
            raise ValueError(f"weight of {name} is {weight!r}, wanted a number") from None
    return blend


Blend = Annotated[dict[str, float], BeforeValidator(read_blend)]


class StylePassSettings(Settings):
    """What an artist sets. Pixels are plate pixels."""

    style: Blend = Field(
        default_factory=dict,
        description="Weight by style, as in ink_wash=0.7 neon=0.3; a name alone is all of it. "
        "Weights count relative to their sum.",
    )
    model: str = Field(default=STARTER, min_length=1, description="Model that has the styles.")
    style_a: str = Field(default="", description="Style where matte style_a is.")
    style_b: str = Field(default="", description="Style where matte style_b is.")
    style_c: str = Field(default="", description="Style where matte style_c is.")
    strength: float = Field(default=1.0, ge=0, le=1, description="Mix from plate (0) to style (1).")
    keep_color: float = Field(
        default=0.0, ge=0, le=1, description="Share of the plate's colour under the style's light."
    )
    stroke_scale: float = Field(
        default=1.0,
        ge=0.5,
        le=16,
        description="Size of strokes: the style is made at 1/stroke_scale of the plate's size.",
    )
    highlights: float = Field(
        default=1.0, ge=0, le=1, description="Share of the plate's highlights that is kept."
    )

    @model_validator(mode="after")
    def _weights_count(self) -> Self:
        for name, weight in self.style.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"style {name} has weight {weight}, wanted 0 or more")
        if self.style and not any(self.style.values()):
            raise ValueError("the weights of all styles are 0, wanted one above 0")
        return self

    @property
    def styles(self) -> tuple[str, ...]:
        """Every style that is named, once."""
        areas = (self.style_a, self.style_b, self.style_c)
        return tuple(dict.fromkeys([*self.style, *(name for name in areas if name)]))
