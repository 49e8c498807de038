"""`vfxswap bench style`: what conditional normalisation and strips cost beside a plain network.

The plain network has the same layout with the parameters of one style folded in as those of an
ordinary instance normalisation, and runs the whole plate at once: what one would train per style.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vfxswap.bench import Row, machine
from vfxswap.errors import JobError
from vfxswap.io.weights import find_model, load_net
from vfxswap.nets.style import EPSILON, StyleNet, padded, prepared, screens_of, toned
from vfxswap.nets.style_strips import bytes_per_pixel, styled


class PlainNet(nn.Module):
    """One style of a `StyleNet` as a network of its own; the reference for times and pixels."""

    def __init__(self, net: StyleNet, style: str) -> None:
        super().__init__()
        row = net.styles.index(style)
        self.layers = net.layers
        self.kernels = nn.ParameterDict({n: net.kernel(la) for n, la in net.layers.items()})
        self.gamma, self.beta = net.gamma[row], net.beta[row]
        self.screened, columns = net.settings.screens, net.screen_columns
        self.screen_gamma = self.gamma[columns, None, None]
        self.screen_beta = self.beta[columns, None, None]

    def forward(self, picture: Tensor) -> Tensor:
        """[1, 3, H, W] net space to the same in the style."""
        x = before = prepared(padded(picture))
        seen = screens_of(x) * self.screen_gamma + self.screen_beta if self.screened else None
        for name, layer in self.layers.items():
            if name.endswith("a"):
                before = x
            if layer.up > 1:
                x = F.interpolate(x, scale_factor=layer.up, mode="nearest")
            if layer.screened and seen is not None:
                x = torch.cat([x, seen], 1)
            x = F.pad(x, (layer.kernel // 2,) * 4, mode="reflect")
            x = F.conv2d(x, self.kernels[name], stride=layer.stride)
            span = slice(layer.start, layer.stop)
            x = F.instance_norm(x, weight=self.gamma[span], bias=self.beta[span], eps=EPSILON)
            x = F.relu_(x) if layer.relu else x
            x = before + x if name.endswith("b") else x
        return toned(x)[..., : picture.shape[-2], : picture.shape[-1]]


@torch.inference_mode()
def style_rows(
    model: str, *, sizes: str, runs: int, device: torch.device | str = "cpu"
) -> list[Row]:
    """Median seconds of both networks by turns at each of `sizes` ("1920x1080,4096x2160"), their
    largest difference in net space, and the memory of the process before the plain one ran.

    Raises JobError for a size that is none and a model of something else, ModelError.
    """
    place = torch.device(device)
    stored = find_model(model)
    net = load_net(stored.card, stored.folder, device=place)
    if not isinstance(net, StyleNet):
        raise JobError("not a model of styles", got=model)
    style = net.styles[0]
    plain, weights = PlainNet(net, style), net.row({style: 1.0})
    rows = [machine(place)]
    for width, height in _sizes(sizes):
        generator = torch.Generator().manual_seed(4)
        rough = torch.rand(1, 3, height // 8, width // 8, generator=generator)
        picture = F.interpolate(rough, size=(height, width), mode="bicubic").to(place) * 0.5
        by_strips = styled(net, picture, weights)
        peak = _peak_gib()
        whole = plain(picture)
        off = float((by_strips - whole).abs().max())
        del by_strips, whole
        times: dict[str, list[float]] = {"strips": [], "plain": []}
        for _ in range(runs):
            times["strips"].append(_seconds(partial(styled, net, picture, weights), place))
            times["plain"].append(_seconds(partial(plain, picture), place))
        strips, one = (statistics.median(times[k]) for k in ("strips", "plain"))
        said = {"size": f"{width}x{height}", "runs": runs, "widths": list(net.settings.widths)}
        rows += [
            _row(f"style {width}x{height}", strips, "s", said),
            _row(f"plain network {width}x{height}", one, "s", said),
            _row(f"style over plain {width}x{height}", strips / one, "", said),
            _row(f"largest difference {width}x{height}", off, "net space", said, wanted="< 0.001"),
            _row(f"peak memory so far {width}x{height}", peak, "GiB", said, wanted="< 6"),
        ]
    stated = bytes_per_pixel(net)
    rows.append(_row("features between layers", stated, "bytes a pixel", {}))
    return rows


def _sizes(text: str) -> list[tuple[int, int]]:
    found = []
    for word in text.split(","):
        width, x, height = word.partition("x")
        if not (x and width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 16):
            raise JobError("not a size", got=word, wanted="1920x1080")
        found.append((int(width), int(height)))
    return found


def _seconds(work: Callable[[], Tensor], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _peak_gib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _row(name: str, value: float, unit: str, settings: dict[str, object], wanted: str = "") -> Row:
    return {"name": name, "value": value, "unit": unit, "wanted": wanted, "settings": settings}
