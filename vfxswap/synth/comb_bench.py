"""`vfxswap bench swap`: a comb of synthetic personas against rendered truth.

Four sets of fresh takes are rendered: mixed performances, lights and cameras; frames that differ
in expression alone; a continuous shot; and a table of named expressions to look at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vfxswap.errors import JobError, ModelError
from vfxswap.files import write_atomically
from vfxswap.io.exr import write_png
from vfxswap.io.weights import StoredModel, find_model, load_net
from vfxswap.nets.comb import Comb
from vfxswap.nets.identity import IdentityNet
from vfxswap.ops.sheet import contact_sheet
from vfxswap.persona import Metric, Persona
from vfxswap.synth.takes import SHOWN, Takes, render_takes
from vfxswap.train.crops import CropSet, read_crops
from vfxswap.train.evaluate import SwapReport, evaluate, write_sheet
from vfxswap.train.evaluate_acting import (
    Flicker,
    Gate,
    IdentityMargin,
    acting_rows,
    expression_gate,
    flicker,
    identity_margin,
)

FRAMES, EXPRESSION_FRAMES, SHOT_FRAMES, GUESTS = 210, 60, 48, 70
IDENTITY_MODEL = "identity-synthetic"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SwapBench:
    """All that is measured. `identity` is None without an identity model or a second persona."""

    swap: SwapReport
    gates: tuple[Gate, ...]
    flicker: Flicker
    identity: IdentityMargin | None

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "swap": self.swap.as_json(),
            "expression": [asdict(gate) for gate in self.gates],
            "flicker": asdict(self.flicker),
            "identity": None if self.identity is None else asdict(self.identity),
        }

    def table(self) -> list[str]:
        """A line a pair of performer and persona; self-reconstructions and guests follow."""
        lines = [f"{'performance':<14}{'persona':<14}{'PSNR dB':>9}{'SSIM':>8}{'FLIP':>8}"]
        for row in (*self.swap.pairs, *self.swap.own, *self.swap.unseen):
            lines.append(
                f"{row.performer:<14}{row.persona:<14}{row.psnr['swap']:>9.2f}"
                f"{row.ssim['swap']:>8.3f}{row.flip['swap']:>8.3f}"
            )
        return lines


def bench_sets(
    personas: tuple[str, ...],
    crop_size: int,
    *,
    frames: int = FRAMES,
    expression_frames: int = EXPRESSION_FRAMES,
    shot_frames: int = SHOT_FRAMES,
    seed: int = 900,
) -> dict[str, Takes]:
    """What is rendered, by name."""

    def takes(count: int, offset: int, **kind: Any) -> Takes:
        return Takes(
            personas=personas, crop_size=crop_size, count=count, seed=seed + offset, **kind
        )

    return {
        "held_out": takes(frames, 0, guests=GUESTS),
        "expression": takes(expression_frames, 1, guests=0, vary="expression"),
        "shot": takes(shot_frames, 2, guests=0, vary="shot"),
        "shown": takes(len(SHOWN), 3, guests=0, vary="shown"),
    }


def rendered(
    sets: Mapping[str, Takes], work: Path, *, processes: int, progress: Progress = lambda *_: None
) -> dict[str, CropSet]:
    """The sets' crops; what lies in `work` already is not rendered again."""
    crops = {}
    for label, takes in sets.items():
        folder = work / f"{label}-{takes.seed}-{takes.count}-{takes.crop_size}"
        told = partial(progress, f"render {label}")
        render_takes(folder, takes, processes=processes, progress=told)
        crops[label] = read_crops(folder)
    return crops


def measured(
    comb: Comb, personas: tuple[Persona, ...], crops: Mapping[str, CropSet], work: Path
) -> SwapBench:
    """Measures a settled comb on `bench_sets`; `report.json`, `sheet.png` (held-out takes) and
    `expressions.png` (the named ones) are written to `work`."""
    found = SwapBench(
        swap=evaluate(comb, personas, crops["held_out"]),
        gates=expression_gate(comb, personas, crops["expression"]),
        flicker=flicker(comb, personas, crops["shot"]),
        identity=_identity(comb, personas, crops["held_out"]),
    )
    write_atomically(work / "report.json", json.dumps(found.as_json(), indent=1).encode())
    if len(personas) > 1:
        write_sheet(work / "sheet.png", comb, personas, crops["held_out"])
        write_expressions(work / "expressions.png", comb, personas, crops["shown"])
    return found


def bench_swap(
    model: str,
    *,
    work: Path,
    frames: int = FRAMES,
    expression_frames: int = EXPRESSION_FRAMES,
    shot_frames: int = SHOT_FRAMES,
    crop_size: int | None = None,
    seed: int = 900,
    processes: int = 2,
    progress: Progress = lambda *_: None,
) -> SwapBench:
    """Measures a stored comb of synthetic personas on fresh takes; see `measured`.

    Every take is rendered as every persona and by a guest, so `frames` takes of P personas give
    `frames`·P·(P-1) swaps. Raises ModelError, JobError.
    """
    stored = find_model(model)
    personas = stored.card.personas
    if stored.card.crop_size is None or not all(p.synthetic for p in personas):
        raise JobError("only combs of synthetic personas have truth", got=model)
    sets = bench_sets(
        tuple(p.id for p in personas),
        stored.card.crop_size,
        frames=frames,
        expression_frames=expression_frames,
        shot_frames=shot_frames,
        seed=seed,
    )
    crops = rendered(sets, work, processes=processes, progress=progress)
    comb = load_net(stored.card, stored.folder, device="cpu")
    assert isinstance(comb, Comb)
    return measured(comb, personas, crops, work)


def write_expressions(
    file: Path, comb: Comb, personas: tuple[Persona, ...], crops: CropSet
) -> None:
    """PNG: for every pair the named expressions as performed, as swapped and in truth."""
    cells = []
    for pair, rows in acting_rows(comb, personas, crops):
        for row, pictures in rows.items():
            for name, picture in zip(SHOWN, pictures, strict=True):
                times = max(1, 128 // picture.shape[0])
                shown = np.kron(picture, np.ones((times, times, 1), np.float32))
                cells.append((f"{name}, {pair}" if row == "swap" else f"{name}, {row}", shown))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_png(file, contact_sheet(cells, columns=len(SHOWN)))


def metrics(bench: SwapBench, command: str) -> dict[str, Metric]:
    """The numbers as a card states them."""
    report = bench.swap
    where = f"{report.swapped_frames} swaps of {report.frames} held-out takes, inside the matte"
    found: dict[str, Metric] = {}

    def put(name: str, value: float, unit: str, note: str) -> None:
        found[name] = Metric(value=value, unit=unit, command=command, note=note)

    for name, value in report.psnr.items():
        put(f"psnr_{name}", value, "dB", where)
    for name, value in report.ssim.items():
        put(f"ssim_{name}", value, "", where)
    for name, value in report.flip.items():
        put(f"flip_{name}", value, "", f"{where}; lower is better")
    put("margin", report.margin_db, "dB", "swap over the best of the baselines")
    put("psnr_own", _mean(report.own, "swap"), "dB", "personas reconstructing themselves")
    if report.unseen:
        note = "performers who are no persona, mean colour as the truth's"
        put("psnr_unseen_performers", _mean(report.unseen, "swap"), "dB", note)
        matched = _mean(report.unseen, "mean_face_true_mean")
        put("psnr_unseen_mean_face", matched, "dB", "mean face of that mean colour")
    for gate in bench.gates:
        note = f"{gate.frames} frames that differ in expression alone"
        top1 = f"top-1 of {note}; chance {gate.chance}; itself {gate.own_top1}"
        put(f"retrieval_{gate.region}", gate.top1, "", top1)
        closer = f"share of {note} nearer to truth than the mean face; itself {gate.own_closer}"
        put(f"closer_{gate.region}", gate.closer, "", closer)
    still = bench.flicker
    put("flicker", still.ratio, "", f"of swaps over self-reconstruction, {still.frames} frames")
    if bench.identity is not None:
        who = bench.identity
        note = f"cosine to the persona {who.to_persona}, to the performer {who.to_performer}"
        put("identity_margin", who.margin, "", note)
        put("identity_nearest", who.nearest, "", "share of swaps nearest to their persona")
    return found


def _mean(rows: Any, name: str) -> float:
    return round(float(np.mean([row.psnr[name] for row in rows])), 3)


def _identity(comb: Comb, personas: tuple[Persona, ...], crops: CropSet) -> IdentityMargin | None:
    try:
        stored: StoredModel = find_model(IDENTITY_MODEL)
    except ModelError:
        return None
    net = load_net(stored.card, stored.folder, device="cpu")
    return identity_margin(comb, personas, crops, net) if isinstance(net, IdentityNet) else None
