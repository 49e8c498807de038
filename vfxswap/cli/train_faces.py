"""Commands that train what tracking looks with: train parsing, train identity."""

from __future__ import annotations

from collections.abc import Callable
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
                processes=processes,
                device=device,
                progress=tell,
                stop=cancel.is_set,
            )
        typer.echo(f"{model.folder}: {model.card.name}, weights {model.card.weights_sha256[:12]}")

    return settings_command(train, settings_type)
