"""The folder of the results: what may lie in it, and how a file gets there whole."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spinepacs.domain.findings import ObjectKind
from spinepacs.errors import BadSettings
from spinepacs.store.durable import sync_folder

INNER = ".spinepacs"
"""Folder below ``--out`` that holds what later runs and other machines need to know."""
OBJECT_SUFFIX = {
    ObjectKind.SEG: ".seg.dcm", ObjectKind.SR: ".sr.dcm", ObjectKind.OVERLAY: ".overlay.dcm",
    ObjectKind.GSPS: ".gsps.dcm",
}  # fmt: skip
PICTURE_SUFFIX, PAGE_SUFFIX, FHIR_SUFFIX = ".overlay.jpg", ".page.html", ".fhir.json"
TABLES = ("readings", "measures", "findings", "conclusions")
_ENDINGS = (*OBJECT_SUFFIX.values(), PICTURE_SUFFIX, PAGE_SUFFIX, FHIR_SUFFIX)
_TABLE_FILES = ("readings.json", *(f"{table}{kind}" for table in TABLES for kind in (".csv", ".parquet")))
_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_result(file: Path, out: Path) -> bool:
    """Whether a file is called as ``process`` calls what it writes, and lies where it writes it."""
    ours = file.name.endswith(_ENDINGS) or file.name in _TABLE_FILES
    return ours and file.parent.resolve() == out.resolve()


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Say in one line that the folder of the results cannot be written.

    Raises
    ------
    BadSettings
        If it is full, or for any other OSError.
    """
    try:
        yield
    except OSError as error:
        what = "is full" if error.errno in _FULL else f"cannot be written ({error.strerror})"
        raise BadSettings(f"--out {out}: {what}; give a folder that this user may write to") from None


def means_full(error: OSError) -> bool:
    """Whether every other film would meet the same error."""
    return error.errno in (*_FULL, errno.EROFS)


def try_out(out: Path) -> None:
    """Find out whether results can be written; those of an earlier batch stay until there are new ones.

    Raises
    ------
    BadSettings
        If they cannot.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as file:
            file.write(b"\0")
        for name in _TABLE_FILES:
            if (out / name).exists():
                (out / name).open("ab").close()


def write_durably(path: Path, data: Sequence[bytes | memoryview], part: Path) -> None:
    """Put a file in its place whole, and only when it is on the disk; ``part`` is where it grows."""
    try:
        with part.open("wb") as file:
            file.writelines(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
