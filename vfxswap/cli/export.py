"""`vfxswap export`: networks in the form of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfxswap.errors import JobError, ModelError


def add_commands(app: typer.Typer) -> None:
    """Adds export."""
    export = typer.Typer(help="Give networks to other programs.", no_args_is_help=True)
    export.callback()(lambda: None)
    export.command("nuke-style")(_nuke_style)
    app.add_typer(export, name="export")


def _nuke_style(
    model: Annotated[str, typer.Argument(help="A model of styles.", show_default=False)],
    style: Annotated[
        list[str],
        typer.Option(
            "--style", help="Style; may be repeated for a blend.", metavar="NAME[=WEIGHT]"
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="TorchScript to write.", metavar="FILE.pt")
    ],
    half: Annotated[bool, typer.Option("--half", help="Weights of 16 bits.")] = False,
) -> None:
    """Write a style as TorchScript for CatFileCreator.

    The network alone, one picture in and one out. plugins/nuke/cat/make_cat.py makes the .cat
    file; not run in a Nuke.
    """
    from vfxswap.io.weights import find_model, load_net
    from vfxswap.nets.nuke_style import write_script
    from vfxswap.nets.style import StyleNet
    from vfxswap.settings import nearest

    weights = _weights(style)
    stored = find_model(model)
    net = load_net(stored.card, stored.folder, device="cpu")
    if not isinstance(net, StyleNet):
        raise ModelError("not a model of styles", got=model)
    for name in weights:
        if name not in net.styles:
            raise JobError(
                f"model {model} has no such style", got=name, wanted=nearest(name, net.styles)
            )
    try:
        write_script(output, net, weights, half=half)
    except ValueError as error:
        raise JobError(str(error)) from None
    typer.echo(f"{output}: {' '.join(style)} of {model}")


def _weights(stated: list[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text in stated:
        name, equals, weight = text.partition("=")
        try:
            weights[name] = weights.get(name, 0.0) + (float(weight) if equals else 1.0)
        except ValueError:
            raise JobError("not a weight", got=text, wanted="NAME=0.5") from None
    return weights
