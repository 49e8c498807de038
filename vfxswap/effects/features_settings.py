"""Settings of feature transfer; they load no network, so that help and knobs come quickly."""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, model_validator

from vfxswap.effects.aligned_settings import BlendBands, CropSize, MinScore, Occluders
from vfxswap.effects.style_settings import Blend
from vfxswap.settings import Settings

STARTER = "features-synthetic"
POSE = "pose"
"""A feature of every model, by a rule of its own."""
MOST_AMOUNT = 3.0


class FeaturesSettings(Settings):
    """What an artist sets. Pixels are plate pixels."""

    feature: Blend = Field(
        default_factory=dict,
        description="Amount by feature, as in nose=0.8 mouth=1.2: 0 is the plate's, 1 the "
        "reference's, beyond 1 past it and below 0 away from it; a name alone is 1.",
    )
    reference: str = Field(
        default="",
        description="Picture with the face that features are taken from; its card lies beside it, "
        "as ref.card.toml beside ref.exr.",
    )
    model: str = Field(default=STARTER, min_length=1, description="Model that knows the features.")
    faces: str = Field(
        default="",
        pattern=r"^\s*(\d+\s*(,\s*\d+\s*)*)?$",
        description="Ids of the faces to change, as in the tracks and with commas between; empty "
        "is all.",
    )
    amount: float = Field(
        default=1.0, ge=0, le=1, description="Mix from plate (0) to the changed face (1)."
    )
    temperature: float = Field(
        default=0.1,
        gt=0,
        le=10,
        description="Low leaves to a feature only the channels that are mostly its own; high lets "
        "it move those that it shares.",
    )
    steady: bool = Field(
        default=True, description="Smooth the plate's coefficients over the shot, without delay."
    )
    refine_steps: int = Field(
        default=0,
        ge=0,
        le=200,
        description="Steps of an optimiser that bring each face's coefficients nearer to it; slow.",
    )
    plate_levels: int = Field(
        default=0,
        ge=0,
        le=6,
        description="Coarsest blend levels that stay the plate's: its light and colour.",
    )
    blend_bands: BlendBands = 0
    crop_size: CropSize = 0
    matte_grow_px: float = Field(
        default=0.0,
        ge=-500,
        le=500,
        description="Grows the feature's matte, or shrinks it below 0.",
        json_schema_extra={"unit": "px"},
    )
    matte_feather_px: float = Field(
        default=0.0,
        ge=0,
        le=500,
        description="Softens the matte inwards.",
        json_schema_extra={"unit": "px"},
    )
    occluders: Occluders = 1.0
    hair: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="How much of the hair over other features stays in front.",
    )
    min_score: MinScore = 0.0

    @model_validator(mode="after")
    def _amounts_in_range(self) -> Self:
        for name, amount in self.feature.items():
            if not (math.isfinite(amount) and abs(amount) <= MOST_AMOUNT):
                raise ValueError(
                    f"feature {name} has amount {amount}, wanted -{MOST_AMOUNT:g} to "
                    f"{MOST_AMOUNT:g}"
                )
        return self

    @property
    def amounts(self) -> dict[str, float]:
        """The features that change anything, with their amounts."""
        return {name: amount for name, amount in self.feature.items() if amount}

    def chooses(self, face_id: int) -> bool:
        """Whether a face is to be changed."""
        ids = {int(word) for word in self.faces.split(",") if word.strip()}
        return not ids or face_id in ids
