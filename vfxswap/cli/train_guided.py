"""Commands that train guided change: train guided, train guided-estimator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vfxswap.cli import run
from vfxswap.cli.options import given_settings, settings_command
from vfxswap.cli.progress import Dialect, steps

if TYPE_CHECKING:
    from vfxswap.synth.guided_recipe import Which

HELP: dict[Which, str] = {
    "guided": "Train the networks that add and remove lenses, lights and frames.",
    "guided-estimator": "Train the network that sees glasses and their prescription.",
}


def command(which: Which, command_line: str) -> Callable[..., None]:
    """The function behind `train guided` and `train guided-estimator`; cards state
    `command_line`."""
    from vfxswap.train.guided import GuidedTraining
    from vfxswap.train.guided_estimator import EstimatorTraining

    types: dict[Which, type[GuidedTraining] | type[EstimatorTraining]] = {
        "guided": GuidedTraining,
        "guided-estimator": EstimatorTraining,
    }
    settings_type = types[which]

    def train(
        *,
        out: Annotated[
            Path | None, typer.Option("--out", help="Folder of the model; models/NAME-synthetic.")
        ] = None,
        work: Annotated[
            Path, typer.Option("--work", help="Folder for pictures and checkpoints.")
        ] = Path("training/guided"),
        shards: Annotated[int, typer.Option(min=1, help="Picture files to train on.")] = 16,
        processes: Annotated[int, typer.Option(min=1, help="Processes that render pictures.")] = 2,
        device: Annotated[str, typer.Option(help="cpu, cuda[:n] or mps.")] = "cpu",
        progress: run.ProgressOption = Dialect.AUTO,
        **settings: Any,
    ) -> None:
        from vfxswap.settings import validated
        from vfxswap.synth import guided_recipe

        training = validated(settings_type, given_settings(settings_type, settings))
        with run.cancelled_by_signals() as cancel, steps(progress) as tell:
            model = guided_recipe.run(
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
