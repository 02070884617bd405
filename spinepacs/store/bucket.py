"""The spool in object storage (S3 and what speaks like it): the same promises, by one PUT for each file.

An object is there whole or not at all, and durable when its PUT is answered; the server checks the SHA-256 that goes
with it. One plain PUT, never in parts, so that nothing half sent can stay behind (S3 takes 5 GB so, we 512 MB).
A file that may go is first put aside, and deleted one grace time later: whoever takes in the same bytes at that very
moment finds them again, which a conditional delete, that few servers know, could not promise better.
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from spinepacs.errors import BadSettings, ToMend, Transient
from spinepacs.store.draft import Draft, SpooledFile, disk_errors
from spinepacs.store.spool import Spool

if TYPE_CHECKING:
    from obstore.store import S3Store

_KEPT_BYTES = 1_000_000_000
_KEPT_S = 600.0
"""What was fetched is kept for so long (s) after somebody has wanted it, and beyond it up to so many bytes for each
process."""
_IDENTITY = "identity"
_FILES, _ASIDE = "files", "aside"
_NS = 1_000_000_000


class _Fetched(NamedTuple):
    size_bytes: int
    at_s: float


class BucketSpool(Spool):
    """A :class:`~spinepacs.store.spool.Spool` whose files are objects; its methods are the same.

    What is received is written to the scratch folder first. :meth:`path_of` fetches: the path that it gives is that of
    a copy in the scratch folder, which goes with this process.

    Parameters
    ----------
    scratch
        Folder of this machine.
    url
        ``s3://bucket/prefix``; endpoint, region and key are taken from the environment (``AWS_ENDPOINT_URL`` …).
    reserve_bytes
        Free disk of the scratch folder that is left untouched.

    Raises
    ------
    BadSettings
        If the library for it is not installed.
    """

    def __init__(self, scratch: Path, url: str, reserve_bytes: int = 0) -> None:
        super().__init__(scratch, reserve_bytes)
        self._url = url
        self._store = _connect(url)
        self._fetched: OrderedDict[str, _Fetched] = OrderedDict()
        self._turns = Lock()

    def _keep(self, draft: Draft) -> SpooledFile:
        import obstore

        with self._errors():  # also where it is there: then its time says that it has come again
            obstore.put(self._store, _key(_FILES, draft.sha256), draft.path, use_multipart=False)
        return SpooledFile(draft.sha256, draft.size_bytes, self._copy_of(draft.sha256))

    def add_together(self, files: Sequence[bytes | memoryview]) -> list[SpooledFile]:
        """See Spool; each has its own PUT, at the same time."""
        with ThreadPoolExecutor(max(1, len(files))) as threads:
            return list(threads.map(lambda data: self.add((data,)), files))

    def shelf(self, prefix: str) -> dict[str, int]:
        """See Spool; what was put aside is still there."""
        found: dict[str, int] = {}
        for where in (_ASIDE, _FILES):
            found |= self._list(f"{where}/{prefix}/")
        return found

    def has_files(self) -> bool:
        """Whether there is any file: one question for each place, not one for each shelf."""
        return any(self._list(f"{where}/", most=1) for where in (_FILES, _ASIDE))

    def _list(self, prefix: str, most: int | None = None) -> dict[str, int]:
        """Digests and times of what lies there, the first ``most`` of it."""
        import obstore

        with self._errors():
            entries = list(
                islice((entry for page in obstore.list(self._store, prefix) for entry in page), most)
            )
        names = {entry["path"].rpartition("/")[2]: entry["last_modified"] for entry in entries}
        return {name[:64]: int(at.timestamp() * _NS) for name, at in names.items() if len(name) == 68}

    def remove(self, sha256: str, mtime_ns: int) -> bool:
        """See Spool: put it aside first; what has been put aside is deleted."""
        import obstore

        name, aside = _key(_FILES, sha256), _key(_ASIDE, sha256)
        with self._errors():
            time_ns = self._time_of(name)
            if time_ns == mtime_ns:
                obstore.copy(self._store, name, aside, overwrite=True)
                obstore.delete(self._store, name)
            elif time_ns is None and self._time_of(aside) == mtime_ns:
                obstore.delete(self._store, aside)
            else:
                return False
        return True

    def _time_of(self, key: str) -> int | None:
        """When an object was put there (ns); None: it is not there."""
        import obstore

        try:
            return int(obstore.head(self._store, key)["last_modified"].timestamp() * _NS)
        except FileNotFoundError:
            return None

    def path_of(self, sha256: str) -> Path:
        """Where a copy of it lies, fetched if need be; nothing lies there if there is no such file.

        Raises
        ------
        ValueError
            If it is no SHA-256 in lower-case hexadecimal digits.
        Transient
            If the storage or the scratch disk fails.
        """
        super().path_of(sha256)
        path = self._copy_of(sha256)
        if self._is_kept(sha256, path):
            return path
        content = self._content(_key(_FILES, sha256))
        if content is None:
            content = self._content(_key(_ASIDE, sha256))
        if content is not None:
            self._write_copy(path, content)
            self._note(sha256, len(content))
        return path

    def _is_kept(self, sha256: str, path: Path) -> bool:
        """Whether it was fetched and is still there; it stays for a while from now on, since somebody wants it."""
        with self._turns:
            is_there = path.exists()
            if is_there and (fetched := self._fetched.pop(sha256, None)):
                self._fetched[sha256] = fetched._replace(at_s=time.monotonic())
            return is_there

    def _content(self, key: str) -> memoryview | None:
        import obstore

        with self._errors():
            try:
                return memoryview(obstore.get(self._store, key).bytes())
            except FileNotFoundError:
                return None

    def _write_copy(self, path: Path, content: memoryview) -> None:
        made = self._tmp / uuid.uuid4().hex
        try:
            with disk_errors():
                made.write_bytes(content)
                made.rename(path)
        finally:
            made.unlink(missing_ok=True)

    def _note(self, sha256: str, size_bytes: int) -> None:
        """Remember what was fetched, and let go of what nobody has wanted for longest, beyond the limit."""
        with self._turns:
            now_s = time.monotonic()
            self._fetched.pop(sha256, None)
            self._fetched[sha256] = _Fetched(size_bytes, now_s)
            excess = sum(each.size_bytes for each in self._fetched.values()) - _KEPT_BYTES
            while excess > 0 and now_s - next(iter(self._fetched.values())).at_s > _KEPT_S:
                oldest, fetched = self._fetched.popitem(last=False)
                excess -= fetched.size_bytes
                with suppress(OSError):
                    self._copy_of(oldest).unlink()

    def _copy_of(self, sha256: str) -> Path:
        return self._tmp / f"{sha256}.dcm"

    def check(self) -> None:
        """See Spool."""
        with self._errors():
            self._time_of(_IDENTITY)

    def identity(self, offered: str = "") -> str:
        """Identity of this spool: what was offered first; empty: nobody has yet."""
        import obstore

        with self._errors(), suppress(obstore.exceptions.AlreadyExistsError):
            if offered:
                obstore.put(self._store, _IDENTITY, offered.encode(), mode="create", use_multipart=False)
        content = self._content(_IDENTITY)
        return bytes(content).decode() if content is not None else ""

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say what a failing storage means: nothing of it is the file's fault."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise ToMend(
                f"object storage {self._url} does not let us in: see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the "
                "rights of that key (docs/scale.md)"
            ) from error
        except FileNotFoundError as error:
            raise ToMend(f"object storage {self._url}: there is no such bucket; make it") from error
        except (BaseError, OSError) as error:
            why = " ".join(str(error).split())[:200]
            raise Transient(
                f"object storage {self._url} fails; it is tried again when that has passed: {why}"
            ) from error


def _key(where: str, sha256: str) -> str:
    return f"{where}/{sha256[:2]}/{sha256}.dcm"


def _connect(url: str) -> S3Store:
    try:
        from obstore.store import S3Store
    except ImportError:
        raise BadSettings("object storage needs its library: pip install 'spinepacs[s3]'") from None
    times: Any = {
        "connect_timeout": timedelta(seconds=5),
        "timeout": timedelta(seconds=60),
        "allow_http": True,
    }
    # A sender waits for the answer: it is told 0xA700 soon, and comes again.
    patience: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
    return S3Store.from_url(
        url, client_options=times, retry_config=patience, config={"checksum_algorithm": "SHA256"}
    )
