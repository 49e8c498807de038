"""Draws a Nuke script as its node graph: nodes with their class's colour, names, and wires.

`python draw_graph.py SCRIPT OUT.png [GROUP]` from this folder draws what the file says, read by the
Tcl loader; with GROUP its inside stands below it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tcl_loader import ScriptNode, load_file

SCALE = 1.05
NODE = (150, 34)
MARGIN = 60
PAPER, WIRE, INK = (50, 50, 50), (190, 190, 190), (20, 20, 20)
COLORS = {
    "Read": 0xB8B8B8, "Write": 0xD6C04A, "Grade": 0x86A8D8, "OCIOColorSpace": 0x86A8D8,
    "Merge2": 0x6C7FD0, "Keymix": 0x6C7FD0, "Shuffle2": 0xB0688A, "Dot": 0x9A9A9A,
    "Switch": 0x9A9A9A, "Reformat": 0xA988B4, "Input": 0xE0E0E0, "Output": 0xE0E0E0,
    "Viewer": 0x7A7A7A, "StickyNote": 0xF2E58A,
}  # fmt: skip
INPUTS = {
    "Merge2": ("B", "A", "mask"), "Keymix": ("B", "A", "mask"), "Switch": ("0", "1"),
}  # fmt: skip


@dataclass
class Placed:
    """A node, and the box that it is drawn in."""

    node: ScriptNode
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def border(self, towards: tuple[float, float]) -> tuple[float, float]:
        """Where a straight line from the middle leaves the box."""
        x, y = self.middle
        dx, dy = towards[0] - x, towards[1] - y
        share = min(
            self.width / 2 / abs(dx) if dx else np.inf, self.height / 2 / abs(dy) if dy else np.inf
        )
        return x + dx * share, y + dy * share


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def draw(scope: ScriptNode, title: str) -> Image.Image:
    """The nodes of one group, or of the script itself."""
    placed = [_place(node) for node in scope.children]
    left = min(p.x for p in placed) - MARGIN
    upper = min(p.y for p in placed) - MARGIN - 30
    for p in placed:
        p.x, p.y = p.x - left, p.y - upper
    size = (
        round(max(p.x + p.width for p in placed) + MARGIN),
        round(max(p.y + p.height for p in placed) + MARGIN),
    )
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((16, 14), title, fill=(230, 230, 230), font=font(17))
    by_node = {id(p.node): p for p in placed}
    for p in placed:
        for index, source in enumerate(p.node.inputs):
            if source is not None:
                start = by_node[id(source)].middle
                _wire(pen, start, p.border(start), _input_name(p.node, index))
    for p in placed:
        _box(pen, p)
    return picture


def _place(node: ScriptNode) -> Placed:
    x, y = (float(node.knobs.get(k, "0")) * SCALE for k in ("xpos", "ypos"))
    if node.kind == "Dot":
        return Placed(node, x + NODE[0] / 2 - 8, y, 16, 16)
    if node.kind == "StickyNote":
        lines = node.knobs["label"].split("\n")
        wide = max(font(13).getlength(line) for line in lines)
        return Placed(node, x - 30, y, wide + 24, 20 * len(lines) + 12)
    subtitle = _subtitle(node)
    wide = max(font(15).getlength(node.name), font(12).getlength(subtitle)) + 20
    width = max(NODE[0], wide)
    # Nuke's positions are those of nodes of its own width: keep the middle.
    return Placed(node, x - (width - NODE[0]) / 2, y, width, NODE[1] + (16 if subtitle else 0))


def _subtitle(node: ScriptNode) -> str:
    """What Nuke shows below a name: the label, or what the node does."""
    if node.kind == "Merge2":
        return node.knobs["operation"]
    label = node.knobs.get("label", "")
    if node.kind == "Switch":
        return "which: vfx_use"
    if "disable" in node.knobs and node.kind == "Write":
        return "on while Render writes"
    return label


def _input_name(node: ScriptNode, index: int) -> str:
    if node.kind == "Group":
        inputs = {int(c.knobs.get("number", "0")): c.name for c in node.children
                  if c.kind == "Input"}  # fmt: skip
        return inputs.get(index, "")
    names = INPUTS.get(node.kind, ())
    return names[index] if index < len(names) else ""


def _wire(
    pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], name: str
) -> None:
    pen.line((*start, *end), fill=WIRE, width=2)
    back = np.array(start) - np.array(end)
    length = float(np.hypot(*back)) or 1.0
    along, side = back / length, np.array([-back[1], back[0]]) / length
    tip = np.array(end)
    points = [tip, tip + 12 * along + 5 * side, tip + 12 * along - 5 * side]
    pen.polygon([tuple(map(float, p)) for p in points], fill=WIRE)
    if name:
        x, y = map(float, tip + min(30.0, length / 2) * along)
        box = pen.textbbox((x, y), name, font=font(12), anchor="mm")
        pen.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 2), fill=PAPER)
        pen.text((x, y), name, fill=(230, 230, 230), font=font(12), anchor="mm")


def _box(pen: ImageDraw.ImageDraw, p: Placed) -> None:
    node = p.node
    tile = node.knobs.get("tile_color")
    color = int(tile, 16) >> 8 if tile else COLORS.get(node.kind, 0xCCCCCC)
    rgb = (color >> 16 & 255, color >> 8 & 255, color & 255)
    box = (p.x, p.y, p.x + p.width, p.y + p.height)
    dark = sum(rgb) < 380
    ink = (245, 245, 245) if dark else INK
    if node.kind == "Dot":
        pen.ellipse(box, fill=rgb, outline=(0, 0, 0))
    elif node.kind in ("Input", "Output"):
        pen.rounded_rectangle(box, radius=16, fill=rgb, outline=(0, 0, 0))
    else:
        pen.rectangle(box, fill=rgb, outline=(0, 0, 0))
    middle = p.x + p.width / 2
    if node.kind == "Dot":
        return
    if node.kind == "StickyNote":
        pen.multiline_text((p.x + 10, p.y + 7), node.knobs["label"], fill=INK, font=font(13))
        return
    pen.text((middle, p.y + 9), node.name, fill=ink, font=font(15), anchor="mt")
    if _subtitle(node):
        pen.text((middle, p.y + 29), _subtitle(node), fill=ink, font=font(12), anchor="mt")


def sheet(path: Path, group: str = "") -> Image.Image:
    """The script, and below it the inside of one of its groups."""
    root = load_file(path).root
    pictures = [draw(root, path.name)]
    if group:
        pictures.append(draw(root.child(group), f"inside {group}"))
    size = max(p.width for p in pictures), sum(p.height for p in pictures)
    made, at = Image.new("RGB", size, PAPER), 0
    for picture in pictures:
        made.paste(picture, (0, at))
        at += picture.height
    return made


def main() -> int:
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    picture = sheet(Path(sys.argv[1]), *sys.argv[3:])
    pixels = cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR)
    return 0 if cv2.imwrite(sys.argv[2], pixels) else 1


if __name__ == "__main__":
    sys.exit(main())
