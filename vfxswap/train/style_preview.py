"""Preview sheets of a style training: every style on held-out pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vfxswap.color import ColorManager, from_net
from vfxswap.image import Pixels
from vfxswap.io.exr import write_png
from vfxswap.nets.style import StyleNet
from vfxswap.ops.convert import to_pixels
from vfxswap.ops.sheet import contact_sheet


def displayed(net_space: Tensor) -> Pixels:
    """One net-space picture [1, 3, H, W] as display-referred [H, W, 3]."""
    return ColorManager(None).to_display(from_net(to_pixels(net_space)))


@torch.inference_mode()
def style_sheet(net: StyleNet, pictures: Tensor, *, columns: int = 6) -> Pixels:
    """Each of [N, 3, H, W] (net space), then it in every style, as one labelled sheet."""
    device = net.gamma.device
    sheets = []
    for picture in (p[None] for p in pictures.unbind()):
        shown = [("plate", displayed(picture))]
        every = torch.eye(len(net.styles), device=device)
        for name, row in zip(net.styles, every):
            shown.append((name, displayed(net(picture.to(device), row[None]))))
        sheets.append(contact_sheet(shown, columns=columns))
    return np.concatenate(sheets)


def write_style_sheet(file: Path, net: StyleNet, pictures: Tensor, *, columns: int = 6) -> None:
    """`style_sheet` as a PNG."""
    was_training = net.training
    net.eval()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_png(file, style_sheet(net, pictures, columns=columns))
    finally:
        net.train(was_training)
