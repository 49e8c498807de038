"""Draws the compositing tree of a .blend file: what a window would show, roughly.

    PYTHON_WITH_BPY draw_nodes.py FILE.blend TREE.json
    python draw_nodes.py TREE.json PICTURE.jpg

Blender draws nodes in a window alone, so its half writes their places and the engine's Python,
which has OpenCV, draws them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROW, HEAD, SCALE, MARGIN = 22, 26, 1.1, 30
COLORS = {"RGBA": (60, 200, 200), "VALUE": (160, 160, 160), "VECTOR": (200, 100, 100)}


def tell(blend: str, target: str) -> None:
    """Writes nodes, sockets and links of a file."""
    import bpy

    bpy.ops.wm.open_mainfile(filepath=blend)
    scene = bpy.context.scene
    tree = scene.compositing_node_group if bpy.app.version >= (5, 0, 0) else scene.node_tree
    nodes = [
        {
            "name": node.name,
            "label": node.label or node.bl_label,
            "at": [node.location.x, node.location.y],
            "width": node.width,
            "inputs": [[s.name, s.type] for s in node.inputs if s.enabled and s.name],
            "outputs": [[s.name, s.type] for s in node.outputs if s.enabled and s.name],
        }
        for node in tree.nodes
    ]
    links = [
        [x.from_node.name, x.from_socket.name, x.to_node.name, _index(x.to_node, x.to_socket)]
        for x in tree.links
    ]
    Path(target).write_text(json.dumps({"nodes": nodes, "links": links}))


def _index(node: Any, socket: Any) -> int:
    return [s for s in node.inputs if s.enabled and s.name].index(socket)


def draw(source: str, target: str) -> None:
    """Draws what `tell` wrote."""
    import cv2
    import numpy as np

    told = json.loads(Path(source).read_text())
    nodes = {node["name"]: node for node in told["nodes"]}
    left = min(n["at"][0] for n in nodes.values()) - MARGIN
    top = max(n["at"][1] for n in nodes.values()) + MARGIN
    right = max(n["at"][0] + n["width"] for n in nodes.values()) + MARGIN
    bottom = min(n["at"][1] - _height(n) for n in nodes.values()) - MARGIN
    size = (int((top - bottom) * SCALE), int((right - left) * SCALE), 3)
    sheet = np.full(size, 38, np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return int((x - left) * SCALE), int((top - y) * SCALE)

    def text(words: str, x: float, y: float, *, end: bool = False) -> None:
        font, height = cv2.FONT_HERSHEY_SIMPLEX, 0.42 * SCALE
        place = at(x, y)
        if end:
            place = (place[0] - cv2.getTextSize(words, font, height, 1)[0][0], place[1])
        cv2.putText(sheet, words, place, font, height, (230, 230, 230), 1, cv2.LINE_AA)

    def socket_at(node: dict[str, Any], index: int, side: str) -> tuple[float, float]:
        row = index + (len(node["outputs"]) if side == "inputs" else 0)
        x = node["at"][0] + (node["width"] if side == "outputs" else 0)
        return x, node["at"][1] - HEAD - ROW * (row + 0.6)

    for begin, socket, end, index in told["links"]:
        names = [name for name, _ in nodes[begin]["outputs"]]
        a = at(*socket_at(nodes[begin], names.index(socket), "outputs"))
        b = at(*socket_at(nodes[end], index, "inputs"))
        bend = max(30, abs(b[0] - a[0]) // 2)
        t = np.linspace(0, 1, 40)[:, None]
        curve = [np.array(p, float) for p in (a, (a[0] + bend, a[1]), (b[0] - bend, b[1]), b)]
        line = (
            (1 - t) ** 3 * curve[0] + 3 * (1 - t) ** 2 * t * curve[1]
            + 3 * (1 - t) * t**2 * curve[2] + t**3 * curve[3]
        )  # fmt: skip
        cv2.polylines(sheet, [line.astype(np.int32)], False, (60, 200, 200), 2, cv2.LINE_AA)
    for node in nodes.values():
        x, y = node["at"]
        head = (60, 110, 60) if node["label"].startswith("VFXSwap") else (80, 70, 65)
        cv2.rectangle(sheet, at(x, y), at(x + node["width"], y - _height(node)), (58, 56, 54), -1)
        cv2.rectangle(sheet, at(x, y), at(x + node["width"], y - HEAD), head, -1)
        text(node["label"], x + 8, y - HEAD + 8)
        for side in ("outputs", "inputs"):
            for index, (name, kind) in enumerate(node[side]):
                dot = socket_at(node, index, side)
                color = COLORS.get(kind, (200, 200, 200))
                cv2.circle(sheet, at(*dot), 5, color, -1, cv2.LINE_AA)
                shift = -10 if side == "outputs" else 10
                text(name, dot[0] + shift, dot[1] - 5, end=side == "outputs")
    done, data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert done
    Path(target).write_bytes(data.tobytes())


def _height(node: dict[str, Any]) -> float:
    return float(HEAD + ROW * (len(node["inputs"]) + len(node["outputs"])) + 8)


if __name__ == "__main__":
    first, second = sys.argv[1:3]
    (tell if first.endswith(".blend") else draw)(first, second)
