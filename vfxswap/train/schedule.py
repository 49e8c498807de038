"""How a comb is trained: settings, and the level, fader and learning rate of every iteration.

The source (comb networks, para. 41) says that the fader reaches 1 "after L/2 iterations, where L
is the total number of … levels"; read here as half of the *iterations of that level*, the only
reading that fades at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import Field

from vfxswap.settings import Settings
from vfxswap.train.crops import Jitter

WARM_UP = 40
"""Iterations over which the learning rate rises after a level is added (a fresh optimiser)."""


class Refinement(Settings):
    """Further iterations of the last level after the final ones: the rate returns and falls again,
    and what is still soft then (eyes, mouth) may count more."""

    iterations: int = Field(ge=1, description="How many.")
    learning_rate: float = Field(gt=0, description="At the start; falls by a cosine.")
    batch: int = Field(default=8, ge=1, description="Crops of each persona in an iteration.")
    feature_gain: float = Field(default=0.0, ge=0, description="Extra weight of eyes and mouth.")


class CombTraining(Settings):
    """How a comb is trained. Defaults are the source's where it states them."""

    level: int = Field(default=4, ge=0, le=8, description="Last level; crops are 4·2^level pixels.")
    width: float = Field(default=1.0, gt=0, le=1, description="Share of the published channels.")
    latent: int | None = Field(default=None, ge=1, description="Numbers in the latent vector.")
    first_level: int = Field(
        default=0, ge=0, le=8, description="Level of the trained comb that it starts from, if any."
    )
    iterations: tuple[int, ...] = Field(
        default=(100_000,),
        description="Of each level from 0 on; the last number holds for the rest.",
    )
    final_iterations: int = Field(
        default=10_000, ge=0, description="After the last level, while the learning rate falls."
    )
    learning_rate: float = Field(default=1e-4, gt=0, description="Of Adam.")
    final_learning_rate: float = Field(
        default=1e-5, gt=0, description="At the end; falls by a cosine."
    )
    batch: int = Field(default=8, ge=1, description="Crops of each persona in an iteration.")
    paired: bool = Field(default=False, description="Train across personas on paired footage.")
    pixel_weight: float = Field(default=0.0, ge=0, description="Weight of absolute differences.")
    surroundings: float = Field(
        default=0.0, ge=0, le=1, description="Weight of the edge-extended pixels outside the face."
    )
    feature_gain: float = Field(default=0.0, ge=0, description="Extra weight of eyes and mouth.")
    part_weight: float = Field(
        default=0.0, ge=0, description="Weight of eyes, mouth and brows as pictures of their own."
    )
    landmark_weight: float = Field(
        default=0.0, ge=0, description="Weight of landmarks read off the latent vector."
    )
    background_invariant: bool = Field(default=True, description="Eq. 2; Eq. 1 when false.")
    jitter: Jitter = Field(default=Jitter(), description="How crops are moved and dressed.")
    refinement: Refinement | None = Field(default=None, description="What follows, if anything.")
    half: bool = Field(default=True, description="bfloat16 autocast.")
    recompute_from: int = Field(
        default=9,
        ge=0,
        le=9,
        description="Levels from here on compute activations again in the backward pass: slower, "
        "in far less memory. 9 for none.",
    )
    seed: int = Field(default=0, ge=0, description="Of weights, draws and order.")

    def level_iterations(self, level: int) -> int:
        """Iterations of a level before the final ones; none of those that a start brings."""
        if level < self.first_level:
            return 0
        return self.iterations[min(level, len(self.iterations) - 1)]

    @property
    def base_iterations(self) -> int:
        """All iterations before the refinement."""
        return sum(map(self.level_iterations, range(self.level + 1))) + self.final_iterations

    @property
    def total_iterations(self) -> int:
        return self.base_iterations + (self.refinement.iterations if self.refinement else 0)


@dataclass(frozen=True)
class Moment:
    """Where an iteration stands: its level, the fader, the learning rate, and what may change."""

    level: int
    alpha: float
    learning_rate: float
    batch: int
    feature_gain: float


def moment(training: CombTraining, iteration: int) -> Moment:
    """The schedule at an iteration (from 0 on)."""
    refinement, refined = training.refinement, iteration - training.base_iterations
    low = training.final_learning_rate
    if refinement is not None and refined >= 0:
        rate = low + (refinement.learning_rate - low) * _fall(refined / refinement.iterations)
        rate *= min(1.0, (refined + 1) / WARM_UP)
        return Moment(training.level, 1.0, rate, refinement.batch, refinement.feature_gain)
    done, level = iteration, 0
    while level < training.level and done >= training.level_iterations(level):
        done, level = done - training.level_iterations(level), level + 1
    half = training.level_iterations(level) / 2
    alpha = 1.0 if level == training.first_level else min(1.0, done / max(half, 1))
    rate = training.learning_rate * min(1.0, (done + 1) / WARM_UP)
    final = done - training.level_iterations(level)
    if final > 0:
        rate = low + (training.learning_rate - low) * _fall(final / training.final_iterations)
    return Moment(level, alpha, rate, training.batch, training.feature_gain)


def _fall(share: float) -> float:
    """1 … 0 by a cosine."""
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, share))
