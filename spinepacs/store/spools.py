"""Which kind of spool the settings ask for: a folder of this machine, one that machines share, or object storage."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from spinepacs.settings.sections import StorageSettings
from spinepacs.store.bucket import BucketSpool
from spinepacs.store.draft import disk_errors
from spinepacs.store.durable import sync_file, sync_folder
from spinepacs.store.shared import SharedSpool
from spinepacs.store.spool import Spool

_MB = 1_000_000
_IDENTITY = "identity"


def open_spool(settings: StorageSettings, *, machines: bool, keeps_reserve: bool = False) -> Spool:
    """Open the spool of the settings.

    Parameters
    ----------
    machines
        Whether other machines may use it at the same time.
    keeps_reserve
        Whether nothing is added while the disk is below ``reserve_mb``.

    Raises
    ------
    ToMend, Transient
        As :class:`~spinepacs.store.spool.Spool`.
    BadSettings
        If object storage is asked for and its library is not installed.
    """
    reserve_bytes = settings.reserve_mb * _MB if keeps_reserve else 0
    if settings.bucket:
        return BucketSpool(settings.folder, settings.bucket, reserve_bytes)
    return (SharedSpool if machines else Spool)(settings.folder, reserve_bytes)


def identity(spool: Spool, settings: StorageSettings, known: str = "") -> str:
    """Identity of a spool, which it gets at its first use and keeps for ever: the same for all who see the same files.

    Parameters
    ----------
    known
        That of the spool that belongs to the database; empty: none yet. A spool that has files and no identity was
        restored from a copy, or is older than identities, and gets this one; an empty one is another spool.

    Raises
    ------
    Transient
        If it cannot be read or written now.
    """
    if isinstance(spool, BucketSpool):
        return spool.identity() or spool.identity(_offered(spool, known))
    path = settings.folder / _IDENTITY
    return _identity(path, "") or _identity(path, _offered(spool, known))


def _offered(spool: Spool, known: str) -> str:
    return known if known and _has_files(spool) else uuid.uuid4().hex


def _has_files(spool: Spool) -> bool:
    if isinstance(spool, BucketSpool):
        return spool.has_files()
    return any(spool.shelf(f"{number:02x}") for number in range(256))


def _identity(path: Path, offered: str) -> str:
    """Read it, or write it whole or not at all; who comes second reads what the first one wrote. Empty: none yet."""
    with disk_errors():
        if not path.exists():
            if not offered:
                return ""
            made = path.with_name(f".{_IDENTITY}.{uuid.uuid4().hex}")
            made.write_text(offered)
            made.chmod(0o600)
            sync_file(made)
            try:
                os.link(made, path)
            except FileExistsError:
                pass
            finally:
                made.unlink()
            sync_folder(path.parent)
        return path.read_text().strip()
