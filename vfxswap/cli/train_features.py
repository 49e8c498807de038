"""Commands of feature networks beside their effect: train features, models rename-feature,
models fit-retrieval."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from vfxswap.cli import run
from vfxswap.cli.progress import Dialect, steps


def train(command_line: Callable[[], str]) -> Callable[..., None]:
    """The function behind `train features`; cards state `command_line`."""

    def train_features(
        recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a .toml file.")],
        out: Annotated[
            Path | None, typer.Option("--out", help="Folder of the model; else models/RECIPE.")
        ] = None,
        work: Annotated[
            Path | None,
            typer.Option("--work", help="Crops, checkpoints, sheets; else training/RECIPE."),
        ] = None,
        processes: Annotated[int, typer.Option(min=1, help="Processes that render pictures.")] = 2,
        device: Annotated[str, typer.Option(help="cpu, cuda[:n] or mps.")] = "cpu",
        progress: run.ProgressOption = Dialect.AUTO,
    ) -> None:
        """Train a feature network by a recipe.

        Renders crops, trains in stages, names clusters, measures on held-out identities. Stopped
        runs go on where they were. Ctrl-C stops after the step in hand.
        """
        name = Path(recipe).stem
        with run.cancelled_by_signals() as cancel:
            from vfxswap.synth import features_recipe
            from vfxswap.train.features_card import feature_names

            with steps(progress) as tell:
                model = features_recipe.run(
                    recipe,
                    out=out or Path("models") / name,
                    work=work or Path("training") / name,
                    command=command_line(),
                    processes=processes,
                    device=device,
                    progress=tell,
                    stop=cancel.is_set,
                )
        typer.echo(f"{model.folder}: {model.card.name}, weights {model.card.weights_sha256[:12]}")
        typer.echo(f"features: {', '.join(feature_names(model.card))}")

    return train_features


def rename(
    model: Annotated[str, typer.Argument(help="Name of a model, or its folder.")],
    old: Annotated[str, typer.Argument(help="A feature of it.")],
    new: Annotated[str, typer.Argument(help="Its name from now on; a known one joins the two.")],
) -> None:
    """Give a feature of a model another name, in its card."""
    from vfxswap.train.features_card import feature_names, rename_feature

    stored = rename_feature(model, old, new)
    typer.echo(f"{stored.folder}: {', '.join(feature_names(stored.card))}")


def fit_retrieval(
    model: Annotated[str, typer.Argument(help="Name of a model of features, or its folder.")],
    crops: Annotated[
        Path,
        typer.Argument(help="Folder of its training's crops: WORK/faces.", show_default=False),
    ],
) -> None:
    """Fit anew what lasts of a performer in any light and acting, which retrieve compares.

    Trainings do that at their end; this is for older models, and after more crops were rendered.
    All else in the model stays.
    """
    from vfxswap.train.features_card import refit_lasting
    from vfxswap.train.features_data import PartCrops

    stored = refit_lasting(model, PartCrops.open(crops), command="vfxswap models fit-retrieval")
    typer.echo(f"{stored.folder}: weights {stored.card.weights_sha256[:12]}")
