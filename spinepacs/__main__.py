"""``python -m spinepacs`` is the command ``spinepacs``."""

from spinepacs.cli.main import main

main()
