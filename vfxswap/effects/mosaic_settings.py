"""Settings of the generative mosaic; they load no network, so that help and knobs come quickly."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from vfxswap.settings import Settings

MOST_PATCHES = 20_000
_THEME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

Layout = Literal["random", "grid", "overlapping", "adaptive"]
Shape = Literal["rectangle", "ellipse", "hexagon", "soft", "picture"]
Order = Literal["random", "luminance", "size", "back"]
Motion = Literal["fixed", "drift", "vectors", "flow", "tracks", "redraw"]


class Patch(Settings):
    """One patch of a list: plate pixels, centres at +0.5; x right, y down."""

    id: int = Field(ge=0, description="Names the patch; unique in its list.")
    x: float = Field(description="Centre.", json_schema_extra={"unit": "px"})
    y: float = Field(description="Centre.", json_schema_extra={"unit": "px"})
    width: float = Field(gt=0, description="Before it is turned.", json_schema_extra={"unit": "px"})
    height: float = Field(
        gt=0, description="Before it is turned.", json_schema_extra={"unit": "px"}
    )
    angle_deg: float = Field(default=0.0, description="Turned clockwise on screen.")
    theme: str = Field(default="", description="Its theme; empty goes by theme_by.")


class MosaicSettings(Settings):
    """What an artist sets. Pixels are plate pixels."""

    themes: str = Field(
        default="flowers",
        min_length=1,
        description="Theme, or several with weights: flowers, gems=0.5 (see vfxswap models list).",
    )
    theme_by: Literal["weights", "matte", "luminance"] = Field(
        default="weights",
        description="How a patch gets its theme: drawn by weights, or from dark to bright of the "
        "theme matte or of the plate, in shares of the weights.",
    )
    amount: float = Field(default=1.0, ge=0, le=1, description="Mix from plate (0) to mosaic (1).")
    layout: Layout = Field(
        default="random",
        description="Where patches lie: random, grid, overlapping, or adaptive (smaller where "
        "there is detail).",
    )
    size_min_px: float = Field(
        default=40.0,
        gt=0,
        le=8192,
        description="Smallest patch.",
        json_schema_extra={"unit": "px"},
    )
    size_max_px: float = Field(
        default=96.0,
        gt=0,
        le=8192,
        description="Largest patch; every patch of a grid.",
        json_schema_extra={"unit": "px"},
    )
    aspect_min: float = Field(
        default=1.0, ge=0.1, le=10, description="Least width by height of a patch, on screen."
    )
    aspect_max: float = Field(
        default=1.0, ge=0.1, le=10, description="Greatest width by height of a patch, on screen."
    )
    rotation_deg: float = Field(
        default=0.0,
        ge=0,
        le=180,
        description="Patches are turned at random, at most so far either way.",
        json_schema_extra={"unit": "deg"},
    )
    coverage: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of the plate that random patches cover at least.",
    )
    count: int = Field(
        default=0,
        ge=0,
        le=MOST_PATCHES,
        description="Number of random patches; 0 takes as many as the coverage needs.",
    )
    overlap: float = Field(
        default=0.4,
        ge=0,
        le=0.9,
        description="How far overlapping patches lie over their neighbours.",
    )
    detail: float = Field(
        default=0.5, ge=0, le=1, description="How readily adaptive patches get smaller."
    )
    area: Literal["all", "faces"] = Field(
        default="all",
        description="Where: the whole plate or faces alone; within the area matte, if given.",
    )
    area_grow_px: float = Field(
        default=0.0,
        ge=-500,
        le=500,
        description="Grows the area of faces, or shrinks it below 0.",
        json_schema_extra={"unit": "px"},
    )
    shape: Shape = Field(
        default="rectangle",
        description="Outline of a patch; picture takes it from the shape matte, stretched.",
    )
    edge_px: float = Field(
        default=2.0,
        ge=0,
        le=500,
        description="Patches fade over so many pixels inside their edge.",
        json_schema_extra={"unit": "px"},
    )
    order: Order = Field(
        default="random",
        description="What is pasted first: at random, dark, large, or what is far back (by the "
        "depth matte, bright is near; without one by height in the frame).",
    )
    variety: float = Field(
        default=1.0,
        ge=0,
        le=2,
        description="How much patches of even areas differ; 0 makes equal areas equal.",
    )
    color_match: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Mean colour of a patch: 1 the plate's, 0 the theme's own.",
    )
    contrast_match: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Contrast of a patch: 1 the plate's, 0 the theme's own.",
    )
    light_match: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Light and dark within a patch, by quarters of its side: 1 the plate's, 0 the "
        "theme's own. More shows the picture, less the theme.",
    )
    highlights: float = Field(
        default=1.0, ge=0, le=1, description="Share of the plate's highlights put back on patches."
    )
    feedback: int = Field(
        default=0, ge=0, le=8, description="How often patches go through a theme again."
    )
    feedback_theme: str = Field(
        default="", description="Theme of those further passes; empty takes the patch's own."
    )
    work_scale: float = Field(
        default=1.0,
        ge=0.125,
        le=4,
        description="Resolution of the mosaic by that of the plate; above 1 it is supersampled.",
    )
    motion: Motion = Field(
        default="fixed",
        description="Patches over time: fixed, drift, vectors (drift by the drift mattes), flow "
        "(stick to what moves), tracks (stick to faces), or redraw.",
    )
    drift_x_px: float = Field(
        default=2.0,
        ge=-500,
        le=500,
        description="Drift to the right a frame; by vectors, where matte drift_x is white.",
        json_schema_extra={"unit": "px"},
    )
    drift_y_px: float = Field(
        default=0.0,
        ge=-500,
        le=500,
        description="Drift downwards a frame; by vectors, where matte drift_y is white.",
        json_schema_extra={"unit": "px"},
    )
    drift_spread: float = Field(
        default=0.0, ge=0, le=1, description="How much patches differ in drift."
    )
    redraw_every: int = Field(
        default=1, ge=1, le=10_000, description="Frames for which a redrawn set stays."
    )
    stereo: bool = Field(
        default=True, description="Further views get the first one's patches, moved by disparity."
    )
    disparity_px: float = Field(
        default=0.0,
        ge=-2000,
        le=2000,
        description="Shift to the right that 1 in the disparity matte means; without that matte "
        "disparity is estimated.",
        json_schema_extra={"unit": "px"},
    )
    layout_seed: int = Field(
        default=0, ge=0, lt=2**31, description="Another number gives other patches."
    )
    patches: tuple[Patch, ...] = Field(
        default=(),
        max_length=MOST_PATCHES,
        description="Patch list, or its JSON text, as prepared data hold it (`patches`); empty "
        "lays patches out.",
    )

    @field_validator("patches", mode="before")
    @classmethod
    def _patches_read(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        try:
            return json.loads(given) if given.strip() else ()
        except ValueError as error:
            raise ValueError(f"patch list is no valid JSON: {error}") from None

    @field_validator("themes")
    @classmethod
    def _themes_read(cls, text: str) -> str:
        weighted(text)
        return text

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        ranges = (("size_min_px", "size_max_px"), ("aspect_min", "aspect_max"))
        for low, high in ranges if self.layout != "grid" else ():  # whose patches are all alike
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low} {getattr(self, low)} is above {high} {getattr(self, high)}"
                )
        ids = [patch.id for patch in self.patches]
        if len(set(ids)) < len(ids):
            raise ValueError("ids of patches are not unique")
        return self

    @property
    def theme_weights(self) -> dict[str, float]:
        """Weight of each theme, in the order named; at least one is above 0."""
        return weighted(self.themes)

    def all_themes(self) -> tuple[str, ...]:
        """Every theme that may be asked for, once."""
        further = [self.feedback_theme] if self.feedback else []
        named = [*self.theme_weights, *further, *(p.theme for p in self.patches)]
        return tuple(dict.fromkeys(name for name in named if name))


def weighted(text: str) -> dict[str, float]:
    """`flowers, gems=0.5` as weights by name. Raises ValueError with one sentence."""
    weights: dict[str, float] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, equals, number = (part.strip() for part in word.partition("="))
        try:
            weight = float(number) if equals else 1.0
        except ValueError:
            raise ValueError(f"weight of theme {name} is {number!r}, wanted a number") from None
        if not _THEME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a theme")
        if name in weights:
            raise ValueError(f"theme {name} is named twice")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight of theme {name} is {number}, wanted 0 or more")
        weights[name] = weight
    if not sum(weights.values()) > 0:
        raise ValueError("no theme has a weight above 0")
    return weights
