"""How face sets are cut, and what faces must be to stay in one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vfxswap.settings import Settings

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class FaceFilters(Settings):
    """What faces must be to stay in a set. Changed filters read no plate again."""

    min_score: Share = Field(
        default=0.3, description="Faces that the tracker is less sure of are left out."
    )
    max_broken: Share = Field(
        default=0.001, description="Largest share of the crop's pixels that are inf or nan."
    )
    max_outside: Share = Field(
        default=0.02, description="Largest share of the face beyond the picture's edge."
    )
    min_resolution: float = Field(
        default=0.5, ge=0, le=4, description="Least plate pixels for a pixel of the crop."
    )
    max_occlusion: Share = Field(
        default=0.12, description="Largest share of the face that something covers, glasses aside."
    )
    max_blur: float = Field(
        default=0.6,
        ge=0,
        description="Largest blur: its standard deviation in percent of the crop's width.",
    )
    min_likeness: float = Field(
        default=0.4,
        ge=-1,
        le=1,
        description="Least cosine between a face (over a second) and the persona's middle.",
    )
    duplicate_distance: float = Field(
        default=1.0,
        ge=0,
        description="Faces nearer than this are one: 4 degrees of pose, a slight change of "
        "expression or of light each count 1. 0 keeps all.",
    )


class FaceSetSettings(FaceFilters):
    """How a face set is cut and what stays in it."""

    crop_size: int = Field(
        default=256,
        ge=64,
        le=1024,
        multiple_of=8,
        description="Side of the aligned crop; what trains on the set may use any smaller one.",
        json_schema_extra={"unit": "px"},
    )

    @property
    def filters(self) -> FaceFilters:
        return FaceFilters(**{n: getattr(self, n) for n in FaceFilters.model_fields})
