"""OpenCue: a job becomes a specification, the XML that Cuebot launches.

Three layers, prepare, frames in chunks, and report, each after the one before. Elements and their
order are those of cjsl-1.15.dtd, which Cuebot carries. https://www.opencue.io/docs/
"""

from __future__ import annotations

import getpass
import os
import re
import xml.etree.ElementTree as Xml
from pathlib import Path

from pydantic import Field

from vfxswap.errors import JobError
from vfxswap.farm.commands import (
    prepare_command,
    program,
    quoted,
    render_command,
    report_command,
)
from vfxswap.farm.submission import Submission, Target
from vfxswap.files import write_atomically
from vfxswap.settings import Settings
from vfxswap.shot import format_frames

_DOCTYPE = (
    '<?xml version="1.0"?>\n<!DOCTYPE spec PUBLIC "SPI Cue  Specification Language" '
    '"http://localhost:8080/spcue/dtd/cjsl-1.15.dtd">\n'
)
_LAUNCH = (
    "import opencue.api, pathlib, sys; "
    "print(*opencue.api.launchSpec(pathlib.Path(sys.argv[1]).read_text()))"
)


class OpenCueSettings(Settings):
    """How a job is put to OpenCue."""

    cue_show: str = Field(default="", description="OpenCue's show; empty takes the job's.")
    shot: str = Field(default="", description="Shot; empty takes the name of the job file.")
    facility: str = Field(default="local", description="Facility whose hosts render.")
    priority: int = Field(default=100, ge=1, description="Priority of the job.")
    cpus: int = Field(default=4, ge=1, description="Cores, and threads, of a task.")
    memory: str = Field(
        default="", pattern=r"^(\d+(\.\d+)?[gm])?$", description="Memory of a task, as in 8g."
    )
    gpus: int = Field(default=0, ge=0, description="GPUs of a task.")
    gpu_memory: str = Field(
        default="1g", pattern=r"^\d+(\.\d+)?[gm]$", description="GPU memory of a task, as in 8g."
    )
    tags: str = Field(default="", description="Tags of hosts, as in 'general | gpu'.")
    service: str = Field(default="default", description="Service that frames are counted to.")
    paused: bool = Field(default=False, description="Launch paused.")
    command: str = Field(
        default="",
        description="Runs vfxswap on a host, as in 'rez-env vfxswap -- vfxswap'; empty takes this "
        "Python.",
    )
    file: str = Field(default="", description="File to write; empty takes JOB.opencue.xml.")


def submit(submission: Submission, settings: OpenCueSettings) -> int:
    """Writes the specification and prints what launches it (pycue is not needed here); with
    `dry_run` prints the specification. Returns 0. Raises JobError, OutputError."""
    text = specification(submission, settings)
    if submission.dry_run:
        print(text, end="")
        return 0
    file = Path(settings.file or submission.job_file.with_suffix(".opencue.xml")).absolute()
    write_atomically(file, text.encode())
    print(quoted(["python3", "-c", _LAUNCH, str(file)]))
    return 0


def specification(submission: Submission, settings: OpenCueSettings) -> str:
    """The job as XML. Raises JobError for what Cuebot has no words for."""
    show = settings.cue_show or submission.job.show
    if not show:
        raise JobError("OpenCue's show is not named", wanted="cue_show, or a show of the job")
    job_name = _name(submission.job_file.stem.partition(".")[0])
    root = Xml.Element("spec")
    for tag, text in (
        ("facility", settings.facility),
        ("show", show),
        ("shot", settings.shot or job_name),
        ("user", getpass.getuser()),
        ("uid", str(os.getuid())),
    ):
        _add(root, tag, text)
    job = _add(root, "job", name=job_name)
    _add(job, "paused", str(settings.paused))
    _add(job, "priority", str(settings.priority))
    _add(job, "maxretries", str(submission.retries))
    _add(job, "autoeat", "False")
    layers = _add(job, "layers")
    threads = ("--threads", str(submission.threads or settings.cpus), "--progress", "plain")
    run = program(settings.command)
    _layer(layers, settings, "prepare", (*run, *prepare_command(submission, *threads)))
    # The only token that tells the frames of a chunk that is short or has steps.
    chunk = (*run, *render_command(submission, "--frames", "#FRAMESPEC#", *threads))
    frames = format_frames(submission.frames)
    _layer(layers, settings, "frames", chunk, frames=frames, chunk=submission.chunk)
    _layer(layers, settings, "report", (*run, *report_command(submission, *threads)))
    depends = _add(root, "depends")
    for layer, on in (("frames", "prepare"), ("report", "frames")):
        depend = _add(depends, "depend", type="LAYER_ON_LAYER", anyframe="False")
        for tag, text in (
            ("depjob", job_name),
            ("deplayer", layer),
            ("onjob", job_name),
            ("onlayer", on),
        ):
            _add(depend, tag, text)
    Xml.indent(root)
    return f"{_DOCTYPE}{Xml.tostring(root, encoding='unicode')}\n"


def _layer(
    layers: Xml.Element,
    settings: OpenCueSettings,
    name: str,
    command: tuple[str, ...],
    *,
    frames: str = "1",
    chunk: int = 1,
) -> None:
    layer = _add(layers, "layer", name=name, type="Render" if name == "frames" else "Util")
    _add(layer, "cmd", _command(command))
    _add(layer, "range", frames)
    _add(layer, "chunk", str(chunk))
    _add(layer, "cores", f"{settings.cpus:.1f}")
    _add(layer, "threadable", "True")
    if settings.memory:
        _add(layer, "memory", settings.memory)
    if settings.gpus and name != "report":
        _add(layer, "gpus", str(settings.gpus))
        _add(layer, "gpu_memory", settings.gpu_memory)
    if settings.tags:
        _add(layer, "tags", settings.tags)
    _add(_add(layer, "services"), "service", settings.service)


def _command(words: tuple[str, ...]) -> str:
    """The words for a shell. Raises JobError for words that Cuebot would take for its tokens, or
    that XML cannot hold."""
    text = quoted(words)
    plain = text.replace("'#FRAMESPEC#'", "#FRAMESPEC#")
    if re.search(r"#[A-Z_]+#", plain.replace("#FRAMESPEC#", "", 1)):
        raise JobError("OpenCue takes part of this for a token", got=text, wanted="other names")
    if re.search(r"[\x00-\x1f]", plain):
        raise JobError("a control character cannot stand in a specification", got=repr(text))
    return plain


def _name(text: str) -> str:
    """A name as XML and Cuebot allow it."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text) or "vfxswap"


def _add(parent: Xml.Element, tag: str, text: str | None = None, **attributes: str) -> Xml.Element:
    element = Xml.SubElement(parent, tag, attributes)
    element.text = text
    return element


TARGET = Target(
    help="A job specification for OpenCue.", settings_type=OpenCueSettings, submit=submit
)
