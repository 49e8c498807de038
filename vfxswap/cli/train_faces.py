"""Commands that train what tracking looks with, and measure it: train parsing, train identity,
bench faces."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vfxswap.cli import run
from vfxswap.cli.options import given_settings, settings_command
from vfxswap.cli.progress import Dialect, steps

HELP: dict[Literal["parsing", "identity"], str] = {
    "parsing": "Train the network that tells the parts of a face.",
    "identity": "Train the network that tells performers apart.",
}


def command(which: Literal["parsing", "identity"], command_line: str) -> Callable[..., None]:
    """The function behind `train parsing` and `train identity`; cards state `command_line`."""
    from vfxswap.train.identity import IdentityTraining
    from vfxswap.train.parsing import ParsingTraining

    types: dict[str, type[IdentityTraining] | type[ParsingTraining]] = {
        "identity": IdentityTraining,
        "parsing": ParsingTraining,
    }
    settings_type = types[which]

    def train(
        *,
        out: Annotated[
            Path | None, typer.Option("--out", help="Folder of the model; models/NAME-synthetic.")
        ] = None,
        work: Annotated[
            Path, typer.Option("--work", help="Folder for pictures and checkpoints.")
        ] = Path("training/faces"),
        shards: Annotated[int, typer.Option(min=1, help="Picture files to train on.")] = 32,
        varied: Annotated[
            int, typer.Option(min=0, help="Files of wider pictures besides; identity alone.")
        ] = 0,
        start: Annotated[
            str, typer.Option(help="Identity model to go on from; empty starts afresh.")
        ] = "",
        processes: Annotated[int, typer.Option(min=1, help="Processes that render pictures.")] = 2,
        device: Annotated[str, typer.Option(help="cpu, cuda[:n] or mps.")] = "cpu",
        progress: run.ProgressOption = Dialect.AUTO,
        **settings: Any,
    ) -> None:
        from vfxswap.settings import validated
        from vfxswap.synth import face_recipe

        training = validated(settings_type, given_settings(settings_type, settings))
        with run.cancelled_by_signals() as cancel, steps(progress) as tell:
            model = face_recipe.run(
                which,
                out=out or Path(f"models/{which}-synthetic"),
                work=work,
                settings=training,
                command=command_line,
                shards=shards,
                varied=varied,
                start=start,
                processes=processes,
                device=device,
                progress=tell,
                stop=cancel.is_set,
            )
        typer.echo(f"{model.folder}: {model.card.name}, weights {model.card.weights_sha256[:12]}")

    return settings_command(train, settings_type)


class Part(StrEnum):
    """Values of `--only`."""

    ACCURACY = "accuracy"
    DETECTION = "detection"
    STEADINESS = "steadiness"
    COST = "cost"


def bench(
    work: Annotated[
        Path, typer.Option("--work", help="Folder for rendered faces and shots.")
    ] = Path("training/bench-faces"),
    landmarks: Annotated[str, typer.Option(help="Landmark model by name.")] = "landmarks-synthetic",
    comb: Annotated[
        str, typer.Option(help="Comb whose time stands beside the others'.")
    ] = "comb-starter",
    only: Annotated[
        list[Part] | None, typer.Option(help="Measure this alone; may be repeated.")
    ] = None,
    shards: Annotated[
        int, typer.Option(min=1, help="Files of 240 rendered faces of each kind.")
    ] = 2,
    faces: Annotated[int, typer.Option(min=1, help="Faces to detect in each condition.")] = 24,
    frames: Annotated[int, typer.Option(min=12, help="Frames of the shots.")] = 48,
    heads: Annotated[
        int, typer.Option(min=0, help="Heads by Cycles, in $VFXSWAP_BPY_PYTHON; 0 for none.")
    ] = 0,
    assets: Annotated[
        Path | None, typer.Option(help="MakeHuman hair, brows, teeth … for these heads.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Rows as JSON, for programs.")] = False,
    progress: run.ProgressOption = Dialect.AUTO,
) -> None:
    """Measure landmarks, detection, parsing, identity and tracks against rendered truth."""
    import torch

    from vfxswap import bench_faces, bench_tracks
    from vfxswap.bench import print_bench
    from vfxswap.synth.cycles import Cycles

    chosen = set(only or Part)
    models = bench_faces.FaceModels.load(landmarks, device=torch.device("cpu"))
    cycles = None
    if heads:
        cycles = Cycles(samples=24, truth_samples=16, assets=str(assets) if assets else "")
    rows = []
    with steps(progress) as speak:
        tell = _quiet if json else speak
        if Part.ACCURACY in chosen:
            rows += bench_faces.accuracy_rows(
                models, work, shards=shards, cycles=cycles, heads=heads, progress=tell
            )
        if Part.DETECTION in chosen:
            rows += bench_faces.detection_rows(models.landmarks, each=faces, progress=tell)
        if Part.STEADINESS in chosen:
            rows += bench_tracks.still_rows(
                models.landmarks, work, model=landmarks, frames=frames, progress=tell
            )
            rows += bench_tracks.moving_rows(work, model=landmarks, frames=frames, progress=tell)
        if Part.COST in chosen:
            rows += bench_faces.cost_rows(models, comb, runs=5, device=torch.device("cpu"))
    if json:
        typer.echo(json_module.dumps(rows, indent=2))
    else:
        print_bench(rows)


def _quiet(what: str, done: int, total: int) -> None:
    """Progress would mix with JSON on stdout."""
