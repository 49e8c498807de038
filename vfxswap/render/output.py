"""Frame files: comp and layers with their provenance, and a hashed sidecar beside each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import vfxswap
from vfxswap.color import Resolution
from vfxswap.errors import OutputError
from vfxswap.files import write_atomically
from vfxswap.io.exr import verify_image, write_image
from vfxswap.io.tracks import Tracks
from vfxswap.job import Output
from vfxswap.persona import card_sha256, consent_id
from vfxswap.render.frame import Composed, frame_seed
from vfxswap.render.plan import Plan, Unit

SIDECAR_FORMAT = "vfxswap-sidecar"
SIDECAR_VERSION = 1


def prepare_output(units: Iterable[Unit]) -> None:
    """Makes the output folders and proves that files can be written there. Raises OutputError."""
    for folder in sorted({unit.target.parent for unit in units}):
        probe = folder / f".vfxswap-{os.getpid()}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError("output folder cannot be written", got=reason, file=folder) from error


def provenance(plan: Plan, tracks: Tracks | None, unit: Unit, space: Resolution) -> dict[str, Any]:
    """What made this frame: JSON values that depend on the job and the frame, never on how the
    render was cut into chunks."""
    job = plan.job
    effects = []
    for step in plan.steps:
        settings = step.settings(unit.frame)
        personas = [plan.personas[name] for name in step.effect.likenesses(settings)]
        effects.append(
            {
                "effect": step.effect.name,
                "settings": settings.model_dump(mode="json"),
                "personas": [p.id for p in personas],
                "consents": [consent_id(p) for p in personas],
                "synthetic": all(p.synthetic for p in personas),
            }
        )
    models = [
        {
            "name": stored.card.name,
            "version": stored.card.version,
            "weights_sha256": stored.card.weights_sha256,
            "card_sha256": card_sha256(stored.card),
        }
        for _, stored in sorted(plan.shelf.used.items())
    ]
    return {
        "version": vfxswap.__version__,
        "frame": unit.frame,
        "view": unit.view,
        "show": job.show,
        "seed": job.seed,
        "frame_seed": frame_seed(job.seed, unit.frame, unit.view),
        "effects": effects,
        "models": models,
        "tracker": tracks.model.model_dump() if tracks is not None else None,
        "color_space": space.space,
        "color_space_reason": space.reason,
        "working_space": plan.color.working,
        "proxy": job.proxy,
        "region": list(job.region) if job.region else None,
    }


def attributes(record: Mapping[str, Any]) -> dict[str, str]:
    """A provenance record as EXR metadata `vfxswap/…`; lists are joined by commas."""
    effects, models = record["effects"], record["models"]

    def joined(values: list[str]) -> str:
        return ",".join(dict.fromkeys(values))

    flat = {
        "effect": joined([e["effect"] for e in effects]),
        "persona": joined([p for e in effects for p in e["personas"]]),
        "consent": joined([c for e in effects for c in e["consents"]]),
        "model": joined([m["name"] for m in models]),
        "weights_sha256": joined([m["weights_sha256"] for m in models]),
        "card_sha256": joined([m["card_sha256"] for m in models]),
        "settings": json.dumps(
            [{"effect": e["effect"], **e["settings"]} for e in effects], sort_keys=True
        ),
        "seed": str(record["seed"]),
        "show": record["show"],
        "tracker_sha256": (record["tracker"] or {}).get("sha256", ""),
        "color_space": record["color_space"],
        "working_space": record["working_space"],
        "proxy": str(record["proxy"]) if record["proxy"] != 1 else "",
        "region": ",".join(map(str, record["region"])) if record["region"] else "",
    }
    return {f"vfxswap/{name}": value for name, value in flat.items() if value}


def sidecar_path(target: Path) -> Path:
    """`out.1001.exr` has `out.1001.vfxswap.json`."""
    return target.with_suffix(".vfxswap.json")


def write_unit(
    unit: Unit, composed: Composed, record: Mapping[str, Any], output: Output, *, threads: int
) -> None:
    """Writes the frame, then its sidecar. Raises OutputError; nothing half-written stays."""
    write_image(
        unit.target,
        composed.image,
        composed.layers if output.layers else (),
        metadata=attributes(record),
        single_part=output.single_part,
        threads=threads,
    )
    if output.sidecar:
        write_sidecar(unit.target, record)


def write_sidecar(target: Path, record: Mapping[str, Any]) -> None:
    """The record with the frame file's hash, sealed by the hash of its own content.

    `sha256` covers everything else: the canonical JSON (sorted keys, no spaces) without it.
    """
    with target.open("rb") as file:
        file_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    content = {
        "format": SIDECAR_FORMAT,
        "sidecar_version": SIDECAR_VERSION,
        "file": target.name,
        "file_sha256": file_sha256,
        **record,
    }
    sealed = {**content, "sha256": _seal(content)}
    text = json.dumps(sealed, indent=2, sort_keys=True, ensure_ascii=False)
    write_atomically(sidecar_path(target), (text + "\n").encode())


def verify_sidecar(target: Path) -> bool:
    """Whether the sidecar of a frame file is whole and speaks of that very file."""
    try:
        content = json.loads(sidecar_path(target).read_text(encoding="utf-8"))
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return False
    if not isinstance(content, dict):
        return False
    stated = content.pop("sha256", None)
    return stated == _seal(content) and content.get("file_sha256") == found


def is_complete(plan: Plan, unit: Unit) -> bool:
    """Whether this frame need not be rendered again: file and sidecar are there and whole."""
    if not verify_image(unit.target):
        return False
    return not plan.job.output.sidecar or verify_sidecar(unit.target)


def _seal(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
