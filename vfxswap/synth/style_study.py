"""Experiments on a style network, for its card: single-style controls, an added style against
one from scratch, and the temporal term against none.

`python -m vfxswap.synth.style_study RECIPE --work DIR` runs them beside the recipe's training in
DIR, goes on where it was stopped, and writes `study.json`. With `--out` the network that was fine-
tuned with the temporal term is written there as a model, with what was measured in its card.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vfxswap.color import ColorManager, to_net
from vfxswap.files import write_atomically
from vfxswap.nets.perceptual import Perceptual
from vfxswap.nets.style import StyleNet
from vfxswap.synth.shot import Shot
from vfxswap.synth.style_card import rounded, write_model
from vfxswap.synth.style_drawings import drawings_of, held_out
from vfxswap.synth.style_pictures import performer_shot
from vfxswap.synth.style_recipe import (
    StyleRecipe,
    classifier_of,
    load_recipe,
    style_data,
)
from vfxswap.train.style import StyleData, StyleTrainer, StyleTraining, train
from vfxswap.train.style_add import ADDED_RATE, AddedStyleTrainer
from vfxswap.train.style_measure import Flow, blend_losses, flow_between, warp_error

SHOT_PERFORMER, SHOT_FRAMES = 7103, 4
TEMPORAL_WEIGHT = 90.0
CONTROLS = ("woodcut", "impasto", "pointillism")


class Study:
    """The pictures, the judge and the trained network that all experiments share."""

    def __init__(
        self, recipe: StyleRecipe, data: StyleData, judge: Perceptual, work: Path, net: StyleNet
    ) -> None:
        self.recipe, self.data, self.judge, self.work, self.net = recipe, data, judge, work, net
        self.pictures = held_out()

    def controls(self, styles: tuple[str, ...], steps: int) -> dict[str, Any]:
        """Content and style loss on held-out pictures: the network of many styles, and networks
        of one style from scratch with `steps` steps, as many pictures as that style had."""
        many = StyleTrainer(self.training(steps), self.data, self.judge, start=self.net)
        rows = {}
        for style in styles:
            data = replace(self.data, targets={style: self.data.targets[style]})
            single = StyleTrainer(self.training(steps), data, self.judge)
            train(single, self.work / f"control-{style}", progress=_say(f"control {style}"))
            rows[style] = {"many": self.losses(many, style), "single": self.losses(single, style)}
        return {"steps": steps, "styles": rows}

    def added(self, style: str, steps: int, folder: Path) -> dict[str, Any]:
        """A style that the network lacks: γ and β alone for `steps`, against a network of its own
        from scratch for eight times as many."""
        recipe = self.recipe.model_copy(update={"styles": {style: ()}})
        data = style_data(recipe, folder, self.work, self.judge, _silent)
        training = self.training(steps).model_copy(update={"rate": ADDED_RATE})
        row = AddedStyleTrainer(training, data, self.judge, self.net)
        untrained = self.losses(row, style)
        train(row, self.work / f"added-{style}", progress=_say(f"added {style}"))
        scratch = StyleTrainer(self.training(8 * steps), data, self.judge)
        train(scratch, self.work / f"scratch-{style}", progress=_say(f"scratch {style}"))
        return {
            "style": style,
            "steps": steps,
            "untrained": untrained,
            "added": self.losses(row, style),
            "scratch_8k": self.losses(scratch, style),
        }

    def losses(self, trainer: StyleTrainer, style: str) -> list[float]:
        """On held-out pictures: the published content and style loss, then those against the same
        pictures drawn in the style."""
        drawings = drawings_of(self.pictures, style)
        published = trainer.measure(self.pictures, style)
        return [*published, *trainer.measure_drawn(self.pictures, drawings, style)]

    def temporal(self, steps: int, strength: float) -> tuple[dict[str, Any], StyleNet]:
        """Warp error on a held-out moving shot after `steps` more with and without the temporal
        term, both from the network, on the same moving pairs; and the network with it."""
        frames, flows = held_out_shot()
        found: dict[str, Any] = {"steps": steps, "weight": strength}
        found["before"] = _mean(warp_error(self.net, frames, flows))
        arms = {}
        for arm, weight in (("without", 0.0), ("with", strength)):
            changes = {"temporal_weight": weight, "pairs": True, "rate": 4e-4, "batch": 3}
            training = self.training(steps).model_copy(update=changes)
            trainer = StyleTrainer(training, self.data, self.judge, start=self.net)
            arms[arm] = rounded(train(trainer, self.work / f"temporal-{arm}", progress=_say(arm)))
            found[arm] = _mean(warp_error(arms[arm], frames, flows))
            losses = [trainer.measure(self.pictures, style) for style in trainer.styles]
            found[f"{arm}_content"] = float(np.mean([c for c, _ in losses]))
            found[f"{arm}_style"] = float(np.mean([s for _, s in losses]))
        found["visible"] = float(np.mean([float(f.visible.mean()) for f in flows]))
        found["lower_by"] = 1 - found["with"] / found["without"]
        return found, arms["with"]

    def blend(self, first: str, second: str) -> list[float]:
        """Style loss towards `second` in 11 steps from `first`, on a held-out photograph."""
        return blend_losses(
            self.net, self.judge, self.pictures[:1],
            first=first, second=second, target=self.data.targets[second],
        )  # fmt: skip

    def training(self, steps: int) -> StyleTraining:
        """The recipe's training in another number of steps."""
        return self.recipe.training.model_copy(update={"iterations": steps, "save_every": 100})


def held_out_shot() -> tuple[Tensor, list[Flow]]:
    """A rendered shot that no training sees, [T, 3, H, W] in net space, and its flows."""
    spec = performer_shot(SHOT_PERFORMER, height=256, width=320, frames=SHOT_FRAMES)
    spec = spec.model_copy(update={"energy": 2.0, "grain": 0.01})
    shot, color = Shot(spec), ColorManager(None)
    frames = []
    for number in range(SHOT_FRAMES):
        rgb = shot.frame(spec.first_frame + number)[0].rgb * np.float32(1.6)
        net = to_net(color.to_working(rgb, "lin_rec709_scene"))
        frames.append(torch.from_numpy(net).permute(2, 0, 1))
    stacked = torch.stack(frames).contiguous()
    pairs = zip(stacked.split(1), stacked[1:].split(1))  # type: ignore[no-untyped-call]
    return stacked, [flow_between(now, before) for before, now in pairs]


def _mean(errors: dict[str, float]) -> float:
    return sum(errors.values()) / len(errors)


def _silent(what: str, done: int, total: int) -> None:
    """Says nothing."""


def _say(what: str) -> Any:
    def say(done: int, total: int, losses: dict[str, float]) -> None:
        if done % 50 == 0:
            shown = ", ".join(f"{k} {v:.3f}" for k, v in losses.items())
            print(f"{what}: {done} of {total}, {shown}", flush=True)

    return say


def main() -> None:
    """Runs all experiments on the network in the recipe's work folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="Folder of the model to write.")
    parser.add_argument("--temporal-steps", type=int, default=60)
    parser.add_argument("--temporal-weight", type=float, default=TEMPORAL_WEIGHT)
    parser.add_argument("--control-steps", type=int, default=278)
    parser.add_argument("--added-steps", type=int, default=60)
    given = parser.parse_args()
    recipe, folder = load_recipe(given.recipe)
    judge = classifier_of(recipe.classifier)
    data = style_data(recipe, folder, given.work, judge, _silent)
    trainer = StyleTrainer(recipe.training, data, judge)
    trainer.resume(given.work / "training")
    study = Study(recipe, data, judge, given.work, trainer.net.eval())
    command = f"vfxswap train style {given.recipe}"
    found: dict[str, Any] = {"iterations": trainer.iteration}

    def put(stage: str, value: Any) -> None:
        found[stage] = value
        write_atomically(given.work / "study.json", json.dumps(found, indent=1).encode())

    temporal, study.net = study.temporal(given.temporal_steps, given.temporal_weight)
    put("temporal", temporal)
    put("blend", study.blend("ink_wash", "impasto"))
    if given.out:
        write_model(given.out, recipe, study.net, found, command=command)
    put("controls", study.controls(CONTROLS, given.control_steps))
    put("added", study.added("pastel", given.added_steps, folder))
    if given.out:
        write_model(given.out, recipe, study.net, found, command=command)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
