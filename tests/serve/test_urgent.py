"""STAT first: from what a header or a sender says to the order in which real workers read."""

from __future__ import annotations

import itertools
import subprocess
import threading
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import select

from spinepacs.children import Child
from spinepacs.dicom.reading.header import header_of
from spinepacs.intake.assembly import Assembly
from spinepacs.serve import dispatch
from spinepacs.settings.sections import WorkSettings
from spinepacs.store.tables import attempts
from tests import films, peers
from tests.daemons import daemon, film
from tests.intake.doors import listening
from tests.serve import scripted_workers
from tests.store import makers

pytestmark = pytest.mark.peer


def request(priority: str) -> Dataset:
    item = Dataset()
    item.RequestedProcedurePriority = priority
    return item


@pytest.mark.parametrize(
    ("elements", "priority"),
    [
        ({}, ""),
        ({"RequestedProcedurePriority": "stat "}, "STAT"),
        ({"RequestAttributesSequence": [request("ROUTINE")]}, "ROUTINE"),
        ({"RequestAttributesSequence": [Dataset(), request("STAT")]}, "STAT"),
        ({"RequestedProcedurePriority": "", "RequestAttributesSequence": [request("STAT")]}, "STAT"),
    ],
)
def test_the_header_tells_the_priority_of_the_request(tmp_path, elements, priority):
    header = header_of(dcmread(films.write(films.make_dx(**elements), tmp_path / "film.dcm")))
    assert header.priority == priority


def store(port: int, path: Path, calling: str) -> None:
    command = [
        peers.require("storescu"),
        "-aet",
        calling,
        "-aec",
        "SPINEPACS",
        "127.0.0.1",
        str(port),
        str(path),
    ]
    subprocess.run(command, check=True, timeout=30)


def test_images_that_come_without_a_pause_do_not_keep_studies_waiting(ledger, monkeypatch):
    """There are always headers left to read, and studies are read all the same."""
    monkeypatch.setattr(dispatch, "LONGEST_WITHOUT_ASSEMBLY_S", 0.2)
    monkeypatch.setattr(dispatch, "REGISTRATION_BATCH", 2)
    numbers, stop = itertools.count(), threading.Event()

    def pour() -> None:
        while not stop.is_set():
            if len(ledger.unregistered(100)) < 100:
                ledger.add_arrival(makers.arrival(f"1.1.{next(numbers)}.1"))

    dispatcher = dispatch.Dispatcher(
        WorkSettings(poll_s=0.05),
        ledger,
        hire=lambda: Child("worker", scripted_workers.work, ledger.url),
        assemble=Assembly(0.1).ready,
    )
    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        peers.wait_until(lambda: len(ledger.unregistered(100)) == 100, 30, "a queue")
        dispatcher.start()
        peers.wait_until(lambda: ledger.counts().studies.get("delivered", 0) >= 5, 60, "five studies")
        assert ledger.unregistered(1)
    finally:
        stop.set()
        pouring.join()
        dispatcher.stop(5)


def test_what_is_urgent_is_read_first(tmp_path, spool, ledger):
    """Ten studies have come before the daemon starts; the STAT one and the emergency room's were the last."""
    everyone = [(f"{number}", "ROOM1", {}) for number in range(8)]
    everyone += [("8", "ROOM1", {"RequestedProcedurePriority": "STAT"}), ("9", "EMERGENCY", {})]
    with listening(spool, ledger) as (listener, _):
        for number, calling, elements in everyone:
            folder = tmp_path / number
            folder.mkdir()
            store(listener.port, films.write(film(number, **elements), folder / "film.dcm"), calling)
    work = {"workers": 1, "urgent_calling_ae_titles": ["EMERGENCY"]}
    with daemon(tmp_path, work=work) as running:
        running.start()
        peers.wait_until(lambda: running.states() == {"delivered": 10}, 60, "ten studies")
        with running.ledger() as opened:
            rows = opened.rows(select(attempts.c.study_uid).order_by(attempts.c.attempt_id))
    order = [row["study_uid"] for row in rows]
    urgent = {str(film(number).StudyInstanceUID) for number in ("8", "9")}
    assert set(order[:2]) == urgent
