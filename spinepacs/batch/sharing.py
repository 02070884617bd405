"""Several processes, also of several machines, that share the films of one ``--out``.

Nothing but files is asked for, since the folder may be on any file system: a claim is a file that only one can make
(O_EXCL, atomic on local disks, NFS from version 3 on and SMB). It names its sharer, and each sharer has a file that it
touches every few seconds. Who has not for a minute is dead, and its claims are taken over; times are compared by the
file server's clock only. On one machine the kernel tells at once (flock, which is not relied on between machines).
Should a sharer be thought dead that was only held up, a film is read twice, to the same bytes and in the same place:
claims save work, and nothing that is right depends on them.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spinepacs.batch.folder import INNER
from spinepacs.errors import BadSettings

BEAT_S = 5.0
"""How often a sharer says that it lives (s)."""
LEASE_S = 60.0
"""Who has not said so for so long (s) is dead: twelve beats, since a file server may be busy."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_FOLDERS = ("films", "sharers", "parts", "studies")


@dataclass(frozen=True)
class Terms:
    """What sharers must agree on, since one table holds what all of them read.

    Parameters
    ----------
    version
        Of model, policy and settings.
    owner
        How the patient is told.
    """

    version: str
    owner: str


class Sharer:
    """One process that works on an ``--out``, as the others see it.

    Parameters
    ----------
    out
        Folder of the results; it is there.
    terms
        What it reads with.
    lease_s
        After so long without a sign of life another sharer is taken for dead (s).

    Raises
    ------
    BadSettings
        By :meth:`__enter__`, if another one that lives reads on other terms.
    """

    def __init__(self, out: Path, terms: Terms, *, lease_s: float = LEASE_S) -> None:
        self.inner = out / INNER
        self.name = secrets.token_hex(8)
        self.since_ns = 0
        """What was recorded before this time was so before this round of work began (by the file system's clock)."""
        self._terms, self._lease_s = terms, lease_s
        self._file = self.inner / "sharers" / self.name
        self._descriptor = -1
        self._held: set[str] = set()
        self._ended = threading.Event()

    def part(self, what: str) -> Path:
        """A file that is nobody else's, to write in before it is put in place."""
        return self.inner / "parts" / f"{self.name}.{what}"

    def __enter__(self) -> Self:
        """Say that one works here; what dead ones left is cleared away."""
        for folder in _FOLDERS:
            (self.inner / folder).mkdir(parents=True, exist_ok=True)
        others = list(self._others())
        self._appear(others)
        threading.Thread(target=self._beat, name="sharer-beat", daemon=True).start()
        if any(other["terms"] != asdict(self._terms) for other in self._others()):
            self._leave()
            raise BadSettings(
                f"--out {self.inner.parent}: another process is writing to it with another model, policy or other "
                "options: give both the same, or this one a folder of its own"
            )
        self._clear_parts()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of everything, also of what those held who died beside this one."""
        with suppress(OSError):
            self._clear_claims()
        self._leave()

    def _appear(self, others: list[dict[str, Any]]) -> None:
        """Put one's file where the others look, locked and with all that it says."""
        unseen = self._file.with_name(f".{self.name}")
        self._descriptor = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        begun_ns = os.fstat(self._descriptor).st_mtime_ns
        self.since_ns = min([begun_ns, *(other["since_ns"] for other in others)])
        os.pwrite(self._descriptor, self._says(has_lock=self._lock()), 0)
        unseen.rename(self._file)

    def _says(self, *, has_lock: bool) -> bytes:
        said = {
            "boot": _boot(),
            "has_lock": has_lock,
            "since_ns": self.since_ns,
            "terms": asdict(self._terms),
        }
        return json.dumps(said).encode()

    def claim(self, name: str) -> bool:
        """Take a film, or what else has a name below the inner folder, in hand; False if another sharer has it."""
        path = self._claim_of(name)
        for _ in range(2):
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except FileExistsError:
                if not self._take_away(path):
                    return False
                continue
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.name.encode())
            self._held.add(name)
            return True
        return False

    def release(self, name: str) -> None:
        """Let go of it."""
        self._held.discard(name)
        with suppress(OSError):
            if _holder(self._claim_of(name)) == self.name:
                self._claim_of(name).unlink()

    def _claim_of(self, name: str) -> Path:
        return self.inner / f"{name}.claim"

    def _take_away(self, path: Path) -> bool:
        """Remove a claim whose sharer is dead. One sharer at a time: one that had judged before another took over would
        remove the new claim."""
        turn = path.with_suffix(".turn")
        try:
            turn.touch(exist_ok=False)
        except FileExistsError:
            with suppress(FileNotFoundError):
                if self._silence_s(turn) > self._lease_s:  # who made it died at it
                    turn.unlink()
            return False
        try:
            if not self._is_dead(_holder(path), path):
                return False
            path.unlink()
        except FileNotFoundError:  # it was let go of meanwhile
            pass
        finally:
            turn.unlink(missing_ok=True)
        return True

    def _is_dead(self, name: str, claim: Path) -> bool:
        """Whether a sharer is dead; one that has not written its name yet is as old as its claim."""
        sharer = self.inner / "sharers" / name if name else claim
        try:
            if name and self._kernel_says_dead(sharer):
                return True
            return self._silence_s(sharer) > self._lease_s
        except FileNotFoundError:
            return True

    def _silence_s(self, file: Path) -> float:
        """How much older a file is than one that is touched now, by the file server's clock (s)."""
        with self.part("clock").open(
            "wb"
        ) as clock:  # held open: who does not know this one yet may remove it
            os.utime(clock.fileno())
            now_ns = os.fstat(clock.fileno()).st_mtime_ns
        return (now_ns - file.stat().st_mtime_ns) / 1e9

    def _kernel_says_dead(self, sharer: Path) -> bool:
        said = _said(sharer)
        if not said.get("has_lock") or said.get("boot") != _boot():
            return False
        with sharer.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return False
        return True

    def _others(self) -> Iterator[dict[str, Any]]:
        """What those who live have said of themselves; the files of the dead are removed."""
        for file in (self.inner / "sharers").iterdir():
            if file == self._file or file.name.startswith("."):
                continue
            if self._is_dead(file.name, file):
                file.unlink(missing_ok=True)
            elif said := _said(file):
                yield said

    def _clear_parts(self) -> None:
        """Remove what dead ones were writing."""
        living = {file.name for file in (self.inner / "sharers").iterdir()}
        for part in (self.inner / "parts").iterdir():
            if part.name.partition(".")[0] not in living:
                part.unlink(missing_ok=True)

    def _clear_claims(self) -> None:
        """Remove the claims of dead ones that nobody takes over: one may die between a film's record and letting go."""
        for claim in self.inner.glob("films/*.claim"):
            self._take_away(claim)

    def _lock(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # not every file system has locks
            return False
        return True

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(OSError):  # a file server that is away is found out where results are written
                try:
                    os.utime(self._file)
                except FileNotFoundError:  # one was held up and taken for dead
                    self._file.write_bytes(self._says(has_lock=False))

    def _leave(self) -> None:
        self._ended.set()
        for name in list(self._held):
            self.release(name)
        with suppress(OSError):
            self._file.unlink()
            for part in (self.inner / "parts").glob(f"{self.name}.*"):
                part.unlink()
        os.close(self._descriptor)


def _holder(claim: Path) -> str:
    return claim.read_text(encoding="ascii", errors="replace")


def _said(sharer: Path) -> dict[str, Any]:
    """What a sharer says of itself; empty where it has not come to that."""
    try:
        return dict(json.loads(sharer.read_bytes()))
    except (OSError, ValueError):
        return {}


def _boot() -> str:
    """What tells running machines apart; their names need not differ."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
