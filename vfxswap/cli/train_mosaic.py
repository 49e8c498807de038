"""Commands of the mosaic beside its effect: train mosaic, bench mosaic."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from vfxswap.cli import run
from vfxswap.cli.progress import Dialect, steps


def train(command_line: Callable[[], str]) -> Callable[..., None]:
    """The function behind `train mosaic`; cards state `command_line`."""

    def train_mosaic(
        recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a .toml file.")],
        out: Annotated[Path, typer.Option("--out", help="Folder of models: one a theme.")] = Path(
            "models"
        ),
        work: Annotated[
            Path | None, typer.Option("--work", help="What can be resumed; else training/NAME.")
        ] = None,
        device: Annotated[str, typer.Option(help="cpu, cuda[:n] or mps.")] = "cpu",
        progress: run.ProgressOption = Dialect.AUTO,
    ) -> None:
        """Train mosaic themes by a recipe.

        A recipe that names a trained encoder keeps it frozen and adds themes to it. Stopped runs
        go on where they were. Ctrl-C stops after the step in hand.
        """
        with run.cancelled_by_signals() as cancel:
            from vfxswap.train import mosaic_recipe

            folder = work or Path("training") / Path(recipe).stem
            with steps(progress) as tell:
                models = mosaic_recipe.run(
                    recipe,
                    out=out,
                    work=folder,
                    command=command_line(),
                    device=device,
                    progress=tell,
                    stop=cancel.is_set,
                )
        for model in models:
            weights = model.card.weights_sha256[:12]
            typer.echo(f"{model.folder}: {model.card.name}, weights {weights}")

    return train_mosaic


def bench(
    patches: Annotated[int, typer.Option(min=1, help="Patches on a frame of 1920×1080.")] = 2000,
    json: Annotated[bool, typer.Option("--json", help="Rows as JSON, for programs.")] = False,
    device: run.Device = "auto",
) -> None:
    """Measure the mosaic: sampling, network, assembly."""
    from vfxswap.bench import print_bench
    from vfxswap.bench_mosaic import mosaic_rows
    from vfxswap.render.device import pick_device

    rows = mosaic_rows(count=patches, device=pick_device(device))
    if json:
        typer.echo(json_module.dumps(rows, indent=2))
    else:
        print_bench(rows)
