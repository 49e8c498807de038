"""What is there, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import vfxswap
from vfxswap.errors import EXIT_DONE, EXIT_RETRY, ModelError, VfxSwapError

Status = Literal["ok", "missing", "broken"]

REQUIRED = (
    ("torch", "torch"),
    ("numpy", "numpy"),
    ("opencv-python-headless", "cv2"),
    ("OpenImageIO", "OpenImageIO"),
    ("OpenColorIO", "PyOpenColorIO"),
    ("pydantic", "pydantic"),
    ("fileseq", "fileseq"),
    ("safetensors", "safetensors"),
    ("typer", "typer"),
    ("rich", "rich"),
)
"""Distribution and module of what every command needs."""
OPTIONAL = (("anny", "anny"), ("warp-lang", "warp"))
"""What synthetic performers need."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `required` ones that are not "ok" make vfxswap unusable; `remedy`
    says what to do."""

    topic: str
    name: str
    status: Status
    detail: str = ""
    remedy: str = ""
    required: bool = True

    def line(self) -> str:
        """The finding as a line of text."""
        mark = {"ok": "ok     ", "missing": "MISSING", "broken": "BROKEN "}[self.status]
        remedy = f" -> {self.remedy}" if self.remedy else ""
        return f"{mark} {self.topic:<9} {self.name:<24} {self.detail}{remedy}"


@dataclass
class Examination:
    """All findings; `exit_code` is 1 when something that every job needs is not well."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        bad = any(f.required and f.status != "ok" for f in self.findings)
        return EXIT_RETRY if bad else EXIT_DONE

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "version": vfxswap.__version__,
            "ok": self.exit_code == EXIT_DONE,
            "findings": [asdict(f) for f in self.findings],
        }


def examine() -> Examination:
    """Looks at everything; never raises for what it finds."""
    report = Examination()
    sections: tuple[Callable[[], Iterator[Finding]], ...] = (
        _versions,
        _machine,
        _color,
        _models,
        _folders,
        _consent,
    )
    for section in sections:
        try:
            report.findings += section()
        except ImportError as error:
            name = section.__name__.strip("_")
            report.findings.append(Finding(name, "import", "broken", str(error)))
    return report


def _versions() -> Iterator[Finding]:
    python = platform.python_version()
    fits = sys.version_info >= (3, 11)
    remedy = "" if fits else "install Python 3.11 or newer"
    yield Finding("version", "Python", "ok" if fits else "broken", python, remedy)
    yield Finding("version", "vfxswap", "ok", vfxswap.__version__)
    for distribution, module in REQUIRED:
        yield _version(distribution, module, "pip install vfxswap")
    for distribution, module in OPTIONAL:
        # Not imported: that takes many seconds.
        if importlib.util.find_spec(module) is None:
            remedy = "pip install 'vfxswap[synth]' (synthetic performers: demo, synth, train)"
            yield Finding("version", distribution, "missing", "", remedy, required=False)
        else:
            found = importlib.metadata.version(distribution)
            yield Finding("version", distribution, "ok", found, required=False)


def _version(distribution: str, module: str, remedy: str) -> Finding:
    try:
        __import__(module)
    except ImportError as error:
        there = not isinstance(error, ModuleNotFoundError)
        status: Status = "broken" if there else "missing"
        return Finding("version", distribution, status, str(error), remedy)
    found = getattr(sys.modules[module], "__version__", None)
    try:
        found = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        found = found or "version unknown"
    return Finding("version", distribution, "ok", str(found))


def _machine() -> Iterator[Finding]:
    import torch

    from vfxswap.render.device import pick_device

    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding("machine", "system", "ok", f"{platform.system()} {platform.machine()}")
    yield Finding(
        "machine", "cpu", "ok", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}; "
        f"{capability}; bfloat16 {_bf16()}",
    )  # fmt: skip
    device = pick_device("auto")
    detail = device.type
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        detail = f"cuda: {properties.name}, {properties.total_memory / 2**30:.1f} GiB"
    yield Finding("machine", "device", "ok", detail)


def _bf16() -> str:
    """Whether the CPU multiplies bfloat16 itself, by its flags (Linux)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    found = [name for name in ("amx_bf16", "avx512_bf16", "bf16") if name in flags]
    return f"in hardware ({', '.join(found)})" if found else "emulated"


def _color() -> Iterator[Finding]:
    from vfxswap.color import ColorManager

    try:
        manager = ColorManager()
    except VfxSwapError as error:
        yield Finding("colour", "OCIO config", "broken", str(error), "set or unset $OCIO")
        return
    why = "$OCIO" if os.environ.get("OCIO") else "built in"
    yield Finding(
        "colour", "OCIO config", "ok", f"{manager.source} ({why}), working space {manager.working}"
    )


def _models() -> Iterator[Finding]:
    from vfxswap.io.weights import list_models, load_tensors, model_roots

    remedy = "install vfxswap again, or train the model by the recipe in its card"
    try:
        roots = model_roots()
    except ModelError as error:
        yield Finding("model", "folders", "broken", str(error), "set or unset $VFXSWAP_MODELS")
        return
    yield Finding("model", "folders", "ok", ", ".join(map(str, roots)) or "none")
    broken: list[ModelError] = []
    stages = set()
    for model in list_models(broken=broken):
        card = model.card
        try:
            load_tensors(model.folder, card)
        except ModelError as error:
            yield Finding("model", card.name, "broken", str(error), remedy)
            continue
        stages.add(card.effect)
        personas = f"; personas {', '.join(p.id for p in card.personas)}" if card.personas else ""
        detail = f"{card.effect}, {card.licence}, {card.weights_sha256[:12]}{personas}"
        yield Finding("model", card.name, "ok", detail)
    for wrong in broken:
        yield Finding("model", Path(str(wrong.file)).parent.name, "broken", str(wrong), remedy)
    for stage, use in (("landmarks", "finds faces"), ("swap", "has personas")):
        if stage not in stages:
            yield Finding("model", stage, "missing", f"no model {use}", remedy)


def _folders() -> Iterator[Finding]:
    import tempfile

    for name, folder in (
        ("temporary files", Path(tempfile.gettempdir())),
        ("cache", Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")),
    ):
        there = next((p for p in (folder, *folder.parents) if p.exists()), folder)
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            yield Finding("folder", name, "ok", str(folder), required=False)
        else:
            remedy = "make it writable, or set TMPDIR or XDG_CACHE_HOME"
            yield Finding("folder", name, "broken", f"{folder} cannot be written", remedy, False)


def _consent() -> Iterator[Finding]:
    from vfxswap.persona import REVOCATIONS_VARIABLE, revocations

    named = os.environ.get(REVOCATIONS_VARIABLE, "")
    if not named:
        yield Finding(
            "consent", "revocation list", "ok", f"none (${REVOCATIONS_VARIABLE} is unset)"
        )
        return
    try:
        count = len(revocations())
    except VfxSwapError as error:
        yield Finding("consent", "revocation list", "broken", str(error), "fix the list's path")
        return
    yield Finding("consent", "revocation list", "ok", f"{named}: {count} entries")
