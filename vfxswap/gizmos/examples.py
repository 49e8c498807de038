"""Example scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def examples(description: Mapping[str, Any]) -> dict[str, str]:
    return {}
