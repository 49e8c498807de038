"""Every frame says what made it."""

from __future__ import annotations

import json
from pathlib import Path

from rendered import comp, shot
from small_shot import (
    gain_effect,
    gain_job,
)

from vfxswap.render import render
from vfxswap.render.output import sidecar_path, verify_sidecar

__all__ = ["gain_effect", "shot"]


def test_every_frame_says_what_made_it(shot: Path) -> None:
    render(gain_job(shot, "1001", gain=3.0).model_copy(update={"show": "kestrel", "seed": 7}))
    metadata = comp(shot, 1001).part.metadata
    assert metadata["vfxswap/effect"] == "gain" and metadata["vfxswap/seed"] == "7"
    assert metadata["vfxswap/show"] == "kestrel" and metadata["camera"] == "A1001"
    assert json.loads(metadata["vfxswap/settings"])[0]["gain"] == 3.0
    assert (
        metadata["vfxswap/version"]
        == json.loads(sidecar_path(shot / "out" / "comp.1001.exr").read_text())["version"]
    )


def test_a_sidecar_is_sealed_and_belongs_to_its_frame(shot: Path) -> None:
    render(gain_job(shot, "1001-1002"))
    first, second = (shot / "out" / f"comp.{f}.exr" for f in (1001, 1002))
    assert verify_sidecar(first) and verify_sidecar(second)
    text = sidecar_path(first).read_text()
    sidecar_path(first).write_text(text.replace('"seed": 0', '"seed": 1'))
    assert not verify_sidecar(first)
    sidecar_path(first).write_text(text)
    first.write_bytes(second.read_bytes())
    assert not verify_sidecar(first)
