"""`vfxswap install HOST`: makes a host application find the plug-in that comes with vfxswap."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

import vfxswap
from vfxswap.cli import install_blender, install_nuke
from vfxswap.errors import JobError


def add_commands(app: typer.Typer) -> None:
    """Adds the group; each host's module adds its command."""
    install = typer.Typer(help="Make a host application find the plug-in.", no_args_is_help=True)
    install_nuke.add_command(install)
    install_blender.add_command(install)
    app.add_typer(install, name="install")


def shipped(folder: str) -> Path:
    """A folder that comes with vfxswap, as in plugins/nuke: in the wheel, or in the checkout.

    Raises JobError when this installation has none.
    """
    package = Path(vfxswap.__file__).parent
    for root in (package / "_bundled", package.parent):
        if (root / folder).is_dir():
            return root / folder
    raise JobError("this installation has no such folder", got=folder, wanted="a complete wheel")


def engine_path() -> Path | None:
    """The executable of this very installation; None when it runs in another way."""
    name = "vfxswap.exe" if sys.platform == "win32" else "vfxswap"
    beside = Path(sys.executable).parent / name
    return beside if beside.is_file() else None
