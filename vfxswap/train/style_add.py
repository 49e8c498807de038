"""A further style for a trained network: its γ and β alone learn, all else stays bit for bit.

Published: 5,000 steps give what 40,000 from scratch do (Dumoulin et al. 2017, section 3.3).
"""

from __future__ import annotations

from typing import Any

import torch

from vfxswap.errors import JobError
from vfxswap.nets.perceptual import Perceptual
from vfxswap.nets.style import StyleNet
from vfxswap.train.style import StyleData, StyleTrainer, StyleTraining

ADDED_RATE = 1.5e-2
"""Learning rate for a row alone; of those tried, this reached furthest in 100 steps."""


class AddedStyleTrainer(StyleTrainer):
    """Trains one row more. `training`'s widths and blocks are the network's and do not count."""

    def __init__(
        self,
        training: StyleTraining,
        data: StyleData,
        classifier: Perceptual,
        base: StyleNet,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        """The row starts from the mean of the others; `base` is not changed.

        Raises JobError when the data has not exactly one style, or the network has it already.
        """
        if len(data.targets) != 1:
            raise JobError("one style is added at a time", got=len(data.targets))
        (name,) = data.targets
        if name in base.styles:
            raise JobError("the model already has a style of that name", got=name)
        start = base.with_style(name)
        super().__init__(training, data, classifier, start=start, device=device)
        self._gamma = start.gamma.detach().to(self.device)
        self._beta = start.beta.detach().to(self.device)

    def _groups(self) -> list[dict[str, Any]]:
        for parameter in self.net.shared():
            parameter.requires_grad_(False)
        return [{"params": []}, {"params": [self.net.gamma, self.net.beta]}]

    @torch.no_grad()
    def _update(self) -> None:
        super()._update()
        # By selection: no arithmetic on the other rows, whatever the optimiser does.
        self.net.gamma[:-1] = self._gamma[:-1]
        self.net.beta[:-1] = self._beta[:-1]
