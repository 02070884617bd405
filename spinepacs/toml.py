"""TOML files that people write: read in one way, with one form of message that names the file and what to do."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spinepacs.errors import Permanent


def read_toml(path: Path, refusal: type[Permanent], remedy: str) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    refusal
        What is raised where it cannot be read or is no TOML.
    remedy
        What to do about a file that cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refusal(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        twice = "; a table that may come more than once has double brackets, as [[destinations]]"
        hint = twice if "Cannot declare" in str(error) else ""
        raise refusal(f"{path}: not valid TOML: {error}{hint}") from error


@contextmanager
def usable_keys(path: Path, refusal: type[Permanent]) -> Iterator[None]:
    """Raise ``refusal`` where the block misses a key of the file, or cannot use its value."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise refusal(f"{path}: missing or unusable key: {error}") from error
