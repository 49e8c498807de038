"""Keeps one engine for the tasks of a farm session, which are processes of their own.

The keeper owns a `vfxswap worker`, starts it again when it died, and hands it the requests that
come through a Unix socket in the session's folder; docs/worker-protocol.md is spoken on both
sides. One task is served at a time. A task that goes away has its request cancelled, so the frame
in hand is finished and no more. The keeper ends when it is asked to, when the session's folder is
taken away, or when nobody asked for anything for long: no engine outlives its session.

Run as `python -m vfxswap.farm.keeper FOLDER IDLE_S [OPTIONS OF THE WORKER]`; it says nothing but
what its engine logs on stderr.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

SOCKET: Final = "engine.sock"
"""Name of the socket in a session's folder."""
LONGEST_LINE: Final = 64 << 20
"""A `done` names every file of its chunk."""
_LOOK_S = 2.0
_START_S = 120.0


def engine_words() -> tuple[str, ...]:
    """What starts the engine: $VFXSWAP_ENGINE, an executable or the folder of the environment that
    has one, as for the plug-ins; else this Python."""
    stated = os.environ.get("VFXSWAP_ENGINE", "")
    if not stated:
        return (sys.executable, "-P", "-m", "vfxswap")
    return (os.path.join(stated, "bin", "vfxswap") if os.path.isdir(stated) else stated,)  # noqa: PTH118, PTH112


class Keeper:
    """The engine of a session and its socket; the current folder is the session's."""

    def __init__(self, options: Sequence[str], *, idle_s: float) -> None:
        self._command = (*engine_words(), "worker", *options)
        self._idle_s = idle_s
        self._engine: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._over = asyncio.Event()
        self._heard = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Serves until the end; the socket appears when the engine is up."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        try:
            await self._start()
            # Bound under another name: whoever sees the socket can be served.
            server = await asyncio.start_unix_server(
                self._serve, f"{SOCKET}.new", limit=LONGEST_LINE
            )
            os.chmod(f"{SOCKET}.new", 0o600)  # noqa: PTH101
            os.replace(f"{SOCKET}.new", SOCKET)  # noqa: PTH105
            async with server:
                await self._until_over()
        finally:
            with suppress(OSError):
                os.unlink(SOCKET)  # noqa: PTH108
            await self._end()

    async def _until_over(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), _LOOK_S)
            idle_s = asyncio.get_running_loop().time() - self._heard
            if not os.path.exists(SOCKET):  # noqa: PTH110
                _log("the session's folder is gone: ending")
                return
            if idle_s > self._idle_s and not self._turn.locked():
                _log(f"nothing was asked for {idle_s:.0f} s: ending")
                return

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One task: its request, what it adds to it (cancel), and the events back."""
        try:
            line = await reader.readline()
            if line:
                request = json.loads(line)
                if request["request"] == "shutdown":
                    self._over.set()
                    return
                async with self._turn:
                    if not self._over.is_set():
                        await self._ask(request["id"], line, reader, writer)
        except (ConnectionError, ValueError, KeyError) as error:
            _log(f"a task was not understood: {error!r}")
        except (RuntimeError, TimeoutError) as error:
            _log(f"no engine: {error!r}")
        finally:
            self._heard = asyncio.get_running_loop().time()
            writer.close()

    async def _ask(
        self,
        request_id: str,
        line: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        engine = await self._start()
        assert engine.stdin is not None and engine.stdout is not None
        engine.stdin.write(line)
        listening = asyncio.create_task(self._forward(request_id, reader, engine.stdin))
        try:
            while event := await engine.stdout.readline():
                if not writer.is_closing():
                    writer.write(event)
                if _ends(event, request_id):
                    break
            else:
                code = await engine.wait()
                _log(f"the engine ended unexpectedly ({code})")
                _say(writer, event="died", exit_code=code)
            with suppress(ConnectionError):
                await writer.drain()
        finally:
            listening.cancel()

    async def _forward(
        self, request_id: str, reader: asyncio.StreamReader, engine: asyncio.StreamWriter
    ) -> None:
        """What a task says after its request; a task that goes away cancels."""
        # A task that is killed with events unread resets its end of the socket.
        with suppress(ConnectionError):
            while line := await reader.readline():
                engine.write(line)
        cancel = {"id": f"{request_id}.gone", "request": "cancel", "target": request_id}
        engine.write(json.dumps(cancel).encode() + b"\n")

    async def _start(self) -> asyncio.subprocess.Process:
        """The living engine, or a new one that has said hello."""
        if self._engine is not None and self._engine.returncode is None:
            return self._engine
        pipe = asyncio.subprocess.PIPE
        engine = self._engine = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, limit=LONGEST_LINE
        )
        assert engine.stdout is not None
        hello = await asyncio.wait_for(engine.stdout.readline(), _START_S)
        if not hello:
            raise RuntimeError(f"the engine did not start ({await engine.wait()})")
        _log(f"engine {engine.pid} is up")
        return engine

    async def _end(self) -> None:
        """Lets the engine finish the frame in hand."""
        engine = self._engine
        if engine is None or engine.returncode is not None:
            return
        assert engine.stdin is not None
        engine.stdin.close()
        # Who cannot wait kills this process; the engine's stdin is closed already.
        async with self._turn:
            await engine.communicate()


def _ends(event: bytes, request_id: str) -> bool:
    if b'"done"' not in event:
        return False
    values: dict[str, Any] = json.loads(event)
    return values.get("event") == "done" and values.get("id") == request_id


def _say(writer: asyncio.StreamWriter, **values: Any) -> None:
    writer.write(json.dumps(values).encode() + b"\n")


def _log(text: str) -> None:
    print(f"keeper: {text}", file=sys.stderr, flush=True)


async def _main(folder: str, idle_s: str, *options: str) -> None:
    os.chdir(folder)
    await Keeper(options, idle_s=float(idle_s)).run()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
