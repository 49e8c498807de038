"""`vfxswap install nuke`: the lines in ~/.nuke/init.py that make Nuke find the nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vfxswap.errors import JobError

_BEGIN = "# >>> vfxswap: written by `vfxswap install nuke`, removed by `--remove` >>>"
_END = "# <<< vfxswap <<<"


def add_command(app: typer.Typer) -> None:
    """Adds nuke."""
    app.command("nuke")(_nuke)


def _nuke(
    write: Annotated[bool, typer.Option("--write", help="Put the lines into init.py.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take them out of init.py.")] = False,
    folder: Annotated[Path, typer.Option(help="Nuke's folder.", metavar="FOLDER")] = Path(
        "~/.nuke"
    ),
    engine: Annotated[
        Path | None, typer.Option(help="Engine to name; else this one.", metavar="PROGRAM")
    ] = None,
) -> None:
    """Make Nuke find the nodes, their menu and this engine.

    Without --write nothing changes: the lines are printed, for init.py or a studio's own set-up.
    Whoever sets $NUKE_PATH and $VFXSWAP_ENGINE for all, as with rez, needs no line.
    """
    from vfxswap.cli.install import engine_path, shipped

    if write and remove:
        raise JobError("both --write and --remove are asked for", wanted="one of them")
    init = folder.expanduser() / "init.py"
    if remove:
        old = _read(init)
        if _BEGIN not in old:
            typer.echo(f"{init}: nothing of vfxswap is in it")
            return
        _store(init, _without_block(old, init))
        typer.echo(f"{init}: the lines of vfxswap are out")
        return
    if engine is not None and not engine.expanduser().exists():
        raise JobError("no such engine", got=engine)
    named = engine.expanduser().absolute() if engine is not None else engine_path()
    block = lines(shipped("plugins/nuke"), named)
    if not write:
        typer.echo(block, nl=False)
        typer.echo(f"These lines belong into {init}; --write puts them there.", err=True)
        return
    old = _read(init)
    rest = _without_block(old, init)
    new = (rest if not rest or rest.endswith("\n") else rest + "\n") + block
    if new == old:
        typer.echo(f"{init}: is as it should be")
        return
    _store(init, new)
    typer.echo(f"{init}: now has\n{block}", nl=False)


def lines(plugin: Path, engine: Path | None) -> str:
    """The block for init.py; an engine that a session's environment names comes before `engine`."""
    stated = [_BEGIN]
    if engine is not None:
        named = json.dumps(engine.as_posix())
        stated += ["import os", f'os.environ.setdefault("VFXSWAP_ENGINE", {named})']
    stated += ["import nuke", f"nuke.pluginAddPath({json.dumps(plugin.as_posix())})", _END]
    return "\n".join(stated) + "\n"


def _without_block(text: str, file: Path) -> str:
    """The text without the block, all else byte for byte."""
    before, begin, rest = text.partition(_BEGIN)
    if not begin:
        return text
    _, end, after = rest.partition(_END)
    if not end or _BEGIN in after:
        raise JobError("lines of vfxswap were changed by hand; take them out", file=file)
    return before + after.removeprefix("\r").removeprefix("\n")


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"cannot be read: {error}", file=file) from None


def _store(file: Path, text: str) -> None:
    from vfxswap.files import write_atomically

    # A studio's init.py is often a link into a shared folder: the link stays.
    write_atomically(file.resolve(), text.encode())
