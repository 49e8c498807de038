"""Tractor 2: prepare, chunks of frames, report, one after the other. Not run against Tractor.

    rmanpy tractor.py /shots/sh010/sh010.job.json 1001 1100 10

"Job Author Python API" in Tractor's documentation describes tractor.api.author.
"""

import sys

import tractor.api.author as author

SERVICE = "PixarRender"
VFXSWAP = "vfxswap"
RUN = ["--threads", "4", "--progress", "tractor"]


def build(job_file, first, last, chunk):
    """A job whose subtasks run in their order; exit code 1 alone is tried again."""
    job = author.Job(title="vfxswap " + job_file, service=SERVICE, serialsubtasks=True)
    job.newTask(
        title="prepare", argv=[VFXSWAP, "prepare", job_file, *RUN], service=SERVICE, retryrc=[1]
    )
    frames = job.newTask(title="frames")
    for start in range(first, last + 1, chunk):
        these = f"{start}-{min(start + chunk - 1, last)}"
        argv = [VFXSWAP, "render", job_file, "--frames", these, "--skip-existing", *RUN]
        frames.newTask(title="frames " + these, argv=argv, service=SERVICE, retryrc=[1])
    job.newTask(title="report", argv=[VFXSWAP, "report", job_file, *RUN], service=SERVICE)
    return job


if __name__ == "__main__":
    print(build(sys.argv[1], *map(int, sys.argv[2:5])).spool())
