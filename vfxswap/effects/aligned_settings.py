"""Settings that the effects in an aligned crop share, each as a type with its range and words.

Types and not a base class: every effect keeps its own order of knobs and its own defaults.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MAX_CROP = 2048

BlendBands = Annotated[
    int,
    Field(ge=0, le=11, description="Levels of the blend pyramid; 0 takes all that the crop has."),
]
CropSize = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_CROP,
        description="Side of the aligned crop in which the blend is done; 0 fits the plate.",
        json_schema_extra={"unit": "px"},
    ),
]
Occluders = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="How much of what comes before the face (hands, glasses) stays in front.",
    ),
]
MinScore = Annotated[
    float,
    Field(ge=0, le=1, description="Faces that the detector is less sure of are left alone."),
]
