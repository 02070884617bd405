"""One file of the watched folder: what it is, and how it gets into spool and ledger."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from pydicom.dataset import Dataset

from spinepacs.dicom.pictures import PictureFacts, read_table
from spinepacs.dicom.reading.header import header_of
from spinepacs.dicom.reading.parse import parse
from spinepacs.dicom.wrap import is_picture, wrap
from spinepacs.domain.study import Source, StudyHeader
from spinepacs.errors import BadInput, Permanent, Transient
from spinepacs.intake import archive
from spinepacs.intake.beside import TablesBeside, is_table
from spinepacs.intake.folder import WatchedFolder
from spinepacs.intake.part10 import pieces
from spinepacs.settings.sections import WatchSettings
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalOutcome, NewArrival
from spinepacs.store.spool import Spool

_CHUNK_BYTES = 1 << 20
_LEAST_BYTES = 132  # of a Part 10 file: its preamble and prefix
_MAY_GROW = frozenset({
    "TRUNCATED", "DAMAGED_DATASET", "MISSING_UID", "NOT_AN_IMAGE", "ARCHIVE_DAMAGED", "PICTURE_TABLE", "NO_TABLE_ROW",
})  # fmt: skip
"""Reasons that the rest of a file, or of those beside it, may remove."""
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_CONFLICT = (
    "CONFLICT: an image with the same SOP Instance UID and other content came before; this one is kept unread"
)
_log = logging.getLogger(__name__)


class NotYet(Exception):  # noqa: N818 - no error: the file stays where it is
    """It is not whole yet, as it seems; or, with ``after_s``, waits for another file so long (s)."""

    def __init__(self, after_s: float | None = None) -> None:
        super().__init__()
        self.after_s = after_s


class Taker:
    """Takes files in, one at a time.

    Parameters
    ----------
    settings
        The folder's.
    folder, tables
        The folder, and the CSV tables in it.
    spool, ledger
        Opened by this process.
    """

    def __init__(
        self,
        settings: WatchSettings,
        folder: WatchedFolder,
        tables: TablesBeside,
        spool: Spool,
        ledger: Ledger,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._tables = tables
        self._spool = spool
        self._ledger = ledger
        self._barred: dict[Path, str] = {}
        """Pictures that lie beside a table that cannot be used, and why."""

    def take(
        self,
        path: Path,
        found: Collection[Path],
        now_s: float,
        is_same: Callable[[], bool],
        *,
        is_final: bool,
    ) -> str:
        """Take one file in.

        Parameters
        ----------
        found
            All files of the folder.
        now_s
            Monotonic seconds.
        is_same
            Tells whether the file still looks as it did when it was found to be still.
        is_final
            Its time is over: what is not whole now never will be.

        Returns
        -------
        str
            Empty: done; else the reason why it has failed, code first.

        Raises
        ------
        NotYet
            It may be taken later.
        Transient, OSError, MemoryError
            What is no fault of the file's.
        """
        try:
            return self._keep(path, found, now_s, is_same, is_final)
        except BadInput as error:
            if error.reason_code == "DICOMDIR":
                _log.info("a DICOMDIR was skipped: it lists files and holds no image")
                return ""
            if not is_final and self._may_grow(path, error.reason_code):
                raise NotYet from None
            return f"{error.reason_code}: {error}"
        except Permanent as error:
            return f"{type(error).__name__}: {error}"
        except (NotYet, Transient, OSError, MemoryError):
            raise
        except Exception as error:
            # A defect of ours must not end at this file again and again, and keep all others waiting.
            _log.exception("defect while a file of the watched folder was taken")
            return f"DEFECT: {type(error).__name__}; the log says where"

    def keep_only(self, there: Collection[Path]) -> None:
        """Forget what is not there any more."""
        self._tables.keep_only(there)
        self._barred = {path: reason for path, reason in self._barred.items() if path in there}

    def _may_grow(self, path: Path, code: str) -> bool:
        if code != "NOT_DICOM":
            return code in _MAY_GROW and path not in self._barred
        with path.open("rb") as file:  # nothing of it yet, or only room made for it
            start = file.read(_CHUNK_BYTES)
        return len(start) < _LEAST_BYTES or not any(start)

    def _keep(
        self, path: Path, found: Collection[Path], now_s: float, is_same: Callable[[], bool], is_final: bool
    ) -> str:
        if is_table(path):
            return self._hold_table(path, found, now_s, is_final)
        if archive.is_zip(path):
            return self._unpack(path)
        if not is_picture(path):
            return self._keep_dicom(path, path, is_same, is_final)
        with tempfile.TemporaryDirectory(prefix="spinepacs-") as folder:
            wrapped = Path(folder, "wrapped.dcm")
            wrap(path, wrapped, self._facts_of(path, found))
            return self._keep_dicom(path, wrapped, is_same, is_final)

    def _hold_table(self, path: Path, found: Collection[Path], now_s: float, is_final: bool) -> str:
        """Let a table hold until its work is done; one that cannot be used takes the pictures beside it along."""
        if not self._tables.holds(path):
            try:
                table = read_table(path)
            except BadInput as error:
                if is_final:
                    beside = [other for other in found if path.parent in self._tables.places(other)]
                    self._barred |= dict.fromkeys(beside, f"the table beside it cannot be used: {error}")
                raise
            if table.errors and not is_final:
                raise NotYet
            self._tables.hold(table, now_s)
        over = self._tables.over(path, now_s)
        if over is None:
            raise NotYet(self._settings.scan_interval_s)
        return over

    def _facts_of(self, path: Path, found: Collection[Path]) -> PictureFacts:
        """What a table says of a picture; waits for tables that are still being written."""
        if path in self._barred:
            raise BadInput("PICTURE_TABLE", self._barred[path])
        places = self._tables.places(path)
        if any(
            is_table(other) and other.parent in places and not self._tables.holds(other) for other in found
        ):
            raise NotYet(self._settings.settle_s)
        said = self._tables.facts_of(path, PictureFacts())
        if said is None and self._settings.table_required:
            raise BadInput(
                "NO_TABLE_ROW", "no line of a CSV table beside it names this picture (docs/pictures.md)"
            )
        # Whoever puts a picture without header into this folder means it to be read.
        return said or PictureFacts()

    def _keep_dicom(self, path: Path, film: Path, is_same: Callable[[], bool], is_final: bool) -> str:
        """Put a film, which is the file itself or made of it, into spool and ledger."""
        # With its pixels, though none are decoded: a file that was cut off shows it there.
        dataset = parse(film, with_pixels=True)
        header = header_of(dataset)
        if _lacks_its_pixels(dataset) and not is_final:
            raise NotYet
        stored = self._spool.add(_chunks(film, header))
        if not is_same():
            raise Transient("it changed while it was read")
        uids = (header.sop_uid, header.sop_class_uid, header.transfer_syntax_uid)
        name = self._folder.name_of(path)
        new = NewArrival(*uids, stored.sha256, stored.size_bytes, Source.FOLDER, file_name=name)
        outcome = self._ledger.add_arrival(new)
        _log.info("taken from the folder", extra={"sop_uid": header.sop_uid, "state": outcome.value})
        return _CONFLICT if outcome is ArrivalOutcome.CONFLICT else ""

    def _unpack(self, path: Path) -> str:
        """Put an archive's files beside it, where the next scan finds them."""
        if any(folder.name.endswith(archive.SUFFIX) for folder in path.parents):
            raise BadInput("ARCHIVE_NESTED", "archives in archives in archives are not opened: unpack it")
        hidden = path.with_name(f".{path.name}{archive.SUFFIX}")
        shutil.rmtree(hidden, ignore_errors=True)
        found = archive.unpack(path, hidden, self._settings.archive_maximum_mb)
        target, number = path.with_name(path.name + archive.SUFFIX), 2
        while target.exists():
            target, number = path.with_name(f"{path.name}-{number}{archive.SUFFIX}"), number + 1
        hidden.rename(target)
        _log.info(
            "an archive of the watched folder was unpacked: %d files; %d that are no films were left in it",
            found.files, found.left,
        )  # fmt: skip
        return ""


def _lacks_its_pixels(dataset: Dataset) -> bool:
    return "Rows" in dataset and not any(keyword in dataset for keyword in _PIXELS)


def _chunks(path: Path, header: StudyHeader) -> Iterator[bytes]:
    """The file, with the meta group that the same image would get had it come over the network."""
    with path.open("rb") as file:
        yield from pieces(file, header.sop_class_uid, header.sop_uid, header.transfer_syntax_uid)
