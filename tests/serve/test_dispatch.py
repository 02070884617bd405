"""The dispatcher with real child processes that crash, hang and fail as told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from spinepacs.children import Child
from spinepacs.errors import Failed
from spinepacs.intake.assembly import Assembly
from spinepacs.serve import dispatch
from spinepacs.serve.dispatch import Dispatcher
from spinepacs.serve.jobs import Done, Ready, pack, unpack
from spinepacs.settings.sections import WorkSettings
from spinepacs.store.ledger import Ledger
from spinepacs.store.queries import Filters, find_studies
from tests import peers
from tests.serve import scripted_workers
from tests.serve.scripted_workers import BROKEN, BUSY, CRASH, GARBLED, GLUTTON, HANG, SEGFAULT, SPIN, STUCK
from tests.store import makers


@contextmanager
def dispatching(
    ledger: Ledger, *, target=scripted_workers.work, stop_s: float = 5, **settings
) -> Iterator[Dispatcher]:
    values = {"time_limit_s": 1.0, "retry_wait_s": 0.05, "poll_s": 0.05, "maximum_attempts": 2, **settings}
    dispatcher = Dispatcher(
        WorkSettings(**values),
        ledger,
        hire=lambda: Child("worker", target, ledger.url),
        assemble=Assembly(0.1).ready,
    )
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop(stop_s)


def states(ledger: Ledger) -> dict[str, tuple[str, str]]:
    return {row["study_uid"]: (row["state"], row["reason_code"]) for row in find_studies(ledger, Filters())}


def arrive(ledger: Ledger, *study_uids: str) -> None:
    for study_uid in study_uids:
        ledger.add_arrival(makers.arrival(f"{study_uid}.1"))


def wait_for(ledger: Ledger, expected: dict[str, tuple[str, str]], timeout_s: float = 90) -> None:
    try:
        peers.wait_until(lambda: states(ledger) == expected, timeout_s, "the states")
    except pytest.fail.Exception:
        assert states(ledger) == expected


def test_studies_are_registered_assembled_and_read(ledger):
    with dispatching(ledger) as dispatcher:
        arrive(ledger, "1.1.1", "1.1.2")
        wait_for(ledger, {"1.1.1": ("delivered", ""), "1.1.2": ("delivered", "")})
        assert dispatcher.models_loaded == 1


def test_a_study_that_crashes_spins_or_eats_memory_fails_and_the_rest_goes_on(ledger):
    with dispatching(ledger, maximum_attempts=1):
        arrive(ledger, CRASH, SEGFAULT, HANG, SPIN, GLUTTON, GARBLED, BROKEN, BUSY, "1.1.1")
        wait_for(
            ledger,
            {
                CRASH: ("failed", "WORKER_DIED"),
                SEGFAULT: ("failed", "WORKER_DIED"),
                HANG: ("failed", "TIME_LIMIT"),
                SPIN: ("failed", "TIME_LIMIT"),
                GLUTTON: ("failed", "MEMORY_LIMIT"),
                GARBLED: ("failed", "WORKER_DIED"),
                BROKEN: ("failed", "DAMAGED_DATASET"),
                BUSY: ("ready", "TRANSIENT"),  # a full disk gives no study up
                "1.1.1": ("delivered", ""),
            },
        )


def test_an_arrival_that_cannot_be_registered_now_holds_up_nobody(ledger):
    with dispatching(ledger):
        arrive(ledger, STUCK, "1.1.1")
        wait_for(ledger, {"1.1.1": ("delivered", "")})
    assert [arrival.sop_uid for arrival in ledger.unregistered(10)] == [f"{STUCK}.1"]


def test_several_workers_share_the_work(ledger):
    studies = [f"1.1.{number}" for number in range(12)]
    with dispatching(ledger, workers=3) as dispatcher:
        peers.wait_until(lambda: dispatcher.models_loaded == 3, 60, "three workers")
        arrive(ledger, *studies, CRASH)
        wait_for(ledger, {**dict.fromkeys(studies, ("delivered", "")), CRASH: ("failed", "WORKER_DIED")})


def test_a_worker_killed_idle_is_replaced_and_no_study_pays_for_it(ledger):
    with dispatching(ledger, maximum_attempts=1) as dispatcher:
        peers.wait_until(lambda: dispatcher.models_loaded == 1, 60, "a worker")
        first = dispatcher._benches[0]._worker
        os.kill(first.pid, signal.SIGKILL)
        peers.wait_until(lambda: not first.is_alive, what="its death")
        arrive(ledger, "1.1.1")
        wait_for(ledger, {"1.1.1": ("delivered", "")})
        assert dispatcher.workers()["worker-1"][:2] == (True, 1)


def test_a_worker_that_cannot_start_is_said_and_nothing_is_claimed(ledger, caplog):
    arrive(ledger, "1.1.1")
    with dispatching(ledger, target=scripted_workers.refuse_to_start) as dispatcher:
        peers.wait_until(lambda: "model.onnx was altered" in caplog.text, 60, "the reason in the log")
        assert dispatcher.models_loaded == 0
    assert len(ledger.unregistered(10)) == 1


def test_stop_returns_what_does_not_finish_in_time_and_counts_no_attempt(ledger):
    arrive(ledger, HANG)
    for before in ("", "STOPPED"):
        with dispatching(ledger, time_limit_s=3600, stop_s=0.2, maximum_attempts=1):
            wait_for(ledger, {HANG: ("working", before)})
            started = time.monotonic()
        assert time.monotonic() - started < 5
        assert states(ledger)[HANG][0] == "ready"
    claim = ledger.claim(makers.VERSIONS, 1)
    assert claim is not None
    assert claim.attempt_number == 1


def test_a_claim_that_nobody_has_in_hand_is_found_and_taken_back(ledger, monkeypatch):
    """As when the database is cut off between the commit of a claim and its answer."""
    monkeypatch.setattr(dispatch, "RECONCILE_S", 0.2)
    arrive(ledger, "1.1.1")
    (arrival,) = ledger.unregistered(10)
    ledger.register(arrival.arrival_id, makers.header("1.1.1.1", "1.1.1"), None)
    ledger.mark_ready("1.1.1")
    with dispatching(ledger, time_limit_s=3600) as dispatcher:
        peers.wait_until(lambda: dispatcher.models_loaded == 1, 60, "a worker")
        # (Whoever is first claims it; both ways it has to be read once, and what is in a worker's hand stays there.)
        ledger.claim(makers.VERSIONS, 2)
        arrive(ledger, HANG)
        wait_for(ledger, {"1.1.1": ("delivered", ""), HANG: ("working", "")})
        time.sleep(0.5)
        assert states(ledger)[HANG][0] == "working"


def test_answers_survive_the_pipe_and_nothing_else_is_one():
    for answer in (Ready(makers.VERSIONS), Done(), Failed("X", "why", True)):
        assert unpack(pack(answer)) == answer
    for garbage in (
        b"",
        b"[]",
        b"{}",
        b'{"answer": "Ready"}',
        b'{"answer": "Failed", "x": 1}',
        b"\xff",
        b"3",
    ):
        with pytest.raises(ValueError, match=r"not an answer|Expecting|decode"):
            unpack(garbage)
