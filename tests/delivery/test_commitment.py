"""Storage commitment: asked of a real Orthanc, of scripted destinations on either kind of association, and of liars."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance
from sqlalchemy import text

from spinepacs.delivery import commitment
from spinepacs.delivery.courier import Courier
from spinepacs.domain.findings import ObjectKind
from spinepacs.intake.listener import Listener
from spinepacs.settings.destinations import DicomDestination
from spinepacs.settings.sections import ListenerSettings
from spinepacs.store import queue
from spinepacs.store.ledger import Ledger
from tests import daemons, films, peers
from tests.outboxes import SOP_CLASSES, courier_to, deliveries, destination, fill_outbox, lying, outbox

pytestmark = peers.UNCLOSED_SOCKETS
NEVER = threading.Event()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    monkeypatch.setattr(commitment, "LINGER_S", 0.5)


@pytest.fixture
def listener(spool, ledger) -> Iterator[Listener]:
    """Where reports come in, as `serve` sets it up."""
    settings = ListenerSettings(port=0)
    made = Listener(settings, spool, ledger, on_report=lambda event: commitment.take_report(event, ledger))
    made.start()
    yield made
    made.stop()


def committing(name: str, port: int, **changes: Any) -> DicomDestination:
    values = {"commitment": True, "commitment_delay_s": 0, "commitment_wait_s": 0.3, **changes}
    return destination(name, port, **values)


def go_on_until(courier: Courier, condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    """Let the courier come again and again."""

    def came() -> bool:
        courier.deliver_due(NEVER)
        courier.commit_due(NEVER)
        return condition()

    peers.wait_until(came, timeout_s, what)


def states(ledger: Ledger) -> dict[str, int]:
    return {state: number for (_, state), number in outbox(ledger).items()}


# ---- Orthanc -----------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_orthanc_commits_on_a_new_association(tmp_path, spool, ledger, listener):
    with peers.orthanc(tmp_path) as orthanc:
        orthanc.add_modality("spinepacs", "SPINEPACS", listener.port)
        target = committing("pacs", orthanc.dicom_port, ae_title=orthanc.ae_title, commitment_wait_s=30)
        fill_outbox(ledger, spool, target)
        courier = courier_to(target, spool, ledger)
        courier.deliver_due(NEVER)
        assert outbox(ledger) == {("pacs", "sent"): 3}
        assert ledger.counts().studies == {"recorded": 1}
        assert ledger.counts().uncommitted == {"pacs": 3}
        go_on_until(courier, lambda: states(ledger) == {"committed": 3}, "Orthanc's promise")
    assert ledger.counts().studies == {"delivered": 1}
    (transaction,) = transactions(ledger)
    assert (transaction["status"], transaction["committed"], transaction["refused"]) == (0, 3, 0)
    assert transaction["answered_by"] == "ORTHANC"


def transactions(ledger: Ledger) -> list[dict[str, Any]]:
    return ledger.rows(text("SELECT * FROM commitments ORDER BY requested_at"))  # type: ignore[arg-type]


@pytest.mark.peer
def test_what_orthanc_has_lost_is_sent_again(tmp_path, spool, ledger, listener):
    """It answered 0x0000, and then somebody deleted it: without commitment nobody would ever know."""
    with peers.orthanc(tmp_path) as orthanc:
        orthanc.add_modality("spinepacs", "SPINEPACS", listener.port)
        target = committing("pacs", orthanc.dicom_port, ae_title=orthanc.ae_title, commitment_wait_s=30)
        sent = fill_outbox(ledger, spool, target)
        courier = courier_to(target, spool, ledger)
        courier.deliver_due(NEVER)
        (lost,) = orthanc.post("/tools/lookup", sent[0].sop_uid.encode())
        orthanc.delete(lost["Path"])
        assert orthanc.sop_uids() == {item.sop_uid for item in sent[1:]}
        go_on_until(courier, lambda: states(ledger) == {"committed": 3}, "every object in Orthanc")
        assert orthanc.sop_uids() == {item.sop_uid for item in sent}
        assert len(orthanc.get("/instances")) == 3
    rows = {row["sop_uid"]: (row["attempts"], row["losses"]) for row in deliveries(ledger)}
    assert rows[sent[0].sop_uid] == (2, 1)
    assert [rows[item.sop_uid] for item in sent[1:]] == [(1, 0)] * 2
    assert ledger.counts().studies == {"delivered": 1}


@pytest.mark.peer
def test_an_orthanc_that_does_not_know_us_is_told_of(tmp_path, spool, ledger):
    """It refuses the request itself: nothing is sent again because of it, and the queue says what is wrong."""
    with peers.orthanc(tmp_path) as orthanc:
        target = committing("pacs", orthanc.dicom_port, ae_title=orthanc.ae_title)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        courier = courier_to(target, spool, ledger)
        courier.deliver_due(NEVER)
        courier.commit_due(NEVER)
    (row,) = deliveries(ledger)
    assert (row["state"], row["commitment_requests"]) == ("sent", 0)
    assert "does it know our AE title, host and port?" in row["message"]


# ---- scripted archives -------------------------------------------------------------------------------------


@dataclass
class Archive:
    """Takes everything, and reports on it as it is told to.

    Parameters
    ----------
    script
        Called with the request and the number of requests before it; gives the report (None: none is made).
    way
        ``same``: on the association of the request; ``before``: there, and before the answer to it; ``new``: on a new
        one to ``report_to``, where it proposes to be the SCP; ``bare``: so, but without proposing any role; ``abort``:
        it aborts instead.
    """

    script: Callable[[Dataset, int], Dataset | None]
    way: str = "same"
    report_to: int = 0
    status: int = 0x0000
    port: int = 0
    requests: list[Dataset] = field(default_factory=list)
    stored: list[tuple[str, bytes]] = field(default_factory=list)
    requests_before_store: list[int] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)

    def on_store(self, event: evt.Event) -> int:
        self.requests_before_store.append(len(self.requests))
        self.stored.append((str(event.request.AffectedSOPInstanceUID), event.request.DataSet.getvalue()))
        return 0x0000

    def on_action(self, event: evt.Event) -> tuple[int, None]:
        request = event.action_information
        report = self.script(request, len(self.requests))
        self.requests.append(request)
        if self.way == "abort":
            event.assoc.abort()
        elif report is not None:
            if self.way == "before":
                self._send(event.assoc, report)
            else:
                threading.Thread(target=self._report, args=(event.assoc, report), daemon=True).start()
        return self.status, None

    def _report(self, association: Any, report: Dataset) -> None:
        time.sleep(0.05)
        if self.way == "same":
            self._send(association, report)
            return
        ae = AE("ARCHIVE")
        ae.add_requested_context(StorageCommitmentPushModel)
        roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if self.way == "new" else []
        opened = ae.associate("127.0.0.1", self.report_to, ae_title="SPINEPACS", ext_neg=roles)
        if opened.is_established:
            self._send(opened, report)
            opened.release()

    def _send(self, association: Any, report: Dataset) -> None:
        for (
            context
        ) in association.accepted_contexts:  # who reports is the SCP, whatever pynetdicom thinks of it
            context._as_scp = context._as_scu = True
        kind = 2 if "FailedSOPSequence" in report else 1
        answer, _ = association.send_n_event_report(
            report, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        self.answers.append(answer.get("Status"))


@contextmanager
def archive(script: Callable[[Dataset, int], Dataset | None], **values: Any) -> Iterator[Archive]:
    made = Archive(script, **values)
    ae = AE("ARCHIVE")
    ae.add_supported_context(StorageCommitmentPushModel)
    for sop_class in SOP_CLASSES.values():
        ae.add_supported_context(sop_class, [ExplicitVRLittleEndian, JPEGBaseline8Bit])
    handlers = [(evt.EVT_C_STORE, made.on_store), (evt.EVT_N_ACTION, made.on_action)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    made.port = server.server_address[1]
    try:
        yield made
    finally:
        ae.shutdown()


def report(request: Dataset, refused: Mapping[int, int] | None = None) -> Dataset:
    """Everything is kept, but those of these places for these reasons."""
    made = Dataset()
    made.TransactionUID = request.TransactionUID
    made.ReferencedSOPSequence, failed = [], []
    for place, reference in enumerate(request.ReferencedSOPSequence):
        if place in (refused or {}):
            reference.FailureReason = (refused or {})[place]
            failed.append(reference)
        else:
            made.ReferencedSOPSequence.append(reference)
    if failed:
        made.FailedSOPSequence = failed
    return made


def all_kept(request: Dataset, _: int) -> Dataset:
    return report(request)


def silent(request: Dataset, _: int) -> None:
    return None


@pytest.mark.parametrize("way", ["same", "before", "new", "bare"])
def test_a_report_is_taken_by_whatever_way_it_comes(spool, ledger, listener, way):
    with archive(all_kept, way=way, report_to=listener.port) as pacs:
        target = committing("pacs", pacs.port, commitment_wait_s=30)
        fill_outbox(ledger, spool, target)
        courier = courier_to(target, spool, ledger)
        go_on_until(courier, lambda: states(ledger) == {"committed": 3}, "the promise")
        peers.wait_until(lambda: pacs.answers == [0x0000], what="our answer")
    assert len(pacs.requests) == 1
    assert len(pacs.stored) == 3
    assert ledger.counts().studies == {"delivered": 1}


def test_a_report_leaves_nothing_in_the_spool(spool, ledger, listener, tmp_path):
    with archive(all_kept, way="new", report_to=listener.port) as pacs:
        target = committing("pacs", pacs.port, commitment_wait_s=30)
        fill_outbox(ledger, spool, target)
        before = set(tmp_path.rglob("*.dcm"))
        go_on_until(courier_to(target, spool, ledger), lambda: states(ledger) == {"committed": 3}, "it")
    assert set(tmp_path.rglob("*.dcm")) == before
    assert ledger.counts().arrivals == {"selected": 1}


def test_what_is_not_kept_is_sent_again_and_the_same(spool, ledger):
    def loses_the_second(request: Dataset, before: int) -> Dataset:
        return report(request, {1: 0x0112} if before == 0 else None)

    with archive(loses_the_second) as pacs:
        target = committing("pacs", pacs.port, commitment_wait_s=30)
        fill_outbox(ledger, spool, target)
        courier = courier_to(target, spool, ledger)
        go_on_until(courier, lambda: states(ledger) == {"committed": 3}, "all three")
    assert len(pacs.stored) == 4
    assert len(set(pacs.stored)) == 3, "the same UID and the same bytes"
    assert [len(request.ReferencedSOPSequence) for request in pacs.requests] == [3, 1]


def test_what_is_never_kept_is_given_up_with_its_reason(spool, ledger):
    with archive(lambda request, _: report(request, {0: 0x0122})) as pacs:
        target = committing("pacs", pacs.port, commitment_wait_s=30)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        courier = courier_to(target, spool, ledger)
        go_on_until(courier, lambda: states(ledger) == {"failed": 1}, "the end of it")
    assert len(pacs.stored) == commitment.LOSSES
    (row,) = deliveries(ledger)
    assert "commitment of this SOP class is not supported (0x0122)" in row["message"]
    assert ledger.retry(destination="pacs") == 1
    assert outbox(ledger) == {("pacs", "pending"): 1}


def test_what_is_never_answered_is_asked_for_again_and_then_sent_again(spool, ledger):
    with archive(silent) as pacs:
        target = committing("pacs", pacs.port, commitment_wait_s=0.1)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        courier = courier_to(target, spool, ledger)
        go_on_until(courier, lambda: len(pacs.stored) == 2, "a second sending")
        assert pacs.requests_before_store == [0, commitment.REQUESTS]
        assert len({request.TransactionUID for request in pacs.requests}) == len(pacs.requests)
        pacs.script = all_kept
        go_on_until(courier, lambda: states(ledger) == {"committed": 1}, "the promise")


def test_a_late_report_is_taken_after_a_restart(tmp_path, spool, ledger, listener):
    """The transaction was stored before it was asked for, so that whoever runs now knows it."""
    with archive(silent) as pacs:
        target = committing("pacs", pacs.port, commitment_wait_s=3600)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        courier = courier_to(target, spool, ledger)
        courier.deliver_due(NEVER)
        courier.commit_due(NEVER)
        del courier
        pacs.way, pacs.report_to = "new", listener.port
        pacs._report(None, report(pacs.requests[0]))
    assert pacs.answers == [0x0000]
    assert states(ledger) == {"committed": 1}
    assert ledger.counts().studies == {"delivered": 1}


def test_a_request_that_is_refused_is_made_again(spool, ledger):
    with archive(silent, status=0x0213) as pacs:
        target = committing("pacs", pacs.port, commitment_wait_s=3600)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        courier = courier_to(target, spool, ledger)
        courier.deliver_due(NEVER)
        courier.commit_due(NEVER)
        (row,) = deliveries(ledger)
        assert row["message"].startswith("commitment: the request got status 0x0213")
        pacs.status, pacs.script = 0x0000, all_kept
        go_on_until(courier, lambda: states(ledger) == {"committed": 1}, "the promise")
    assert len(pacs.stored) == 1


def test_an_association_lost_in_the_middle_of_asking_is_asked_again(spool, ledger):
    with archive(all_kept, way="abort") as pacs:
        target = committing("pacs", pacs.port, commitment_wait_s=3600)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        courier = courier_to(target, spool, ledger)
        courier.deliver_due(NEVER)
        courier.commit_due(NEVER)
        (row,) = deliveries(ledger)
        assert row["message"].startswith("commitment: the request got no answer")
        pacs.way = "same"
        go_on_until(courier, lambda: states(ledger) == {"committed": 1}, "the promise")
    assert len(pacs.stored) == 1


def test_a_destination_that_does_not_offer_it_is_told_of_and_gets_nothing_twice(spool, ledger):
    with lying() as liar:
        target = committing("pacs", liar.port)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        courier = courier_to(target, spool, ledger)
        courier.deliver_due(NEVER)
        for _ in range(5):
            ledger.hurry(destination="pacs")
            courier.commit_due(NEVER)
        assert liar.received == 1
    (row,) = deliveries(ledger)
    assert row["state"] == "sent"
    assert "does not take storage commitment" in row["message"]
    assert [entry["reason"] for entry in queue.queue(ledger) if entry["what"] == "object"] == [row["message"]]


def test_commitment_switched_off_ends_the_waiting(spool, ledger):
    with archive(silent) as pacs:
        target = committing("pacs", pacs.port, commitment_wait_s=0.05)
        fill_outbox(ledger, spool, target)
        courier_to(target, spool, ledger).deliver_due(NEVER)
        assert ledger.counts().studies == {"recorded": 1}
        without = target.model_copy(update={"commitment": False})
        go_on_until(courier_to(without, spool, ledger), lambda: not ledger.counts().uncommitted, "the end")
    assert states(ledger) == {"sent": 3}
    assert ledger.counts().studies == {"delivered": 1}
    assert not pacs.requests


# ---- reports that are not to be believed -------------------------------------------------------------------


def forged(uid: str, reference: str) -> Dataset:
    made = Dataset()
    made.TransactionUID = uid
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.33", reference
    made.ReferencedSOPSequence = [item]
    return made


@pytest.mark.parametrize(
    ("uid", "status"), [("2.25.4711", 0x0110), ("", 0x0115)], ids=["nobody asked", "no transaction"]
)
def test_a_report_that_nobody_asked_for_changes_nothing(spool, ledger, listener, uid, status):
    with archive(silent, way="new", report_to=listener.port) as pacs:
        target = committing("pacs", pacs.port, commitment_wait_s=3600)
        (item,) = fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        courier = courier_to(target, spool, ledger)
        courier.deliver_due(NEVER)
        courier.commit_due(NEVER)
        pacs._report(None, forged(uid, item.sop_uid))
        assert pacs.answers == [status]
    assert states(ledger) == {"sent": 1}


def test_a_huge_report_is_refused_and_not_held_in_memory(spool, ledger, listener):
    with archive(silent, way="new", report_to=listener.port) as pacs:
        huge = forged("2.25.4711", "1.2.3")
        huge.RetrieveURL = "x" * 5_000_000
        pacs._report(None, huge)
    assert pacs.answers in ([0x0110], [0x0115])


def test_without_anyone_to_take_it_no_report_is_negotiated(spool, ledger):
    plain = Listener(ListenerSettings(port=0), spool, ledger)
    plain.start()
    with archive(silent, way="new", report_to=plain.port) as pacs:
        pacs._report(None, forged("2.25.4711", "1.2.3"))
    plain.stop()
    assert pacs.answers == []


# ---- the whole daemon --------------------------------------------------------------------------------------


@pytest.mark.peer
def test_the_daemon_has_its_results_committed_through_its_own_listener(tmp_path):
    """Orthanc reports to the port that films come in by; what it loses before that is sent again."""
    with peers.orthanc(tmp_path) as orthanc:
        to = daemons.destination(
            orthanc.dicom_port, ae_title="ORTHANC", commitment=True, commitment_delay_s=1.0
        )
        with daemons.daemon(tmp_path, [to]) as running:
            running.start()
            running.wait_ready()
            orthanc.add_modality("spinepacs", "SPINEPACS", running.port)
            film = films.write(daemons.film(1), tmp_path / "film.dcm")
            instance = orthanc.post("/instances", film.read_bytes())
            orthanc.post("/modalities/spinepacs/store", instance["ID"])
            peers.wait_until(lambda: len(orthanc.sop_uids()) == 4, 60, "film, SEG, SR and picture")
            for entry in orthanc.get("/instances?expand"):
                if entry["ID"] != instance["ID"]:
                    orthanc.delete(f"/instances/{entry['ID']}")
            peers.wait_until(lambda: running.states() == {"delivered": 1}, 60, "the promise")
            assert len(orthanc.sop_uids()) == 4
            metrics = running.http("/metrics")[1].splitlines()
            assert 'spinepacs_outbox{destination="pacs",state="committed"} 3.0' in metrics
            assert running.terminate() == 0
