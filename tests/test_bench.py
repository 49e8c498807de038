"""The benchmark in quick mode: that it measures, not how fast this machine is."""

from __future__ import annotations

import json
import math

import pytest
import torch

from vfxswap.bench import Row, comb_rows, print_bench, run_bench, spread_comb, taking_turns

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return run_bench(quick=True, device="cpu")


def value(rows: list[Row], name: str) -> float:
    return float(next(row["value"] for row in rows if row["name"] == name))


def test_rows_are_json_with_units_and_settings(rows: list[Row]) -> None:
    assert json.loads(json.dumps(rows)) == rows
    assert {frozenset(row) for row in rows} == {
        frozenset({"name", "value", "unit", "wanted", "settings"})
    }
    assert len({row["name"] for row in rows}) == len(rows)


def test_the_machine_comes_first(rows: list[Row]) -> None:
    assert rows[0]["name"] == "machine"
    assert rows[0]["settings"]["threads"] == torch.get_num_threads()


def test_ratios_are_those_of_the_times(rows: list[Row]) -> None:
    plain, fast = value(rows, "comb, plain float32"), value(rows, "comb, fast path")
    assert math.isclose(value(rows, "comb, speed-up"), plain / fast)
    assert 0 < value(rows, "swap, share outside the network") < 1
    assert value(rows, "peak memory of the process") > 0.05


def test_blending_leaves_the_outside_alone_and_opencv_does_not(rows: list[Row]) -> None:
    assert value(rows, "blend, change outside the matte") == 0
    assert value(rows, "blend, OpenCV's change outside the matte") > 0
    assert value(rows, "blend, mean difference from OpenCV inside") < 0.1


def test_the_fast_path_is_near_the_plain_one(rows: list[Row]) -> None:
    assert 0 <= value(rows, "comb, error") < 0.03


def test_a_spread_comb_answers_with_a_spread() -> None:
    comb = spread_comb(level=2, width=0.125, device=CPU)
    again = spread_comb(level=2, width=0.125, device=CPU)
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    assert float(comb.swap(x, "bench").std()) > 0.1
    assert torch.equal(comb.swap(x, "bench"), again.swap(x, "bench"))


def test_building_a_bench_comb_leaves_the_random_generator_alone() -> None:
    state = torch.random.get_rng_state()
    spread_comb(level=2, width=0.125, device=CPU)
    assert torch.equal(state, torch.random.get_rng_state())


def test_medians_are_taken_in_turns() -> None:
    calls: list[str] = []
    times = taking_turns(
        lambda: calls.append("a"), lambda: calls.append("b"), device=CPU, repeats=2
    )
    assert calls == ["a", "b"] * 3
    assert min(times) > 0


def test_rows_print_as_a_table(rows: list[Row], capsys: pytest.CaptureFixture[str]) -> None:
    print_bench(rows)
    assert "speed-up" in capsys.readouterr().out


@pytest.mark.gpu
def test_gpu_is_fast_and_agrees_with_the_cpu() -> None:
    comb = spread_comb(level=8, width=1.0, device=torch.device("cuda"))
    rows = comb_rows(comb)
    assert value(rows, "comb, fast path rate") > 25
    assert value(rows, "comb, CPU and GPU") < 0.01
