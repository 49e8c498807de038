"""Renders missing shards in processes: the part that faces, bodies and transfers share."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import torch

from vfxswap.errors import CancelledError
from vfxswap.settings import Settings


class Order(NamedTuple):
    """One shard to render: its file's number in the folder, and the settings of all."""

    folder: Path
    shard: int
    settings: Settings


def render_missing(
    render: Callable[[Order], int],
    orders: list[Order],
    *,
    total: int,
    processes: int,
    progress: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> None:
    """Calls `render` with every order, which writes its shard whole, in `processes` processes.

    `progress` hears shards done and `total`. Raises CancelledError when `stop()` turns true;
    whole shards are kept.
    """
    done = total - len(orders)
    # Spawned, not forked: torch and warp keep threads that a fork would lose.
    with multiprocessing.get_context("spawn").Pool(processes, initializer=_one_thread) as pool:
        for _ in pool.imap_unordered(render, orders):
            done += 1
            progress(done, total)
            if stop():
                raise CancelledError(f"rendering stopped after {done} of {total} shards")


def missing(
    folder: Path, settings: Settings, shards: int, file: Callable[[Path, int], Path]
) -> list[Order]:
    """Orders for the shards whose `file(folder, number)` is not there."""
    return [Order(folder, k, settings) for k in range(shards) if not file(folder, k).exists()]


def _one_thread() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
