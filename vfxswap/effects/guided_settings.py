"""Settings of the guided change; they load no network, so that help and knobs come quickly.

Each characteristic (`vfxswap.characteristics`) is a setting of its own, so that hosts give it a
slider with its range and jobs keyframe it by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, create_model, model_validator
from pydantic.config import JsonDict

from vfxswap.characteristics import CHARACTERISTICS, Characteristic, towards
from vfxswap.errors import JobError
from vfxswap.settings import Settings

STARTER = "guided-synthetic"
TRIPLES = {"position": ("x", "y", "z"), "color": ("red", "green", "blue")}
"""What `--set light1.position=0.8,0.5,1` stands for."""

_PX: JsonDict = {"unit": "px"}


class GuidedPlacement(Settings):
    """What an artist sets beside the characteristics. Pixels are plate pixels."""

    amount: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Degree of the whole change, from plate (0) to all (1).",
    )
    area: Literal["whole", "left", "right", "box"] = Field(
        default="whole",
        description="Where: the whole crop around a face, its left or right half as seen on the "
        "plate, or a box. Instead of it, the matte of role area.",
    )
    box_x_px: float = Field(default=0.0, description="Left edge of the box.", json_schema_extra=_PX)
    box_y_px: float = Field(default=0.0, description="Top of the box.", json_schema_extra=_PX)
    box_width_px: float = Field(
        default=0.0, ge=0, description="Width of the box.", json_schema_extra=_PX
    )
    box_height_px: float = Field(
        default=0.0, ge=0, description="Height of the box.", json_schema_extra=_PX
    )
    frames_shape: Literal["round", "oval", "rectangle", "trapeze", "cat_eye", "aviator"] = Field(
        default="trapeze",
        description="Frames of the built-in set; they also say where lenses are, worn or not.",
    )
    frames_pattern: Literal["plain", "tortoise", "stripes"] = Field(
        default="plain", description="What is painted on the frames in lighter and darker tones."
    )
    frames_scale: float = Field(
        default=1.0, ge=0.7, le=1.4, description="Size of the frames by that of the mean head."
    )
    frames_shadow: float = Field(
        default=0.5, ge=0, le=1, description="Shadow of the frames on the face."
    )
    face: int = Field(
        default=-1, ge=-1, description="Id of the face in the tracks; -1 changes every face."
    )
    remove_refraction: bool = Field(
        default=False,
        description="Take the refraction of worn glasses out instead of adding it.",
    )
    prescription: Literal["stated", "estimated"] = Field(
        default="stated",
        description="For remove_refraction: sphere, cylinder and axis as stated, or estimated "
        "from the shot, once for each face.",
    )
    only_glasses: bool = Field(
        default=False, description="Leave faces alone on which no glasses are found."
    )
    consent_card: str = Field(
        default="",
        description="Card (NAME.card.toml) of who is on the plate, as beside a reference picture; "
        "estimates ask for its consent.",
    )
    frames_picture: str = Field(
        default="",
        description="Picture of frames from the front, with alpha, instead of the built-in set.",
    )
    clean_plate: str = Field(
        default="",
        description="Still of the plate's size that shows what is behind the performer, for what "
        "lenses had hidden.",
    )
    light_model: Literal["surface", "network"] = Field(
        default="surface",
        description="What lights fall on: the mean head's surface, or what a network makes of the "
        "picture, cast shadows too.",
    )
    model: str = Field(
        default=STARTER, min_length=1, description="Model for light_model = network."
    )

    @model_validator(mode="after")
    def _box_agrees(self) -> Self:
        box = (self.box_x_px, self.box_y_px, self.box_width_px, self.box_height_px)
        if self.area == "box" and not (self.box_width_px and self.box_height_px):
            raise ValueError("area is box, but box_width_px or box_height_px is 0")
        if self.area != "box" and any(box):
            raise ValueError(f"a box is given, but area is {self.area}, wanted box")
        return self

    @property
    def estimates(self) -> bool:
        """Whether something of the performer is measured on the plate."""
        return self.only_glasses or (self.remove_refraction and self.prescription == "estimated")

    @property
    def values(self) -> dict[str, float]:
        """Every characteristic by name, to the degree of `amount`."""
        return towards(
            {each.name: getattr(self, each.name) for each in CHARACTERISTICS}, self.amount
        )


def _setting(each: Characteristic) -> tuple[type[float], Any]:
    unit: JsonDict | None = {"unit": each.unit} if each.unit else None
    return float, Field(
        default=each.neutral,
        ge=each.low,
        le=each.high,
        description=each.help,
        json_schema_extra=unit,
    )


_FIELDS: dict[str, Any] = {each.name: _setting(each) for each in CHARACTERISTICS}
GuidedSettings: type[GuidedPlacement] = create_model(
    "GuidedSettings",
    __base__=GuidedPlacement,
    __doc__="What an artist sets: where and how, then each characteristic.",
    **_FIELDS,
)
"""The settings of effect `guided`."""


def read_sets(given: list[str]) -> dict[str, Any]:
    """`sphere=-6`, `light1.position=0.8,0.5,1` and `frames.shape=round` as settings by field name.

    A dot stands for `_`; `position` and `color` take three numbers. Raises JobError for text that
    is no NAME=VALUE, and where numbers are wanted and not given.
    """
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        field = re.sub(r"[.\s]+", "_", name.strip())
        if not (equals and field and value.strip()):
            raise JobError("not a setting", got=text, wanted="NAME=VALUE, as in sphere=-6")
        head, _, tail = field.rpartition("_")
        parts = TRIPLES.get(tail)
        if parts is None or field in GuidedSettings.model_fields:
            values[field] = _value(field, value.strip())
            continue
        numbers = value.split(",")
        if len(numbers) != 3:
            raise JobError(f"{name} has three parts", got=value, wanted="as in 0.8,0.5,1")
        for part, number in zip(parts, numbers, strict=True):
            values[f"{head}_{part}"] = _number(name, number)
    return values


def _value(field: str, text: str) -> Any:
    info = GuidedSettings.model_fields.get(field)
    if info is None or info.annotation not in (float, int):
        return text
    return _number(field, text) if info.annotation is float else text


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise JobError(f"{name} is no number", got=text.strip()) from None


def tinted(values: Mapping[str, float]) -> bool:
    """Whether the lenses are tinted."""
    whole = ("tint_red", "tint_green", "tint_blue")
    return values["tint_density"] > 0 or any(values[name] < 1 for name in whole)
