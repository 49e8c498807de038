"""What a style model's card, thumbnails and documents show of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from vfxswap.files import atomic_path
from vfxswap.image import Pixels
from vfxswap.io.weights import StoredModel, read_card, save_model
from vfxswap.nets.style import StyleNet
from vfxswap.persona import Metric
from vfxswap.synth.style_drawings import held_out
from vfxswap.synth.style_recipe import StyleRecipe, export
from vfxswap.train.style_preview import displayed, style_sheet

THUMB_PX, THUMB_BYTES = 128, 10 * 1024
STUDY = "python -m vfxswap.synth.style_study style-starter --work training/style-starter"
BENCH = "vfxswap bench style"
LOSSES = {
    "content": "published content loss",
    "style": "published style loss",
    "drawn": "features against the picture drawn in the style",
    "drawn_style": "matrices of windows against the picture drawn in the style",
}
"""What `Study.losses` measures, by the name of its metrics."""


def study_metrics(study: Mapping[str, Any]) -> dict[str, Metric]:
    """The experiments of `style_study` as a card states them."""
    found: dict[str, Metric] = {}

    def put(name: str, value: float, note: str, unit: str = "") -> None:
        found[name] = Metric(value=round(value, 5), unit=unit, command=STUDY, note=note)

    if controls := study.get("controls"):
        where = f"3 held-out pictures; single-style network from scratch, {controls['steps']} steps"
        change = []
        for style, row in controls["styles"].items():
            for index, (loss, of) in enumerate(LOSSES.items()):
                put(f"{loss}_{style}", row["many"][index], f"network of many styles; {of}")
                put(f"{loss}_{style}_single", row["single"][index], f"{where}; {of}")
            change.append(100 * (row["many"][0] / row["single"][0] - 1))
        note = f"many styles over single ones, mean of {len(change)}; published +8.7 ± 3.9 %"
        put("content_over_single", float(np.mean(change)), note, "%")
    if added := study.get("added"):
        k, style = added["steps"], added["style"]
        for name, key, note in (
            ("added", "added", f"{style}: γ and β alone, {k} steps"),
            ("added_untrained", "untrained", f"{style}: mean row, before training"),
            ("scratch", "scratch_8k", f"{style}: network of its own, {8 * k} steps"),
        ):
            for index, (loss, of) in enumerate(LOSSES.items()):
                put(f"{loss}_{name}", added[key][index], f"{note}; {of}")
    if temporal := study.get("temporal"):
        shot = "mean squared, net space, held-out shot, DIS flow, all styles"
        steps = f"{temporal['steps']} steps more on the same moving pairs"
        put("warp_error_before", temporal["before"], f"{shot}, before the fine-tuning")
        put("warp_error_without", temporal["without"], f"{shot}; without the term, {steps}")
        put("warp_error_with", temporal["with"], f"{shot}; with the term, {steps}")
        put("warp_error_lower", 100 * temporal["lower_by"], "with over without", "%")
        for arm in ("with", "without"):
            put(f"style_{arm}_term", temporal[f"{arm}_style"], "3 held-out pictures, all styles")
            put(f"content_{arm}_term", temporal[f"{arm}_content"], "the same")
    if blend := study.get("blend"):
        fall = all(a > b for a, b in itertools.pairwise(blend))
        put("blend_falls", float(fall), "1: style loss falls at each of 11 blends to impasto")
    return found


def bench_metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, Metric]:
    """Rows of `vfxswap bench style` as a card states them."""
    found = {}
    for row in rows:
        if isinstance(row["value"], float):
            name = row["name"].replace(" ", "_").replace("peak_memory_so_far", "peak_memory")
            cpu = next((str(r["value"]) for r in rows if isinstance(r["value"], str)), "")
            found[name] = Metric(
                value=round(row["value"], 6), unit=row["unit"], command=BENCH, note=cpu
            )
    return found


def size_metrics(net: StyleNet) -> dict[str, Metric]:
    """Numbers of a style and of what all share."""
    shared = float(sum(p.numel() for p in net.shared()))
    command = "vfxswap models show"
    return {
        "numbers_per_style": Metric(value=float(net.numbers_per_style), command=command,
                                    note="3,206 at the published width, 32-64-128"),
        "shared_numbers": Metric(value=shared, command=command,
                                 note="1,674,432 at the published width"),
    }  # fmt: skip


@torch.no_grad()
def rounded(net: StyleNet) -> StyleNet:
    """The network with its weights as a model stores them, in half precision; in place."""
    for parameter in net.parameters():
        parameter.copy_(parameter.half().float())
    return net.eval()


def write_model(
    out: Path, recipe: StyleRecipe, net: StyleNet, study: Mapping[str, Any], *, command: str
) -> StoredModel:
    """The network as a model with what was measured, and thumbnails of a held-out photograph. Times
    stay those of the model that was there, of the same layout."""
    metrics = {**size_metrics(net), **study_metrics(study)}
    if (out / "card.toml").is_file():
        before = read_card(out)
        if before.network_settings.get("widths") == list(net.settings.widths):
            metrics |= {k: m for k, m in before.metrics.items() if m.command == BENCH}
    stored = export(recipe, net, out, command=command)
    card = stored.card.model_copy(update={"metrics": metrics})
    write_thumbs(net, held_out()[:1], out / "thumbs")
    return save_model(out, card, net.state_dict())


@torch.inference_mode()
def write_thumbs(net: StyleNet, picture: Tensor, folder: Path) -> list[Path]:
    """`<style>.jpg` of [1, 3, H, W] (net space) in each style, 128 px wide, 10 KB at most."""
    made = []
    for name in net.styles:
        shown = displayed(net(picture, net.row({name: 1.0})))
        height = round(THUMB_PX * shown.shape[0] / shown.shape[1])
        small = cv2.resize(shown, (THUMB_PX, height), interpolation=cv2.INTER_AREA)
        made.append(_write_jpeg(folder / f"{name}.jpg", small, THUMB_BYTES))
    return made


def write_document(file: Path, net: StyleNet, pictures: Tensor, *, columns: int = 6) -> Path:
    """The contact sheet of a document: each of [N, 3, H, W] in every style, pixel for pixel."""
    return _write_jpeg(file, style_sheet(net, pictures, columns=columns), 4 << 20)


def _write_jpeg(file: Path, picture: Pixels, most_bytes: int) -> Path:
    """The best quality that fits."""
    levels = np.rint(np.clip(picture[..., ::-1], 0, 1) * 255).astype(np.uint8)
    for quality in range(92, 20, -6):
        _, data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(data) <= most_bytes:
            break
    with atomic_path(file) as partial:
        partial.write_bytes(data.tobytes())
    return file
