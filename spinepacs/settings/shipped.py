"""Where the files are that come with spinepacs."""

from __future__ import annotations

import sys
from pathlib import Path


def shipped(*parts: str) -> Path:
    """Path of a file that comes with spinepacs: in the checkout, else under the installation's ``share``."""
    checkout = Path(__file__).resolve().parents[2].joinpath(*parts)
    return checkout if checkout.exists() else Path(sys.prefix, "share", "spinepacs", *parts)
