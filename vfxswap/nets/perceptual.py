"""A classifier whose features measure content and style: VGG's layout at any width.

Simonyan & Zisserman 2015, with mean pooling (Gatys et al. 2016 found it kinder to pictures).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vfxswap.color import from_net
from vfxswap.settings import Settings

BLACK, WHITE = 0.0729055341958355, 0.5547945205479452
"""Linear 0 and 1 in net space."""
PIXELS = "pixels"
"""Name of the features that are the picture."""
CHROMA = 3.0
"""Gain of colour differences: a tint of a monochrome style is seen at once."""


class PerceptualSettings(Settings):
    """Layout of a classifier."""

    widths: tuple[int, ...] = Field(
        default=(32, 64, 96, 128), description="Channels of each block; half the size after each."
    )
    convs: tuple[int, ...] = Field(default=(2, 2, 2, 2), description="3 × 3 convolutions a block.")
    classes: int = Field(default=0, ge=0, description="Outputs of the head; 0 for none.")
    batch_norm: bool = Field(default=False, description="While it is trained; folded away after.")
    input: Literal["net", "imagenet"] = Field(
        default="net",
        description="net: black 0, white 1 on the log curve; imagenet: sRGB code values, "
        "normalised as torchvision's VGG wants them.",
    )


class Perceptual(nn.Module):
    """Features by name: "relu1_2" is the second convolution of the first block, rectified;
    "pixels" the input as light and two differences of colour, which count `CHROMA` times, and a
    channel of ones, so that their products hold mean colour, contrast and saturation.

    Input [B, 3, H, W] in net space, sides at least 2 to the power of the blocks.
    """

    settings_type: ClassVar[type[Settings]] = PerceptualSettings
    settings: PerceptualSettings

    def __init__(self, settings: PerceptualSettings) -> None:
        super().__init__()
        self.settings = settings
        self.convs = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        channels = 3
        for block, (width, count) in enumerate(zip(settings.widths, settings.convs), 1):
            for k in range(1, count + 1):
                self.convs[f"{block}_{k}"] = nn.Conv2d(channels, width, 3, padding=1)
                if settings.batch_norm:
                    self.norms[f"{block}_{k}"] = nn.BatchNorm2d(width)
                channels = width
        self.head = nn.Linear(channels, settings.classes) if settings.classes else None

    def conv(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias of a convolution, by its name: "1_2"."""
        layer = self.convs[name]
        assert isinstance(layer, nn.Conv2d) and layer.bias is not None
        return layer.weight, layer.bias

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the features, first to last."""
        return (PIXELS, *(f"relu{name}" for name in self.convs))

    def forward(self, net: Tensor, wanted: tuple[str, ...]) -> dict[str, Tensor]:
        """The `wanted` features; nothing deeper than the last of them is computed."""
        found: dict[str, Tensor] = {}
        x = self.prepared(net)
        if PIXELS in wanted:
            found[PIXELS] = _opponent(x)
        if len(found) == len(set(wanted)):
            return found
        block = "1"
        for name, conv in self.convs.items():
            if name[0] != block:
                block, x = name[0], F.avg_pool2d(x, 2)
            x = conv(x)
            if name in self.norms:
                x = self.norms[name](x)
            x = F.relu(x)
            if f"relu{name}" in wanted:
                found[f"relu{name}"] = x
                if len(found) == len(set(wanted)):
                    break
        return found

    def scores(self, net: Tensor) -> Tensor:
        """Class scores [B, classes] by the mean of the last layer over space."""
        if self.head is None:
            raise ValueError("a classifier without a head has no scores")
        last = self.layers[-1]
        scores: Tensor = self.head(self.forward(net, (last,))[last].mean((2, 3)))
        return scores

    def prepared(self, net: Tensor) -> Tensor:
        """Net space as the first convolution wants it."""
        if self.settings.input == "net":
            return (net - BLACK) * (2 / (WHITE - BLACK)) - 1
        linear = from_net(net.float()).clamp(0, 1)
        code = torch.where(
            linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-4) ** (1 / 2.4) - 0.055
        )
        mean = code.new_tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        deviation = code.new_tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        return (code - mean) / deviation


def _opponent(x: Tensor) -> Tensor:
    """[B, 3, H, W] as light, red less green, blue less yellow, and ones: [B, 4, H, W]."""
    red, green, blue = x[:, :1], x[:, 1:2], x[:, 2:]
    light, yellow = (red + green + blue) / 3, (red + green) / 2
    return torch.cat(
        [light, CHROMA * (red - green), CHROMA * (blue - yellow), torch.ones_like(red)], 1
    )


@torch.no_grad()
def folded(net: Perceptual) -> Perceptual:
    """The same features without batch norm and head."""
    plain = Perceptual(net.settings.model_copy(update={"batch_norm": False, "classes": 0}))
    for name in net.convs:
        weight, bias = net.conv(name)
        if name in net.norms:
            norm = net.norms[name]
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None and norm.running_var is not None
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * gain[:, None, None, None]
            bias = (bias - norm.running_mean) * gain + norm.bias
        mine = plain.conv(name)
        mine[0].copy_(weight)
        mine[1].copy_(bias)
    return plain.eval()


@torch.no_grad()
def balanced(net: Perceptual, pictures: Tensor) -> Perceptual:
    """The same features scaled to a mean of 1 a channel over `pictures` [B, 3, H, W] in net space.

    ReLU lets a channel's scale move into the next layer, so what the net sees stays the same
    (Gatys et al. 2016). No layer's features then drown another's.
    """
    plain = folded(net)
    found = plain(pictures, plain.layers)
    means = {name: value.mean((0, 2, 3)).clamp(min=1e-3) for name, value in found.items()}
    before: Tensor | None = None
    for name in plain.convs:
        scale = means[f"relu{name}"]
        weight, bias = plain.conv(name)
        if before is not None:
            weight.mul_(before[None, :, None, None])
        weight.div_(scale[:, None, None, None])
        bias.div_(scale)
        before = scale
    return plain
