"""`vfxswap bench features`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from vfxswap.cli import run
from vfxswap.cli.progress import Dialect, steps


def bench(
    model: Annotated[
        str, typer.Option("--model", help="Model of features; else the starter.")
    ] = "",
    work: Annotated[
        Path, typer.Option("--work", help="Folder for rendered pictures, which are kept.")
    ] = Path("training/bench-features"),
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of performers.")] = 24,
    gallery: Annotated[int, typer.Option(min=40, help="Performers to search among.")] = 520,
    seed: Annotated[int, typer.Option(min=0, help="Of performers; never the training's.")] = 0,
    temperature: Annotated[float, typer.Option(min=1e-3, help="As for the effect.")] = 0.1,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Sheet of feature × amount.", metavar="PNG")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="As JSON, with hardware and settings.")
    ] = False,
    progress: run.ProgressOption = Dialect.AUTO,
) -> None:
    """Measure feature transfer and retrieval against rendered truth, on the CPU."""
    from vfxswap import bench_features
    from vfxswap.effects.features_settings import STARTER
    from vfxswap.retrieval.sheets import check_sheet
    from vfxswap.synth.feature_gallery import GallerySettings, PairSettings

    if sheet is not None:
        check_sheet(sheet)
    with run.cancelled_by_signals() as cancel, steps(progress) as tell:
        report = bench_features.run(
            model or STARTER,
            work=work,
            pair_settings=PairSettings(pairs=pairs, seed=seed),
            gallery_settings=GallerySettings(count=gallery, seed=seed),
            temperature=temperature,
            sheet=sheet,
            progress=_quiet if json else tell,
            stop=cancel.is_set,
        )
    if json:
        typer.echo(json_module.dumps(report, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    for title, columns, rows in bench_features.table(report):
        shown = Table(*columns, title=title)
        for row in rows:
            shown.add_row(*row)
        Console(width=150).print(shown)


def _quiet(what: str, done: int, total: int) -> None:
    """Progress would mix with JSON on stdout."""
