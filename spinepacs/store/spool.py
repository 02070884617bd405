"""The spool: files that survive a crash, named by their content.

What makes a file durable, in this order: its bytes are written under a temporary name and fsynced, it is
renamed to its final name, and the folder is fsynced. A final name therefore never holds half a file.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from spinepacs.errors import Permanent, ToMend, Transient
from spinepacs.store.draft import Draft, Piece, SpooledFile, disk_errors
from spinepacs.store.durable import AtOnce, sync_file, sync_folder
from spinepacs.store.holes import write_with_holes
from spinepacs.store.rights import why_denied

__all__ = ["Draft", "Spool", "SpooledFile", "make_folder"]


class Spool:
    """Content-addressed store: ``<root>/files/ab/abcd….dcm``, folders 0700, files 0600.

    Any number of processes and threads may use one spool. Each Spool writes in a folder of its own under
    ``<root>/tmp``, which it holds with a lock (flock) as long as it lives; opening a spool removes those
    whose owner is gone, and never one in use.

    Parameters
    ----------
    root
        Made if it is missing.
    reserve_bytes
        Free disk that :meth:`begin` leaves untouched.

    Raises
    ------
    ToMend
        If they belong to somebody else.
    Transient
        If the folders cannot be made or written: a disk may be mounted or freed later.
    """

    def __init__(self, root: Path, reserve_bytes: int = 0) -> None:
        self._root = root
        self._files = root / "files"
        self._reserve_bytes = reserve_bytes
        with disk_errors():
            for folder in (root, self._files, root / "tmp"):
                if denied := why_denied("storage.spool", folder):
                    raise ToMend(denied)
                make_folder(folder)
                folder.chmod(0o700)
            # All of them now: a file in a folder whose own name is not durable yet would not be either.
            for number in range(256):
                (self._files / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
            for folder in (self._files, root, root.parent):
                sync_folder(folder)
            temporary = self._temporary(root)
            make_folder(temporary)
            self._tmp, self._lock = _own_folder(temporary)
        self._disk = AtOnce()

    def _temporary(self, root: Path) -> Path:
        """Folder of the temporary folders that a living process of this machine may hold."""
        return root / "tmp"

    def _locked(self, folder: Path, how: int) -> AbstractContextManager[int]:
        """Lock a folder of files; its descriptor."""
        return _locked(folder, how)

    def check(self) -> None:
        """Raise Transient while files cannot be stored or given; what the disk says is :meth:`free_bytes`."""

    def sweep(self) -> None:
        """Clear away what other machines may have left behind; there are none."""

    def close(self) -> None:
        """Give up this process's temporary folder; done by the kernel where a process dies."""
        self._disk.close()
        if self._lock >= 0:
            shutil.rmtree(self._tmp, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1

    @property
    def own_folder(self) -> Path:
        """Folder of temporary files that goes with this process, however it ends."""
        return self._tmp

    def add(self, chunks: Iterable[Piece]) -> SpooledFile:
        """Store a file; durable when this returns.

        Bytes that are there already are not stored twice, and are made durable all the same. What the
        iterable itself raises passes through; nothing is left behind then either.

        Raises
        ------
        Transient
            If the disk is full, below the reserve, or fails. Nothing is left behind then.
        """
        draft = self.begin()
        try:
            for chunk in chunks:
                draft.write(chunk)
            return draft.finish()
        finally:
            draft.abandon()

    def begin(self) -> Draft:
        """Begin a file whose bytes are still to come.

        Raises
        ------
        Transient
            If the disk is below the reserve, or fails.
        """
        self._check_reserve()
        return Draft(self._tmp / uuid.uuid4().hex, self._keep)

    def _keep(self, draft: Draft) -> SpooledFile:
        final = self.path_of(draft.sha256)
        with disk_errors(), self._locked(final.parent, fcntl.LOCK_SH) as folder:
            kept = SpooledFile(draft.sha256, draft.size_bytes, final)
            if not _come_again(kept):
                draft.sync()
                os.replace(draft.path, final)
            # Also where the file was there: the one who renamed it may not have come to this line yet.
            os.fsync(folder)
        return kept

    def add_together(self, files: Sequence[bytes | memoryview]) -> list[SpooledFile]:
        """Store files that belong together; all of them are durable when this returns. Raises as :meth:`add`.

        The disk is asked for all of them at once, first for their bytes and then for their names.
        """
        self._check_reserve()
        tmps = [self._tmp / uuid.uuid4().hex for _ in files]
        try:
            with disk_errors(), ExitStack() as locks:
                digests = [write_with_holes(tmp, data) for tmp, data in zip(tmps, files, strict=True)]
                kept = [
                    SpooledFile(sha, len(data), self.path_of(sha))
                    for sha, data in zip(digests, files, strict=True)
                ]
                names = {file.path.parent for file in kept}
                folders = [locks.enter_context(self._locked(name, fcntl.LOCK_SH)) for name in names]
                new = [
                    (tmp, file.path) for tmp, file in zip(tmps, kept, strict=True) if not _come_again(file)
                ]
                self._disk.ask(sync_file, [tmp for tmp, _ in new])
                for tmp, final in new:
                    os.replace(tmp, final)
                self._disk.ask(os.fsync, folders)  # also where a file was there: see _keep
            return kept
        finally:
            for tmp in tmps:
                with suppress(OSError):
                    tmp.unlink()

    def _check_reserve(self) -> None:
        if self._reserve_bytes and self.free_bytes() < self._reserve_bytes:
            raise Transient(
                f"the spool's disk is below its reserve of {self._reserve_bytes / 1e6:.0f} MB; "
                "free some space or lower storage.reserve_mb"
            )

    def shelf(self, prefix: str) -> dict[str, int]:
        """Digests that begin with two hexadecimal digits, and when (ns, mtime) each file came or came again.

        Raises
        ------
        Transient
            If the disk fails.
        """
        with disk_errors(), os.scandir(self._files / prefix) as entries:
            found = [entry for entry in entries if re.fullmatch(r"[0-9a-f]{64}\.dcm", entry.name)]
            return {entry.name[:64]: entry.stat().st_mtime_ns for entry in found}

    def remove(self, sha256: str, mtime_ns: int) -> bool:
        """Delete a file unless it is gone, or has come again since its mtime was ``mtime_ns``; whether it was deleted.

        Raises
        ------
        Transient
            If the disk fails.
        """
        path = self.path_of(sha256)
        with disk_errors(), self._locked(path.parent, fcntl.LOCK_EX), suppress(FileNotFoundError):
            if path.stat().st_mtime_ns == mtime_ns:
                path.unlink()
                return True
        return False

    def path_of(self, sha256: str) -> Path:
        """Where a file of this digest lies, whether it is there or not.

        Raises
        ------
        ValueError
            If it is no SHA-256 in lower-case hexadecimal digits.
        """
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError("not a SHA-256 in lower-case hexadecimal digits")
        return self._files / sha256[:2] / f"{sha256}.dcm"

    def read(self, sha256: str) -> bytes:
        """All bytes of a file.

        Raises
        ------
        Permanent
            If it is not there.
        Transient
            If the disk fails.
        """
        with disk_errors():
            try:
                return self.path_of(sha256).read_bytes()
            except FileNotFoundError as error:
                raise Permanent(f"the spool holds no file {sha256}") from error

    def free_bytes(self) -> int:
        """Free disk for a process that is not root, in bytes; the reserve is not taken off."""
        with disk_errors():
            disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize


def make_folder(path: Path) -> None:
    """Make a folder (0700) and those above it that are missing; their names are durable when this returns.

    Raises
    ------
    OSError
        If that is not possible.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[int]:
    """Hold a folder's lock, shared by those who add and alone for those who remove; its descriptor."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield descriptor
    finally:
        os.close(descriptor)


def _own_folder(parent: Path) -> tuple[Path, int]:
    """Make and lock a temporary folder of our own, and remove those that nobody holds."""
    door = os.open(parent / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(door, fcntl.LOCK_EX)  # one opener at a time: no folder is seen between making and locking
        for folder in parent.iterdir():
            if folder.is_dir() and (lock := _try_lock(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
        folder = parent / uuid.uuid4().hex
        folder.mkdir(mode=0o700)
        lock = _try_lock(folder)
        assert lock is not None, "nobody else can know this folder"  # noqa: S101 - an invariant, not a check
        return folder, lock
    finally:
        os.close(door)


def _try_lock(folder: Path) -> int | None:
    """Lock a folder; None if a living process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _come_again(file: SpooledFile) -> bool:
    """Whether a file is there already; then it is touched, so that remove() knows that it has come again."""
    is_there = _is_whole(file.path, file.size_bytes)
    if is_there:
        os.utime(file.path)
    return is_there


def _is_whole(path: Path, size_bytes: int) -> bool:
    """Whether a file of the right size has this name: a shorter one was cut by something else than us."""
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False
