"""A style network in the form that Nuke's Inference node takes: TorchScript, one picture in, one
out, in one style.

It is the network alone: mattes, areas, held colour and highlights are the effect's. A swap is not
fit for this form, since it needs tracks. Making a `.cat` file of it (CatFileCreator) and running
it in Nuke were not tried: no Nuke was at hand.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vfxswap import color
from vfxswap.files import atomic_path
from vfxswap.nets.screens import place_hash, screens
from vfxswap.nets.style import (
    BLACK,
    DARKEST,
    EPSILON,
    GRAIN,
    KNEE,
    MULTIPLE,
    SPAN,
    WHITE,
    Layer,
    StyleNet,
)

LEAST_SIDE_PX = 16


class _Step(nn.Module):
    """A convolution with its normalisation in one style; the plain numbers of its `Layer`."""

    def __init__(self, net: StyleNet, layer: Layer, weights: Tensor) -> None:
        super().__init__()
        columns = slice(layer.start, layer.stop)
        self.weight = _fixed(net.kernel(layer))
        self.gamma = _fixed((weights @ net.gamma[:, columns])[..., None, None])
        self.beta = _fixed((weights @ net.beta[:, columns])[..., None, None])
        self.pad, self.stride, self.up = layer.kernel // 2, layer.stride, layer.up
        self.relu, self.epsilon = layer.relu, EPSILON
        self.screened = layer.screened
        columns = net.screen_columns
        self.screen_gamma = _fixed((weights @ net.gamma[:, columns])[..., None, None])
        self.screen_beta = _fixed((weights @ net.beta[:, columns])[..., None, None])
        self.keeps, self.adds = layer.name.endswith("a"), layer.name.endswith("b")

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        if self.up > 1:
            x = F.interpolate(x, scale_factor=float(self.up), mode="nearest")
        if self.screened:
            chosen = seen.to(x.dtype) * self.screen_gamma + self.screen_beta
            x = torch.cat([x, chosen.expand(x.shape[0], -1, -1, -1)], 1)
        x = F.pad(x, [self.pad, self.pad, self.pad, self.pad], mode="reflect")
        x = F.conv2d(x.to(self.weight.dtype), self.weight, stride=[self.stride, self.stride])
        plain = x.float()
        mean = plain.mean(dim=[2, 3], keepdim=True)
        variance = plain.var(dim=[2, 3], unbiased=False, keepdim=True)
        scale = self.gamma.float() * torch.rsqrt(variance + self.epsilon)
        shift = self.beta.float() - mean * scale
        x = (plain * scale + shift).to(x.dtype)
        return F.relu(x) if self.relu else x


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=False)


class StyleForNuke(nn.Module):
    """Scene-linear pictures [N, 3, H, W] in the working space (ACEScg unless a studio says
    otherwise) to such pictures in one style, or one blend; of any size, float or half, on the
    device of its weights. What is not finite counts as black; the result is -0.003 … 1.36."""

    def __init__(self, net: StyleNet, style: Mapping[str, float]) -> None:
        """`style`: weights by name. Raises KeyError, ValueError as `StyleNet.row`."""
        super().__init__()
        weights = net.row(style)
        self.steps = nn.ModuleList(_Step(net, layer, weights) for layer in net.layers.values())
        # The log curve of vfxswap.color, whose functions TorchScript cannot take.
        self.cut, self.slope, self.offset = color._CUT, color._SLOPE, color._OFFSET
        self.black_stops, self.stops = color._BLACK_STOPS, color._STOPS
        self.cut_net = color._CUT_NET
        self.screened = net.settings.screens
        self.multiple, self.least = MULTIPLE, LEAST_SIDE_PX
        self.black, self.white, self.knee = BLACK, WHITE, KNEE
        self.darkest, self.span, self.grain = DARKEST, SPAN, GRAIN

    def forward(self, picture: Tensor) -> Tensor:
        """See the class."""
        height, width = picture.shape[2], picture.shape[3]
        x = torch.nan_to_num(picture.float(), nan=0.0, posinf=0.0, neginf=0.0)
        high, wide = max(height, self.least), max(width, self.least)
        high += -high % self.multiple
        wide += -wide % self.multiple
        x = F.pad(x, [0, wide - width, 0, high - height], mode="replicate")
        x = self.prepared(self.to_net(x))
        before = seen = x
        if self.screened:
            seen = screens(torch.arange(wide), torch.arange(high), x.device)
        for step in self.steps:
            if step.keeps:
                before = x
            x = step(x, seen)
            if step.adds:
                x = before + x
        net = self.darkest + self.span * torch.sigmoid(x.float())
        return self.from_net(net)[:, :, :height, :width].to(picture.dtype)

    def to_net(self, linear: Tensor) -> Tensor:
        """As vfxswap.color.to_net."""
        toe = linear.clamp(max=self.cut) * self.slope + self.offset
        log = (linear.clamp(min=self.cut).log2() + self.black_stops) / self.stops
        return torch.where(linear <= self.cut, toe, log)

    def from_net(self, net: Tensor) -> Tensor:
        """As vfxswap.color.from_net."""
        toe = (net.clamp(max=self.cut_net) - self.offset) / self.slope
        log = (net.clamp(min=self.cut_net) * self.stops - self.black_stops).exp2()
        return torch.where(net <= self.cut_net, toe, log)

    def prepared(self, net: Tensor) -> Tensor:
        """As vfxswap.nets.style.prepared."""
        over = (net - self.white).clamp(min=0.0)
        under = (self.black - net).clamp(min=0.0)
        bent = torch.tanh(over / self.knee) - torch.tanh(under / self.knee)
        kept = net.clamp(self.black, self.white) + self.knee * bent
        scaled = (kept - self.black) * (2 / (self.white - self.black)) - 1
        return scaled + self.grain * self.still_grain(net)

    def still_grain(self, net: Tensor) -> Tensor:
        """As vfxswap.nets.style.still_grain, for a picture of this size."""
        x = torch.arange(net.shape[3], device=net.device, dtype=torch.int64)[None]
        y = torch.arange(net.shape[2], device=net.device, dtype=torch.int64)[:, None]
        return place_hash(x, y, 0)[None, None]


def scripted(net: StyleNet, style: Mapping[str, float]) -> torch.jit.ScriptModule:
    """The scripted module, as CatFileCreator wants it."""
    module = torch.jit.script(StyleForNuke(net, style).eval())
    assert isinstance(module, torch.jit.ScriptModule)
    return module


def write_script(
    path: str | os.PathLike[str], net: StyleNet, style: Mapping[str, float], *, half: bool = False
) -> None:
    """Writes the `.pt` file of one style. Raises KeyError, ValueError as `StyleNet.row`,
    OutputError."""
    module = StyleForNuke(net, style).eval()
    made = torch.jit.script(module.half() if half else module)
    with atomic_path(path) as temporary:
        torch.jit.save(made, str(temporary))
