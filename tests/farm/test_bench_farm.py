"""`vfxswap bench farm` in quick mode: that it measures, not how fast this machine is."""

from __future__ import annotations

import json
import math

import pytest

from vfxswap.bench_farm import farm_rows


@pytest.mark.slow
def test_rows_say_what_the_farm_costs_beside_bare_processes() -> None:
    rows = farm_rows(quick=True, repeats=1)
    assert json.loads(json.dumps(rows)) == rows
    values = {row["name"]: row["value"] for row in rows}
    assert len(values) == len(rows) and rows[0]["name"] == "machine"
    alone, shared = values["farm, one bare process"], values["farm, 1 Dask workers"]
    assert math.isclose(values["farm, overhead a frame"], shared / alone - 1)
    two, shared = values["farm, 2 bare processes"], values["farm, 2 Dask workers"]
    assert math.isclose(values["farm, scaling"], two / shared)
    counted = values["farm, 20 small frames"] * 20 / (values["farm, 10 small frames"] * 10)
    assert math.isclose(values["farm, time of 20 frames by that of 10"], counted)
