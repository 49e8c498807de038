"""What a search compares of faces."""

from __future__ import annotations

from enum import StrEnum


class Compare(StrEnum):
    """Values of `--compare`."""

    LASTING = "lasting"
    """What lasts of a performer's coefficients in any light, pose and acting."""
    NORMALISED = "normalised"
    """The coefficients, each layer's at mean 0 and standard deviation 1."""
    PLAIN = "plain"
    """The coefficients as they are."""
