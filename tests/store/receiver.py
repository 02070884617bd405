"""A receiver for tests to trace: a real listener, and one study read and recorded, on a spool and a ledger of its own.

``python -m tests.store.receiver SPOOL DATABASE`` prints its port; at the end of standard input it reads what came.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import numpy as np

from spinepacs.dicom.reading.header import read_header
from spinepacs.intake.listener import Listener
from spinepacs.settings.sections import ListenerSettings
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests import films
from tests.store import makers


def main(folder: Path, database: Path) -> None:
    """Receive, then record."""
    spool = Spool(folder)
    with Ledger.open(f"sqlite:///{database}") as ledger:
        listener = Listener(ListenerSettings(port=0), spool, ledger)
        print(listener.start(), flush=True)
        sys.stdin.read()
        listener.stop()
        record(spool, ledger)


def record(spool: Spool, ledger: Ledger) -> None:
    """Register and read all that came, as a worker does; the findings are made up."""
    for arrival in ledger.unregistered(100):
        header = read_header(spool.path_of(arrival.sha256))
        ledger.register(arrival.arrival_id, header, None)
        ledger.mark_ready(header.study_uid)
    while claim := ledger.claim(makers.VERSIONS, 3):
        result = makers.result_of(claim)
        objects = [item for image in result.images for item in image.objects]
        stored = {item.sop_uid: spool.add((of_ours(item.sop_uid),)).sha256 for item in objects}
        assert ledger.record(claim, result, stored, (makers.PACS,))


def of_ours(sop_uid: str) -> bytes:
    """A small object that says that we made it."""
    maker = {"Manufacturer": "spinepacs", "ManufacturerModelName": "spinepacs"}
    made = films.make_dx(np.zeros((8, 8), np.uint16), seed=sop_uid, **maker)
    buffer = BytesIO()
    made.save_as(buffer)
    return buffer.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
