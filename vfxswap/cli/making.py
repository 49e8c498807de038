"""Commands that make things: demo, synth, train, bench."""

from __future__ import annotations

import json as json_module
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vfxswap.cli import (
    bench_features,
    farm,
    run,
    train_comb,
    train_faces,
    train_features,
    train_guided,
    train_mosaic,
    train_style,
)
from vfxswap.cli.guided import bench as bench_guided
from vfxswap.cli.options import given_settings, settings_command
from vfxswap.cli.progress import Dialect, steps

Out = Annotated[Path, typer.Option("--out", help="Folder to write.", show_default=False)]
Work = Annotated[
    Path, typer.Option("--work", help="Folder for what can be resumed.", show_default=False)
]
Processes = Annotated[int, typer.Option(min=1, help="Processes that render pictures.")]
TrainDevice = Annotated[str, typer.Option(help="cpu, cuda[:n] or mps.")]


def add_commands(app: typer.Typer, *, chosen: tuple[str, ...]) -> None:
    """Adds demo, synth, train and bench; only the `chosen` command gets generated options."""
    app.command("demo")(_demo)
    bench = typer.Typer(invoke_without_command=True)
    bench.callback()(_bench)
    bench.command("swap")(train_comb.bench_swap)
    bench.command("train")(train_comb.bench_train)
    bench.command("mosaic")(train_mosaic.bench)
    bench.command("farm")(farm.bench)
    bench.command("style")(train_style.bench)
    bench.command("guided")(bench_guided)
    bench.command("features")(bench_features.bench)
    bench.command("faces")(train_faces.bench)
    app.add_typer(bench, name="bench")
    synth = _synth_command() if chosen[:1] == ("synth",) else _unchosen
    app.command("synth", help="Render a synthetic shot and its truth.")(synth)
    train = typer.Typer(
        help="Train models on synthetic performers or footage.",
        no_args_is_help=True,
        invoke_without_command=True,
    )
    train.callback()(train_comb.status)
    train.command("comb")(train_comb.train)
    landmarks = _landmarks_command() if chosen[:2] == ("train", "landmarks") else _unchosen
    train.command("landmarks", help="Train the landmark network.")(landmarks)
    for which, text in train_faces.HELP.items():
        faces = chosen[:2] == ("train", which)
        face_training = train_faces.command(which, command_line()) if faces else _unchosen
        train.command(which, help=text)(face_training)
    train_style.add_commands(train, chosen=chosen, command_line=command_line())
    for guided, text in train_guided.HELP.items():
        wanted = chosen[:2] == ("train", guided)
        train.command(guided, help=text)(
            train_guided.command(guided, command_line()) if wanted else _unchosen
        )
    train.command("mosaic")(train_mosaic.train(command_line))
    train.command("features")(train_features.train(command_line))
    app.add_typer(train, name="train")


def _unchosen() -> None:
    raise AssertionError("a command without its options was run")


def _demo(
    out: Out,
    device: run.Device = "auto",
    progress: run.ProgressOption = Dialect.AUTO,
) -> None:
    """Swap a synthetic shot and compare with truth.

    Every starter persona in turn; DIR/report.html shows the result.
    """
    from vfxswap import demo

    with steps(progress) as tell:
        result = demo.run(out, device=device, progress=tell)
    for what, seconds in result.seconds.items():
        typer.echo(f"{what}: {seconds:.1f} s")
    for persona, decibels in result.decibels.items():
        shown = ", ".join(f"{name} {value:.1f} dB" for name, value in decibels.items())
        typer.echo(f"{persona} against the truth: {shown}")
    typer.echo(f"Open {result.report}")


def _bench(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Rows as JSON, for programs.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: seconds.")] = False,
    device: run.Device = "auto",
) -> None:
    """Measure speed and accuracy on this machine."""
    if context.invoked_subcommand is not None:
        return
    from vfxswap.bench import print_bench, run_bench
    from vfxswap.render.device import pick_device

    rows = run_bench(quick=quick, device=pick_device(device))
    if json:
        typer.echo(json_module.dumps(rows, indent=2))
    else:
        print_bench(rows)


def _synth_command() -> Callable[..., None]:
    from vfxswap.synth.shot import ShotSpec

    def synth(
        *,
        output: Annotated[
            str, typer.Option("--output", "-o", help="Plate to write: shot.####.exr.")
        ],
        as_persona: Annotated[
            list[str] | None,
            typer.Option(help="Also the same shot performed by NAME; may be repeated."),
        ] = None,
        truth: Annotated[
            bool, typer.Option("--truth/--no-truth", help="Truth layers beside the plate.")
        ] = True,
        renderer: Annotated[
            str, typer.Option(help="warp, or cycles: slower, in $VFXSWAP_BPY_PYTHON.")
        ] = "warp",
        assets: Annotated[
            Path | None, typer.Option(help="MakeHuman hair, brows, teeth … for cycles.")
        ] = None,
        device: TrainDevice = "cpu",
        progress: run.ProgressOption = Dialect.AUTO,
        **settings: Any,
    ) -> None:
        from vfxswap.settings import validated
        from vfxswap.synth import command
        from vfxswap.synth.cycles import chosen_renderer

        spec = validated(ShotSpec, given_settings(ShotSpec, settings))
        with steps(progress) as tell:
            command.run(
                spec,
                output,
                as_personas=as_persona or (),
                truth=truth,
                device=device,
                cycles=chosen_renderer(renderer, assets=assets, samples=spec.samples),
                progress=lambda done, total: tell("frames", done, total),
            )

    return settings_command(synth, ShotSpec)


def _landmarks_command() -> Callable[..., None]:
    from vfxswap.train.landmarks import LandmarkTraining

    def landmarks(
        *,
        out: Annotated[Path, typer.Option("--out", help="Folder of the model.")] = Path(
            "models/landmarks"
        ),
        work: Annotated[
            Path, typer.Option("--work", help="Folder for pictures and checkpoints.")
        ] = Path("training/faces"),
        shards: Annotated[int, typer.Option(min=2, help="Picture files to train on.")] = 32,
        varied: Annotated[
            int, typer.Option(min=1, help="Files of wider pictures; half of all that is drawn.")
        ] = 15,
        start: Annotated[
            str, typer.Option(help="Landmark model to go on from; empty starts afresh.")
        ] = "",
        processes: Processes = 2,
        device: TrainDevice = "cpu",
        progress: run.ProgressOption = Dialect.AUTO,
        **settings: Any,
    ) -> None:
        from vfxswap.settings import validated
        from vfxswap.synth import landmark_recipe

        training = validated(LandmarkTraining, given_settings(LandmarkTraining, settings))
        with steps(progress) as tell:
            model = landmark_recipe.run(
                out=out,
                work=work,
                settings=training,
                command=command_line(),
                shards=shards,
                varied=varied,
                start=start,
                processes=processes,
                device=device,
                progress=tell,
            )
        typer.echo(f"{model.folder}: {model.card.name}, weights {model.card.weights_sha256[:12]}")

    return settings_command(landmarks, LandmarkTraining)


def command_line() -> str:
    """This command as a card states it."""
    return shlex.join(["vfxswap", *sys.argv[1:]])
