"""Trained combs that another training starts from: the base encoder.

The encoder of a comb that many performers were shown to (the starter's has seen 400 guests beside
its personas) reads pose, light and expression of faces that it never met; a training that takes
it over has that to learn no more.
"""

from __future__ import annotations

from vfxswap.errors import JobError
from vfxswap.io.weights import find_model, load_net
from vfxswap.nets.comb import Comb


def comb_to_start(name: str) -> Comb | None:
    """The comb of an installed model, None for "". Raises ModelError, JobError when it is none."""
    if not name:
        return None
    stored = find_model(name)
    comb = load_net(stored.card, stored.folder, device="cpu")
    if not isinstance(comb, Comb):
        raise JobError("the model to start from is no comb", got=stored.card.network)
    return comb
