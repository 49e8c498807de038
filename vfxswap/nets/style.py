"""Many styles in one feed-forward network: a style is a row of normalisation parameters.

Dumoulin, Shlens & Kudlur 2017, "A Learned Representation for Artistic Style": every convolution
is followed by conditional instance normalisation, z = γ_s (x - μ)/σ + β_s, the last one too; all
other weights are shared. At full width and five residual blocks that is 1.67 million shared
numbers and 3,206 a style (theirs: about 1.6 M and 3.2 K).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vfxswap.nets.layers import Needs
from vfxswap.nets.screens import SCREENS, place_hash, screens
from vfxswap.settings import Settings

EPSILON = 1e-5
BLACK, WHITE = 0.0729055341958355, 0.5547945205479452
"""Linear 0 and 1 in net space."""
KNEE = 0.06
"""Net space beyond black and white over which the input bends to its limit: about a stop."""
DARKEST, SPAN = 0.04, 0.54
"""Range of the output: net space 0.04 … 0.58, linear -0.003 … 1.36."""
MULTIPLE = 4
GRAIN = 0.15
"""Amplitude of the still grain on the input, where black is -1 and white 1: out of a plain area
convolutions alone can make no strokes."""
Place = tuple[int, int]
"""Column and row in the plane of grain and screens."""


class StyleSettings(Settings):
    """Layout of a style network and the names of its styles."""

    styles: tuple[str, ...] = Field(min_length=1, description="Names, in the order of the rows.")
    widths: tuple[int, int, int] = Field(
        default=(32, 64, 128), description="Channels at full and half size, and in the blocks."
    )
    blocks: int = Field(default=5, ge=1, le=16, description="Residual blocks.")
    trunk: Literal[2, 4] = Field(
        default=4,
        description="By what the picture's side is divided in the residual blocks; published 4. At "
        "2 a stroke is twice as many samples wide there: fine lines come out clean.",
    )
    screens: bool = Field(
        default=False,
        description="down2 and up2 see the still screens of `vfxswap.nets.screens` too, which say "
        "where a dot, a pane or a stitch lies; each style has a γ and β for every one.",
    )


class Layer(NamedTuple):
    """A convolution and its normalisation: reads `up` times enlarged input; `at` says by what the
    picture's side is divided behind it; `screened` ones read the screens behind their input; the
    parameters are columns `start`…`stop` of the table."""

    name: str
    kernel: int
    stride: int
    up: int
    at: int
    relu: bool
    screened: bool
    start: int
    stop: int


class StyleNet(nn.Module):
    """Pictures in net space to pictures in net space, in any blend of the stored styles."""

    settings_type: ClassVar[type[Settings]] = StyleSettings
    settings: StyleSettings

    def __init__(self, settings: StyleSettings) -> None:
        """Raises ValueError when a style's name appears twice."""
        super().__init__()
        if len(set(settings.styles)) < len(settings.styles):
            raise ValueError(f"style names {', '.join(settings.styles)} are not unique")
        self.settings = settings
        self.convs = nn.ModuleDict()
        self.layers: dict[str, Layer] = {}
        start = 0
        for name, channels, out, kernel, stride, up, at in _table(settings):
            # Not "same" padding: edges are reflected, and statistics remove a bias at once.
            screened = settings.screens and name in ("down2", "up2")
            channels += len(SCREENS) * screened
            self.convs[name] = nn.Conv2d(channels, out, kernel, stride, bias=False)
            relu = name != "out" and not name.endswith("b")
            self.layers[name] = Layer(
                name, kernel, stride, up, at, relu, screened, start, start + out
            )
            start += out
        self.screen_columns = slice(start, start + len(SCREENS) * settings.screens)
        start = self.screen_columns.stop
        self.gamma = nn.Parameter(torch.ones(len(settings.styles), start))
        self.beta = nn.Parameter(torch.zeros(len(settings.styles), start))

    @property
    def needs(self) -> Needs:
        """Any size from 16 × 16 on: edges are padded inside to whole quarters."""
        return Needs(size_px=0, channels=3, multiple_of=1, half=True)

    @property
    def styles(self) -> tuple[str, ...]:
        """Names by row."""
        return self.settings.styles

    @property
    def numbers_per_style(self) -> int:
        """Length of a row: γ and β together."""
        return 2 * int(self.gamma.shape[1])

    def kernel(self, layer: Layer) -> Tensor:
        """Weights [out, in, k, k] of a layer's convolution."""
        conv = self.convs[layer.name]
        assert isinstance(conv, nn.Conv2d)
        return conv.weight

    def shared(self) -> Iterator[nn.Parameter]:
        """What all styles share."""
        return self.convs.parameters()

    def row(self, weights: Mapping[str, float]) -> Tensor:
        """[1, S] blend weights that sum to 1. Raises KeyError for a style it does not have,
        ValueError when the weights are negative or all zero."""
        row = self.gamma.new_zeros(1, len(self.styles))
        for name, weight in weights.items():
            if name not in self.styles:
                raise KeyError(name)
            if weight < 0:
                raise ValueError(f"weight of {name} is {weight}")
            row[0, self.styles.index(name)] += weight
        if not float(row.sum()) > 0:
            raise ValueError("the weights of all styles are zero")
        return row / row.sum()

    def forward(self, net: Tensor, weights: Tensor, *, origins: Sequence[Place] = ()) -> Tensor:
        """`net` [B, 3, H, W] in the styles that `weights` name: [N, S], or [N, S, H, W] where they
        vary over the picture; they sum to 1 over S. One picture (B = 1) may be given in N styles.

        `origins`, one for each picture, are where they lie in the plane of grain and screens, for
        training; (0, 0) without. Returns [N, 3, H, W] in net space,
        0.04 … 0.58. Plain and differentiable: the reference of
        `style_strips.styled`, which renders use.
        """
        height, width = net.shape[-2:]
        maps = by_size(padded(weights)) if weights.ndim == 4 else dict.fromkeys((1, 2, 4), weights)
        x = prepared(padded(net), origins=origins)
        seen = None
        if self.settings.screens:
            seen = self.chosen(screens_of(x, origins=origins), maps[1])
        for name, layer in self.layers.items():
            if name.endswith("a"):
                before = x
            x = self._convolved(x, layer, maps[layer.at], seen)
            if name.endswith("b"):
                x = before + x
        return toned(x.float())[..., :height, :width]

    def _convolved(self, x: Tensor, layer: Layer, weights: Tensor, seen: Tensor | None) -> Tensor:
        if layer.up > 1:
            x = F.interpolate(x, scale_factor=layer.up, mode="nearest")
        if layer.screened:
            assert seen is not None
            x = torch.cat([x.expand(len(seen), -1, -1, -1), seen.to(x.dtype)], 1)
        x = F.pad(x, (layer.kernel // 2,) * 4, mode="reflect")
        x = self.convs[layer.name](x)
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
        scale, shift = self.affine(layer, weights, mean, variance)
        x = torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))
        return F.relu(x) if layer.relu else x

    def chosen(self, seen: Tensor, weights: Tensor) -> Tensor:
        """Screens [B or 1, K, H, W] as styles want them: each times its γ, plus its β. `weights`
        are [N, S], or [N, S, H, W] of the same pixels."""
        gamma, beta = self._rows(self.screen_columns, weights)
        return torch.addcmul(beta, seen, gamma)

    def _rows(self, columns: slice, weights: Tensor) -> tuple[Tensor, Tensor]:
        """γ and β of a blend, [N, C, 1, 1] or [N, C, h, w]."""
        tables = (self.gamma[:, columns], self.beta[:, columns])
        if weights.ndim == 2:
            gamma, beta = ((weights @ t)[..., None, None] for t in tables)
        else:
            gamma, beta = (torch.einsum("nshw,sc->nchw", weights, t) for t in tables)
        return gamma, beta

    def affine(
        self, layer: Layer, weights: Tensor, mean: Tensor, variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scale and shift that normalise and restyle, [N, C, 1, 1] or, for weights that vary over
        the picture, [N, C, h, w]. `mean` and `variance` are [B, C, 1, 1]."""
        gamma, beta = self._rows(slice(layer.start, layer.stop), weights)
        scale = gamma * torch.rsqrt(variance + EPSILON)
        return scale, beta - mean * scale

    @torch.no_grad()
    def with_style(self, name: str, *, like: Mapping[str, float] | None = None) -> StyleNet:
        """A copy with one style more, the last row: a blend of others (all alike without `like`).

        Raises ValueError when the name is taken.
        """
        if name in self.styles:
            raise ValueError(f"the network already has a style {name}")
        grown = StyleNet(self.settings.model_copy(update={"styles": (*self.styles, name)}))
        grown.convs.load_state_dict(self.convs.state_dict())
        blend = self.row(like or dict.fromkeys(self.styles, 1.0))
        for mine, table in ((grown.gamma, self.gamma), (grown.beta, self.beta)):
            mine.copy_(torch.cat([table, blend @ table]))
        return grown.to(self.gamma.device)

    @torch.no_grad()
    def only(self, styles: Sequence[str]) -> StyleNet:
        """A copy with these rows alone."""
        small = StyleNet(self.settings.model_copy(update={"styles": tuple(styles)}))
        small.convs.load_state_dict(self.convs.state_dict())
        index = [self.styles.index(name) for name in styles]
        small.gamma.copy_(self.gamma[index])
        small.beta.copy_(self.beta[index])
        return small.to(self.gamma.device)


def prepared(net: Tensor, *, origins: Sequence[Place] = ()) -> Tensor:
    """Net space [B, 3, H, W] with black at -1 and white at 1, bent to a limit about a stop beyond
    either, so that no lamp rules the statistics; with still grain from each of `origins` on."""
    over, under = (net - WHITE).clamp(min=0), (BLACK - net).clamp(min=0)
    bent = net.clamp(BLACK, WHITE) + KNEE * (torch.tanh(over / KNEE) - torch.tanh(under / KNEE))
    height, width = net.shape[-2:]
    planes = [still_grain(height, width, origin=o, device=net.device) for o in origins or [(0, 0)]]
    return (bent - BLACK) * (2 / (WHITE - BLACK)) - 1 + GRAIN * torch.cat(planes)


def still_grain(
    height: int, width: int, *, origin: Place = (0, 0), device: torch.device | str = "cpu"
) -> Tensor:
    """[1, 1, H, W] white noise in -1…1 that depends on the pixel's place alone, on every device:
    an integer hash, so frames of a shot have the same."""
    x = torch.arange(width, device=device, dtype=torch.int64)[None] + origin[0]
    y = torch.arange(height, device=device, dtype=torch.int64)[:, None] + origin[1]
    return place_hash(x, y, 0)[None, None]


def screens_of(picture: Tensor, *, origins: Sequence[Place] = ()) -> Tensor:
    """[B or 1, K, H, W]: the screens of pictures [B, C, H, W] from each of `origins` on."""
    height, width = picture.shape[-2:]
    planes = [
        screens(torch.arange(width) + x, torch.arange(height) + y, picture.device)
        for x, y in origins or [(0, 0)]
    ]
    return torch.cat(planes)


def toned(x: Tensor) -> Tensor:
    """The last layer's values as net space."""
    return DARKEST + SPAN * torch.sigmoid(x)


def padded(picture: Tensor) -> Tensor:
    """Right and bottom repeated to whole quarters (statistics include these few lines)."""
    height, width = picture.shape[-2:]
    missing = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    return F.pad(picture, missing, mode="replicate") if any(missing) else picture


def by_size(weights: Tensor) -> dict[int, Tensor]:
    """Weights [N, S, H, W] at full, half and quarter size."""
    return {at: F.avg_pool2d(weights, at) if at > 1 else weights for at in (1, 2, 4)}


def _table(settings: StyleSettings) -> Iterator[tuple[str, int, int, int, int, int, int]]:
    """Name, channels in and out, kernel, stride, enlargement before, divisor of the size."""
    full, half, inner = settings.widths
    size = settings.trunk
    yield "down1", 3, full, 9, 1, 1, 1
    yield "down2", full, half, 3, 2, 1, 2
    yield "down3", half, inner, 3, size // 2, 1, size
    for block in range(1, settings.blocks + 1):
        yield f"block{block}a", inner, inner, 3, 1, 1, size
        yield f"block{block}b", inner, inner, 3, 1, 1, size
    yield "up1", inner, half, 3, 1, size // 2, 2
    yield "up2", half, full, 3, 1, 2, 1
    yield "out", full, 3, 9, 1, 1, 1
