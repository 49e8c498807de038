"""A job file means one thing, whoever reads it and from where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfxswap.errors import JobError, OutputError
from vfxswap.geometry import Box
from vfxswap.job import EffectSpec, Job, MatteSource, Output, Plate
from vfxswap.settings import validated
from vfxswap.shot import Shot

MINIMAL: dict[str, Any] = {
    "version": 1,
    "plate": {"pattern": "plates/sh010.#.exr"},
    "output": {"pattern": "../out/sh010.#.exr"},
}


def write(path: Path, **changed: Any) -> Path:
    path.write_text(json.dumps(MINIMAL | changed))
    return path


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
names = st.from_regex(r"[a-z]{1,8}\.#\.exr", fullmatch=True)
values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    words,
    st.fixed_dictionaries({"keys": st.dictionaries(st.integers(1, 99).map(str), st.floats(0, 1))}),
)
effects = st.builds(
    EffectSpec,
    effect=st.sampled_from(["swap", "style"]),
    settings=st.dictionaries(words, values, max_size=3),
    mattes=st.dictionaries(words, st.builds(MatteSource, pattern=names, channel=words), max_size=2),
)
jobs = st.builds(
    Job,
    plate=st.builds(Plate, pattern=names, color_space=words, part=words, layer=words),
    frames=st.sampled_from(["", "1001-1100x2", "1,3,5-9"]),
    handles=st.integers(0, 20),
    views=st.lists(st.sampled_from(["left", "right"]), unique=True).map(tuple),
    show=st.sampled_from(["", "NORTH"]),
    effects=st.lists(effects, max_size=2).map(tuple),
    tracks=st.sampled_from(["", "sh010.tracks.json"]),
    seed=st.integers(0, 2**63 - 1),
    region=st.none() | st.just((-10, 0, 64, 32)),
    proxy=st.sampled_from([1, 2, 4, 8]),
    output=st.builds(Output, pattern=names, single_part=st.booleans(), layers=st.booleans()),
)


@settings(max_examples=60, deadline=None)
@given(job=jobs)
def test_a_written_job_reads_back_equal_and_fits_its_schema(
    tmp_path_factory: pytest.TempPathFactory, job: Job
) -> None:
    file = tmp_path_factory.mktemp("job") / "job.json"
    job.write(file)
    again = Job.read(file)
    assert again == job.resolved(Path.cwd())
    jsonschema.validate(json.loads(file.read_text()), Job.json_schema())
    first = file.read_bytes()
    again.write(file)
    assert file.read_bytes() == first


def test_the_schema_is_one_and_refuses_what_reading_refuses(tmp_path: Path) -> None:
    schema = Job.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    refused: list[dict[str, Any]] = [
        {"shows": "NORTH"},
        {"proxy": 3},
        {"plate": {}},
        {"handles": -1},
    ]
    for wrong in refused:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(MINIMAL | wrong, schema)
        with pytest.raises(JobError):
            Job.read(write(tmp_path / "job.json", **wrong))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({k: v for k, v in MINIMAL.items() if k != "version"}, schema)


def test_the_order_of_settings_leaves_no_trace_in_the_file(tmp_path: Path) -> None:
    for name, settings_ in (("a", {"mix": 1.0, "bands": 5}), ("b", {"bands": 5, "mix": 1.0})):
        effect = {"effect": "swap", "settings": settings_}
        validated(Job, MINIMAL | {"effects": [effect]}).write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_paths_in_a_job_file_are_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    file = write(
        folder / "job.json",
        effects=[{"effect": "swap", "mattes": {"holdout": {"pattern": "roto.#.exr"}}}],
        color={"config": "studio.ocio"},
        tracks="/tracks/sh010.json",
        revocations="revoked.txt",
    )
    monkeypatch.chdir(tmp_path)
    job = Job.read(Path("jobs") / file.name)
    assert job.plate.pattern == f"{folder}/plates/sh010.#.exr"
    assert job.output.pattern == f"{tmp_path}/out/sh010.#.exr"
    assert job.effects[0].mattes["holdout"].pattern == f"{folder}/roto.#.exr"
    assert job.color.config == f"{folder}/studio.ocio"
    assert job.tracks == "/tracks/sh010.json"
    assert job.revocations == f"{folder}/revoked.txt"


def test_a_built_in_colour_config_is_no_path(tmp_path: Path) -> None:
    file = write(tmp_path / "job.json", color={"config": "ocio://default"})
    assert Job.read(file).color.config == "ocio://default"


def test_a_job_written_elsewhere_still_means_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep" / "down").mkdir(parents=True)
    job = validated(Job, MINIMAL)
    job.write("deep/down/job.json")
    assert Job.read("deep/down/job.json").plate.pattern == f"{tmp_path}/plates/sh010.#.exr"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"shows": "NORTH"}, r"shows is unknown \(wanted perhaps show"),
        ({"plate": {"pattern": "a.#.exr", "colour_space": "x"}}, "perhaps color_space"),
        ({"effects": [{"effect": "swap", "matte": {}}]}, r"effects\.0\.matte .*perhaps mattes"),
        ({"effects": [{}]}, r"effects\.0\.effect is missing"),
        ({"effects": [{"effect": "s", "mattes": {"h": {"file": "x"}}}]}, "file is unknown"),
        ({"plate": {}}, r"plate\.pattern is missing"),
        ({"frames": "1001-"}, "frames: not a frame range"),
        ({"region": [0, 0, 0, 5]}, "region: width and height are 0 and 5"),
        ({"region": [0, 0, 5]}, r"region\.3 is missing"),
        ({"proxy": 3}, "proxy is wrong"),
        ({"seed": -1}, "seed is wrong"),
        ({"show": "two words"}, "show"),
        ({"version": 2}, r"another version \(got 2; wanted 1\)"),
        ({"version": "1"}, "another version"),
    ],
)
def test_a_wrong_job_is_told_by_file_and_field(
    tmp_path: Path, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(JobError, match=sentence) as raised:
        Job.read(write(tmp_path / "job.json", **changed))
    assert str(raised.value).startswith(f"{tmp_path}/job.json: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no valid JSON"),
        ('{"version": 1, "seed": 1, "seed": 2}', "key seed appears twice"),
        ('{"version": 1, "effects": [{"settings": {"mix": NaN}}]}', "NaN is no JSON number"),
        ("[1]", "not a job"),
        ("[" * 100_000, "no valid JSON"),
        ('{"plate": {}}', "not a job"),
        ("\xff", "no valid JSON"),
    ],
)
def test_what_is_no_job_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "job.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(JobError, match=sentence) as raised:
        Job.read(file)
    assert "\n" not in str(raised.value)


def test_a_missing_job_file_is_a_bad_job(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"gone\.json: job cannot be read"):
        Job.read(tmp_path / "gone.json")


def test_a_job_that_cannot_be_written_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "job.json").mkdir()
    with pytest.raises(OutputError, match=r"job\.json"):
        validated(Job, MINIMAL).write(tmp_path / "job.json")
    assert [entry.name for entry in tmp_path.iterdir()] == ["job.json"]


def test_a_job_with_a_number_that_json_lacks_is_not_written(tmp_path: Path) -> None:
    effect = {"effect": "swap", "settings": {"mix": float("inf")}}
    with pytest.raises(JobError, match=r"job\.json: job cannot be written as JSON"):
        validated(Job, MINIMAL | {"effects": [effect]}).write(tmp_path / "job.json")
    assert not list(tmp_path.iterdir())


def test_a_byte_order_mark_before_a_job_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(MINIMAL), encoding="utf-8-sig")
    assert Job.read(tmp_path / "job.json").version == 1


def test_a_job_gives_its_shot_and_region() -> None:
    job = validated(Job, MINIMAL | {"frames": "1001-1005x2", "handles": 2, "region": [1, 2, 3, 4]})
    assert job.shot() == Shot("plates/sh010.#.exr", (1001, 1003, 1005), 2)
    assert job.region_box == Box(1, 2, 3, 4)
    assert validated(Job, MINIMAL).region_box is None


def test_without_a_range_a_job_takes_the_frames_that_were_found() -> None:
    assert validated(Job, MINIMAL).shot(found=(7, 8)).frames == (7, 8)


def test_a_show_fills_only_an_empty_one() -> None:
    job = validated(Job, MINIMAL)
    assert job.for_show("").show == "" and job.for_show("kestrel").show == "kestrel"
    assert job.for_show("kestrel").for_show("sparrow").show == "kestrel"
    with pytest.raises(JobError, match="show"):
        job.for_show("no such name!")
