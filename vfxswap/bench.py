"""`vfxswap bench`: speed and accuracy measured on the machine at hand, each beside a reference.

Every row is a plain dictionary with `name`, `value`, `unit`, `wanted` (what the project aims at,
"" for a mere figure) and `settings`. Times are medians; ratios are of medians of runs that take
turns, so that a busy machine hits both sides.
"""

from __future__ import annotations

import copy
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap.align.crop import outline, template
from vfxswap.effects.base import Frame, LoadedNet
from vfxswap.effects.swap import Swap, SwapSettings
from vfxswap.errors import VfxSwapError
from vfxswap.geometry import LANDMARK_COUNT, Box, Face
from vfxswap.image import Pixels
from vfxswap.io.weights import list_models, load_net
from vfxswap.nets.comb import Comb, CombSettings
from vfxswap.nets.run import FastComb, half_type
from vfxswap.ops.blend import multiband_blend
from vfxswap.ops.matte import polygon_matte
from vfxswap.persona import ModelCard, Persona
from vfxswap.render.models import Shelf

Row = dict[str, Any]

_PERSONA = "bench"
_INT16_SCALE = 16384.0


def run_bench(*, quick: bool = False, device: torch.device | str = "cpu") -> list[Row]:
    """All measurements as JSON values; `quick` takes small sizes, and seconds instead of minutes.

    Weights are random where the published size is measured (no such model ships), and those of
    the installed combs where accuracy is.
    """
    place = torch.device(device)
    rows = [machine(place)]
    comb = spread_comb(level=4 if quick else 8, width=0.25 if quick else 1.0, device=place)
    rows += comb_rows(comb)
    rows += model_rows(place)
    rows += blend_rows((540, 1024) if quick else (2160, 4096), place)
    rows += frame_rows(comb, (288, 512) if quick else (1152, 2048))
    rows.append(_peak_memory(place))
    return rows


def print_bench(rows: Sequence[Row]) -> None:
    """The rows as a table for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table("measured", "value", "wanted", "with")
    for row in rows:
        value = row["value"]
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        settings = ", ".join(f"{key} {text}" for key, text in row["settings"].items())
        table.add_row(row["name"], f"{text} {row['unit']}".strip(), row["wanted"], settings)
    Console().print(table)


def machine(device: torch.device) -> Row:
    """Hardware and versions that the other rows hold for."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    settings = {
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "half": str(half_type(device)).removeprefix("torch."),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }
    return _row("machine", name, "", settings=settings)


def spread_comb(*, level: int, width: float, device: torch.device, seed: int = 0) -> Comb:
    """A comb of random weights whose output has the spread of a picture.

    Fresh weights answer nearly flat grey, beside which any error looks large. Only the last 1×1
    layer is scaled: its output before the sigmoid gets mean 0 and standard deviation 1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings = CombSettings(personas=(_PERSONA,), level=level, width=width)
        comb = Comb(settings).eval().requires_grad_(False).to(device)
    logit = torch.logit(comb.swap(bench_crops(comb.size, device), _PERSONA).double())
    head = comb.get_submodule(f"decoders.{_PERSONA}.heads.{level}.colour")
    weight, bias = head.get_parameter("weight"), head.get_parameter("bias")
    spread = float(logit.std())
    weight.data.div_(spread)
    bias.data.sub_(logit.mean((0, 2, 3)).to(bias)).div_(spread)
    return comb


def bench_crops(size: int, device: torch.device, *, count: int = 1) -> Tensor:
    """Normalised crops [count, 3, size, size]: soft blobs about 0.5."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(count, 3, min(size, 16), min(size, 16), generator=generator)
    return F.interpolate(noise, size=size, mode="bicubic").to(device)


def comb_rows(comb: Comb, *, repeats: int = 3) -> list[Row]:
    """The fast path beside the same layers written plainly, in eager float32."""
    device = next(comb.parameters()).device
    fast, crop = FastComb(comb), bench_crops(comb.size, device)
    plain_s, fast_s = taking_turns(
        lambda: comb.swap(crop, _PERSONA),
        lambda: fast.swap(crop, _PERSONA),
        device=device,
        repeats=repeats,
    )
    settings = {
        "crop_px": comb.size,
        "width": comb.settings.width,
        "weights": "random, output scaled",
        "half": str(fast.dtype).removeprefix("torch."),
    }
    rows = [
        _row("comb, plain float32", plain_s, "s", settings=settings),
        _row("comb, fast path", fast_s, "s", settings=settings),
        _row("comb, speed-up", plain_s / fast_s, "×", wanted=">= 2.5", settings=settings),
        _row("comb, fast path rate", 1.0 / fast_s, "frames/s", settings=settings),
        _row("comb, error", relative_error(comb, fast, _PERSONA), "of std", settings=settings),
    ]
    if device.type == "cuda":
        error = relative_error(copy.deepcopy(comb).cpu(), fast, _PERSONA)
        rows.append(_row("comb, CPU and GPU", error, "of std", wanted="<= 0.01", settings=settings))
    return rows


def model_rows(device: torch.device) -> list[Row]:
    """Error of the fast path with the weights of every installed comb."""
    rows = []
    for stored in list_models(broken=[]):
        if stored.card.network != "comb":
            continue
        try:
            comb = load_net(stored.card, stored.folder, device=device)
        except VfxSwapError as error:
            rows.append(_row(f"{stored.card.name}, error", str(error), "", settings={}))
            continue
        assert isinstance(comb, Comb)
        persona = comb.settings.personas[0]
        rows.append(
            _row(
                f"{stored.card.name}, error of the fast path",
                relative_error(comb, FastComb(comb), persona),
                "of std",
                wanted="<= 0.01",
                settings={"crop_px": comb.size, "persona": persona, "weights": "trained"},
            )
        )
    return rows


def relative_error(comb: Comb, fast: FastComb, persona: str) -> float:
    """RMS difference of the two on soft crops, as a share of the plain output's deviation."""
    crop = bench_crops(comb.size, torch.device("cpu"), count=1 if comb.size > 256 else 4)
    plain, quick = (
        net.swap(crop.to(next(net.parameters()).device), persona).cpu().double()
        for net in (comb, fast)
    )
    return float((quick - plain).square().mean().sqrt() / plain.std())


def blend_rows(size: tuple[int, int], device: torch.device, *, bands: int = 6) -> list[Row]:
    """Multi-band blending of a frame beside OpenCV's, and its cost by the number of pixels.

    OpenCV's blender works in 16-bit integers and smooths outwards too, and has no levels from
    the target; so ours is compared with `target_levels=0`, and differs most at the outline.
    """
    source, target, matte = _pair(size, device)
    opencv = _OpenCvBlend(source, target, matte, bands)
    ours_s, opencv_s = taking_turns(
        lambda: multiband_blend(source, target, matte, bands=bands, target_levels=0),
        opencv,
        device=device,
    )
    ours = multiband_blend(source, target, matte, bands=bands, target_levels=0).cpu()
    theirs = opencv()
    difference = (ours - theirs).abs()
    outside = (matte.cpu() == 0).expand_as(ours)
    side = size[0] // 4 * 2  # crops as the swap blends them
    large, small = _pair((side, side), device), _pair((side // 2, side // 2), device)
    large_s, small_s = taking_turns(
        lambda: multiband_blend(*large), lambda: multiband_blend(*small), device=device, repeats=9
    )
    settings = {"size": f"{size[1]}x{size[0]}", "bands": bands, "device": str(device)}
    both = {**settings, "size": f"{side}x{side}", "bands": "all"}
    return [
        _row("blend", ours_s, "s", settings=settings),
        _row("blend, OpenCV", opencv_s, "s", settings=settings),
        _row("blend, OpenCV's time by ours", opencv_s / ours_s, "×", settings=settings),
        _row(
            "blend, mean difference from OpenCV inside",
            float(difference[~outside].mean()),
            "of range",
            settings=settings,
        ),
        _row(
            "blend, change outside the matte",
            float((ours - target.cpu())[outside].abs().max()),
            "of range",
            wanted="0",
            settings=settings,
        ),
        _row(
            "blend, OpenCV's change outside the matte",
            float((theirs - target.cpu())[outside].abs().max()),
            "of range",
            settings=settings,
        ),
        _row("blend of a crop", large_s, "s", settings=both),
        _row(
            "blend, time by that of a quarter of the pixels",
            large_s / small_s,
            "×",
            wanted="about 4",
            settings=both,
        ),
    ]


def frame_rows(comb: Comb, size: tuple[int, int], *, repeats: int = 3) -> list[Row]:
    """One face on one frame through the swap effect: the time and the share outside the network.

    Reading and writing files and tracking are not in it. The face is half the frame high.
    """
    device = next(comb.parameters()).device
    timed = _Timed(comb)
    card = ModelCard(
        name=_PERSONA,
        effect="swap",
        network="comb",
        licence="Apache-2.0",
        synthetic=True,
        training_data="none",
        training_licence="none",
        recipe="none",
        personas=(Persona(id=_PERSONA, synthetic=True),),
    )
    settings = SwapSettings(persona=_PERSONA)
    effect = Swap.load([settings], _Bench(LoadedNet(card, timed), device), device)
    frame = _frame(size)
    effect(frame, settings, {})
    totals, inside = [], []
    for _ in range(repeats):
        timed.seconds = 0.0
        totals.append(_seconds(lambda: effect(frame, settings, {}), device))
        inside.append(timed.seconds)
    share = statistics.median(1.0 - net / total for net, total in zip(inside, totals, strict=True))
    wanted = "< 0.25" if comb.settings.width == 1.0 else ""
    used = {"frame": f"{size[1]}x{size[0]}", "crop_px": comb.size, "width": comb.settings.width}
    return [
        _row("swap of a frame", statistics.median(totals), "s", settings=used),
        _row("swap, share outside the network", share, "", wanted=wanted, settings=used),
    ]


def taking_turns(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    device: torch.device,
    repeats: int = 3,
) -> tuple[float, float]:
    """Median seconds of both, run in turns after one run each that does not count."""
    first(), second()
    times = [(_seconds(first, device), _seconds(second, device)) for _ in range(repeats)]
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times)


class _Timed(FastComb):
    """Adds up the time spent in the network."""

    seconds = 0.0

    def swap(self, x: Tensor, persona: str) -> Tensor:
        face: list[Tensor] = []
        self.seconds += _seconds(
            lambda: face.append(super(_Timed, self).swap(x, persona)), x.device
        )
        return face[0]


class _Bench:
    """The models of a render: one comb, and the stages that are installed."""

    def __init__(self, net: LoadedNet, device: torch.device) -> None:
        self._net = net
        self._shelf = Shelf(device)

    def for_persona(self, persona: str) -> LoadedNet:
        return self._net

    def by_name(self, name: str) -> LoadedNet:
        return self._net

    def for_stage(self, stage: str) -> LoadedNet:
        return self._shelf.for_stage(stage)

    def picture(self, file: str) -> Pixels:
        return self._shelf.picture(file)

    def reference(self, picture: str) -> Frame:
        return self._shelf.reference(picture)


class _OpenCvBlend:
    """`cv2.detail.MultiBandBlender` on the same pictures; a call gives [1, 3, H, W]."""

    def __init__(self, source: Tensor, target: Tensor, matte: Tensor, bands: int) -> None:
        self._pictures = [
            (x[0].cpu().permute(1, 2, 0) * _INT16_SCALE).round().to(torch.int16).numpy()
            for x in (source, target)
        ]
        self._mask = (matte[0, 0].cpu() > 0).numpy().astype(np.uint8) * 255
        self._blender = cv2.detail.MultiBandBlender(0, bands - 1, cv2.CV_32F)

    def __call__(self) -> Tensor:
        height, width = self._mask.shape
        self._blender.prepare((0, 0, width, height))
        self._blender.feed(self._pictures[0], self._mask, (0, 0))
        self._blender.feed(self._pictures[1], 255 - self._mask, (0, 0))
        result, _ = self._blender.blend(None, None)
        return torch.from_numpy(result).permute(2, 0, 1)[None] / _INT16_SCALE


def _pair(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Two textured pictures and the outline of one big face."""
    generator = torch.Generator().manual_seed(2)
    pictures = []
    for _ in range(2):
        noise = torch.rand(1, 3, size[0] // 8, size[1] // 8, generator=generator)
        pictures.append(F.interpolate(noise, size=size, mode="bicubic").clamp(0, 1).to(device))
    points = outline(template(size[0]) + np.array([(size[1] - size[0]) / 2, 0]))
    return pictures[0], pictures[1], polygon_matte(points, size, device=device)


def _frame(size: tuple[int, int]) -> Frame:
    height, width = size
    target = _pair(size, torch.device("cpu"))[1]
    face_px = int(height * 0.75)  # side of the crop; the face fills two thirds of it
    points = template(face_px) + np.array([(width - face_px) / 2, (height - face_px) / 2])
    face = Face(0, points, np.ones(LANDMARK_COUNT), 1.0)
    window = Box(0, 0, width, height)
    rgb = np.ascontiguousarray(target[0].permute(1, 2, 0).numpy())
    return Frame(1, rgb, window, window, seed=0, faces=(face,))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _peak_memory(device: torch.device) -> Row:
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    settings: dict[str, Any] = {}
    if device.type == "cuda":
        settings["device_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 3)
    return _row("peak memory of the process", peak, "GiB", settings=settings)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _row(
    name: str, value: float | str, unit: str, *, wanted: str = "", settings: dict[str, Any]
) -> Row:
    return {"name": name, "value": value, "unit": unit, "wanted": wanted, "settings": settings}
