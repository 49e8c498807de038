"""`python -m vfxswap` is the command line."""

from vfxswap.cli import main

main()
