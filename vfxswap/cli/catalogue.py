"""Commands that tell what is there: models, describe, doctor."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from vfxswap.cli import train_features

AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


def add_commands(app: typer.Typer) -> None:
    """Adds models, describe and doctor."""
    models = typer.Typer(help="Models and their cards.", no_args_is_help=True)
    models.command("list")(_list)
    models.command("show")(_show)
    models.command("import-landmarks")(_import_landmarks)
    models.command("import-vgg")(_import_vgg)
    models.command("rename-feature")(train_features.rename)
    models.command("fit-retrieval")(train_features.fit_retrieval)
    app.add_typer(models, name="models")
    app.command("describe")(_describe)
    app.command("doctor")(_doctor)


def _list(json: AsJson = False) -> None:
    """List the models that are installed."""
    from vfxswap.errors import ModelError
    from vfxswap.io.weights import CHOICES, list_models

    broken: list[ModelError] = []
    rows = [model.row() for model in list_models(broken=broken)]
    if json:
        typer.echo(json_module.dumps(rows, indent=2))
    else:
        for line in _table([_cells(row, CHOICES) for row in rows]):
            typer.echo(line)
    if broken:
        for error in broken:
            typer.echo(f"vfxswap: {error}", err=True)
        raise typer.Exit(broken[0].exit_code)


def _cells(row: dict[str, Any], choices: tuple[str, ...]) -> list[str]:
    """What `models list` says of a model, the names that it offers last."""
    kind = "synthetic" if row["synthetic"] else "consented" if row["personas"] else "pictures"
    offered: list[str] = next((row[name] for name in ("personas", *choices) if row[name]), [])
    return [row["name"], row["effect"], row["licence"], kind, row["sha256"][:12],
            ", ".join(offered) or "-"]  # fmt: skip


def _table(rows: list[list[str]]) -> list[str]:
    """Lines with every column but the last as wide as its widest cell."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows]


def _import_landmarks(
    file: Annotated[Path, typer.Argument(help="ONNX file.", metavar="ONNX", show_default=False)],
    settings: Annotated[
        Path,
        typer.Option(
            help="TOML: input_px, share, space, order, scale, mean, std, unit, points … as "
            "vfxswap.nets.onnx_landmarks documents them."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the model; its name.")],
    licence: Annotated[str, typer.Option(help="SPDX identifier of the weights' licence.")],
    training_data: Annotated[str, typer.Option(help="What it was trained on.")],
    training_licence: Annotated[str, typer.Option(help="Licence of what it was trained on.")],
) -> None:
    """Make a model of somebody else's landmark network, for track --landmarks NAME."""
    import tomllib

    from vfxswap.errors import JobError
    from vfxswap.io.landmark_import import import_landmarks

    try:
        stated = tomllib.loads(settings.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise JobError(f"settings cannot be read: {error}", file=settings) from None
    model = import_landmarks(
        file,
        out,
        settings=stated,
        licence=licence,
        training_data=training_data,
        training_licence=training_licence,
    )
    typer.echo(f"{model.folder}: {model.card.name}, weights {model.card.weights_sha256[:12]}")


def _show(
    name: Annotated[str, typer.Argument(help="Name of a model, or its folder.")],
    json: AsJson = False,
) -> None:
    """Show a model's card, and check its weights against it."""
    from vfxswap.io.weights import find_model, load_tensors

    model = find_model(name)
    load_tensors(model.folder, model.card)
    card = model.card.model_dump(mode="json")
    if json:
        typer.echo(json_module.dumps({**card, "folder": str(model.folder)}, indent=2))
        return
    typer.echo(f"{model.folder}: card and weights are whole")
    _print_card(card)


def _print_card(card: dict[str, Any], indent: str = "") -> None:
    for key, value in card.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            typer.echo(f"{indent}{key}:")
            _print_card(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            typer.echo(f"{indent}{key}:")
            for row in value:
                _print_card(row, indent + "  ")
                typer.echo("")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            typer.echo(f"{indent}{key}: {shown}")


def _import_vgg(
    weights: Annotated[
        Path, typer.Argument(help="VGG-16 or VGG-19: .safetensors, or a PyTorch zip file (.pth).")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the model.")],
    licence: Annotated[str, typer.Option("--licence", help="Licence of the weights, as SPDX.")],
) -> None:
    """Make a classifier for style trainings from VGG weights of your own.

    Nothing in the file is run: only names, shapes and numbers are read. Files of PyTorch before
    1.6 cannot be read so and are refused.
    """
    from vfxswap.train.vgg import convert

    stored = convert(
        weights, out, licence=licence, command=f"vfxswap models import-vgg {weights.name}"
    )
    typer.echo(f"{stored.folder}: {stored.card.description}")


def _describe(
    effect: Annotated[str | None, typer.Argument(help="Only this effect.")] = None,
    json: AsJson = False,
) -> None:
    """Describe effects and settings.

    Hosts generate their knobs from it.
    """
    from vfxswap.effects.describe import description

    content = description(effect or "")
    if json:
        typer.echo(json_module.dumps(content, indent=2))
        return
    for row in content["effects"]:
        typer.echo(f"{row['name']}: {row['help']}")
        for setting in row["settings"]:
            unit = f" [{setting['unit']}]" if "unit" in setting else ""
            default = setting.get("default", "required")
            typer.echo(f"  {setting['name']} = {default!r}{unit}: {setting['help']}")


def _doctor(json: AsJson = False) -> None:
    """Say what is there, and what to do about the rest.

    Versions, device, models with their hashes, colour config, folders.
    """
    from vfxswap.doctor import examine

    report = examine()
    if json:
        typer.echo(json_module.dumps(report.as_json(), indent=2))
    else:
        for finding in report.findings:
            typer.echo(finding.line())
    raise typer.Exit(report.exit_code)
