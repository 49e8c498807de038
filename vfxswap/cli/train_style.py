"""Commands on style networks: train style, train classifier, bench style."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vfxswap.cli import run
from vfxswap.cli.options import given_settings, settings_command
from vfxswap.cli.progress import Dialect, steps

TrainDevice = Annotated[str, typer.Option(help="cpu, cuda[:n] or mps.")]
_STYLE_HELP = """Train a style network by a recipe, or add a style to one.

    With --add the γ and β of one style are learnt from pictures, and nothing else changes:
    vfxswap train style --add a.png b.png --name charcoal --out models/my-styles.
    Stopped runs go on where they were. Ctrl-C stops after the step in hand.
    """


def add_commands(train: typer.Typer, *, chosen: tuple[str, ...], command_line: str) -> None:
    """Adds style and classifier; only the chosen one gets its generated options."""
    for name, make, text in (
        ("style", _style_command, _STYLE_HELP),
        ("classifier", _classifier_command, "Train the classifier that judges styles."),
    ):
        picked = chosen[:2] == ("train", name)
        train.command(name, help=text)(make(command_line) if picked else _unchosen)


def _unchosen() -> None:
    raise AssertionError("a command without its options was run")


def _style_command(command_line: str) -> Callable[..., None]:
    from vfxswap.train.style import StyleTraining

    def style(
        *,
        inputs: Annotated[
            list[str] | None,
            typer.Argument(
                help="Name of a shipped recipe, or a .toml file; with --add further pictures.",
                metavar="[RECIPE]",
                show_default=False,
            ),
        ] = None,
        add: Annotated[
            list[Path] | None, typer.Option("--add", help="Picture of a style to add.")
        ] = None,
        name: Annotated[str, typer.Option("--name", help="Name of the added style.")] = "",
        model: Annotated[
            str, typer.Option("--model", help="Model that gets the style.")
        ] = "style-starter",
        classifier: Annotated[
            str, typer.Option("--classifier", help="Model that judges an added style.")
        ] = "style-classifier",
        contents: Annotated[
            int, typer.Option(min=1, help="Pictures to train an added style on.")
        ] = 240,
        contents_px: Annotated[int, typer.Option(min=32, help="Their side.")] = 256,
        contents_folder: Annotated[
            str, typer.Option(help="Folder of pictures to take instead of made ones.")
        ] = "",
        out: Annotated[
            Path | None, typer.Option("--out", help="Folder of the model; else models/NAME.")
        ] = None,
        work: Annotated[
            Path | None, typer.Option("--work", help="What can be resumed; else training/NAME.")
        ] = None,
        device: TrainDevice = "cpu",
        progress: run.ProgressOption = Dialect.AUTO,
        **settings: Any,
    ) -> None:
        from vfxswap.errors import JobError
        from vfxswap.settings import validated
        from vfxswap.synth import style_recipe
        from vfxswap.train.style_add import ADDED_RATE

        words = inputs or []
        stated = given_settings(StyleTraining, settings)
        with run.cancelled_by_signals() as cancel, steps(progress) as tell:
            if add:
                if not name or out is None:
                    raise JobError("an added style needs --name and --out")
                stored = style_recipe.add(
                    [*add, *map(Path, words)],
                    name,
                    model=model,
                    training=validated(StyleTraining, {"rate": ADDED_RATE, **stated}),
                    out=out,
                    work=work or Path("training") / out.name,
                    classifier=classifier,
                    contents={
                        "contents": contents,
                        "contents_px": contents_px,
                        "contents_folder": contents_folder,
                    },
                    command=command_line,
                    device=device,
                    progress=tell,
                    stop=cancel.is_set,
                )
            else:
                if len(words) != 1:
                    raise JobError("no recipe is named", wanted="style-starter, or a .toml file")
                if stated:
                    raise JobError(
                        "settings of a recipe stand in its file", got=", ".join(sorted(stated))
                    )
                recipe, _ = style_recipe.load_recipe(words[0])
                stored = style_recipe.run(
                    words[0],
                    out=out or Path("models") / recipe.name,
                    work=work or Path("training") / recipe.name,
                    device=device,
                    progress=tell,
                    stop=cancel.is_set,
                )
        typer.echo(
            f"{stored.folder}: {stored.card.name}, weights {stored.card.weights_sha256[:12]}"
        )

    return settings_command(style, StyleTraining)


def _classifier_command(command_line: str) -> Callable[..., None]:
    from vfxswap.train.classifier import ClassifierTraining

    def classifier(
        *,
        out: Annotated[Path, typer.Option("--out", help="Folder of the model.")] = Path(
            "models/style-classifier"
        ),
        work: Annotated[Path, typer.Option("--work", help="Folder for checkpoints.")] = Path(
            "training/style-classifier"
        ),
        per_class: Annotated[int, typer.Option(min=6, help="Pictures of each class.")] = 36,
        device: TrainDevice = "cpu",
        progress: run.ProgressOption = Dialect.AUTO,
        **settings: Any,
    ) -> None:
        from vfxswap.settings import validated
        from vfxswap.synth import style_recipe

        training = validated(ClassifierTraining, given_settings(ClassifierTraining, settings))
        with run.cancelled_by_signals() as cancel, steps(progress) as tell:
            stored = style_recipe.train_classifier(
                training,
                per_class=per_class,
                out=out,
                work=work,
                command=command_line,
                device=device,
                progress=tell,
                stop=cancel.is_set,
            )
        typer.echo(
            f"{stored.folder}: {stored.card.name}, weights {stored.card.weights_sha256[:12]}"
        )

    return settings_command(classifier, ClassifierTraining)


def bench(
    model: Annotated[str, typer.Option("--model", help="A model of styles.")] = "style-starter",
    sizes: Annotated[
        str, typer.Option(help="Plates, as in 1920x1080,4096x2160.", metavar="WxH,WxH")
    ] = "1920x1080,4096x2160",
    runs: Annotated[int, typer.Option(min=1, help="Runs of each, by turns.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Rows as JSON, for programs.")] = False,
    device: run.Device = "auto",
) -> None:
    """Time a style network beside a plain one of the same layout, in one run."""
    from vfxswap.bench import print_bench
    from vfxswap.bench_style import style_rows
    from vfxswap.render.device import pick_device

    rows = style_rows(model, sizes=sizes, runs=runs, device=pick_device(device))
    if json:
        typer.echo(json_module.dumps(rows, indent=2))
    else:
        print_bench(rows)
