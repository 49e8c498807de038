"""How well a mosaic keeps the plate's structure and the theme's look, beside a plain baseline.

The baseline pastes, for every patch, the nearest crop of the theme's own pictures by colour and
structure (`mosaic_pictures.thumbs`), with the same layout, colour matching and assembly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vfxswap import color
from vfxswap.effects.base import Frame
from vfxswap.effects.mosaic import Mosaic
from vfxswap.effects.mosaic_settings import MosaicSettings
from vfxswap.effects.mosaic_themes import Themes
from vfxswap.errors import JobError
from vfxswap.geometry import Box
from vfxswap.image import Pixels
from vfxswap.nets.mosaic import (
    CODE_PX,
    MosaicEncoder,
    MosaicEncoderSettings,
    MosaicGenerator,
    as_input,
    as_net,
)
from vfxswap.ops.convert import to_tensor
from vfxswap.ops.patches import sampled
from vfxswap.persona import Metric
from vfxswap.train.losses import ssim
from vfxswap.train.mosaic_pictures import PictureSet, Pool, read_pictures, relit

Progress = Callable[[str, int, int], None]
SETTINGS = MosaicSettings(layout="grid", size_min_px=32, size_max_px=32, edge_px=0)
"""What is measured: a grid of 32 px patches, colours and light matched as by default."""
LIT = 0.6
"""`light_match` of a second measure of the learned mosaic: it gives up theme for structure, so that
both can be held beside the baseline."""
FEATURES = 64
_JUDGE_STEPS, _JUDGE_BATCH = 600, 70
_SAMPLES = 1024
NET_RANGE = 0.48
"""Net-space range from black to display white, which SSIM takes as its peak of 1."""


class NearestCrops(Themes):
    """The baseline as if it were generators."""

    def __init__(self, pools: Mapping[str, Pool], device: torch.device) -> None:
        super().__init__({}, {}, device)
        self._pools = dict(pools)

    @property
    def size(self) -> int:
        return 64

    def _generated(
        self, patches: Tensor, theme: str, free: Tensor, settings: MosaicSettings
    ) -> Tensor:
        return as_net(self._pools[theme].nearest(as_input(patches)))


class Judge(nn.Module):
    """Tells themes and plates apart by patches [B, 3, 32, 32]: an encoder with a last layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = MosaicEncoder(MosaicEncoderSettings(code=FEATURES, channels=(16, 32, 64)))
        self.classes = nn.Linear(FEATURES, classes)

    def forward(self, patches: Tensor) -> Tensor:
        scores: Tensor = self.classes(F.leaky_relu(self.features(patches), 0.2))
        return scores


def evaluate(
    encoder: MosaicEncoder,
    generators: Mapping[str, MosaicGenerator],
    training: Mapping[str, PictureSet],
    held_out: Mapping[str, PictureSet],
    *,
    domain: PictureSet,
    plates: Sequence[str],
    command: str,
    progress: Progress = lambda *_: None,
) -> dict[str, dict[str, Metric]]:
    """Metrics of each theme on held-out `plates` (as a recipe names pictures): structure, theme
    distance, share that the judge takes for the theme; each beside the baseline's (`_nearest`),
    and once more with the plate's light (`_lit`).

    `training` gives the baseline its crops, `held_out` the real patches that distances are to.
    Raises JobError without plates.
    """
    if not plates:
        raise JobError("nothing to measure on", wanted="held_out pictures in the recipe")
    device = torch.device("cpu")
    pictures = read_pictures(
        plates, smallest=1, least=1, what="held-out plates", drawn_count=1, seed=0, folder=Path()
    ).pictures
    judge, names = _judge(training, domain)
    rng = np.random.default_rng(5)
    pools = {t: Pool(p, _SAMPLES, rng=rng) for t, p in training.items()}
    learned = Themes(
        {t: for_encoder(net, "held") for t, net in generators.items()}, {"held": encoder}, device
    )
    lit = SETTINGS.model_copy(update={"light_match": LIT})
    ways = {
        "": (learned, SETTINGS),
        "_lit": (learned, lit),
        "_nearest": (NearestCrops(pools, device), SETTINGS),
    }
    found: dict[str, dict[str, Metric]] = {}
    for number, theme in enumerate(generators):
        progress("measure", number, len(generators))
        real = held_out[theme].patches(_SAMPLES, size=CODE_PX, rng=np.random.default_rng(6))
        truth = _features(judge, real)
        rows = {}
        for suffix, (themes, settings) in ways.items():
            structure, tiles = _structure(themes, theme, pictures, settings)
            features = _features(judge, tiles)
            taken = _taken(judge, tiles, names.index(theme))
            rows[f"structure_ssim{suffix}"] = (structure, "", "low-passed mosaic by the plate")
            rows[f"theme_distance{suffix}"] = (frechet(features, truth), "", "lower is nearer")
            rows[f"theme_recognised{suffix}"] = (taken, "", "share the judge takes for the theme")
        rows["theme_recognised_real"] = (
            _taken(judge, real, names.index(theme)), "", "the judge on held-out real patches",
        )  # fmt: skip
        found[theme] = {
            name: Metric(value=round(value, 4), unit=unit, command=command, note=note)
            for name, (value, unit, note) in rows.items()
        }
    return found


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of two sets of features [N, K], each taken as a Gaussian (Dowson & Landau
    1982)."""
    a, b = a.double(), b.double()
    first, second = torch.cov(a.T), torch.cov(b.T)
    values = torch.linalg.eigvals(first @ second).real.clamp_min(0)
    apart = (a.mean(0) - b.mean(0)).square().sum()
    return float(apart + first.trace() + second.trace() - 2 * values.sqrt().sum())


def _structure(
    themes: Themes, theme: str, pictures: Sequence[np.ndarray], settings: MosaicSettings
) -> tuple[float, Tensor]:
    """SSIM of the low-passed mosaic against the low-passed plate, mean over plates, and the
    patches [N, 3, 32, 32] as they were pasted."""
    settings = settings.model_copy(update={"themes": theme})
    values, tiles = [], []
    with torch.inference_mode():
        for picture in pictures:
            frame = framed(color.from_net(picture.astype(np.float32)))
            effect = Mosaic(themes, [settings], torch.device("cpu"))
            result = effect(frame, settings, {})
            plate, made = (color.to_net(to_tensor(p)) for p in (frame.rgb, result.rgb))
            low = [_low_passed(p.mean(1, keepdim=True)) / NET_RANGE for p in (plate, made)]
            values.append(float(ssim(low[1], low[0])))
            height, width = frame.rgb.shape[:2]
            tiles.append(_tiles(made, height // CODE_PX, width // CODE_PX))
    return float(np.mean(values)), torch.cat(tiles)


def _tiles(made: Tensor, rows: int, columns: int) -> Tensor:
    y, x = np.mgrid[0:rows, 0:columns].reshape(2, -1) * CODE_PX
    maps = np.zeros((len(x), 2, 3))
    maps[:, 0, 0] = maps[:, 1, 1] = CODE_PX
    maps[:, 0, 2], maps[:, 1, 2] = x, y
    return as_input(sampled(made, maps, CODE_PX))


def _low_passed(image: Tensor) -> Tensor:
    """What is seen from afar: means of 8×8, a quarter of a patch."""
    return F.avg_pool2d(image, 8)


def framed(rgb: Pixels) -> Frame:
    """A picture cut to whole patches."""
    height, width = (n // CODE_PX * CODE_PX for n in rgb.shape[:2])
    window = Box(0, 0, width, height)
    return Frame(1, np.ascontiguousarray(rgb[:height, :width]), window, window, seed=0)


def _judge(themes: Mapping[str, PictureSet], domain: PictureSet) -> tuple[Judge, list[str]]:
    """Trained on patches of the themes and the domain, at random exposures and in random light,
    so that it goes by what is shown rather than by its light."""
    names = ["", *themes]
    sets = {"": domain, **themes}
    rng = np.random.default_rng(4)
    pools = [Pool(sets[name], 512, rng=rng) for name in names]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(4)
        judge = Judge(len(names))
        optimiser = torch.optim.Adam(judge.parameters(), lr=2e-3)
        share = max(2, _JUDGE_BATCH // len(names))
        for _ in range(_JUDGE_STEPS):
            x = torch.cat(
                [p.patches(share, size=CODE_PX, rng=rng, exposure=0.08, tint=0.03) for p in pools]
            )
            light = pools[0].patches(len(x), size=CODE_PX, rng=rng, mirror=True)
            strength = torch.from_numpy(rng.uniform(0, 1, (len(x), 1, 1, 1))).to(x)
            labels = torch.arange(len(names)).repeat_interleave(share)
            loss = F.cross_entropy(judge(relit(x, light, strength)), labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return judge.eval().requires_grad_(False), names


@torch.inference_mode()
def _features(judge: Judge, patches: Tensor) -> Tensor:
    features: Tensor = judge.features(patches)
    return features


@torch.inference_mode()
def _taken(judge: Judge, patches: Tensor, theme: int) -> float:
    return float((judge(patches).argmax(1) == theme).float().mean())


def for_encoder(net: MosaicGenerator, encoder: str) -> MosaicGenerator:
    """The same net, as of an encoder of some name."""
    net.settings = net.settings.model_copy(update={"encoder": encoder})
    return net
