"""`vfxswap bench features`: transfers against rendered truth, and retrieval by known parameters.

Every transfer is made three ways through the same effect, regions and blend: by the channels of
the two pictures (the method); by one set of channels averaged over a gallery (the conventional
approach); and by pasting the reference's aligned face in the region. Differences are root mean
squares in stops: in net space, where a stop is the same step at every exposure. Errors are those
of full transfers; leaks of the first two are measured at an equal change of the feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfxswap import color
from vfxswap.bench import machine
from vfxswap.bench_feature_shares import Transfer, equal_amounts, summarised
from vfxswap.color import DEFAULT_CONFIG, ColorManager
from vfxswap.effects.aligned import Alignment, to_crop
from vfxswap.effects.base import Frame
from vfxswap.effects.feature_edit import ChannelVectors, Seen, named_vectors, seen
from vfxswap.effects.features import Features
from vfxswap.effects.features_settings import POSE, FeaturesSettings
from vfxswap.errors import CancelledError, JobError
from vfxswap.geometry import LANDMARK_COUNT, Box, Face
from vfxswap.image import Pixels
from vfxswap.io.exr import write_png
from vfxswap.nets.features import FeatureNet
from vfxswap.nets.parsing import ParsingNet
from vfxswap.ops.grain import STOP
from vfxswap.ops.sheet import contact_sheet
from vfxswap.render.models import Shelf
from vfxswap.retrieval.index import Faces, described
from vfxswap.retrieval.search import WHOLE, distances
from vfxswap.retrieval.ways import Compare
from vfxswap.synth.feature_gallery import (
    SPACE,
    Arrays,
    GallerySettings,
    PairSettings,
    Progress,
    gallery,
    pairs,
    relevant,
)
from vfxswap.synth.feature_truth import FEATURES

RELEVANT = 0.05
"""Share of the gallery that counts as alike in a feature: those nearest by its parameters."""
TOP = 10
PASTE_LEVELS = 2
"""Coarsest levels that pasting takes from the plate, as the swap does: its light."""
WAYS = ("method", "averaged", "pasted")
RIVALS = ("method", "averaged")
"""Ways whose leaks are compared, at an equal change of the feature; a paste knows no amount."""
ALPHAS = (-0.5, 0.0, 0.5, 1.0, 1.5)
SHEET_PAIRS = 4
CELL_PX = 112
CPU = torch.device("cpu")


class _Averaged(Features):
    """The conventional way: channels by one map, whatever the pictures."""

    mean_channels: Tensor

    def vectors(self, wanted: FeaturesSettings) -> ChannelVectors:
        def fixed(_source: Seen, _reference: Seen, features: Sequence[str]) -> list[Tensor]:
            return named_vectors(
                self._net, self.mean_channels, features, temperature=wanted.temperature
            )

        return fixed


class _Pasted(Features):
    """The reference's own pixels, aligned as the plate's face is, in the same region."""

    picture: Frame

    def step(
        self, crop: Alignment, source: Seen, wanted: FeaturesSettings
    ) -> tuple[Tensor, Tensor]:
        _, regions = super().step(crop, source, wanted)
        face = self.picture.faces[0]
        theirs = Alignment.of(
            face, self.picture.rgb, self.picture, size=crop.size, device=self._device
        )
        assert theirs is not None
        return theirs.target - crop.target, regions


def run(
    model: str,
    *,
    work: Path,
    pair_settings: PairSettings | None = None,
    gallery_settings: GallerySettings | None = None,
    temperature: float = 0.1,
    sheet: Path | None = None,
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Renders what is missing in `work`, measures a model on the CPU and returns the report:
    `machine`, `settings`, `transfer` and `retrieval` by feature. `sheet` is a PNG to write.

    Raises JobError for a model of something else, ModelError, CancelledError.
    """
    pair_settings = pair_settings or PairSettings()
    gallery_settings = gallery_settings or GallerySettings()
    shelf = Shelf(CPU)
    chosen = shelf.by_name(model)
    net = chosen.net
    if not isinstance(net, FeatureNet):
        raise JobError("not a model of features", got=model)
    parser = shelf.for_stage("parsing").net
    assert isinstance(parser, ParsingNet)
    work.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        shown = gallery(work, gallery_settings, progress=progress, stop=stop)
        faces = gallery_faces(net, shown)
        truths = pairs(work, pair_settings, progress=progress, stop=stop)
        bench = _Bench(net, parser, faces.channels.float().mean(0, keepdim=True), temperature)
        transfer = bench.transfers(truths, progress=progress, stop=stop)
        found = retrieval(net, faces, shown, temperature=temperature)
        if sheet is not None:
            bench.write_sheet(sheet, truths)
    return {
        "machine": machine(CPU),
        "settings": {
            "model": model,
            "weights_sha256": chosen.card.weights_sha256,
            "temperature": temperature,
            "pairs": pair_settings.model_dump(),
            "gallery": gallery_settings.model_dump(),
            "relevant": RELEVANT,
            "top": TOP,
        },
        "transfer": transfer,
        "retrieval": found,
    }


def gallery_faces(net: FeatureNet, shown: Arrays) -> Faces:
    """The gallery as a search sees it, aligned by true landmarks."""
    found = []
    for rgb, points in zip(shown["pictures"], shown["points"], strict=True):
        frame = _frame(rgb, points)
        found.append(described(net, _aligned(frame, net.size), frame.faces[0]))
    return Faces(
        torch.cat([each.sigma for each in found]),
        torch.cat([each.channels for each in found]),
        np.concatenate([each.points for each in found]),
    )


def retrieval(
    net: FeatureNet, faces: Faces, shown: Arrays, *, temperature: float
) -> dict[str, dict[str, float]]:
    """Precision at 10 by feature, every picture of the gallery a query in turn, in every way of
    comparing that the model knows; each also by the whole face (`whole_…`); and by chance."""
    ways = [way for way in Compare if net.settings.lasting or way is not Compare.LASTING]

    def order(feature: str, way: Compare) -> NDArray[np.int64]:
        return _order(distances(net, faces, faces, feature, temperature=temperature, compare=way))

    whole = {way: order(WHOLE, way) for way in ways if way is not Compare.PLAIN}
    found = {}
    for feature in (*FEATURES, POSE):
        if feature not in (*net.feature_names, POSE):
            continue
        wanted = relevant(shown[f"distance.{feature}"], RELEVANT)
        found[feature] = {
            **{way.value: precision(order(feature, way), wanted) for way in ways},
            **{f"whole_{way}": precision(by, wanted) for way, by in whole.items()},
            "chance": float(wanted.sum(1).mean() / (len(wanted) - 1)),
        }
    return found


def precision(order: NDArray[np.int64], wanted: NDArray[np.bool_]) -> float:
    """Share of relevant pictures among the first `TOP`, mean over queries. `order` [N, N - 1]
    and `wanted` [N, N] are by query."""
    return float(np.take_along_axis(wanted, order[:, :TOP], axis=1).mean())


def _order(distances: Tensor) -> NDArray[np.int64]:
    """[N, N - 1]: for each row the others, nearest first, out of distances [N, N]."""
    values = distances.numpy().copy()
    np.fill_diagonal(values, np.inf)
    order: NDArray[np.int64] = np.argsort(values, axis=1, kind="stable")[:, :-1]
    return order


@dataclass(frozen=True, eq=False)
class _Shown:
    """A pair's plate with its aligned crop, what the network makes of it, and one feature's truth
    [H, W, 3] and region [H, W]."""

    plate: Frame
    crop: Alignment
    source: Seen
    truth: Pixels
    inside: NDArray[np.bool_]

    def comp(self, effect: Features, wish: FeaturesSettings) -> tuple[float, float, float]:
        """The comp's error inside, its change inside and its change around, within the crop."""
        comp = effect(self.plate, wish, {}).rgb
        near = np.zeros_like(self.inside)
        near[self.crop.square.slices_in(self.plate.data_window)] = True
        return (
            _stops(comp, self.truth, self.inside),
            _stops(comp, self.plate.rgb, self.inside),
            _stops(comp, self.plate.rgb, near & ~self.inside),
        )

    def stepped(self, effect: Features, wish: FeaturesSettings) -> tuple[float, float]:
        """The same two changes of the step before it is confined to the feature's region."""
        step, _ = effect.step(self.crop, self.source, wish)
        region = torch.from_numpy(self.inside.astype(np.float32))[None, None]
        window = self.plate.data_window
        there = to_crop(region, self.crop.matrix, self.crop.size, window)[0, 0].numpy() > 0.5
        change = step[0].square().mean(0).numpy()
        within = float(np.sqrt(change[there].mean())) if there.any() else 0.0
        return within / STOP, float(np.sqrt(change[~there].mean())) / STOP


class _Bench:
    def __init__(
        self, net: FeatureNet, parser: ParsingNet | None, mean_channels: Tensor, temperature: float
    ) -> None:
        self._net, self._parser, self._mean = net, parser, mean_channels
        self._temperature = temperature

    def transfers(
        self, truths: Arrays, *, progress: Progress, stop: Callable[[], bool] = lambda: False
    ) -> dict[str, dict[str, Any]]:
        """By feature: `method`, `averaged`, `pasted`, each as `summarised` beside averaged, and
        `untouched`, the plate's own difference from the truth."""
        sums: dict[str, dict[str, list[Transfer]]] = {}
        untouched: dict[str, list[float]] = {}
        count = len(truths["plate"])
        for pair in range(count):
            if stop():
                raise CancelledError("measuring was stopped")
            plate = _frame(truths["plate"][pair], truths["plate_points"][pair])
            reference = _frame(truths["reference"][pair], truths["reference_points"][pair])
            effects = self._effects(reference)
            crop = _aligned(plate, self._net.size)
            source = seen(self._net, self._net.encode(crop.seen(self._net.size)[0]))
            for index, feature in enumerate(FEATURES):
                if feature not in self._net.feature_names:
                    continue
                truth = _working(truths["truth"][pair, index])
                inside = truths["region"][pair, index].astype(bool)
                untouched.setdefault(feature, []).append(_stops(plate.rgb, truth, inside))
                shown = _Shown(plate, crop, source, truth, inside)
                for name, row in self._measured(effects, feature, shown).items():
                    sums.setdefault(feature, {}).setdefault(name, []).append(row)
            progress("transfers", pair + 1, count)
        return {
            feature: {
                "untouched": float(np.mean(untouched[feature])),
                **{name: summarised(rows, ways["averaged"]) for name, rows in ways.items()},
            }
            for feature, ways in sums.items()
        }

    def _measured(
        self, effects: Mapping[str, Features], feature: str, shown: _Shown
    ) -> dict[str, Transfer]:
        """Every way's numbers for one feature of a pair."""

        def change(name: str) -> Callable[[float], float]:
            return lambda amount: shown.stepped(effects[name], self._wish(feature, amount))[0]

        amounts = equal_amounts({name: change(name) for name in RIVALS})
        found = {}
        for name, effect in effects.items():
            amount = amounts.get(name, 1.0)
            full = self._wish(feature, 1.0, pasted=name == "pasted")
            equal = self._wish(feature, amount, pasted=name == "pasted")
            error, moved, leak = shown.comp(effect, full)
            whole = moved
            if amount != 1:
                _, moved, leak = shown.comp(effect, equal)
            step = shown.stepped(effect, equal)
            found[name] = Transfer(error, whole, amount, moved, leak, *step)
        return found

    def write_sheet(self, file: Path, truths: Arrays) -> None:
        """Feature × amount for the first pairs, side by side in two columns."""
        features = [feature for feature in FEATURES if feature in self._net.feature_names]
        blocks: list[list[list[tuple[str, Pixels]]]] = []
        for pair in range(min(SHEET_PAIRS, len(truths["plate"]))):
            plate = _frame(truths["plate"][pair], truths["plate_points"][pair])
            reference = _frame(truths["reference"][pair], truths["reference_points"][pair])
            effect = self._effects(reference)["method"]
            rows = []
            for feature in features:
                truth = _working(truths["truth"][pair, FEATURES.index(feature)])
                cells = [("reference", _cell(reference.rgb, reference))]
                for alpha in ALPHAS:
                    comp = effect(plate, self._wish(feature, alpha), {}).rgb
                    cells.append((f"{feature} {alpha:+g}", _cell(comp, plate)))
                cells.append(("truth at 1", _cell(truth, plate)))
                rows.append(cells)
            blocks.append(rows)
        cells = [
            cell
            for k in range(0, len(blocks), 2)
            for row in zip(*blocks[k : k + 2], strict=True)
            for half in row
            for cell in half
        ]
        columns = (len(ALPHAS) + 2) * min(2, len(blocks))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_png(file, contact_sheet(cells, columns=columns))

    def _effects(self, reference: Frame) -> dict[str, Features]:
        crop = _aligned(reference, self._net.size)
        about = seen(self._net, self._net.encode(crop.seen(self._net.size)[0]))
        given = (self._net, about, self._parser, (), CPU)
        method, averaged, pasted = Features(*given), _Averaged(*given), _Pasted(*given)
        averaged.mean_channels, pasted.picture = self._mean, reference
        return {"method": method, "averaged": averaged, "pasted": pasted}

    def _wish(self, feature: str, alpha: float, *, pasted: bool = False) -> FeaturesSettings:
        return FeaturesSettings(
            feature={feature: alpha},
            reference="reference.exr",
            temperature=self._temperature,
            plate_levels=PASTE_LEVELS if pasted else 0,
        )


def _aligned(frame: Frame, size: int) -> Alignment:
    """The crop of a frame's only face."""
    crop = Alignment.of(frame.faces[0], frame.rgb, frame, size=size, device=CPU)
    assert crop is not None, "benches show their faces"
    return crop


def _stops(one: Pixels, two: Pixels, where: NDArray[np.bool_]) -> float:
    """Root mean square difference of two pictures, in stops, where it counts."""
    difference = (color.to_net(one) - color.to_net(two))[where] / STOP
    return float(np.sqrt(np.mean(difference.astype(np.float64) ** 2))) if where.any() else 0.0


def _working(rgb: NDArray[Any]) -> Pixels:
    return _manager().to_working(rgb.astype(np.float32), SPACE)


@lru_cache(maxsize=1)
def _manager() -> ColorManager:
    # The built-in config: what is measured must not depend on the machine's $OCIO.
    return ColorManager(DEFAULT_CONFIG)


def _frame(rgb: NDArray[Any], points: NDArray[Any]) -> Frame:
    window = Box(0, 0, rgb.shape[1], rgb.shape[0])
    face = Face(0, points.astype(np.float64), np.ones(LANDMARK_COUNT), 1.0)
    return Frame(1, _working(rgb), window, window, seed=0, faces=(face,))


def _cell(rgb: Pixels, frame: Frame) -> Pixels:
    """The aligned face as people see it."""
    crop = _aligned(replace(frame, rgb=rgb), CELL_PX)
    linear = color.from_net(crop.target)[0].permute(1, 2, 0).contiguous().numpy()
    return _manager().to_display(linear)


def table(report: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """The report as tables: title, columns, rows of text."""
    transfers = [
        [
            feature,
            f"{row['untouched']:.3f}",
            *(
                f"{row[way][what]:.3f}"
                for what in ("error", "change", "leaked", "spilt")
                for way in WAYS
            ),
            *(f"{row['method'][what]:.0%}" for what in ("leaks_less", "spills_less")),
        ]
        for feature, row in report["transfer"].items()
    ]
    titles = ["feature", "untouched"]
    titles += [f"{what}, {way}" for what in ("error", "change", "leaked", "spilt") for way in WAYS]
    titles += ["leaks less than averaged in", "spills less in"]
    rows = report["retrieval"]
    ways = list(next(iter(rows.values()), {}))
    searches = [[feature, *(f"{row[way]:.3f}" for way in ways)] for feature, row in rows.items()]
    columns = ["feature", *(way.replace("_", " ") for way in ways)]
    return [
        ("Transfers, stops", titles, transfers),
        (f"Precision at {TOP}", columns, searches),
    ]
