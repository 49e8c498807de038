"""Trains a tiny comb on made-up crops in a process of its own, to be killed, shared or starved.

`python comb_process.py FOLDER [--seconds S] [--die-at N] [--small-disk BYTES]`
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import torch
from made_up_crops import PERSONAS, made_up, tiny

from vfxswap.errors import OutputError
from vfxswap.train.comb import CombTrainer
from vfxswap.train.comb_loop import train
from vfxswap.train.crops import Jitter
from vfxswap.train.parallel import Ranks, joined
from vfxswap.train.schedule import CombTraining

EVERY = 5
"""Iterations between checkpoints."""


def settings() -> CombTraining:
    """Without grain: it is drawn for a process's own crops."""
    jitter = Jitter(noise=0, blur_share=0)
    return tiny(iterations=(10, 20, 20), final_iterations=10, batch=4, jitter=jitter)


def trainer(ranks: Ranks) -> CombTrainer:
    return CombTrainer(settings(), made_up(paired=False), PERSONAS, ranks=ranks)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=0.0, help="Pause after each iteration.")
    parser.add_argument("--die-at", type=int, default=0, help="Rank 1 kills itself, once.")
    parser.add_argument("--small-disk", type=int, default=0, help="Bytes of a disk for the run.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.small_disk:
        on_small_disk(given.folder, given.small_disk)
        return
    with joined("cpu") as (ranks, _):
        running = trainer(ranks)
        died = given.folder / "died"

        def pause() -> bool:
            time.sleep(given.seconds)
            if given.die_at == running.iteration and ranks.rank == 1 and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return False

        train(running, given.folder / "run", checkpoint_every=EVERY, log_every=1, stop=pause)


def on_small_disk(folder: Path, size: int) -> None:
    """A disk that has room for one checkpoint: what is said, what is left, and that it goes on."""
    run = folder / "run"
    run.mkdir()

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(run)], check=True)

    mount(f"size={size}")
    said = ""
    try:
        train(trainer(Ranks()), run, checkpoint_every=EVERY, log_every=1)
    except OutputError as error:
        said = str(error)
    left = sorted(p.name for p in run.iterdir() if p.name.startswith((".", "checkpoint")))
    subprocess.run(["mount", "-o", "remount,size=64m", str(run)], check=True)
    resumed = trainer(Ranks())
    found = resumed.resume(run)
    from_iteration = resumed.iteration
    train(resumed, run, checkpoint_every=EVERY, log_every=1)
    after = {"resumed": found, "from": from_iteration, "to": resumed.iteration}
    print(json.dumps({"said": said, "left": left, **after}))


if __name__ == "__main__":
    main()
