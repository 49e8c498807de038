"""Command-line options from settings models, so that a parameter exists once."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

if typing.TYPE_CHECKING:
    from vfxswap.settings import Settings


def settings_command(
    function: Callable[..., None], settings_type: type[Settings]
) -> Callable[..., None]:
    """`function` with an option for each field in place of its `**settings`."""
    hints = typing.get_type_hints(function, include_extras=True)
    shared = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    fields = [option(name, info) for name, info in settings_type.model_fields.items()]

    def command(**given: Any) -> None:
        function(**given)

    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature([*shared, *fields])  # type: ignore[attr-defined]
    return command


def given_settings(settings_type: type[Settings], options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were stated; comma-separated words for fields that hold several."""
    stated = {}
    for name, value in options.items():
        if value is not None:
            several = _holds_several(settings_type.model_fields[name].annotation)
            stated[name] = value.split(",") if several else value
    return stated


def option(field: str, info: Any) -> inspect.Parameter:
    """A setting as an option. Unset options stay None, so that a job holds what was stated."""
    kind = _kind(info.annotation)
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    notes = [f"[{extra['unit']}]"] if "unit" in extra else []
    limits = {}
    if kind in (int, float):
        for constraint in info.metadata:
            low, high = getattr(constraint, "ge", None), getattr(constraint, "le", None)
            limits.update({k: v for k, v in (("min", low), ("max", high)) if v is not None})
    if choices := _choices(info.annotation):
        notes.append(f"[{', '.join(choices)}]")
    default = info.get_default(call_default_factory=True)
    if default not in ("", None, {}, ()):
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        notes.append(f"[default: {shown}]")
    name = field.replace("_", "-")
    stated = typer.Option(
        f"--{name}/--no-{name}" if kind is bool else f"--{name}",
        help=" ".join([info.description or "", *notes]),
        show_default=False,
        **limits,
    )
    return inspect.Parameter(
        field,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, stated],
    )


def _kind(annotation: Any) -> type:
    """bool, int, float or str: how an option of this annotation is written."""
    if annotation in (bool, int, float):
        return typing.cast(type, annotation)
    arms = [a for a in typing.get_args(annotation) if a is not types.NoneType]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType) and len(arms) == 1:
        return _kind(arms[0])
    return str


def _choices(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [str(choice) for choice in typing.get_args(annotation)]
    return []


def _holds_several(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple
