"""The spool in a folder that several machines share (NFS 4 and the like): locks are on files, and each machine its own.

The kernel's locks on folders hold on one machine only; those on files that are open for writing hold on all that mount
the folder (flock(2), NFS).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spinepacs.store.draft import disk_errors
from spinepacs.store.spool import Spool

_LEFT_ALONE_S = 24 * 3600.0


class SharedSpool(Spool):
    """A :class:`~spinepacs.store.spool.Spool` whose folder other machines write too; its methods are the same."""

    def _temporary(self, root: Path) -> Path:
        """Folder of this machine's temporary files: whether others live, their locks do not tell us."""
        host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname()) or "_"
        return root / "tmp" / host

    @contextmanager
    def _locked(self, folder: Path, how: int) -> Iterator[int]:
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            with super()._locked(folder, how) as directory:
                yield directory
        finally:
            os.close(descriptor)

    def remove(self, sha256: str, mtime_ns: int) -> bool:
        """See Spool; the file is opened, since only then a shared folder says its time as it is now."""
        path = self.path_of(sha256)
        with disk_errors(), self._locked(path.parent, fcntl.LOCK_EX), suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                is_same = os.fstat(descriptor).st_mtime_ns == mtime_ns
            finally:
                os.close(descriptor)
            if is_same:
                path.unlink()
            return is_same
        return False

    def sweep(self) -> None:
        """Remove what machines that are gone for good have left behind half written."""
        too_old_s = time.time() - _LEFT_ALONE_S
        with disk_errors():
            for folder in (self._root / "tmp").glob("*/*"):
                if folder.is_dir() and folder != self._tmp and folder.stat().st_mtime < too_old_s:
                    shutil.rmtree(folder, ignore_errors=True)
