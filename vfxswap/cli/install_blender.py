"""`vfxswap install blender`: the extension as one zip, and into a Blender."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Annotated, Any

import typer

from vfxswap.errors import JobError, OutputError

EXTENSION = "vfxswap_blender"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_TIMEOUT_S = 300
_INSTALL = """
import bpy, sys
done = bpy.ops.extensions.package_install_files(
    filepath=sys.argv[-1], repo="user_default", enable_on_install=True)
bpy.ops.wm.save_userpref()
sys.exit(0 if done == {"FINISHED"} else 1)
"""


def add_command(app: typer.Typer) -> None:
    """Adds blender."""
    app.command("blender")(_blender)


def _blender(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Zip to write; else vfxswap_blender-VERSION.zip here."),
    ] = None,
    blender: Annotated[
        Path | None,
        typer.Option(
            "--blender",
            help="Also install it here: the Blender program, or a Python that has bpy.",
            metavar="PROGRAM",
        ),
    ] = None,
) -> None:
    """Build the extension for Blender 4.5 and 5.x, with this engine's effects as its nodes.

    In Blender: Preferences ▸ Get Extensions ▸ Install from Disk, then name the engine.
    """
    import vfxswap
    from vfxswap.cli.install import shipped

    if blender is not None and not blender.expanduser().is_file():
        raise JobError("no such Blender", got=blender, wanted="a program")
    target = (out or Path(f"{EXTENSION}-{vfxswap.__version__}.zip")).expanduser().absolute()
    build(shipped("plugins"), target)
    typer.echo(f"{target}: written")
    if blender is not None:
        _install(target, blender.expanduser().absolute())
        typer.echo(f"{blender}: has it now")


def contents(plugins: Path, description: dict[str, Any]) -> dict[str, bytes]:
    """Files of the extension by name: its own, the client's, and the engine's description.

    `plugins` is the folder that comes with vfxswap. Raises JobError when it is not whole.
    """
    import vfxswap

    own, client = plugins / "blender" / EXTENSION, plugins / "client"
    files: dict[str, bytes] = {}
    for folder, prefix in ((own, ""), (client, "client/")):
        found = sorted(p for p in folder.rglob("*") if p.is_file())
        for path in found:
            name = prefix + path.relative_to(folder).as_posix()
            if "__pycache__" not in name:
                files[name] = path.read_bytes()
    for name in ("blender_manifest.toml", "__init__.py", "client/__init__.py"):
        if name not in files:
            raise JobError("this installation has no whole extension", got=plugins, wanted=name)
    manifest = files["blender_manifest.toml"].decode()
    manifest = re.sub(r'(?m)^version = ".*"$', f'version = "{vfxswap.__version__}"', manifest)
    files["blender_manifest.toml"] = manifest.encode()
    files["description.json"] = (json.dumps(description, indent=1) + "\n").encode()
    return files


def snapshot() -> dict[str, Any]:
    """This engine's effects, and by effect the names that it would suggest for free text."""
    from vfxswap.effects.describe import description
    from vfxswap.io.weights import list_models

    said = description()
    names: dict[str, set[str]] = {}
    for model in (model.row() for model in list_models(broken=[])):
        known = names.setdefault(model["effect"], set())
        known.update(
            [model["name"]], model["personas"], model["styles"], model["features"], model["thumbs"]
        )
    suggested = {effect: sorted(found) for effect, found in names.items()}
    return {"version": said["version"], "effects": said["effects"], "names": suggested}


def build(plugins: Path, target: Path) -> None:
    """Writes the zip; the same files make the same bytes. Raises JobError, OutputError."""
    from vfxswap.files import atomic_path

    files = contents(plugins, snapshot())
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])


def _install(archive: Path, program: Path) -> None:
    """Has a Blender install the zip. Raises OutputError with what it said."""
    if program.name.startswith("python"):
        command = [str(program), "-c", _INSTALL, str(archive)]
    else:
        command = [
            str(program), "--command", "extension", "install-file",
            "--repo", "user_default", "--enable", str(archive),
        ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OutputError(f"Blender cannot be run: {error}", file=program) from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise OutputError("Blender did not install it", got=said[-1], file=program)
