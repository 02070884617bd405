"""Destinations that stall, trickle, lie and break off, as bare sockets: none is believed, and each is left in time."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider

from spinepacs.domain.findings import ObjectKind
from spinepacs.errors import Transient
from spinepacs.store import engine
from spinepacs.store.ledger import Ledger
from tests import liars, peers
from tests.liars import Call
from tests.outboxes import (
    courier_to,
    deliver_until_settled,
    deliveries,
    delivering,
    destination,
    fill_outbox,
    lying,
    outbox,
)

pytestmark = peers.UNCLOSED_SOCKETS
NEVER = threading.Event()
TIMEOUT_S = 0.5
LARGE_BYTES = 8_000_000
"""More than the buffers of a socket hold."""


# ---- scripts: what is wrong before the association ---------------------------------------------------------


def says_nothing(call: Call) -> None:
    call.read_pdu()
    call.released.wait()


def hangs_up(call: Call) -> None:
    call.read_pdu()


def speaks_http(call: Call) -> None:
    call.say(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    call.released.wait()


def announces_four_gigabytes(call: Call) -> None:
    call.read_pdu()
    call.say(b"\x02\x00\xff\xff\xff\xff" + bytes(100_000))
    call.released.wait()


def accepts_byte_by_byte(call: Call) -> None:
    call.say(call.acceptance(), pause_s=0.1)
    call.serve()


def takes_nothing_at_all(call: Call) -> None:
    call.say(call.acceptance(takes=False))
    call.released.wait()


# ---- and after it ------------------------------------------------------------------------------------------


def never_reads(call: Call) -> None:
    call.say(call.acceptance())
    call.released.wait()


def never_answers(call: Call) -> None:
    call.say(call.acceptance())
    call.request()
    call.released.wait()


def answers_byte_by_byte(call: Call) -> None:
    call.say(call.acceptance())
    call.say(call.response(call.request()), pause_s=0.1)
    call.released.wait()


def aborts(call: Call) -> None:
    call.say(call.acceptance())
    call.request()
    call.say(liars.ABORT)
    call.released.wait()


def closes(call: Call) -> None:
    call.say(call.acceptance())
    call.request()


def releases(call: Call) -> None:
    call.say(call.acceptance())
    call.request()
    call.say(liars.RELEASE_RQ)
    call.released.wait()


def answers_another_request(call: Call) -> None:
    call.say(call.acceptance())
    request = call.request()
    call.say(call.response(request, MessageIDBeingRespondedTo=request.MessageID + 7))
    call.released.wait()


def answers_an_echo(call: Call) -> None:
    call.say(call.acceptance())
    call.say(call.response(call.request(), CommandField=0x8030))
    call.released.wait()


def answers_without_status(call: Call) -> None:
    call.say(call.acceptance())
    call.say(call.response(call.request(), status=None))
    call.released.wait()


def answers_other_things_for_ever(call: Call) -> None:
    call.say(call.acceptance())
    request = call.request()
    while not call.released.wait(0.05):
        call.say(call.response(request, MessageIDBeingRespondedTo=request.MessageID + 7))


def is_only_pending(call: Call) -> None:
    """And does not let go either."""
    call.say(call.acceptance())
    call.say(call.response(call.request(), status=0xFF00))
    call.released.wait()


BAD = (
    says_nothing, hangs_up, speaks_http, announces_four_gigabytes, accepts_byte_by_byte, never_reads, never_answers,
    answers_byte_by_byte, aborts, closes, releases, answers_another_request, answers_an_echo, answers_without_status,
    answers_other_things_for_ever, is_only_pending,
)  # fmt: skip


def test_nothing_bad_counts_as_sent_and_when_they_behave_everything_goes(spool, ledger):
    """The first connection to each of them is bad, the next are good: each is left in time, and none is believed."""
    with ExitStack() as stack:
        bad = {script.__name__: stack.enter_context(liars.raw(script, Call.serve)) for script in BAD}
        targets = [
            destination(name, liar.port, timeout_s=TIMEOUT_S, ae_title="BAD") for name, liar in bad.items()
        ]
        fill_outbox(ledger, spool, *targets, kinds=[ObjectKind.SEG])
        with delivering(*targets, spool=spool, ledger=ledger):
            peers.wait_until(lambda: not missing(ledger), 60, "all of them")
        believed = [name for name, liar in bad.items() if liar.calls < 2 or not liar.datasets]
    assert believed == []
    assert ledger.counts().studies == {"delivered": 1}


def test_a_destination_that_stops_reading_is_left_in_time(spool, ledger):
    with liars.raw(never_reads, Call.serve) as liar:
        target = destination("pacs", liar.port, timeout_s=TIMEOUT_S)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SEG], size_bytes=LARGE_BYTES)
        courier = courier_to(target, spool, ledger)
        assert courier.deliver_due(NEVER) is False
        assert outbox(ledger) == {("pacs", "pending"): 1}
        deliver_until_settled(courier, ledger, "pacs")
    assert outbox(ledger) == {("pacs", "sent"): 1}


def test_a_destination_that_trickles_for_ever_leaves_no_thread_behind(spool, ledger):
    def trickles(call: Call) -> None:
        call.read_pdu()
        call.say(b"\x02\x00\x00\x00\xff\x00" + bytes(0xFF00), pause_s=0.02)

    with liars.raw(trickles) as liar:
        target = destination("pacs", liar.port, timeout_s=TIMEOUT_S)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SEG])
        assert courier_to(target, spool, ledger).deliver_due(NEVER) is False
        peers.wait_until(lambda: not reactors(), 10, "the end of the association's threads")


def reactors() -> list[str]:
    """Threads of pynetdicom that run."""
    return [repr(one) for one in threading.enumerate() if isinstance(one, Association | DULServiceProvider)]


def missing(ledger: Ledger) -> list[str]:
    return [name for name, state in outbox(ledger) if state != "sent"]


def test_the_good_one_gets_everything_while_sixteen_bad_ones_stall(spool, ledger):
    with ExitStack() as stack:
        bad = [stack.enter_context(liars.raw(script)) for script in BAD]
        good = stack.enter_context(liars.raw(Call.serve))
        targets = [
            destination(f"bad-{number}", liar.port, timeout_s=30, ae_title="BAD")
            for number, liar in enumerate(bad)
        ]
        last = destination("good", good.port)
        fill_outbox(ledger, spool, *targets, last)
        with delivering(*targets, last, spool=spool, ledger=ledger):
            peers.wait_until(lambda: outbox(ledger).get(("good", "sent")) == 3, 15, "the good one")
            assert not [key for key in outbox(ledger) if key[0] != "good" and key[1] == "sent"]
            for liar in bad:  # or its courier would wait for its 30 s
                liar.release()


def test_the_next_object_is_not_taken_for_answered_by_the_second_answer_to_the_last(spool, ledger):
    def answers_twice(call: Call) -> None:
        call.say(call.acceptance())
        answer = call.response(call.request())
        call.say(answer + answer)
        call.request()
        call.released.wait()

    with liars.raw(answers_twice) as liar:
        target = destination("pacs", liar.port, timeout_s=TIMEOUT_S)
        fill_outbox(ledger, spool, target)
        courier_to(target, spool, ledger)._deliver(ledger.due("pacs"), NEVER)
    assert outbox(ledger) == {("pacs", "sent"): 1, ("pacs", "pending"): 2}


def test_an_object_goes_through_a_line_on_which_it_takes_longer_than_the_time_limit(spool, ledger):
    """Slow is not dead: the limit is for each answer, and for each piece that is sent."""

    def is_slow(call: Call) -> None:
        call.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        accepted = call.acceptance()
        slow, read = call.read, 0

        def read_slowly(count_bytes: int) -> bytes:
            nonlocal read
            read += count_bytes
            if read > 400_000:
                read = 0
                call.released.wait(0.1)
            return slow(count_bytes)

        call.read = read_slowly  # type: ignore[method-assign]
        call.say(accepted)
        while True:
            call.say(call.response(call.request()))

    with liars.raw(is_slow) as liar:
        target = destination("pacs", liar.port, timeout_s=TIMEOUT_S)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SEG], size_bytes=LARGE_BYTES)
        started_s = time.monotonic()
        assert courier_to(target, spool, ledger).deliver_due(NEVER)
        assert time.monotonic() - started_s > 2 * TIMEOUT_S, "the line was not slow"
    assert outbox(ledger) == {("pacs", "sent"): 1}


@pytest.mark.parametrize("name", liars.REFUSALS)
def test_a_rejection_says_why_and_uses_up_nothing(spool, ledger, name):
    """An AE title that is mended there is all that it takes: nobody has to retry anything."""

    def rejects(call: Call) -> None:
        call.read_pdu()
        call.say(liars.REFUSALS[name])
        call.connection.recv(1)  # until the other side hangs up, as it should, however long it takes

    with liars.raw(*[rejects] * 4, Call.serve) as liar:
        target = destination("pacs", liar.port, timeout_s=10, maximum_attempts=2)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        courier = courier_to(target, spool, ledger)
        assert courier.deliver_due(NEVER) is False
        (row,) = deliveries(ledger)
        assert "rejected the association" in row["message"]
        deliver_until_settled(courier, ledger, "pacs")
        assert liar.calls == 5
    assert outbox(ledger) == {("pacs", "sent"): 1}


@pytest.mark.parametrize("host", ["no-such-host.invalid", "label..empty"])
def test_a_host_that_is_not_found_is_told_and_its_objects_wait(spool, ledger, host):
    """The name server is away, or the name was mistyped."""
    target = destination("pacs", 104, host=host)
    fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
    assert courier_to(target, spool, ledger).deliver_due(NEVER) is False
    (row,) = deliveries(ledger)
    assert (row["state"], row["attempts"]) == ("pending", 0)
    assert row["message"] == f"host '{host}' of pacs is not found"


def test_a_destination_that_takes_no_context_is_not_asked_for_ever(spool, ledger):
    with liars.raw(takes_nothing_at_all) as liar:
        target = destination("pacs", liar.port, timeout_s=TIMEOUT_S)
        fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
        deliver_until_settled(courier_to(target, spool, ledger), ledger, "pacs")
        assert liar.calls == 3
    assert outbox(ledger) == {("pacs", "failed"): 1}
    assert all("does not take" in row["message"] for row in deliveries(ledger))


@pytest.mark.parametrize("kinds", [[ObjectKind.SEG], [ObjectKind.OVERLAY]], ids=["as it is", "decompressed"])
def test_after_a_lost_answer_the_same_bytes_come_again(spool, ledger, kinds):
    """The PACS has stored it, and the answer was lost: it sees one object, since UID and bytes are the same."""

    def native_only(call: Call) -> None:
        call.say(call.acceptance())
        call.request()

    with liars.raw(native_only, native_only, Call.serve) as liar:
        target = destination("pacs", liar.port, timeout_s=TIMEOUT_S)
        (sent,) = fill_outbox(ledger, spool, target, kinds=kinds)
        deliver_until_settled(courier_to(target, spool, ledger), ledger, "pacs")
        assert len(liar.datasets) == 3
        assert len(set(liar.datasets)) == 1
        assert sent.sop_uid.encode() in liar.datasets[0]
    (row,) = deliveries(ledger)
    assert (row["state"], row["attempts"]) == ("sent", 3)


def test_an_answer_that_cannot_be_written_down_is_asked_for_again(tmp_path, spool, ledger, monkeypatch):
    """The database is locked when the PACS says yes: it gets the same object once more, and sees one."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.3)
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:

        def locks_us_out(call: Call) -> None:
            call.say(call.acceptance())
            request = call.request()
            other.execute("BEGIN IMMEDIATE")
            call.say(call.response(request))
            call.read_pdu()

        with liars.raw(locks_us_out, Call.serve) as liar, Ledger.open(f"sqlite:///{path}") as impatient:
            target = destination("pacs", liar.port)
            fill_outbox(ledger, spool, target, kinds=[ObjectKind.SR])
            courier = courier_to(target, spool, impatient)
            with pytest.raises(Transient):
                courier.deliver_due(NEVER)
            assert outbox(ledger) == {("pacs", "pending"): 1}
            other.execute("ROLLBACK")
            deliver_until_settled(courier, ledger, "pacs")
            assert len(liar.datasets) == 2
            assert len(set(liar.datasets)) == 1
    (row,) = deliveries(ledger)
    assert (row["state"], row["attempts"]) == ("sent", 2)


# ---- objects that cannot be sent ---------------------------------------------------------------------------


def test_an_object_that_is_damaged_on_disk_is_never_sent_and_the_others_go(spool, ledger):
    with liars.raw(Call.serve) as liar:
        target = destination("pacs", liar.port)
        fill_outbox(ledger, spool, target)
        damaged, *_ = ledger.due("pacs")
        path = spool.path_of(damaged.sha256)
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
        deliver_until_settled(courier_to(target, spool, ledger), ledger, "pacs")
        assert len(liar.datasets) == 2
    assert outbox(ledger) == {("pacs", "sent"): 2, ("pacs", "failed"): 1}
    (row,) = [row for row in deliveries(ledger) if row["state"] == "failed"]
    assert row["message"] == "its file in the spool is damaged"


def test_an_object_that_cannot_be_encoded_fails_and_the_others_go(spool, ledger, caplog):
    """A defect of ours in one of them must not hold up those behind it."""
    with lying(syntaxes=[ExplicitVRLittleEndian]) as liar:
        target = destination("pacs", liar.port)
        fill_outbox(ledger, spool, target, broken=ObjectKind.OVERLAY)
        deliver_until_settled(courier_to(target, spool, ledger), ledger, "pacs")
        assert liar.received == 2
    assert outbox(ledger) == {("pacs", "sent"): 2, ("pacs", "failed"): 1}
    (row,) = [row for row in deliveries(ledger) if row["state"] == "failed"]
    assert row["message"].startswith("it cannot be sent: ")


def test_an_object_whose_sender_dies_of_it_is_given_up_and_the_others_go(spool, ledger):
    """Each attempt is counted before it is made; one that never ends is not due at once."""
    with liars.raw(Call.serve) as liar:
        target = destination("pacs", liar.port, retry_first_s=30, retry_longest_s=30, maximum_attempts=2)
        fill_outbox(ledger, spool, target)
        deadly, *_ = ledger.due("pacs")
        for _ in range(2):
            ledger.begin_delivery([deadly.outbox_id], not_before=datetime.now(UTC))
        assert courier_to(target, spool, ledger).deliver_due(NEVER)
        assert len(liar.datasets) == 2
    (row,) = [row for row in deliveries(ledger) if row["state"] == "failed"]
    assert row["message"] == "given up after 2 attempts"
