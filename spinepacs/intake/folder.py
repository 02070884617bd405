"""The watched folder as a place: what lies in it, what is moved where, what lies in ``failed/`` and why."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from spinepacs.store.records import FailedFile

DONE, FAILED = "done", "failed"
REASON_SUFFIX = ".reason.txt"
_MAXIMUM_REASON = 4000
_log = logging.getLogger(__name__)


class WatchedFolder:
    """Knows the folder's own rules: hidden files, ``done/`` and ``failed/`` are left alone; links are not followed.

    Parameters
    ----------
    root
        The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._said: set[Path] = set()
        """Links and the like that have been spoken of."""
        self._failed: dict[tuple[Path, int], FailedFile] = {}

    def identity(self) -> tuple[int, int] | None:
        """Device and inode; None while it is not there. Another one: a share was mounted over it, or came back."""
        try:
            status = self.root.stat()
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None

    def files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Plain files with their status."""
        others: set[Path] = set()
        for folder, folders, names in os.walk(self.root, onerror=_log_unreadable):
            at_top = Path(folder) == self.root
            folders[:] = [n for n in folders if not (n.startswith(".") or (at_top and n in (DONE, FAILED)))]
            others.update(path for name in folders if (path := Path(folder, name)).is_symlink())
            for name in sorted(names):
                path = Path(folder, name)
                if name.startswith(".") or (status := _status(path)) is None:
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield path, status
                else:
                    others.add(path)
        self._say(others)

    def _say(self, others: set[Path]) -> None:
        """Say once what is neither file nor folder; without names, which may be a patient's."""
        if new := others - self._said:
            _log.warning(
                "%d links, pipes or the like in the watched folder are left alone: copy the files themselves",
                len(new),
            )
        self._said = others

    def name_of(self, path: Path) -> str:
        """A file's name as seen from the folder."""
        return path.relative_to(self.root).as_posix()

    def free_name(self, to: str, path: Path) -> Path:
        """Where a file may be moved to in ``done`` or ``failed``: its own relative path, never that of another file."""
        return _free_name(self.root / to / path.relative_to(self.root))

    def move(self, path: Path, to: str, reason: str = "") -> None:
        """Move a file to ``done`` or ``failed``.

        Raises
        ------
        OSError
            If that is not possible; the folder itself is never made anew: its share may have gone.
        """
        target = self.free_name(to, path)
        os.stat(self.root)
        _make(target.parent, self.root)
        if reason:
            # Written first: a file in failed/ always has its reason.
            target.with_name(target.name + REASON_SUFFIX).write_text(f"{reason}\n", encoding="utf-8")
            _log.warning("a file of the watched folder went to failed/: %s", reason)
        path.rename(target)

    def failed(self) -> list[FailedFile] | None:
        """What lies in ``failed/``, each with its reason as far as one lies beside it; None: no such folder."""
        failed = self.root / FAILED
        if not failed.is_dir():
            return None
        known, self._failed = self._failed, {}
        for folder, _, names in os.walk(failed):
            for path in (Path(folder, name) for name in names if not name.endswith(REASON_SUFFIX)):
                if (status := _status(path)) is not None:
                    seen = (path, status.st_ctime_ns)
                    self._failed[seen] = known.get(seen) or _failed_file(path, failed, status)
        return list(self._failed.values())


def _failed_file(path: Path, failed: Path, status: os.stat_result) -> FailedFile:
    code, reason = _reason_of(path)
    moved_at = datetime.fromtimestamp(status.st_ctime, UTC)
    return FailedFile(path.relative_to(failed).as_posix(), code, reason, moved_at)


def _make(folder: Path, root: Path) -> None:
    """Make a folder below the root, and not the root."""
    if folder != root and not folder.is_dir():
        _make(folder.parent, root)
        folder.mkdir(exist_ok=True)


def _status(path: Path) -> os.stat_result | None:
    """Status of a file itself; None for what is gone by now."""
    try:
        return path.lstat()
    except OSError:
        return None


def _reason_of(path: Path) -> tuple[str, str]:
    """Code and sentence of the reason beside a file; empty where a person took it away."""
    try:
        with path.with_name(path.name + REASON_SUFFIX).open(encoding="utf-8", errors="replace") as file:
            code, _, reason = file.read(_MAXIMUM_REASON).strip().partition(": ")
    except OSError:
        return "", ""
    return code, reason


def _free_name(target: Path) -> Path:
    """The path itself, or with ``-2``, ``-3`` … before its suffix where something has that name already."""
    candidate, number = target, 2
    while candidate.exists() or candidate.with_name(candidate.name + REASON_SUFFIX).exists():
        candidate = target.with_name(f"{target.stem}-{number}{target.suffix}")
        number += 1
    return candidate


def _log_unreadable(error: OSError) -> None:
    _log.warning("a watched folder cannot be listed: %s", error.strerror)
