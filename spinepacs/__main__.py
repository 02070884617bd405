"""``python -m spinepacs`` is the command ``spinepacs``."""

from spinepacs.cli import main

main()
