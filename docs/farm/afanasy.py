"""Afanasy (CGRU): prepare, chunks of frames, report, one block each. Not run against Afanasy.

    python afanasy.py /shots/sh010/sh010.job.json 1001 1100 10

In the environment of CGRU's setup.sh, where module af is. Parser `generic` reads `PROGRESS: 30%`.
"""

import shlex
import sys

import af

VFXSWAP = "vfxswap"
RUN = ["--threads", "4", "--progress", "afanasy"]


def build(job_file, first, last, chunk):
    """A job of three blocks, each after the one before."""

    def block(name, tasks, after=""):
        made = af.Block(name, "generic")
        made.setParser("generic")
        made.setErrorsRetries(2)
        if after:
            made.setDependMask(after)
        for title, words in tasks:
            task = af.Task(title)
            task.setCommand(shlex.join([VFXSWAP, *words, *RUN]))
            made.tasks.append(task)
        job.blocks.append(made)

    job = af.Job("vfxswap " + job_file)
    starts = range(first, last + 1, chunk)
    ranges = [f"{start}-{min(start + chunk - 1, last)}" for start in starts]
    chunks = [(r, ["render", job_file, "--frames", r, "--skip-existing"]) for r in ranges]
    block("prepare", [("prepare", ["prepare", job_file])])
    block("frames", chunks, after="prepare")
    block("report", [("report", ["report", job_file])], after="frames")
    return job


if __name__ == "__main__":
    build(sys.argv[1], *map(int, sys.argv[2:5])).send()
