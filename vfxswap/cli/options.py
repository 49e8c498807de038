"""Command-line options from settings models, so that a parameter exists once."""

from __future__ import annotations

import inspect
import types
import typing
from typing import Annotated, Any

import typer


def option(field: str, info: Any) -> inspect.Parameter:
    """A setting as an option. Unset options stay None, so that a job holds what was stated."""
    kind = _kind(info.annotation)
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    unit = f" [{extra['unit']}]" if "unit" in extra else ""
    limits = {}
    if kind in (int, float):
        for constraint in info.metadata:
            low = getattr(constraint, "ge", getattr(constraint, "gt", None))
            high = getattr(constraint, "le", getattr(constraint, "lt", None))
            limits.update({k: v for k, v in (("min", low), ("max", high)) if v is not None})
    name = field.replace("_", "-")
    names = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
    default = info.get_default(call_default_factory=True)
    stated_default = f"  [default: {default}]" if default not in ("", None, {}, ()) else ""
    stated = typer.Option(
        names,
        help=f"{info.description}{unit}{stated_default}",
        show_default=False,
        rich_help_panel="Settings",
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
