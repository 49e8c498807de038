"""Networks as a render runs them: 16-bit where the hardware has it, channels last, fixed batches.

Importing or using this changes no global state of torch, threads included.
"""

from __future__ import annotations

import copy
import warnings
from typing import Literal

import torch
from torch import Tensor, nn

from vfxswap.errors import VfxSwapError
from vfxswap.nets.comb import TIED_LEVELS, Comb, Stack
from vfxswap.nets.layers import Needs

Precision = Literal["single", "half"]

CUDA_BATCH = 4
SINGLE_LEVELS = 3
"""Levels below this keep float32 in the fast path: few operations, where rounding costs most."""


class LowMemoryWarning(UserWarning):
    """Memory ran out; the work goes on in smaller batches, slower, and its last bits may differ."""


def half_type(device: torch.device) -> torch.dtype:
    """The 16-bit type in which a device is faster than in float32; float32 when there is none.

    bfloat16 on CPUs with AVX-512 BF16 or AMX (others emulate it slowly), float16 on GPUs.
    """
    if device.type != "cpu":
        return torch.float16
    return torch.bfloat16 if _cpu_has_bfloat16() else torch.float32


def accelerated(net: nn.Module, *, precision: Precision = "half") -> nn.Module:
    """`net` in the form that renders fastest on the device it is on: a comb as `FastComb`, any
    other network as it is."""
    return FastComb(net, precision=precision) if isinstance(net, Comb) else net


class FastComb(nn.Module):
    """A finished comb for rendering: same `swap`, `size`, `needs` and `settings` as `Comb`.

    Layers run in `half_type` (precision "half"; "single" keeps float32). The colour heads and the
    levels up to 16×16, which are cheap, stay in float32: there rounding costs most. Weights are
    copied, so the comb may go.

    Crops run in batches of one fixed size, the last one padded, since kernels (and so the last
    bits) are chosen by batch size: what else is in a batch never changes a crop's pixels. On
    CPUs the size is 1, on GPUs `CUDA_BATCH`.
    """

    def __init__(self, comb: Comb, *, precision: Precision = "half") -> None:
        super().__init__()
        device = next(comb.parameters()).device
        self.settings = comb.settings
        self.dtype = half_type(device) if precision == "half" else torch.float32
        self.batch = 1 if device.type == "cpu" else CUDA_BATCH
        self.encoder = self._packed(comb.encoder)
        self.trunk = self._packed(comb.trunk)
        self._teeth = {name: self._packed(tooth) for name, tooth in comb.decoders.items()}
        self.decoders = nn.ModuleDict(self._teeth)

    @property
    def size(self) -> int:
        """Side of the square crops in pixels."""
        return self.settings.crop_px

    @property
    def needs(self) -> Needs:
        return Needs(size_px=self.size, channels=3, multiple_of=self.size, half=True)

    @torch.inference_mode()
    def swap(self, x: Tensor, persona: str) -> Tensor:
        """Crops [B, 3, r, r], normalised, to faces [B, 3, r, r] float32 in 0…1 as `persona`.

        Raises KeyError for a persona it does not hold, ValueError for crops of another size,
        VfxSwapError when not even one crop fits in memory. Warns LowMemoryWarning and goes on in
        smaller batches when the usual ones do not fit.
        """
        if x.ndim != 4 or tuple(x.shape[1:]) != (3, self.size, self.size):
            wanted = f"[B, 3, {self.size}, {self.size}]"
            raise ValueError(f"crops of shape {tuple(x.shape)}, wanted {wanted}")
        while True:
            try:
                return self._swap(x, persona)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                if self.batch == 1:
                    raise VfxSwapError(
                        f"memory does not hold one crop of {self.size} pixels on {x.device}"
                    ) from None
                self.batch //= 2
                warnings.warn(
                    f"out of memory: batches of {self.batch} from now on", LowMemoryWarning, 2
                )

    def _swap(self, x: Tensor, persona: str) -> Tensor:
        faces = torch.empty_like(x, dtype=torch.float32, memory_format=torch.contiguous_format)
        for start in range(0, len(x), self.batch):
            part = x[start : start + self.batch]
            held = len(part)
            if held < self.batch:
                part = torch.cat([part, part[-1:].expand(self.batch - held, -1, -1, -1)])
            faces[start : start + held] = self._swap_batch(part, persona)[:held]
        return faces

    def _swap_batch(self, x: Tensor, persona: str) -> Tensor:
        tooth = self._teeth[persona]
        top = self.settings.level
        h = self.encoder.heads[str(top)](x.float().contiguous(memory_format=torch.channels_last))
        for level in range(top, -1, -1):
            h = self.encoder.blocks[str(level)](h.to(self._type_of(level)))
        for level in range(top + 1):
            stack = self.trunk if level < TIED_LEVELS else tooth
            h = stack.blocks[str(level)](h.to(self._type_of(level)))
        face: Tensor = (self.trunk if top < TIED_LEVELS else tooth).heads[str(top)](h.float())
        return face

    def _type_of(self, level: int) -> torch.dtype:
        return torch.float32 if level < SINGLE_LEVELS else self.dtype

    def _packed(self, stack: nn.Module) -> Stack:
        assert isinstance(stack, Stack)
        packed = copy.deepcopy(stack).eval().requires_grad_(False)
        for level, block in packed.blocks.items():
            block.to(self._type_of(int(level)))
        return packed.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _cpu_has_bfloat16() -> bool:
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        found = capabilities()
        return any(bool(found.get(name)) for name in ("avx512_bf16", "amx_bf16"))
    older = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in older)


def _out_of_memory(error: RuntimeError) -> bool:
    # CPUs raise a bare RuntimeError for it.
    texts = ("can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(t in str(error) for t in texts)
