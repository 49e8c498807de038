"""A further persona for a trained comb; encoder, trunk and the other personas stay bit for bit.

Only the new persona's own decoder levels learn, at the comb's last level, from its own crops (or,
paired, from any performer's). So everything the others decode stays as it was approved.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from vfxswap.errors import JobError
from vfxswap.nets.comb import TIED_LEVELS, Comb, CombSettings
from vfxswap.settings import validated
from vfxswap.train.comb import CombTrainer, fingerprint
from vfxswap.train.crops import CropSet
from vfxswap.train.parallel import ALONE, Ranks
from vfxswap.train.schedule import CombTraining, Moment, moment


class PersonaTrainer(CombTrainer):
    """Trains one persona more. `training` gives iterations of the last level and final ones,
    rates, batch and losses; its width and latent are the comb's and do not count."""

    def __init__(
        self,
        training: CombTraining,
        crops: CropSet,
        comb: Comb,
        persona: str,
        *,
        like: str | None = None,
        device: str = "cpu",
        ranks: Ranks = ALONE,
    ) -> None:
        """`like` names a persona whose decoder the new one starts from; fresh without.

        The comb given is not changed. Raises JobError when the persona is already in it, its name
        cannot be used, another level is asked for, or as `CombTrainer` does.
        """
        if persona in comb.settings.personas:
            raise JobError("the comb already has this persona", got=persona)
        if training.level != comb.level:
            raise JobError("the comb is of another level", got=training.level, wanted=comb.level)
        if comb.level < TIED_LEVELS:
            raise JobError("all decoder weights are shared at this level", got=comb.level)
        validated(CombSettings, {**comb.settings.model_dump(), "personas": (persona,)})
        self._base, self._like = comb, like
        super().__init__(training, crops, (persona,), device, ranks=ranks)

    def moment(self, iteration: int) -> Moment:
        """The schedule: the last level from the start, nothing fades in."""
        before = sum(map(self.training.level_iterations, range(self.training.level)))
        now = moment(self.training, before + iteration)
        return replace(now, level=self.training.level, alpha=1.0)

    @property
    def total_iterations(self) -> int:
        before = sum(map(self.training.level_iterations, range(self.training.level)))
        return self.training.total_iterations - before

    def iterations_left(self) -> tuple[tuple[int, int], ...]:
        return ((self.training.level, self.total_iterations - self.iteration),)

    def _build(self, level: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            self.comb = copy.deepcopy(self._base)
            self.comb.add_persona(self.personas[0], like=self._like)
        self.comb.train().requires_grad_(False)
        for parameter in self._learning():
            parameter.requires_grad_(True)
        self._placed()

    def _learning(self) -> Iterator[nn.Parameter]:
        return self.comb.persona_parameters(self.personas[0])

    def _identity(self) -> dict[str, object]:
        return {**super()._identity(), "base": fingerprint(self._base), "like": self._like}
