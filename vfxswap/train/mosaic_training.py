"""How mosaic networks are trained: the settings of `mosaic.MosaicTrainer`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from vfxswap.settings import Settings
from vfxswap.train.mosaic_degrade import Damage
from vfxswap.train.mosaic_faces import FaceWeights

Stage = Literal["codes", "small", "large"]


class MosaicTraining(Settings):
    """How mosaic networks are trained."""

    code: int = Field(default=128, ge=16, le=2048, description="Elements of z.")
    code_iterations: int = Field(default=1500, ge=0, description="E and Dec alone.")
    iterations: int = Field(default=2000, ge=1, description="With the themes, at 32 pixels.")
    large_iterations: int = Field(
        default=0, ge=0, description="After that at 64 pixels, the new level faded in over half."
    )
    batch: int = Field(
        default=32, ge=2, multiple_of=2, description="Patches of the domain, and of each theme."
    )
    learning_rate: float = Field(default=6e-4, gt=0, description="Of G and D.")
    code_learning_rate: float = Field(default=1e-3, gt=0, description="Of E and Dec alone.")
    joint_learning_rate: float = Field(
        default=2e-4, gt=0, description="Of E and Dec with the themes."
    )
    joint_weight: float = Field(
        default=30.0, gt=0, description="Weight of Eq. 34 beside the themes' losses."
    )
    pairing: Literal["softplus", "linear"] = Field(
        default="softplus", description="How Eq. 36 counts; linear takes it as it stands."
    )
    free: int = Field(
        default=16, ge=0, le=256, description="Random elements beside z, which give variety."
    )
    relight: float = Field(
        default=1.0,
        ge=0,
        description="Theme patches are put under the light of patches of the domain (means of a "
        "quarter of the side), each at a random strength up to this.",
    )
    afar_px: Literal[1, 2, 4, 8] = Field(
        default=4,
        description="Patches are averaged over so many pixels before codes are compared, and mean "
        "colours made equal: detail is the theme's, structure the plate's.",
    )
    variety_weight: float = Field(
        default=2.0,
        ge=0,
        description="Weight of what two patches of one code differ too little by: half the "
        "difference of two real patches is enough.",
    )
    critic_weight: float = Field(
        default=1.0, ge=0, description="c of Eq. 35; 0 goes without critics, for restorations."
    )
    code_weight: float = Field(default=2.5, ge=0, description="w of Eq. 35.")
    code_rise: float = Field(
        default=1.0,
        ge=1,
        description="Factor that w grows by over the last half of a stage: first the theme.",
    )
    penalty: float = Field(
        default=0.2, gt=0, description="Weight of the gradient penalties; four times so at 64 px."
    )
    penalty_every: int = Field(default=8, ge=1, description="Iterations between penalties.")
    match_weight: float = Field(
        default=0.0, ge=0, description="Weight of the difference from the nearest theme patch."
    )
    pool: int = Field(default=768, ge=8, description="Patches kept of each theme at a time.")
    pool_every: int = Field(default=400, ge=1, description="Iterations between new pools.")
    pair_weight: float = Field(
        default=0.0, ge=0, description="Weight of the difference from the undamaged patch."
    )
    faces: FaceWeights = Field(
        default=FaceWeights(), description="Losses of faces, for a domain of faces."
    )
    exposure: float = Field(
        default=0.05, ge=0, description="Spread of random exposures of patches, in net space."
    )
    tint: float = Field(default=0.015, ge=0, description="Spread of random tints, in net space.")
    damage: Damage = Field(default=Damage(), description="What is to be restored, if anything.")
    mean_decay: float = Field(default=0.998, ge=0, lt=1, description="Of the running mean of G.")
    half: bool = Field(default=True, description="bfloat16 autocast.")
    seed: int = Field(default=0, ge=0, description="Of weights, draws and order.")

    @model_validator(mode="after")
    def _something_is_learnt(self) -> Self:
        weights = (self.critic_weight, self.code_weight, self.match_weight, self.pair_weight)
        if not any(weights):
            raise ValueError("critic_weight, code_weight, match_weight and pair_weight are all 0")
        return self

    def stage_at(self, iteration: int) -> tuple[Stage, float]:
        """The stage of an iteration, and how much of the new level is seen in it (0…1)."""
        small = self.code_iterations + self.iterations
        if iteration < self.code_iterations:
            return "codes", 0.0
        if iteration < small or not self.large_iterations:
            return "small", 0.0
        return "large", min(1.0, 2 * (iteration - small + 1) / self.large_iterations)

    def rate_at(self, iteration: int) -> float:
        """Factor of the learning rates: 1, falling to a tenth over the last half of a stage."""
        return 1 - 0.9 * self._late(iteration)

    def code_weight_at(self, iteration: int) -> float:
        """w of Eq. 35 at an iteration."""
        return self.code_weight * (1 + (self.code_rise - 1) * self._late(iteration))

    def _late(self, iteration: int) -> float:
        """0 over the first half of a stage, rising to 1 over the last."""
        begun = 0
        for count in (self.code_iterations, self.iterations, self.large_iterations):
            if iteration < begun + count:
                return max(0.0, 2 * (iteration - begun) / count - 1)
            begun += count
        return 1.0

    @property
    def total_iterations(self) -> int:
        """How many iterations make a whole training."""
        return self.code_iterations + self.iterations + self.large_iterations
