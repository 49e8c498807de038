"""Settings of the persona swap; they load no network, so that help and knobs come quickly."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from vfxswap.effects.aligned_settings import BlendBands, CropSize, MinScore, Occluders
from vfxswap.settings import Settings


class SwapSettings(Settings):
    """What an artist sets. Pixels are plate pixels."""

    persona: str = Field(
        default="", description="Persona for every face that is not named in faces."
    )
    faces: dict[str, str] = Field(
        default_factory=dict,
        description="Persona by face id, as in the tracks; an empty name leaves that face alone.",
    )
    performer: str = Field(
        default="",
        description="Persona of the performer on the plate, where the comb has it: the ratio of "
        "their skin colours is then known.",
    )
    amount: float = Field(default=1.0, ge=0, le=1, description="Mix from plate (0) to swap (1).")
    color_match: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="1 keeps the mean colour of the face on the plate, 0 gives the persona's own "
        "(its hue alone where the performer is not named).",
    )
    plate_levels: int = Field(
        default=2,
        ge=0,
        le=6,
        description="Coarsest blend levels that come from the plate: its light and colour.",
    )
    blend_bands: BlendBands = 0
    crop_size: CropSize = 0
    matte_grow_px: float = Field(
        default=0.0,
        ge=-500,
        le=500,
        description="Grows the face matte, or shrinks it below 0.",
        json_schema_extra={"unit": "px"},
    )
    matte_feather_px: float = Field(
        default=0.0,
        ge=0,
        le=500,
        description="Softens the matte inwards; the outline never spreads.",
        json_schema_extra={"unit": "px"},
    )
    matte_black: float = Field(default=0.0, ge=0, le=1, description="Matte value that becomes 0.")
    matte_white: float = Field(default=1.0, ge=0, le=1, description="Matte value that becomes 1.")
    highlights: float = Field(
        default=1.0, ge=0, le=1, description="Share of the plate's highlights put back on the face."
    )
    grain: float = Field(
        default=1.0, ge=0, le=2, description="Share of the plate's grain put back on the face."
    )
    occluders: Occluders = 1.0
    hair: float = Field(
        default=1.0, ge=0, le=1, description="How much of the hair over the face stays in front."
    )
    min_score: MinScore = 0.0

    @model_validator(mode="after")
    def _black_below_white(self) -> Self:
        if not self.matte_black < self.matte_white:
            raise ValueError(
                f"matte_black {self.matte_black} is not below matte_white {self.matte_white}"
            )
        return self

    def persona_of(self, face_id: int) -> str:
        """The persona for a face; "" for none."""
        return self.faces.get(str(face_id), self.persona)
