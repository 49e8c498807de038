"""Settings of the persona swap; they load no network, so that help and knobs come quickly."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from vfxswap.settings import Settings

MAX_CROP = 2048


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
    blend_bands: int = Field(
        default=0,
        ge=0,
        le=11,
        description="Levels of the blend pyramid; 0 takes all that the crop has.",
    )
    crop_size: int = Field(
        default=0,
        ge=0,
        le=MAX_CROP,
        description="Side of the aligned crop in which the blend is done; 0 fits the plate.",
        json_schema_extra={"unit": "px"},
    )
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
    occluders: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="How much of what comes before the face (hands, glasses) stays in front.",
    )
    hair: float = Field(
        default=1.0, ge=0, le=1, description="How much of the hair over the face stays in front."
    )
    min_score: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Faces that the detector is less sure of are left alone.",
    )

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
