"""One command an effect: its options are generated from the effect's settings model."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

from vfxswap.cli import run
from vfxswap.cli.options import option
from vfxswap.effects import HELP
from vfxswap.errors import JobError

_PERSONAS = "personas"


def add_commands(app: typer.Typer, *, chosen: str) -> None:
    """A command for each effect; only the `chosen` one gets its options."""
    for name, text in HELP.items():
        command = _command(name) if name == chosen else _unchosen
        app.command(name, help=text)(command)


def _unchosen() -> None:
    raise AssertionError("a command without its options was run")


def _command(name: str) -> Callable[..., None]:
    """The function behind a command: plate and run options, then one for every setting."""
    from vfxswap.effects import SETTINGS

    settings_type = SETTINGS[name]
    options = {field: option(field, info) for field, info in settings_type.model_fields.items()}
    if {"persona", "faces"} <= options.keys():
        del options["faces"]
        options["persona"] = inspect.Parameter(
            _PERSONAS,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                list[str] | None,
                typer.Option(
                    "--persona",
                    help="Persona for every face, or for one face of the tracks as 2=basalt "
                    "(0= leaves face 0 alone); may be repeated.",
                    metavar="[FACE=]NAME",
                ),
            ],
        )

    def command(**given: Any) -> None:
        settings = {field: given.pop(field) for field in options if field in given}
        if _PERSONAS in given:
            settings.update(_personas(given.pop(_PERSONAS) or []))
        stated = {field: value for field, value in settings.items() if value is not None}
        run.effect(name, stated, **given)

    shared = [p for p in inspect.signature(run.effect).parameters.values() if p.name in run.SHARED]
    hints = typing.get_type_hints(run.effect, include_extras=True)
    shared = [p.replace(annotation=hints[p.name]) for p in shared]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*shared, *options.values())]
    )
    return command


def _personas(given: list[str]) -> dict[str, Any]:
    """`basalt` and `2=amber` as the settings `persona` and `faces`."""
    faces: dict[str, str] = {}
    whole = ""
    if not given:
        raise JobError("no persona is named", wanted="--persona NAME (see vfxswap models list)")
    for text in given:
        face, equals, name = text.rpartition("=")
        if not equals:
            if whole:
                raise JobError(
                    "two personas for every face", got=f"{whole} and {text}", wanted="2=amber"
                )
            whole = name
        elif not face.isdigit():
            raise JobError("not a face and its persona", got=text, wanted="2=amber")
        else:
            faces[str(int(face))] = name
    return {"persona": whole or None, "faces": faces or None}
