"""What a training of a comb will take: memory and work of every level before anything is run.

Memory is reckoned, not measured: the step is played with tensors that have shapes and no data,
and every tensor that autograd keeps for the backward pass is counted once, beside weights,
gradients and Adam's moments. Scratch space of kernels, the allocator's slack, the CUDA context
and the crops themselves come on top; a test holds the sum to what a profiler sees.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vfxswap.nets.comb import Comb, CombSettings, crop_px
from vfxswap.settings import validated
from vfxswap.train.crops import feature_weight
from vfxswap.train.expression import part_loss
from vfxswap.train.losses import level_loss
from vfxswap.train.run_status import span
from vfxswap.train.schedule import CombTraining

GIB = float(1 << 30)
ENOUGH_S = 2.0
"""Levels above one whose iteration took so long are not timed but reckoned from it."""


@dataclass(frozen=True)
class LevelPlan:
    """A level: bytes of a step as the settings say and with every level recomputed, iterations,
    and seconds an iteration (`timed`, or reckoned from a lower level by multiplications)."""

    level: int
    crop_px: int
    batch: int
    parameters: int
    state_bytes: int
    kept_bytes: int
    recomputed_bytes: int
    iterations: int
    seconds_an_iteration: float
    timed: bool

    @property
    def total_bytes(self) -> int:
        """Of a step as the settings say."""
        return self.state_bytes + self.kept_bytes

    @property
    def least_bytes(self) -> int:
        """Of a step that recomputes every level."""
        return self.state_bytes + self.recomputed_bytes

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "total_bytes": self.total_bytes, "least_bytes": self.least_bytes}


def plan(
    training: CombTraining, personas: tuple[str, ...], *, device: str = "cpu", timed: bool = True
) -> tuple[LevelPlan, ...]:
    """Every level that will be trained. With `timed` one step of the lower levels is run on
    random crops on `device`."""
    levels = []
    last: tuple[float, float] | None = None
    for level in range(training.first_level, training.level + 1):
        settings = comb_settings(training, personas, level)
        steps = training.level_iterations(level)
        if level == training.level:
            steps = training.total_iterations - sum(
                training.level_iterations(below) for below in range(level)
            )
        work = _work(settings)
        run_it = timed and (last is None or last[0] < ENOUGH_S)
        if run_it:
            last = (_timed(training, settings, device), work)
        seconds = last[0] * work / last[1] if last is not None else 0.0
        parameters, kept = kept_bytes(training, settings, recompute_from=training.recompute_from)
        _, least = kept_bytes(training, settings, recompute_from=0)
        levels.append(
            LevelPlan(
                level=level,
                crop_px=crop_px(level),
                batch=training.batch,
                parameters=parameters,
                state_bytes=16 * parameters,
                kept_bytes=kept,
                recomputed_bytes=least,
                iterations=steps,
                seconds_an_iteration=seconds,
                timed=run_it,
            )
        )
    return tuple(levels)


def lines(levels: tuple[LevelPlan, ...]) -> list[str]:
    """A table for people. Memory is of a step: weights, gradients, moments, kept activations."""
    said = [
        f"{'level':>5}{'crop':>7}{'batch':>7}{'memory':>12}{'recomputed':>12}"
        f"{'iterations':>12}{'s each':>10}{'time':>12}"
    ]
    for one in levels:
        each = f"{one.seconds_an_iteration:.3g}" + ("" if one.timed else "~")
        took = span(one.iterations * one.seconds_an_iteration)
        said.append(
            f"{one.level:>5}{one.crop_px:>7}{one.batch:>7}"
            f"{_bytes(one.total_bytes):>12}{_bytes(one.least_bytes):>12}"
            f"{one.iterations:>12}{each:>10}{took:>12}"
        )
    whole = sum(one.iterations * one.seconds_an_iteration for one in levels)
    said.append(f"in all {span(whole)}; ~ reckoned from the last level that was timed")
    return said


def _bytes(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


def comb_settings(training: CombTraining, personas: tuple[str, ...], level: int) -> CombSettings:
    """The comb of a training at one of its levels."""
    shape = {"personas": personas, "level": level, "width": training.width,
             "latent": training.latent}  # fmt: skip
    return validated(CombSettings, shape)


def kept_bytes(
    training: CombTraining, settings: CombSettings, *, recompute_from: int
) -> tuple[int, int]:
    """Numbers in the network, and bytes that its largest step holds beside them: one persona's
    graph, or, in paired training, all of them at once."""
    at_once = len(settings.personas) if training.paired else 1
    with FakeTensorMode():
        comb = Comb(settings)
        parameters = sum(p.numel() for p in comb.parameters())
        weights = {p.untyped_storage()._cdata for p in comb.parameters()}
        books = _Books(weights)
        size = settings.crop_px
        x = torch.rand(training.batch, 3, size, size)
        handles = books.watch(comb, recompute_from)
        with torch.autograd.graph.saved_tensors_hooks(books.pack, lambda kept: kept):
            _loss(comb, settings, training, x)
        for handle in handles:
            handle.remove()
    return parameters, books.peak(at_once)


class _Books:
    """Storages that autograd keeps, by the recomputed block in whose forward they were kept."""

    def __init__(self, weights: set[int]) -> None:
        self._weights = weights
        self._block: int | None = None
        self._outside: dict[int, int] = {}
        self._inside: dict[int, dict[int, int]] = {}
        self._alive: list[Tensor] = []  # An id of a storage that died could be given again.

    def watch(self, comb: Comb, recompute_from: int) -> list[Any]:
        handles = []
        for stack in (comb.encoder, comb.trunk, *comb.decoders.values()):
            blocks = stack.get_submodule("blocks")
            assert isinstance(blocks, nn.ModuleDict)
            for level, block in blocks.items():
                if int(level) >= recompute_from:
                    handles.append(block.register_forward_pre_hook(self._enter))
                    handles.append(block.register_forward_hook(self._leave))
        return handles

    def pack(self, tensor: Tensor) -> Tensor:
        book = self._outside if self._block is None else self._inside[self._block]
        self._note(book, tensor)
        return tensor

    def peak(self, at_once: int) -> int:
        """All that is kept outside of recomputed blocks, and the largest of these."""
        largest = 0
        for book in self._inside.values():
            own = sum(size for key, size in book.items() if key not in self._outside)
            largest = max(largest, own)
        return at_once * sum(self._outside.values()) + largest

    def _enter(self, block: nn.Module, given: tuple[Tensor, ...]) -> None:
        self._note(self._outside, given[0])
        self._block = id(block)
        self._inside[self._block] = {}

    def _leave(self, *_: Any) -> None:
        self._block = None

    def _note(self, book: dict[int, int], tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights:
            book[storage._cdata] = storage.nbytes()
            self._alive.append(tensor)


def _loss(comb: Comb, settings: CombSettings, training: CombTraining, x: Tensor) -> Tensor:
    """The loss of a batch as `CombTrainer` takes it, without its jitter."""
    persona = settings.personas[0]
    with torch.autocast(x.device.type, torch.bfloat16, enabled=training.half):
        decoded = comb(x, persona)
    decoded = decoded.float()
    matte = torch.ones_like(x[:, :1])
    weight = feature_weight(settings.crop_px, gain=1.0).to(x.device)
    level = settings.level
    loss = level_loss(x, decoded, matte, level=level, weight=weight).mean()
    if training.pixel_weight > 0:
        loss = loss + ((decoded - x).abs() * weight).mean()
    if training.part_weight > 0:
        loss = loss + part_loss(x, decoded)
    return loss


def step(
    training: CombTraining, settings: CombSettings, device: str, *, seed: int = 0
) -> Callable[[], None]:
    """An iteration on random crops of the training's batch, as a function to be timed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        comb = Comb(settings)
        x = torch.rand(training.batch, 3, settings.crop_px, settings.crop_px)
    comb.to(device=torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    comb.recompute_from = training.recompute_from
    x = x.to(device).contiguous(memory_format=torch.channels_last)
    fused = torch.device(device).type in ("cpu", "cuda")
    optimiser = torch.optim.Adam(comb.parameters(), lr=1e-6, fused=fused)

    def iterate() -> None:
        for persona in settings.personas:
            order = settings.model_copy(update={"personas": (persona,)})
            loss = _loss(comb, order, training, x)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
        if x.is_cuda:
            torch.cuda.synchronize(x.device)

    return iterate


def _timed(training: CombTraining, settings: CombSettings, device: str) -> float:
    iterate = step(training, settings, device)
    iterate()
    began = time.perf_counter()
    iterate()
    return time.perf_counter() - began


def _work(settings: CombSettings) -> float:
    with FakeTensorMode():
        return Comb(settings).operations(settings.level)
