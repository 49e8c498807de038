"""`python -m vfxswap.gizmos FOLDER`: writes the groups and example scripts."""

from __future__ import annotations

import sys
from pathlib import Path

from vfxswap.effects.describe import description
from vfxswap.errors import VfxSwapError
from vfxswap.gizmos import write_gizmos


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: python -m vfxswap.gizmos FOLDER", file=sys.stderr)
        return 2
    try:
        for path in write_gizmos(Path(sys.argv[1]), description()):
            print(path)
    except VfxSwapError as error:
        print(f"vfxswap: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
