"""What several benchmarks need: a film taken in as the daemon does it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from spinepacs.dicom.header import read_header
from spinepacs.findings import Versions
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import Claim, NewArrival
from spinepacs.store.spool import Spool
from spinepacs.study import Source


def ingest(film: Path, spool: Spool, ledger: Ledger, versions: Versions) -> Claim:
    """Take a film in, register its study, and claim it."""
    header = read_header(film)
    kept = spool.add([film.read_bytes()])
    ledger.add_arrival(
        NewArrival(
            sop_uid=header.sop_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=header.transfer_syntax_uid,
            sha256=kept.sha256,
            size_bytes=kept.size_bytes,
            source=Source.COMMAND,
            calling_ae="",
            called_ae="",
            peer="",
            received_at=datetime.now(UTC),
        )
    )
    for arrival in ledger.unregistered(10):
        ledger.register(arrival.arrival_id, header, None)
    ledger.mark_ready(header.study_uid)
    claim = ledger.claim(versions, maximum_attempts=3)
    assert claim is not None
    return claim
