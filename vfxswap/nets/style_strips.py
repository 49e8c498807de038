"""A style network over plates of any size: strip by strip, with the statistics of the whole.

Each layer runs over the whole picture before the next begins, in strips of rows that see their
neighbours, so instance normalisation has its global mean and variance and no strip shows. What is
kept between layers is one picture of features before and one behind a convolution, about
`bytes_per_pixel` of the plate, with the screens as bytes; the strips' own working memory is bounded
by `STRIP_BYTES`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap.nets.screens import SCREENS, packed, screens, unpacked
from vfxswap.nets.style import MULTIPLE, Layer, StyleNet, by_size, padded, prepared, toned

STRIP_BYTES = 96 << 20
"""Of the largest tensor of a strip; a convolution holds a few of them."""
SCREEN_ROWS = 32
"""Rows of screens made at a time."""


def bytes_per_pixel(net: StyleNet, *, bytes_a_number: int = 4) -> float:
    """Features held at once at the worst moment, for each pixel of the plate and each style."""
    full, half, inner = net.settings.widths
    block = inner / net.settings.trunk**2
    pairs = (3 + full, full + half / 4, half / 4 + block, 3 * block, full + 3)
    return bytes_a_number * max(pairs) + len(SCREENS) * net.settings.screens


@torch.inference_mode()
def styled(net: StyleNet, picture: Tensor, weights: Tensor, *, rows: int = 0) -> Tensor:
    """What `net(picture, weights)` gives, in float32, for pictures of any size.

    `picture` [1, 3, H, W] in net space, finite; `weights` [N, S] or [N, S, H, W]. `rows` is the
    height of the strips at full size; 0 takes what fits in `STRIP_BYTES`. Returns [N, 3, H, W].
    """
    height, width = picture.shape[-2:]
    maps = by_size(padded(weights)) if weights.ndim == 4 else dict.fromkeys((1, 2, 4), weights)
    x = _Features(prepared(padded(picture)))
    seen = _screens(x.held) if net.settings.screens else None
    block = x
    for name, layer in net.layers.items():
        if name.endswith("a"):
            block = x = x.settled(_strip_rows(net, layer, x, len(weights), rows))
        high = _strip_rows(net, layer, x, len(weights), rows)
        x = _run(net, layer, x, maps, high, seen if layer.screened else None)
        if name.endswith("b"):
            x = x.added_to(block.held, _strip_rows(net, layer, x, len(weights), rows))
    x = x.settled(_strip_rows(net, layer, x, len(weights), rows))
    return toned(x.held)[..., :height, :width]


@dataclass(eq=False)
class _Features:
    """Features as a convolution left them, with the normalisation that readers still apply."""

    held: Tensor
    net: StyleNet | None = None
    layer: Layer | None = None
    weights: Tensor | None = None
    mean: Tensor | None = None
    variance: Tensor | None = None

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows `start`…`stop` as the next layer reads them; those beyond an edge are mirrored."""
        height = self.held.shape[-2]
        if start >= 0 and stop <= height:
            return self._normalised(self.held[..., start:stop, :], slice(start, stop))
        index = _mirrored(start, stop, height).to(self.held.device)
        return self._normalised(self.held[..., index, :], index)

    def settled(self, rows: int) -> _Features:
        """The same with the normalisation done, in place."""
        if self.layer is None:
            return self
        for start in range(0, self.held.shape[-2], rows):
            part = self.held[..., start : start + rows, :]
            part.copy_(self.rows(start, start + part.shape[-2]))
        return _Features(self.held)

    def added_to(self, before: Tensor, rows: int) -> _Features:
        """`before` plus these, in the place of `before`."""
        for start in range(0, before.shape[-2], rows):
            part = before[..., start : start + rows, :]
            part += self.rows(start, start + part.shape[-2])
        return _Features(before)

    def _normalised(self, part: Tensor, index: slice | Tensor) -> Tensor:
        if self.layer is None:
            return part
        assert self.net is not None and self.weights is not None
        assert self.mean is not None and self.variance is not None
        weights = self.weights if self.weights.ndim == 2 else self.weights[..., index, :]
        scale, shift = self.net.affine(self.layer, weights, self.mean, self.variance)
        part = torch.addcmul(shift, part, scale)
        return F.relu_(part) if self.layer.relu else part


def _screens(picture: Tensor) -> Tensor:
    """The screens of a picture, packed; made in few rows, whose planes stay in the cache."""
    height, width = picture.shape[-2:]
    kept = torch.empty(1, len(SCREENS), height, width, dtype=torch.int8, device=picture.device)
    for start in range(0, height, SCREEN_ROWS):
        index = torch.arange(start, min(height, start + SCREEN_ROWS))
        found = screens(torch.arange(width), index, picture.device)
        kept[..., start : start + len(index), :] = packed(found)
    return kept


def _run(
    net: StyleNet,
    layer: Layer,
    x: _Features,
    maps: dict[int, Tensor],
    rows: int,
    seen: Tensor | None,
) -> _Features:
    """A convolution over all strips, its raw output with mean and variance over the whole. `maps`
    are the weights by size, `seen` the packed screens of a layer that reads them."""
    kernel, weights = net.kernel(layer), maps[layer.at]
    high, wide = x.held.shape[-2:]
    count = len(weights) if x.weights is not None or seen is not None else len(x.held)
    height, width = high * layer.up // layer.stride, wide * layer.up // layer.stride
    out = x.held.new_empty(count, len(kernel), height, width)
    reach = layer.kernel // 2
    total, mean, spread = 0, x.held.new_zeros(()).double(), x.held.new_zeros(()).double()
    for start in range(0, height, rows):
        stop = min(height, start + rows)
        first, last = start * layer.stride - reach, (stop - 1) * layer.stride + reach + 1
        part = _enlarged(x, first, last, layer.up)
        if seen is not None:
            index = _mirrored(first, last, high * layer.up)
            places = weights if weights.ndim == 2 else maps[1][..., index, :]
            own = net.chosen(unpacked(seen[..., index.to(seen.device), :]), places)
            part = torch.cat([part.expand(len(own), -1, -1, -1), own], 1)
        part = F.pad(part, (reach, reach, 0, 0), mode="reflect")
        made = F.conv2d(part, kernel, stride=layer.stride)
        out[..., start:stop, :] = made
        variance, average = torch.var_mean(made, (2, 3), correction=0, keepdim=True)
        # Chan, Golub & LeVeque 1979: strips' moments joined without cancellation.
        pixels = (stop - start) * width
        step = average.double() - mean
        spread = spread + variance.double() * pixels + step**2 * (total * pixels / (total + pixels))
        mean = mean + step * (pixels / (total + pixels))
        total += pixels
    return _Features(out, net, layer, weights, mean.float(), (spread / total).float())


def _enlarged(x: _Features, first: int, last: int, up: int) -> Tensor:
    """Rows `first`…`last` of the features enlarged `up` times, mirrored at the enlarged edges."""
    if up == 1:
        return x.rows(first, last)
    high = x.held.shape[-2] * up
    index = _mirrored(first, last, high) // up
    low = int(index.min())
    part = x.rows(low, int(index.max()) + 1)
    return part[..., (index - low).to(part.device), :].repeat_interleave(up, 3)


def _mirrored(start: int, stop: int, height: int) -> Tensor:
    """Rows `start`…`stop` of a picture, mirrored at its edges; int64 on the CPU."""
    index = torch.arange(start, stop).abs()
    return torch.where(index >= height, 2 * (height - 1) - index, index)


def _strip_rows(net: StyleNet, layer: Layer, x: _Features, styles: int, rows: int) -> int:
    """Height of a strip at the layer's own size."""
    if rows:
        return max(1, rows // layer.at)
    wide = x.held.shape[-1] * layer.up
    channels = max(net.kernel(layer).shape[:2])
    fits = STRIP_BYTES // (4 * channels * wide * max(len(x.held), styles))
    return max(MULTIPLE, int(fits) // MULTIPLE * MULTIPLE)
