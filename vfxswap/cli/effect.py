"""One command an effect: its options are generated from the effect's settings model."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vfxswap.cli import guided, run
from vfxswap.cli.options import option
from vfxswap.effects import HELP
from vfxswap.errors import JobError

_PERSONAS = "personas"
_SHEET = "styles"
"""Option that asks for a contact sheet instead of frames."""


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
    from vfxswap.settings import numbers_by_name

    settings_type = SETTINGS[name]
    # A setting named as a shared option (frames) is reached by --set and in jobs alone.
    options = {
        field: option(field, info)
        for field, info in settings_type.model_fields.items()
        if field not in run.SHARED
    }
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

    by_name = [f for f, i in settings_type.model_fields.items() if numbers_by_name(i.annotation)]
    for field in by_name:
        options[field] = _weights_option(field, settings_type.model_fields[field].description or "")
    extra = [_sheet_option()] if name == "style" else []
    extra += guided.options() if name == "guided" else []

    def command(**given: Any) -> None:
        settings = {field: given.pop(field) for field in options if field in given}
        if name == "guided" and guided.handled(settings, given):
            return
        for field in by_name:
            settings[field] = _weights(field, settings[field]) if settings[field] else None
        if wanted := given.pop(_SHEET, None):
            _write_sheet(wanted, settings, given)
            return
        if _PERSONAS in given:
            settings.update(_personas(given.pop(_PERSONAS) or []))
        stated = {field: value for field, value in settings.items() if value is not None}
        run.effect(name, stated, **given)

    shared = [p for p in inspect.signature(run.effect).parameters.values() if p.name in run.SHARED]
    hints = typing.get_type_hints(run.effect, include_extras=True)
    shared = [p.replace(annotation=hints[p.name]) for p in shared]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for p in (*shared, *options.values(), *extra)
        ]
    )
    return command


def _weights_option(field: str, description: str) -> inspect.Parameter:
    stated = typer.Option(
        f"--{field.replace('_', '-')}",
        help=f"{description} May be repeated.",
        metavar="NAME[=WEIGHT]",
        show_default=False,
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(
        field, kind, default=None, annotation=Annotated[list[str] | None, stated]
    )


def _weights(field: str, given: list[str]) -> dict[str, float]:
    """`A=0.7` and `B` as numbers by name."""
    weights: dict[str, float] = {}
    for text in given:
        name, equals, number = text.partition("=")
        try:
            weights[name] = float(number) if equals else 1.0
        except ValueError:
            raise JobError(f"weight of {field} {name} is no number", got=number) from None
    return weights


def _sheet_option() -> inspect.Parameter:
    stated = typer.Option(
        f"--{_SHEET}",
        help="Write a contact sheet (-o sheet.png) of the first frame in these styles, or in all.",
        metavar="all|NAME,NAME",
        show_default=False,
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(_SHEET, kind, default=None, annotation=Annotated[str | None, stated])


def _write_sheet(styles: str, settings: dict[str, Any], given: dict[str, Any]) -> None:
    from vfxswap.effects.style_settings import STARTER
    from vfxswap.job import Job
    from vfxswap.settings import validated
    from vfxswap.sheet import style_sheet

    out = Path(given["output"])
    data = {
        "plate": {"pattern": given["plate"], "color_space": given["color_space"],
                  "part": given["part"], "layer": given["layer"]},
        "frames": given["frames"],
        "views": run.words(given["views"]),
        "color": {"config": given["ocio"], "working": given["working_space"]},
        "output": {"pattern": str(out.with_suffix(".#.exr"))},
    }  # fmt: skip
    job = validated(Job, data).resolved(Path.cwd())
    model = settings.get("model") or STARTER
    names = style_sheet(job, out, styles=styles, model=model, device=given["device"])
    typer.echo(f"{out}: {len(names)} styles")


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
