"""Several processes that train one network, as torchrun starts them: each takes its share of every
batch, and their gradients are added up before each step.

All draw the whole batch from the same seed and keep their slice, so a run on several devices
learns from the same crops as a run on one, and a checkpoint goes on with any number of them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

from vfxswap.errors import JobError, VfxSwapError

PATIENCE = timedelta(hours=12)
"""The others wait so long while the first renders or cuts what is trained on."""


class LostPeerError(VfxSwapError):
    """Another process of the training ended; what is saved can go on."""

    kind = "lost_peer"


@dataclass(frozen=True)
class Ranks:
    """This process among those of a training: number `rank` of `count`."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes checkpoints, logs and models."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """This process's part of a batch. Raises JobError when there is not one for each."""
        if batch < self.count:
            raise JobError("the batch is smaller than the number of processes",
                           got=batch, wanted=self.count)  # fmt: skip
        return slice(batch * self.rank // self.count, batch * (self.rank + 1) // self.count)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Every gradient becomes the sum over the processes; parameters without one are alike in
        all of them (they belong to other personas)."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        self._reduce(flat)
        start = 0
        for gradient in gradients:
            part = flat[start : start + gradient.numel()]
            gradient.copy_(part.view(gradient.shape))
            start += gradient.numel()

    def total(self, value: Tensor) -> Tensor:
        """Sum of a tensor over the processes."""
        if self.count == 1:
            return value
        summed = value.detach().clone()
        self._reduce(summed)
        return summed

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        return bool(self.total(torch.tensor(float(flag), device=self._device())) > 0)

    def wait(self) -> None:
        """Until all are here."""
        self.any(False)

    def _device(self) -> torch.device:
        nccl = self.count > 1 and distributed.get_backend() == "nccl"
        return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")

    @staticmethod
    def _reduce(values: Tensor) -> None:
        try:
            distributed.all_reduce(values)
        except RuntimeError as error:
            first = str(error).partition("\n")[0]
            raise LostPeerError(f"another process of this training ended: {first}") from error


ALONE = Ranks()


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, str]]:
    """The processes that torchrun started, and this one's device; alone without torchrun.

    gloo on CPUs, NCCL on CUDA, where each process takes the device of its local number.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in os.environ:
        yield ALONE, device
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    backend = "nccl" if cuda else "gloo"
    if os.environ.get("LOCAL_WORLD_SIZE") == str(count):
        # torchrun's own store keeps addresses of killed processes at times: a file a life does not.
        life = f"{os.getppid()}-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        meeting = Path(tempfile.gettempdir()) / f"vfxswap-ranks-{life}"
        store = distributed.FileStore(str(meeting), count)  # type: ignore[attr-defined]
        rank = int(os.environ["RANK"])
        distributed.init_process_group(
            backend, store=store, rank=rank, world_size=count, timeout=PATIENCE
        )
    else:
        distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()
