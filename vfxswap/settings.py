"""Typed settings: one documented model a thing; unknown keys raise; written and read as JSON.

Command line, host knobs and documents are generated from these models. In a job a number or a
switch may be keyframed: `{"keys": {"1001": 0.0, "1050": 1.0}, "interpolation": "smooth"}`; so may
each entry of a setting that holds numbers by name.
"""

from __future__ import annotations

import bisect
import difflib
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from vfxswap.errors import JobError, VfxSwapError

Interpolation = Literal["linear", "smooth", "step"]
"""Between two keys: straight, with level ends (3t² - 2t³), or holding the earlier key."""


class Settings(BaseModel):
    """Base of every settings model. Every field has a description, a default where one makes
    sense, and its range as pydantic constraints; `json_schema_extra={"unit": "px"}` names a unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


S = TypeVar("S", bound=Settings)
E = TypeVar("E", bound=VfxSwapError)


def describe(settings: type[Settings]) -> list[dict[str, Any]]:
    """The fields of a settings model for generators: name, type, default, range, unit, help, and
    whether a job may keyframe it, or (`keyframed_entries`) the numbers that it holds by name."""
    schema = settings.model_json_schema()
    rows = []
    for name, field in schema.get("properties", {}).items():
        row = {"name": name, **{k: v for k, v in field.items() if k != "title"}}
        row["help"] = row.pop("description", "")
        row["keyframes"] = _scalar(settings.model_fields[name].annotation) is not None
        if numbers_by_name(settings.model_fields[name].annotation):
            row["keyframed_entries"] = True
        rows.append(row)
    return rows


class Keyframes(Settings):
    """A value over frames: exact at its keys, between them never outside the values of the two
    neighbours, held before the first and after the last."""

    keys: dict[int, StrictBool | float] = Field(min_length=1, description="Frame number → value.")
    interpolation: Interpolation = Field(
        default="linear", description="linear, smooth (level at each key) or step."
    )

    @model_validator(mode="after")
    def _finite(self) -> Self:
        for frame, value in self.keys.items():
            if not math.isfinite(value):
                raise ValueError(f"key {frame} is {value}, wanted a finite number")
        return self

    def at(self, frame: int) -> bool | float:
        """The value on a frame. Switches (true, false) hold their earlier key."""
        frames = sorted(self.keys)
        after = bisect.bisect_right(frames, frame)
        if after == 0:
            return self.keys[frames[0]]
        before = frames[after - 1]
        low = self.keys[before]
        if after == len(frames) or self._stepped:
            return low
        high = self.keys[frames[after]]
        t = (frame - before) / (frames[after] - before)
        if self.interpolation == "smooth":
            t = t * t * (3.0 - 2.0 * t)
        value = low * (1.0 - t) + high * t
        return min(max(value, min(low, high)), max(low, high))

    @property
    def _stepped(self) -> bool:
        switch = any(isinstance(value, bool) for value in self.keys.values())
        return switch or self.interpolation == "step"


def is_keyframed(value: Any) -> bool:
    """Whether a value in a job has the form of keyframes."""
    return (
        isinstance(value, Mapping) and "keys" in value and set(value) <= {"keys", "interpolation"}
    )


def settings_at(spec: Mapping[str, Any], settings_type: type[S], frame: int) -> S:
    """The settings of one frame: plain values of `spec` as they are, keyframed ones at `frame`.

    Whole-number fields are rounded (halves up), switches hold the earlier key. Raises JobError
    that names the field, got and wanted, and the nearest name for an unknown one.
    """
    values = {name: _value_at(name, spec[name], settings_type, frame) for name in spec}
    return validated(settings_type, values)


def settings_at_keys(spec: Mapping[str, Any], settings_type: type[S]) -> tuple[S, ...]:
    """The settings at every key of `spec`, in frame order; one when nothing is keyframed.

    A field's range is an interval and values between keys stay between them, so a spec that
    passes here passes on every frame. Raises JobError as `settings_at` does.
    """
    frames = {frame for keys in keyed_frames(spec, settings_type).values() for frame in keys}
    return tuple(settings_at(spec, settings_type, frame) for frame in sorted(frames or {0}))


def keyed_frames(spec: Mapping[str, Any], settings_type: type[S]) -> dict[str, tuple[int, ...]]:
    """Frames that have keys, ascending, by setting, or by `setting.entry` where entries are keyed.

    Raises JobError as `settings_at` does.
    """
    found: dict[str, tuple[int, ...]] = {}
    for name, value in spec.items():
        if name not in settings_type.model_fields:
            continue
        if is_keyframed(value):
            found[name] = tuple(sorted(_keyframes(name, value, settings_type).keys))
        for entry, keys in _keyframed_entries(name, value, settings_type).items():
            found[f"{name}.{entry}"] = tuple(sorted(keys.keys))
    return found


def validated(
    model: type[S],
    values: Any,
    *,
    error_type: type[VfxSwapError] = JobError,
    file: str | os.PathLike[str] | None = None,
) -> S:
    """`values` (names → plain values) as a `model`; raises `error_type` with one sentence that
    names the first wrong field, got, wanted, and the nearest name for an unknown one."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _sentence(error, model, error_type, file) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """What to suggest for an unknown name: the nearest known ones, else all; for `wanted=`."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return "perhaps " + " or ".join(close)
    return "one of " + ", ".join(names) if names else "none is known"


def _value_at(name: str, value: Any, model: type[Settings], frame: int) -> Any:
    if name not in model.model_fields:
        return value
    if entries := _keyframed_entries(name, value, model):
        return {**value, **{entry: keys.at(frame) for entry, keys in entries.items()}}
    if not is_keyframed(value):
        return value
    at = _keyframes(name, value, model).at(frame)
    if _scalar(model.model_fields[name].annotation) is int:
        return math.floor(at + 0.5)
    return at


def _keyframes(name: str, value: Mapping[str, Any], model: type[Settings]) -> Keyframes:
    kind = _scalar(model.model_fields[name].annotation)
    if kind is None:
        if numbers_by_name(model.model_fields[name].annotation):
            raise JobError(f"{name} cannot be keyframed as a whole", wanted="keys for each entry")
        raise JobError(f"{name} cannot be keyframed", wanted="one value: only numbers and switches")
    return _read_keyframes(name, value, kind)


def _keyframed_entries(name: str, value: Any, model: type[Settings]) -> dict[str, Keyframes]:
    """Keyframes by entry, for a setting that holds numbers by name. Raises JobError where another
    setting's entry is keyframed."""
    if not isinstance(value, Mapping) or is_keyframed(value):
        return {}
    keyed = {entry: keys for entry, keys in value.items() if is_keyframed(keys)}
    if keyed and not numbers_by_name(model.model_fields[name].annotation):
        raise JobError(f"{name}.{next(iter(keyed))} cannot be keyframed", wanted="one value")
    return {entry: _read_keyframes(f"{name}.{entry}", keys, float) for entry, keys in keyed.items()}


def _read_keyframes(name: str, value: Mapping[str, Any], kind: type) -> Keyframes:
    try:
        keyframes = Keyframes.model_validate(value)
    except ValidationError as error:
        raise _sentence(error, Keyframes, JobError, None, inside=(name,)) from None
    for frame, key in keyframes.keys.items():
        if isinstance(key, bool) != (kind is bool):
            wanted = "true or false" if kind is bool else "a number"
            raise JobError(f"{name} at key {frame}", got=repr(key), wanted=wanted)
    return keyframes


def numbers_by_name(annotation: Any) -> bool:
    """Whether a field holds numbers by name."""
    kinds = [kind for kind in _alternatives(annotation) if kind is not types.NoneType]
    return len(kinds) == 1 and (
        typing.get_origin(kinds[0]) is dict and typing.get_args(kinds[0])[1] in (float, int)
    )


def _scalar(annotation: Any) -> type | None:
    """bool, int or float when that is what a field holds (None aside), else None."""
    kinds = [kind for kind in _alternatives(annotation) if kind is not types.NoneType]
    for scalar in (bool, int, float):
        if kinds == [scalar]:
            return scalar
    return float if set(kinds) == {int, float} else None


def _alternatives(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for arm in typing.get_args(annotation) for kind in _alternatives(arm)]
    return [annotation]


def _sentence(
    error: ValidationError,
    model: type[BaseModel],
    error_type: type[E],
    file: str | os.PathLike[str] | None,
    inside: tuple[str, ...] = (),
) -> E:
    wrong = error.errors(include_url=False, include_context=False)
    first = next((each for each in wrong if each["type"] == "extra_forbidden"), wrong[0])
    location = first["loc"]
    path = ".".join(str(part) for part in (*inside, *location)) or model.__name__
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _model_at(model, location[:-1]).model_fields
        wanted = nearest(str(location[-1]), known)
        return error_type(f"{path} is unknown{more}", wanted=wanted, file=file)
    if first["type"] == "missing":
        return error_type(f"{path} is missing{more}", file=file)
    if first["type"] == "value_error":
        return error_type(f"{path}: {first['msg'].removeprefix('Value error, ')}{more}", file=file)
    got = repr(first["input"])
    got = got if len(got) <= 80 else got[:77] + "..."
    wanted = _range(model, location) if first["type"] in _BOUNDS else ""
    wanted = wanted or first["msg"].removeprefix("Input should be ")
    return error_type(f"{path} is wrong{more}", got=got, wanted=wanted, file=file)


_BOUNDS = ("greater_than_equal", "less_than_equal")


def _range(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Least and greatest value of the field at `location` with its unit; "" without both."""
    field = _model_at(model, location[:-1]).model_fields.get(str(location[-1]))
    marks = field.metadata if field else ()
    low = next((m.ge for m in marks if getattr(m, "ge", None) is not None), None)
    high = next((m.le for m in marks if getattr(m, "le", None) is not None), None)
    if field is None or low is None or high is None:
        return ""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return f"{low:g} to {high:g} {extra.get('unit', '')}".rstrip()


def _model_at(model: type[BaseModel], location: Iterable[int | str]) -> type[BaseModel]:
    """The model that pydantic speaks of at `location` within `model`."""
    at = model
    for part in location:
        if isinstance(part, str) and part in at.model_fields:
            at = _first_model(at.model_fields[part].annotation) or at
    return at


def _first_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_first_model, typing.get_args(annotation))), None)
