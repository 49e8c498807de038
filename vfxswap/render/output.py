"""Frame files: comp and layers with their provenance, and a hashed sidecar beside each.

What made a frame is written twice: into the EXR what depends on job and frame alone, so that its
bytes do not depend on who rendered it; into the sidecar the same and `run`: who, where, when, how
long. A frame that failed leaves `NAME.failed.json` with the reason, until it is written.
"""

from __future__ import annotations

import hashlib
import json
import platform
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vfxswap
from vfxswap.color import Resolution
from vfxswap.errors import OutputError, VfxSwapError, sayable
from vfxswap.files import probe, remove_abandoned, write_atomically
from vfxswap.geometry import Face
from vfxswap.io.exr import verify_image, write_image
from vfxswap.io.tracks import Tracks
from vfxswap.job import Output
from vfxswap.persona import card_sha256, consent_id
from vfxswap.render.frame import Composed, frame_seed
from vfxswap.render.plan import Plan, Unit, hashes_of_files

SIDECAR_FORMAT = "vfxswap-sidecar"
SIDECAR_VERSION = 1


FAILURE_FORMAT = "vfxswap-failure"
FAILURE_VERSION = 1
_WORDS = {
    "version": "version of vfxswap",
    "effects": "effect or setting",
    "models": "model",
    "tracker": "tracker",
    "faces": "track",
    "show": "show",
    "seed": "seed",
    "working_space": "working space",
    "proxy": "proxy",
    "region": "region",
}
"""What a kept frame may differ in from the job, in words."""


@dataclass(frozen=True)
class Run:
    """Who renders: the same for all frames of one process."""

    host: str
    platform: str
    device: str
    precision: str
    threads: int
    torch: str

    @classmethod
    def here(cls, plan: Plan, *, threads: int) -> Run:
        """This process, with the name of its accelerator."""
        device = str(plan.device)
        if plan.device.type == "cuda":
            device = f"{device} {torch.cuda.get_device_name(plan.device)}"
        return cls(
            host=socket.gethostname(),
            platform=f"{platform.system()} {platform.machine()}",
            device=device,
            precision=plan.shelf.precision,
            threads=threads,
            torch=torch.__version__,
        )

    def record(self, *, seconds: float, plate: PlateStamp | None) -> dict[str, Any]:
        """JSON values of one frame's rendering, which ends now."""
        return {
            "host": self.host,
            "platform": self.platform,
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "torch": self.torch,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 4),
            "plate": None if plate is None else plate.record(),
        }


@dataclass(frozen=True)
class PlateStamp:
    """Size and time of a plate's file, to tell that it was changed; times are only compared for
    being the same, so that clocks do not matter."""

    size: int
    modified_us: int

    @classmethod
    def of(cls, file: Path) -> PlateStamp | None:
        """None when there is no such file."""
        try:
            stat = file.stat()
        except OSError:
            return None
        return cls(stat.st_size, stat.st_mtime_ns // 1000)

    def record(self) -> dict[str, int]:
        return {"bytes": self.size, "modified_us": self.modified_us}


def prepare_output(units: Iterable[Unit], *, beside: Iterable[Path] = ()) -> None:
    """Makes the output folders, proves that files can be written there, and removes what killed
    renders of these very frames, and of files `beside` them, left. Raises OutputError."""
    names: dict[Path, set[str]] = {}
    for unit in units:
        files = (unit.target, sidecar_path(unit.target), failure_path(unit.target))
        names.setdefault(unit.target.parent, set()).update(file.name for file in files)
    now = {folder: probe(folder) for folder in sorted(names)}
    for file in beside:
        if file.parent in names:
            names[file.parent].add(file.name)
    for folder, moment in now.items():
        remove_abandoned(folder, names[folder], now=moment)


def provenance(
    plan: Plan,
    tracks: Tracks | None,
    unit: Unit,
    space: Resolution,
    *,
    notes: Iterable[str] = (),
) -> dict[str, Any]:
    """What made this frame: JSON values that depend on the job and the frame, never on how the
    render was cut into chunks."""
    return {
        **_asked(plan, tracks, unit),
        "color_space": space.space,
        "color_space_reason": space.reason,
        "notes": list(notes),
    }


def _asked(plan: Plan, tracks: Tracks | None, unit: Unit) -> dict[str, Any]:
    """What is known of a frame without its plate."""
    job = plan.job
    faces = None
    if tracks is not None:
        faces = [_face(face) for face in tracks.faces(unit.frame, unit.view)]
    effects = []
    for step in plan.steps:
        settings = step.settings(unit.frame)
        said = settings.model_dump(mode="json")
        said |= hashes_of_files(plan, said)
        personas = [plan.personas[name] for name in step.effect.likenesses(settings)]
        effects.append(
            {
                "effect": step.effect.name,
                "settings": said,
                "personas": [p.id for p in personas],
                "consents": [consent_id(p) for p in personas],
                "synthetic": all(p.synthetic for p in personas),
                **({"spaces": step.spec.spaces} if step.spec.spaces else {}),
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
        "faces": faces,
        "working_space": plan.color.working,
        "proxy": job.proxy,
        "region": list(job.region) if job.region else None,
    }


def _face(face: Face) -> dict[str, Any]:
    """A face for reports: where it is, in plate pixels, and how sure its landmarks are."""
    low, high = face.points.min(0), face.points.max(0)
    points = np.ascontiguousarray(np.round(face.points, 3), "<f8")
    return {
        "id": face.id,
        "score": round(float(face.score), 4),
        "confidence": round(float(face.confidence.mean()), 4),
        "box": [round(float(v), 1) for v in (*low, *(high - low))],
        "points_sha256": hashlib.sha256(points.tobytes()).hexdigest(),
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


def failure_path(target: Path) -> Path:
    """`out.1001.exr` that failed leaves `out.1001.failed.json`."""
    return target.with_suffix(".failed.json")


def write_unit(
    unit: Unit,
    composed: Composed,
    record: Mapping[str, Any],
    output: Output,
    *,
    threads: int,
    run: Callable[[], Mapping[str, Any]],
) -> None:
    """Writes the frame, then its sidecar with what `run` gives then; a record of an earlier failure
    goes. Raises OutputError; nothing half-written stays."""
    write_image(
        unit.target,
        composed.image,
        composed.layers if output.layers else (),
        metadata=attributes(record),
        single_part=output.single_part,
        threads=threads,
    )
    if output.sidecar:
        write_sidecar(unit.target, {**record, "run": dict(run())})
        with suppress(OSError):
            failure_path(unit.target).unlink(missing_ok=True)


def write_failure(unit: Unit, error: VfxSwapError, run: Mapping[str, Any]) -> None:
    """Leaves the reason why a frame is not there; where not even that can be written, nothing."""
    content = {
        "format": FAILURE_FORMAT,
        "failure_version": FAILURE_VERSION,
        "version": vfxswap.__version__,
        "frame": unit.frame,
        "view": unit.view,
        "error": error.as_json(),
        "run": dict(run),
    }
    text = json.dumps(_sayable(content), indent=2, sort_keys=True, ensure_ascii=False)
    with suppress(OutputError):
        write_atomically(failure_path(unit.target), (text + "\n").encode())


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
    content = _sayable(content)
    sealed = {**content, "sha256": _seal(content)}
    text = json.dumps(sealed, indent=2, sort_keys=True, ensure_ascii=False)
    write_atomically(sidecar_path(target), (text + "\n").encode())


def verify_sidecar(target: Path) -> bool:
    """Whether the sidecar of a frame file is whole and speaks of that very file."""
    content = read_sidecar(target)
    if content is None:
        return False
    try:
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return False
    return content.get("file_sha256") == found


def read_sidecar(target: Path) -> dict[str, Any] | None:
    """What the sidecar of a frame file says; None when it is missing or its seal is broken."""
    content = read_record(sidecar_path(target), SIDECAR_FORMAT)
    stated = content.pop("sha256", None)
    return content if content and stated == _seal(content) else None


def read_record(path: Path, wanted: str) -> dict[str, Any]:
    """A JSON object of that `format`; empty for what is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("format") != wanted:
        return {}
    return content


def is_complete(plan: Plan, unit: Unit) -> bool:
    """Whether this frame need not be rendered again: file and sidecar are there and whole. Times
    do not matter."""
    if not verify_image(unit.target):
        return False
    return not plan.job.output.sidecar or verify_sidecar(unit.target)


def made_otherwise(plan: Plan, tracks: Tracks | None, unit: Unit) -> str | None:
    """In words, what a complete frame was made from that is no longer so; None when nothing is
    known to differ."""
    content = read_sidecar(unit.target)
    if content is None:
        return None
    asked = _asked(plan, tracks, unit)
    differs = [words for name, words in _WORDS.items() if content.get(name) != asked[name]]
    plate = PlateStamp.of(unit.source)
    run = content.get("run")
    stamp = run.get("plate") if isinstance(run, dict) else None
    if plate is not None and stamp is not None and plate.record() != stamp:
        differs.append("plate")
    if not differs:
        return None
    return f"kept as it is, though made with another {', '.join(differs)}"


def _sayable(value: Any) -> Any:
    """JSON values whose texts are Unicode."""
    if isinstance(value, str):
        return sayable(value)
    if isinstance(value, Mapping):
        return {name: _sayable(each) for name, each in value.items()}
    return [_sayable(each) for each in value] if isinstance(value, list) else value


def _seal(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
