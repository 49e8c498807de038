"""Royal Render: a job file for rrSubmitter of the application in royalrender.cfg.
Not run against Royal Render.

    python royalrender.py /shots/sh010/sh010.job.json 1001 1100 1 sh010.xml
    rrSubmitterconsole sh010.xml
"""

import json
import sys
import xml.etree.ElementTree as Xml
from pathlib import Path


def build(job_file, first, last, step):
    """The XML of a submission: the job file is the scene, its output (out.#.exr) the images."""
    images = Path(json.loads(Path(job_file).read_text())["output"]["pattern"])
    root = Xml.Element("RR_Job_File", syntax_version="6.0")
    job = Xml.SubElement(root, "Job")
    for tag, value in (
        ("Software", "vfxswap"),
        ("Version", "0.1"),
        ("SceneOS", {"win32": "windows", "darwin": "osx"}.get(sys.platform, "linux")),
        ("SceneName", job_file),
        ("IsActive", "true"),
        ("SeqStart", first),
        ("SeqEnd", last),
        ("SeqStep", step),
        ("SeqFileOffset", 0),
        ("ImageDir", images.parent),
        ("ImageFilename", images.name.partition("#")[0]),
        ("ImageExtension", images.suffix),
        ("ImageFramePadding", 4 * images.name.count("#")),
    ):
        Xml.SubElement(job, tag).text = str(value)
    return Xml.ElementTree(root)


if __name__ == "__main__":
    build(sys.argv[1], *map(int, sys.argv[2:5])).write(sys.argv[5], encoding="utf-8")
