"""What the nodes compute, by class; formulas are those of Nuke's reference guide."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fake_nuke import knobs as k
from fake_nuke.nodes import Group, Node
from fake_nuke.pictures import (
    RGB,
    RGBA,
    Picture,
    Plane,
    black,
    channel_set,
    read_exr,
    write_exr,
)
from vfxswap.color import DEFAULT_CONFIG
from vfxswap.geometry import Box

if TYPE_CHECKING:
    from fake_nuke.session import FakeNuke

__all__ = ["Evaluation", "Picture"]


class Evaluation:
    """One frame of one view of the script (its first without a name); a node is computed once.
    Errors are RuntimeErrors, as in Nuke."""

    def __init__(self, fake: FakeNuke, frame: int, view: str = "") -> None:
        self._fake, self.frame, self.view = fake, frame, view
        self._done: dict[Node, Picture] = {}

    def __call__(self, node: Node | None) -> Picture:
        if node is None:
            return black(*self._fake.root_format())
        if node not in self._done:
            try:
                self._done[node] = self._compute(node)
            except RuntimeError:
                raise
            except Exception as error:
                raise RuntimeError(f"{node._full()}: {error}") from error
        return self._done[node]

    def value(self, node: Node, knob: str) -> Any:
        return node._value(knob, self.frame)

    def numbers(self, node: Node, knob: str, count: int) -> tuple[float, ...]:
        found = node._knob(knob)
        assert isinstance(found, k.Tuple_Knob)
        return found._at(self.frame, count)

    def input(self, node: Node, index: int) -> Picture:
        return self(node._input(index))

    def _compute(self, node: Node) -> Picture:
        if node._kind not in _OPERATORS:
            raise RuntimeError(f"{node._full()}: the fake cannot compute a {node._kind}")
        if node._kind not in ("Input", "Output") and self.value(node, "disable"):
            return self(node._input(0))
        return _OPERATORS[node._kind](self, node)

    def write(self, node: Node) -> str:
        """Writes this frame of a Write node; returns the file."""
        if self.value(node, "disable"):
            raise RuntimeError(f"{node._full()} is disabled")
        path = self._path(node)
        if not path:
            raise RuntimeError(f"{node._full()}: no file is named")
        if self.value(node, "file_type") != "exr" or not self.value(node, "raw"):
            raise RuntimeError(f"{node._full()}: the fake writes raw EXR alone")
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            if not self.value(node, "create_directories"):
                raise RuntimeError(f"{path}: Write error: no such folder")
            os.makedirs(folder, exist_ok=True)
        picture = self.input(node, 0)
        names = channel_set(self.value(node, "channels"), picture.channels)
        temporary = f"{path}.tmp.exr"
        write_exr(
            temporary,
            picture,
            [n for n in names if n in picture.channels or n in RGBA],
            half=self.value(node, "datatype") == "16 bit half",
            compression=self.value(node, "compression"),
        )
        os.replace(temporary, path)
        return path

    def _path(self, node: Node) -> str:
        knob = node._knob("file")
        assert isinstance(knob, k.File_Knob)
        return knob._file_on(self.frame, self.view)

    # Operators ----------------------------------------------------------------------------------

    def group(self, node: Node) -> Picture:
        assert isinstance(node, Group)
        output = next((n for n in node._children if n._kind == "Output"), None)
        if output is None:
            raise RuntimeError(f"{node._full()} has no Output")
        return self(output)

    def group_input(self, node: Node) -> Picture:
        assert node._parent is not None
        return self.input(node._parent, int(self.value(node, "number")))

    def through(self, node: Node) -> Picture:
        return self.input(node, 0)

    def read(self, node: Node) -> Picture:
        first, last = int(self.value(node, "first")), int(self.value(node, "last"))
        frame = self.frame
        if frame < first or frame > last:
            mode = self.value(node, "before" if frame < first else "after")
            if mode == "black":
                return black(*self._fake.root_format())
            if mode != "hold":
                raise RuntimeError(f"{node._full()}: the fake cannot {mode}")
            frame = min(max(frame, first), last)
        if not self.value(node, "raw"):
            raise RuntimeError(f"{node._full()}: the fake reads raw files alone")
        knob = node._knob("file")
        assert isinstance(knob, k.File_Knob)
        path = knob._file_on(frame, self.view)
        try:
            return self._fake.files.setdefault(node, {}).get(path) or self._load(node, path)
        except RuntimeError as error:
            action = self.value(node, "on_error")
            if action == "black":
                return black(*self._fake.root_format())
            raise RuntimeError(f"{node._full()}: {error}") from None

    def _load(self, node: Node, path: str) -> Picture:
        picture = read_exr(path)
        self._fake.files[node][path] = picture
        return picture

    def switch(self, node: Node) -> Picture:
        which = int(self.value(node, "which"))
        return self.input(node, min(max(which, 0), max(0, len(node._inputs) - 1)))

    def constant(self, node: Node) -> Picture:
        form = self.value(node, "format").split()
        width, height = (int(form[0]), int(form[1])) if form else self._fake.root_format()[:2]
        color = self.numbers(node, "color", 4)
        picture = black(width, height)
        return picture.with_channels(
            {
                name: np.full((height, width), color[RGBA.index(name)], np.float32)
                for name in channel_set(self.value(node, "channels"), RGBA)
            }
        )

    def color_space(self, node: Node) -> Picture:
        source = self.input(node, 0)
        spaces = self.value(node, "in_colorspace"), self.value(node, "out_colorspace")
        processor = self._fake.processor(*spaces)
        if processor is None:
            return source
        names = channel_set(self.value(node, "channels"), source.channels)
        changed: dict[str, Plane] = {}
        for start in range(0, len(names), 3):
            three = names[start : start + 3]
            if len(three) != 3:
                raise RuntimeError(f"{node._full()}: {three} are no three colours")
            pixels = np.ascontiguousarray(np.stack([source.plane(n) for n in three], -1))
            processor.applyRGB(pixels)
            changed |= {n: np.ascontiguousarray(pixels[..., i]) for i, n in enumerate(three)}
        return source.with_channels(self._masked(node, source, changed))

    def reformat(self, node: Node) -> Picture:
        source = self.input(node, 0)
        if self.value(node, "type") == "to format":
            return self._in_format(node, source)
        scale = self.numbers(node, "scale", 1)[0]
        if self.value(node, "type") != "scale" or scale != int(scale) or scale < 1:
            raise RuntimeError(f"{node._full()}: the fake scales by whole numbers alone")
        if self.value(node, "filter") != "impulse" or not self.value(node, "pbb"):
            raise RuntimeError(f"{node._full()}: the fake filters by impulse, all of the bbox")
        by, box = int(scale), source.bbox
        return Picture(
            {n: c.repeat(by, 0).repeat(by, 1) for n, c in source.channels.items()},
            Box(box.x * by, box.y * by, box.width * by, box.height * by),
            source.width * by,
            source.height * by,
            source.aspect,
            source.metadata,
        )

    def _in_format(self, node: Node, source: Picture) -> Picture:
        """The same pixels in the script's format, their lower left corners together."""
        wanted = self.value(node, "resize"), self.value(node, "center"), self.value(node, "pbb")
        if wanted != ("none", False, True):
            raise RuntimeError(f"{node._full()}: the fake resizes to no format")
        width, height, aspect = self._fake.root_format()
        box = source.bbox
        moved = Box(box.x, box.y + height - source.height, box.width, box.height)
        return replace(source, bbox=moved, width=width, height=height, aspect=aspect)

    def crop(self, node: Node) -> Picture:
        source = self.input(node, 0)
        x, y, right, top = (round(v) for v in self.numbers(node, "box", 4))
        box = Box(x, source.height - top, right - x, top - y)
        cut = source.over(source.bbox.intersection(box))
        if not self.value(node, "reformat"):
            return cut
        moved = Box(cut.bbox.x - box.x, cut.bbox.y - box.y, cut.bbox.width, cut.bbox.height)
        return replace(cut, bbox=moved, width=box.width, height=box.height)

    def copy(self, node: Node) -> Picture:
        b, a = self.input(node, 0), self.input(node, 1)
        box = {"union": b.bbox.union(a.bbox), "B side": b.bbox, "A side": a.bbox}[
            self.value(node, "bbox")
        ]
        taken = {}
        for index in range(4):
            source, target = self.value(node, f"from{index}"), self.value(node, f"to{index}")
            if source != "none" and target != "none":
                taken[target] = a.plane(source, box)
        return b.over(box).with_channels(taken)

    def shuffle(self, node: Node) -> Picture:
        sides = [
            self.input(node, int(self.value(node, f"fromInput{i}").split("}")[0].strip("{ ")))
            for i in (1, 2)
        ]
        b = self.input(node, 0)
        words = self.value(node, "mappings").split()
        if not words or len(words) != 1 + 6 * int(words[0]):
            raise RuntimeError(f"{node._full()}: mappings are no list of sixes")
        changed = {}
        for at in range(1, len(words), 6):
            source, side, _, target, _, _ = words[at : at + 6]
            if source in ("white", "black"):
                changed[target] = np.full(
                    (b.bbox.height, b.bbox.width), source == "white", np.float32
                )
            else:
                changed[target] = sides[int(side)].plane(source, b.bbox)
        return b.with_channels(changed)

    def merge(self, node: Node) -> Picture:
        b, a = self.input(node, 0), self.input(node, 1)
        box = {
            "union": b.bbox.union(a.bbox), "intersection": b.bbox.intersection(a.bbox),
            "A": a.bbox, "B": b.bbox,
        }[self.value(node, "bbox")]  # fmt: skip
        operation, mix = self.value(node, "operation"), np.float32(self.value(node, "mix"))
        alpha = a.plane("rgba.alpha", box)
        one = np.float32(1)
        formulas: dict[str, Callable[[Plane, Plane], Plane]] = {
            "over": lambda x, y: x + y * (one - alpha),
            "plus": lambda x, y: x + y,
            "multiply": lambda x, y: x * y,
            "mask": lambda x, y: y * alpha,
            "stencil": lambda x, y: y * (one - alpha),
            "copy": lambda x, y: x,
            "minus": lambda x, y: x - y,
            "max": np.maximum,
            "min": np.minimum,
        }
        wide = b.over(box)
        changed = {}
        for name in RGBA:
            below = wide.plane(name)
            merged = formulas[operation](a.plane(name, box), below)
            changed[name] = merged if mix == 1 else below + (merged - below) * mix
        return wide.with_channels(changed)

    def keymix(self, node: Node) -> Picture:
        b, a, m = (self.input(node, i) for i in range(3))
        box = b.bbox.union(a.bbox) if self.value(node, "bbox") == "union" else b.bbox
        mask = m.plane(self.value(node, "maskChannel"), box)
        if self.value(node, "invertMask"):
            mask = np.float32(1) - mask
        mask = mask * np.float32(self.value(node, "mix"))
        wide = b.over(box)
        names = channel_set(self.value(node, "channels"), {*a.channels, *b.channels})
        # As Nuke does: multiplied and added, so that nothing but finite numbers stay themselves.
        return wide.with_channels(
            {n: a.plane(n, box) * mask + wide.plane(n) * (np.float32(1) - mask) for n in names}
        )

    def grade(self, node: Node) -> Picture:
        source = self.input(node, 0)
        names = channel_set(self.value(node, "channels"), source.channels)
        if self.value(node, "white_clamp"):
            raise RuntimeError(f"{node._full()}: the fake does not clamp whites")
        rows = {
            name: self.numbers(node, name, 4)
            for name in ("blackpoint", "whitepoint", "black", "white", "multiply", "add", "gamma")
        }
        divide = self.value(node, "unpremult")
        alpha = None if divide in ("none", "") else source.plane(divide)
        changed = {}
        for index, name in enumerate(names):
            v = {row: np.float32(values[index % 4]) for row, values in rows.items()}
            gain = v["multiply"] * (v["white"] - v["black"]) / (v["whitepoint"] - v["blackpoint"])
            offset = v["add"] + v["black"] - gain * v["blackpoint"]
            pixels = source.plane(name)
            if alpha is not None:
                pixels = np.divide(pixels, alpha, out=pixels.copy(), where=alpha != 0)
            graded = gain * pixels + offset
            if v["gamma"] != 1:
                graded = np.where(graded > 0, np.abs(graded) ** (1 / v["gamma"]), graded)
            if self.value(node, "black_clamp"):
                graded = np.maximum(graded, 0)
            if alpha is not None:
                graded = np.where(alpha != 0, graded * alpha, graded)
            changed[name] = graded.astype(np.float32)
        return source.with_channels(self._masked(node, source, changed))

    def _masked(self, node: Node, source: Picture, changed: dict[str, Plane]) -> dict[str, Plane]:
        name, mix = self.value(node, "maskChannelInput"), np.float32(self.value(node, "mix"))
        if name in ("none", "") and mix == 1:
            return changed
        mask = source.plane(name) if name not in ("none", "") else np.float32(1)
        if self.value(node, "invert_mask"):
            mask = np.float32(1) - mask
        mask = mask * mix
        return {n: source.plane(n) * (1 - mask) + c * mask for n, c in changed.items()}

    def st_map(self, node: Node) -> Picture:
        source, by = self.input(node, 0), self.input(node, 1)
        if self.value(node, "filter") != "impulse":
            raise RuntimeError(f"{node._full()}: the fake filters by impulse alone")
        uv = self.value(node, "uv")
        u, v = by.plane(f"{uv}.red"), by.plane(f"{uv}.green")
        columns = np.floor(u * source.width).astype(np.int64)
        rows = source.height - 1 - np.floor(v * source.height).astype(np.int64)
        inside = (columns >= 0) & (columns < source.width) & (rows >= 0) & (rows < source.height)
        window = Box(0, 0, source.width, source.height)
        warped = {
            name: np.where(
                inside,
                source.plane(name, window)[
                    np.clip(rows, 0, source.height - 1), np.clip(columns, 0, source.width - 1)
                ],
                np.float32(0),
            )
            for name in channel_set(self.value(node, "channels"), source.channels)
        }
        return replace(by, channels={**by.channels, **warped})


_OPERATORS: dict[str, Callable[[Evaluation, Node], Picture]] = {
    "Group": Evaluation.group,
    "Input": Evaluation.group_input,
    "Output": Evaluation.through,
    "Write": Evaluation.through,
    "Dot": Evaluation.through,
    "NoOp": Evaluation.through,
    "Viewer": Evaluation.through,
    "Read": Evaluation.read,
    "Switch": Evaluation.switch,
    "Constant": Evaluation.constant,
    "OCIOColorSpace": Evaluation.color_space,
    "Reformat": Evaluation.reformat,
    "Crop": Evaluation.crop,
    "Copy": Evaluation.copy,
    "Shuffle2": Evaluation.shuffle,
    "Merge2": Evaluation.merge,
    "Keymix": Evaluation.keymix,
    "Grade": Evaluation.grade,
    "STMap": Evaluation.st_map,
}


def processor(config_file: str, source: str, target: str) -> Any:
    """OpenColorIO's conversion, None where it changes nothing."""
    import PyOpenColorIO as ocio  # noqa: N813

    if source == target:
        return None
    config = (
        ocio.Config.CreateFromFile(config_file)
        if config_file
        else ocio.Config.CreateFromBuiltinConfig(DEFAULT_CONFIG)
    )
    made = config.getProcessor(source, target)
    if made.isNoOp():
        return None
    return made.getDefaultCPUProcessor()


__all__ += ["RGB", "processor"]
