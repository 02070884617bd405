"""Delivery to DCMTK, to Orthanc, and to destinations that refuse, stall, break off or are not there."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)
from pynetdicom import evt

from spinepacs.delivery.courier import deliver
from spinepacs.delivery.line import end
from spinepacs.delivery.sending import Outcome, judge
from spinepacs.domain.findings import ObjectKind
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import OutboxItem
from tests import peers
from tests.outboxes import (
    courier_to,
    deliver_until_settled,
    deliveries,
    destination,
    fill_outbox,
    lying,
    outbox,
)

pytestmark = peers.UNCLOSED_SOCKETS


# ---- what a status means -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, Outcome.SENT),
        (0xB000, Outcome.SENT),
        (0xB006, Outcome.SENT),
        (0xB007, Outcome.SENT),
        (0xA700, Outcome.TRANSIENT),
        (0xA7FF, Outcome.TRANSIENT),
        (0x0110, Outcome.TRANSIENT),
        (0x0213, Outcome.TRANSIENT),
        (0xFE00, Outcome.TRANSIENT),
        (0xFF00, Outcome.TRANSIENT),
        (0x1234, Outcome.TRANSIENT),
        (None, Outcome.TRANSIENT),
        (0xA900, Outcome.PERMANENT),
        (0xC000, Outcome.PERMANENT),
        (0xCFFF, Outcome.PERMANENT),
        (0x0122, Outcome.PERMANENT),
        (0x0124, Outcome.PERMANENT),
    ],
)
def test_only_success_and_warnings_are_sent(status, outcome):
    assert judge(status).outcome is outcome


def test_no_status_but_success_and_warnings_is_ever_sent():
    sent = {status for status in range(0x10000) if judge(status).outcome is Outcome.SENT}
    assert sent == {0x0000, 0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000)}


def test_waits_double_up_to_the_longest():
    target = destination("pacs", 104, retry_first_s=10, retry_longest_s=3600)
    assert [target.wait_s(attempts) for attempts in (1, 2, 3, 9, 10, 5000)] == [10, 20, 40, 2560, 3600, 3600]


# ---- real peers --------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_dcmtk_gets_every_object_as_it_lies_in_the_spool(tmp_path, spool, ledger):
    with peers.dcmtk_storescp(tmp_path, "+B") as scp:
        target = destination("pacs", scp.port)
        sent = fill_outbox(ledger, spool, target)
        courier_to(target, spool, ledger).deliver_due(threading.Event())
        got = {dcmread(path).SOPInstanceUID: path.read_bytes() for path in scp.received()}
    assert set(got) == {item.sop_uid for item in sent}
    for item in sent:
        assert dataset_bytes(got[item.sop_uid]) == dataset_bytes(item.part10)
    assert outbox(ledger) == {("pacs", "sent"): 3}
    assert ledger.counts().studies == {"delivered": 1}


def dataset_bytes(part10: bytes) -> bytes:
    """What follows the meta group, which each writer makes anew."""
    return part10[144 + int.from_bytes(part10[140:144], "little") :]


@pytest.mark.peer
def test_orthanc_shows_the_objects_in_the_same_study(tmp_path, spool, ledger):
    with peers.orthanc(tmp_path) as orthanc:
        target = destination("pacs", orthanc.dicom_port, ae_title=orthanc.ae_title)
        sent = fill_outbox(ledger, spool, target)
        courier_to(target, spool, ledger).deliver_due(threading.Event())
        assert orthanc.sop_uids() == {item.sop_uid for item in sent}
        assert len(orthanc.get("/studies")) == 1
    assert outbox(ledger) == {("pacs", "sent"): 3}


@pytest.mark.peer
@pytest.mark.parametrize("option", ["+xe", "+xi"], ids=["explicit only", "implicit only"])
def test_a_destination_without_jpeg_gets_the_picture_decompressed(tmp_path, spool, ledger, option):
    with peers.dcmtk_storescp(tmp_path, option) as scp:
        target = destination("pacs", scp.port)
        fill_outbox(ledger, spool, target)
        courier_to(target, spool, ledger).deliver_due(threading.Event())
        got = {
            dataset.Modality + str(dataset.SOPClassUID): dataset for dataset in map(dcmread, scp.received())
        }
    assert outbox(ledger) == {("pacs", "sent"): 3}
    picture = got["OT" + SecondaryCaptureImageStorage]
    assert picture.file_meta.TransferSyntaxUID in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    assert picture.PhotometricInterpretation == "RGB"
    assert np.allclose(picture.pixel_array[16, 24], (90, 200, 10), atol=4)


@pytest.mark.peer
def test_a_destination_that_is_down_gets_everything_when_it_is_back(tmp_path, spool, ledger):
    port = peers.free_port()
    target = destination("pacs", port)
    fill_outbox(ledger, spool, target)
    courier = courier_to(target, spool, ledger)
    assert courier.deliver_due(threading.Event()) is False
    assert outbox(ledger) == {("pacs", "pending"): 3}
    assert {row["attempts"] for row in deliveries(ledger)} == {0}, "it was not their fault"
    assert all("not reachable" in row["message"] for row in deliveries(ledger))
    with peers.dcmtk_storescp(tmp_path, port=port):
        deliver_until_settled(courier, ledger, "pacs")
    assert outbox(ledger) == {("pacs", "sent"): 3}


@pytest.mark.peer
def test_a_rejected_association_says_why(tmp_path, spool, ledger):
    """Now and then pynetdicom sees the end of the connection before the rejection: it is tried again anyway."""
    with peers.dcmtk_storescp(tmp_path, "--refuse") as scp:
        target = destination("pacs", scp.port)
        fill_outbox(ledger, spool, target)
        courier = courier_to(target, spool, ledger)

        def says_so() -> bool:
            assert courier.deliver_due(threading.Event()) is False or not ledger.due("pacs")
            return any("rejected the association" in row["message"] for row in deliveries(ledger))

        peers.wait_until(says_so, what="the reason")
    assert outbox(ledger) == {("pacs", "pending"): 3}


@pytest.mark.peer
@pytest.mark.parametrize("stall", [True, False], ids=["stalls", "breaks"])
def test_a_line_that_fails_half_way_is_tried_again(tmp_path, spool, ledger, stall):
    with (
        peers.dcmtk_storescp(tmp_path, "--fork") as scp,
        peers.bad_line(scp.port, 1500, stall=stall) as port,
    ):
        target = destination("pacs", port, timeout_s=0.5)
        fill_outbox(ledger, spool, target)
        courier_to(target, spool, ledger).deliver_due(threading.Event())
        assert outbox(ledger) == {("pacs", "pending"): 3}
        assert not scp.received()
        whole = destination("pacs", scp.port)
        deliver_until_settled(courier_to(whole, spool, ledger), ledger, "pacs")
        assert len(scp.received()) == 3


@pytest.mark.peer
def test_one_bad_destination_never_delays_another(tmp_path, spool, ledger):
    with (
        peers.dcmtk_storescp(tmp_path, "--fork") as scp,
        peers.bad_line(scp.port, 0, stall=True) as stalling_port,
    ):
        good = destination("good", scp.port)
        stalling = destination("stalling", stalling_port, timeout_s=60)
        down = destination("down", peers.free_port(), retry_first_s=60)
        fill_outbox(ledger, spool, stalling, down, good)
        stop = threading.Event()
        thread = threading.Thread(
            target=deliver,
            args=((stalling, down, good), "SPINEPACS", spool, ledger),
            kwargs={"stop": stop, "poll_s": 0.05},
            daemon=True,
        )
        thread.start()
        try:
            peers.wait_until(lambda: outbox(ledger).get(("good", "sent")) == 3, 5, "the good destination")
            assert outbox(ledger)["stalling", "pending"] == 3
            assert outbox(ledger)["down", "pending"] == 3
        finally:
            stop.set()
    thread.join(10)
    assert not thread.is_alive()


# ---- scripted liars ----------------------------------------------------------------------------------------


def test_objects_of_one_destination_share_an_association(spool, ledger):
    with lying() as liar:
        target = destination("pacs", liar.port)
        fill_outbox(ledger, spool, target)
        courier_to(target, spool, ledger).deliver_due(threading.Event())
    assert (liar.received, liar.associations) == (3, 1)


def test_out_of_resources_is_tried_again(spool, ledger):
    with lying(0xA700, 0xA700) as liar:
        target = destination("pacs", liar.port, retry_first_s=60, retry_longest_s=60, timeout_s=30)
        fill_outbox(ledger, spool, target)
        courier = courier_to(target, spool, ledger)
        courier.deliver_due(threading.Event())
        assert outbox(ledger) == {("pacs", "sent"): 1, ("pacs", "pending"): 2}
        assert ledger.counts().studies == {"recorded": 1}
        pending = [row for row in deliveries(ledger) if row["state"] == "pending"]
        assert {(row["status"], row["attempts"]) for row in pending} == {(0xA700, 1)}
        assert ledger.hurry() == 2
        deliver_until_settled(courier, ledger, "pacs")
    assert ledger.counts().studies == {"delivered": 1}


def test_a_final_refusal_is_tried_three_times_then_failed(spool, ledger):
    with lying(*[0xC123] * 100) as liar:
        target = destination("pacs", liar.port)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        deliver_until_settled(courier_to(target, spool, ledger), ledger, "pacs")
        assert liar.received == 3
    (row,) = deliveries(ledger)
    assert (row["state"], row["status"], row["attempts"]) == ("failed", 0xC123, 3)
    assert ledger.counts().studies == {"recorded": 1}


def test_attempts_end_at_the_maximum(spool, ledger):
    with lying(*[0xA700] * 100) as liar:
        target = destination("pacs", liar.port, maximum_attempts=4)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        deliver_until_settled(courier_to(target, spool, ledger), ledger, "pacs")
        assert liar.received == 4
        ledger.retry()
        assert outbox(ledger) == {("pacs", "pending"): 1}


def test_a_warning_is_sent_and_told(spool, ledger):
    with lying(0xB000) as liar:
        target = destination("pacs", liar.port)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        courier_to(target, spool, ledger).deliver_due(threading.Event())
    (row,) = deliveries(ledger)
    assert (row["state"], row["status"]) == ("sent", 0xB000)
    assert "warning" in row["message"]


def test_a_class_that_is_not_taken_fails_and_the_others_go(spool, ledger):
    with lying(classes=[ComprehensiveSRStorage]) as liar:
        target = destination("pacs", liar.port)
        fill_outbox(ledger, spool, target)
        deliver_until_settled(courier_to(target, spool, ledger), ledger, "pacs")
    assert outbox(ledger) == {("pacs", "sent"): 1, ("pacs", "failed"): 2}
    assert all("does not take" in row["message"] for row in deliveries(ledger) if row["state"] == "failed")


def test_a_destination_that_takes_nothing_is_told_apart_from_one_that_is_down(spool, ledger):
    with lying(classes=["1.2.840.10008.1.1"]) as liar:
        target = destination("pacs", liar.port)
        fill_outbox(ledger, spool, target)
        deliver_until_settled(courier_to(target, spool, ledger), ledger, "pacs")
    assert outbox(ledger) == {("pacs", "failed"): 3}
    assert all("does not take" in row["message"] for row in deliveries(ledger))


def test_an_abort_costs_one_attempt_of_one_object(spool, ledger):
    def abort(event: evt.Event) -> int:
        event.assoc.abort()
        return 0x0000

    with lying(handler=abort) as liar:
        target = destination("pacs", liar.port)
        fill_outbox(ledger, spool, target)
        courier = courier_to(target, spool, ledger)
        courier._deliver(ledger.due("pacs"), threading.Event())
    assert outbox(ledger) == {("pacs", "pending"): 3}
    assert sorted(row["attempts"] for row in deliveries(ledger)) == [0, 0, 1]


def test_no_answer_in_time_is_no_success(spool, ledger):
    released = threading.Event()

    def stall(event: evt.Event) -> int:
        released.wait(10)
        return 0x0000

    with lying(handler=stall) as liar:
        target = destination("pacs", liar.port, timeout_s=0.3)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        courier_to(target, spool, ledger)._deliver(ledger.due("pacs"), threading.Event())
        released.set()
    (row,) = deliveries(ledger)
    assert (row["state"], row["status"], row["attempts"]) == ("pending", None, 1)


def test_a_missing_file_fails_and_the_others_go(spool, ledger):
    with lying() as liar:
        target = destination("pacs", liar.port)
        objects = fill_outbox(ledger, spool, target)
        (lost,) = [item for item in due_now(ledger) if item.sop_uid == objects[0].sop_uid]
        spool.path_of(lost.sha256).unlink()
        deliver_until_settled(courier_to(target, spool, ledger), ledger, "pacs")
    assert outbox(ledger) == {("pacs", "sent"): 2, ("pacs", "failed"): 1}


def due_now(ledger: Ledger) -> list[OutboxItem]:
    return ledger.due("pacs", datetime.now(UTC) + timedelta(days=1))


class Held:
    """An association whose reactor never pauses, seen once on a busy machine after a report was served meanwhile."""

    def __init__(self) -> None:
        self._reactor_checkpoint, self._is_paused, self.aborted = threading.Event(), False, False

    def release(self) -> None:
        raise AssertionError("would wait for ever")

    def abort(self) -> None:
        self.aborted = True


def test_an_association_that_cannot_be_released_is_aborted():
    held = Held()
    end(held, 0.05)
    assert held.aborted
