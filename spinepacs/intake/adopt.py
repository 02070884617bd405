"""Takes in an image that lies in the spool and that the database does not know.

That happens after a crash between spool and ledger (nobody was answered; the sender comes again), and with a database
that was restored from an older copy (somebody was: the image would be lost).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydicom.filereader import read_file_meta_info

from spinepacs.dicom.reading.header import read_header
from spinepacs.dicom.reading.parse import quiet
from spinepacs.domain.study import Source
from spinepacs.intake.part10 import IMPLEMENTATION_CLASS_UID
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import NewArrival
from spinepacs.store.spool import Spool


def adopt(sha256: str, spool: Spool, ledger: Ledger) -> bool:
    """Add the row of an image; False for a result of ours, which its study makes again.

    Of what came over the network only the meta group is read, which the listener has written itself.

    Raises
    ------
    BadInput
        If it cannot be read: it stays where it is.
    Transient
        If disk or database fail.
    """
    path = spool.path_of(sha256)
    identity = _received(path) or _header(path)
    if identity is None:
        return False
    status = path.stat()
    ledger.add_arrival(
        NewArrival(
            *identity,
            sha256,
            status.st_size,
            Source.SPOOL,
            received_at=datetime.fromtimestamp(status.st_mtime, UTC),
        )
    )
    return True


def _received(path: Path) -> tuple[str, str, str] | None:
    """SOP Instance, SOP Class and Transfer Syntax UID of a file whose meta group the listener wrote."""
    try:
        with quiet():
            meta = read_file_meta_info(path)
            if meta.ImplementationClassUID != IMPLEMENTATION_CLASS_UID:
                return None
            uids = (meta.MediaStorageSOPInstanceUID, meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    except Exception:  # whatever it is, it is none of the listener's
        return None
    return str(uids[0]), str(uids[1]), str(uids[2])


def _header(path: Path) -> tuple[str, str, str] | None:
    """The same of any other file; None for a result of ours."""
    header = read_header(path)
    return None if header.is_ours else (header.sop_uid, header.sop_class_uid, header.transfer_syntax_uid)
