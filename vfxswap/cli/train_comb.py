"""Commands of combs beside their effect: train comb, train --status, bench swap, bench train."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vfxswap.cli import run
from vfxswap.cli.progress import Dialect, steps

if TYPE_CHECKING:
    from vfxswap.io.weights import StoredModel
    from vfxswap.train.parallel import Ranks

Processes = Annotated[int, typer.Option(min=1, help="Processes that render pictures.")]


def status(
    context: typer.Context,
    status: Annotated[
        Path | None,
        typer.Option("--status", help="Folder of a run: how it stands, running or not."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The status for programs.")] = False,
) -> None:
    """Train models on synthetic performers or footage."""
    if status is None:
        if context.invoked_subcommand is None:
            raise typer.BadParameter("name what to train, or --status RUN")
        return
    from vfxswap.train.run_status import run_status

    found = run_status(status)
    typer.echo(json_module.dumps(found.as_json()) if json else "\n".join(found.lines()))
    raise typer.Exit


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a .toml file.")],
    show: run.Show = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the model; else models/NAME.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option("--work", help="What can be resumed; else training/NAME.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what each level takes: memory and time.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The plan for programs.")] = False,
    processes: Processes = 2,
    device: Annotated[str, typer.Option(help="cpu, cuda[:n] or mps.")] = "cpu",
    progress: run.ProgressOption = Dialect.AUTO,
) -> None:
    """Train a comb by a recipe.

    A recipe with takes renders synthetic performers and measures the comb against truth; one
    of footage asks for consent to train for the show first. Either writes the model with its
    card. Stopped runs go on where they were. Ctrl-C stops after the step in hand.
    `torchrun --nproc-per-node N -m vfxswap train comb …` shares every batch among N devices.
    """
    if plan:
        _plan(recipe, device, json=json)
        return
    with run.cancelled_by_signals() as cancel:
        from vfxswap.train.parallel import joined

        with joined(device) as (ranks, place), steps(progress) as tell:
            model = _trained(
                recipe,
                out=out,
                work=work,
                show=show,
                processes=processes,
                device=place,
                ranks=ranks,
                tell=tell if ranks.first else _quiet,
                stop=cancel.is_set,
            )
    if ranks.first:
        typer.echo(f"{model.folder}: {model.card.name}, weights {model.card.weights_sha256[:12]}")


def _trained(
    recipe: str,
    *,
    out: Path | None,
    work: Path | None,
    show: str,
    processes: int,
    device: str,
    ranks: Ranks,
    tell: Callable[[str, int, int], None],
    stop: Callable[[], bool],
) -> StoredModel:
    from vfxswap.synth import comb_recipe
    from vfxswap.train import footage

    file = Path(recipe)
    if _of_footage(file):
        name = footage.load_recipe(file).name
        return footage.run(
            file,
            out=out or Path("models") / name,
            work=work or Path("training") / name,
            show=show,
            device=device,
            ranks=ranks,
            progress=tell,
            stop=stop,
        )
    name = comb_recipe.load_recipe(recipe).name
    return comb_recipe.run(
        recipe,
        out=out or Path("models") / name,
        work=work or Path("training") / name,
        processes=processes,
        device=device,
        ranks=ranks,
        progress=tell,
        stop=stop,
    )


def _plan(recipe: str, device: str, *, json: bool) -> None:
    from vfxswap.synth import comb_recipe
    from vfxswap.train import comb_plan, footage

    file = Path(recipe)
    settings: comb_recipe.CombRecipe | footage.FootageRecipe
    settings = footage.load_recipe(file) if _of_footage(file) else comb_recipe.load_recipe(recipe)
    levels = comb_plan.plan(settings.training, tuple(settings.personas), device=device)
    if json:
        typer.echo(json_module.dumps([level.as_json() for level in levels], indent=2))
    else:
        typer.echo("\n".join(comb_plan.lines(levels)))


def bench_swap(
    model: Annotated[str, typer.Option("--model", help="A comb of synthetic personas.")],
    work: Annotated[
        Path, typer.Option("--work", help="Folder for pictures, report and sheets.")
    ] = Path("training/bench"),
    frames: Annotated[int, typer.Option(min=1, help="Takes to swap.")] = 210,
    expression_frames: Annotated[
        int, typer.Option(min=2, help="Frames that differ in expression alone.")
    ] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of the takes; not the training's.")] = 900,
    json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    processes: Processes = 2,
    progress: run.ProgressOption = Dialect.AUTO,
) -> None:
    """Measure a comb against rendered truth.

    Swaps of held-out takes, expression alone, flicker of a shot, whose face it is; two sheets.
    """
    from vfxswap.cli.making import command_line
    from vfxswap.synth.comb_bench import bench_swap, metrics

    with steps(progress) as tell:
        result = bench_swap(
            model,
            work=work,
            frames=frames,
            expression_frames=expression_frames,
            seed=seed,
            processes=processes,
            progress=_quiet if json else tell,
        )
    found = metrics(result, command_line())
    if json:
        values = {name: metric.model_dump(mode="json") for name, metric in found.items()}
        typer.echo(json_module.dumps(values, indent=2))
        return
    typer.echo("\n".join(result.table()))
    for name, metric in found.items():
        typer.echo(f"{name:<26} {metric.value:>9.4g} {metric.unit:<3} {metric.note}")
    typer.echo(f"report.json, sheet.png and expressions.png lie in {work}")


def bench_train(
    levels: Annotated[str, typer.Option(help="Levels to measure.")] = "4,5,6",
    width: Annotated[float, typer.Option(help="Share of the published channels.")] = 0.25,
    batch: Annotated[int, typer.Option(min=1, help="Crops a step.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Iterations of each, in turns.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Rows as JSON, for programs.")] = False,
    device: run.Device = "auto",
) -> None:
    """Measure training beside an eager float32 loop of the same network."""
    from vfxswap.bench import print_bench
    from vfxswap.bench_train import bench_train
    from vfxswap.render.device import pick_device

    try:
        chosen = tuple(int(level) for level in levels.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"levels {levels!r}, wanted numbers with commas") from error
    rows = bench_train(
        levels=chosen, width=width, batch=batch, repeats=repeats, device=str(pick_device(device))
    )
    if json:
        typer.echo(json_module.dumps(rows, indent=2))
    else:
        print_bench(rows)


def _quiet(what: str, done: int, total: int) -> None:
    """Progress would mix with JSON on stdout, or be told once a process."""


def _of_footage(recipe: Path) -> bool:
    """Whether a recipe is of footage; what cannot be read is left to its reader to complain of."""
    import tomllib

    if recipe.suffix != ".toml":
        return False
    try:
        return "takes" not in tomllib.loads(recipe.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
