"""Many threads, many processes, one ledger: nothing twice, nothing lost, no "database is locked"."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalOutcome, OutboxState
from tests.store.conftest import Ask
from tests.store.makers import (
    PACS,
    SOP,
    STUDY,
    VERSIONS,
    arrival,
    header,
    recorded,
    result_of,
    stored,
    take_in,
)

T = TypeVar("T")
SENDERS = 50

WORKER = """
import sys
from spinepacs.store.ledger import Ledger
from tests.store.makers import *

number = int(sys.argv[2])
ledger = Ledger.open(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
for index in range(20):
    ledger.add_arrival(arrival(f"9.{number}.{index}"))
    ledger.add_arrival(arrival(f"8.{index}"))
while (claim := ledger.claim(VERSIONS, 3)) is not None:
    result = result_of(claim)
    print(claim.study_uid, ledger.record(claim, result, stored(result), [PACS]), flush=True)
"""


def together(work: Sequence[Callable[[], T]]) -> list[T]:
    """Run all of them at the same moment."""
    start = threading.Barrier(len(work))

    def run(each: Callable[[], T]) -> T:
        start.wait()
        return each()

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(run, work))


def test_fifty_senders_at_once(ledger: Ledger, ask: Ask) -> None:
    def send(number: int) -> Callable[[], list[ArrivalOutcome]]:
        return lambda: [ledger.add_arrival(arrival(f"1.{number}.{index}")) for index in range(4)]

    outcomes = together([send(number) for number in range(SENDERS)])
    assert {outcome for each in outcomes for outcome in each} == {ArrivalOutcome.NEW}
    assert len(ask("arrivals", "sop_uid")) == 4 * SENDERS


def test_the_same_file_from_fifty_senders_is_one_arrival(ledger: Ledger, ask: Ask) -> None:
    outcomes = together([lambda: ledger.add_arrival(arrival())] * SENDERS)
    assert Counter(outcomes) == {ArrivalOutcome.NEW: 1, ArrivalOutcome.DUPLICATE: SENDERS - 1}
    assert ask("arrivals", "sop_uid") == [SOP]


def test_of_files_that_share_a_sop_uid_one_is_read_and_all_are_kept(ledger: Ledger, ask: Ask) -> None:
    outcomes = together([lambda n=n: ledger.add_arrival(arrival(content=f"{n}")) for n in range(8)])  # type: ignore[misc]  # each its own n
    assert Counter(outcomes) == {ArrivalOutcome.NEW: 1, ArrivalOutcome.CONFLICT: 7}
    assert sorted(ask("arrivals", "state")) == ["conflict"] * 7 + ["received"]


def test_images_of_one_new_study_registered_at_once(ledger: Ledger, url: str, ask: Ask) -> None:
    for number in range(8):
        ledger.add_arrival(arrival(f"1.{number}", seconds=number))
    waiting = ledger.unregistered(100)
    with Ledger.open(url) as other:
        ledgers = [ledger, other] * 4
        together(
            [
                lambda each=each, item=item: each.register(item.arrival_id, header(item.sop_uid), None)  # type: ignore[misc]  # each its own
                for each, item in zip(ledgers, waiting, strict=True)
            ]
        )
    assert ask("arrivals", "state") == ["selected"] * 8
    assert ask("studies", "study_uid") == [STUDY]


def test_every_study_is_claimed_once(ledger: Ledger, url: str) -> None:
    for number in range(12):
        take_in(ledger, f"1.{number}", f"2.{number}")
        ledger.mark_ready(f"2.{number}")
    workers = [Ledger.open(url) for _ in range(4)]

    def work(worker: Ledger) -> Callable[[], list[str]]:
        return lambda: [claim.study_uid for claim in iter(lambda: worker.claim(VERSIONS, 3), None)]

    claimed = together([work(worker) for worker in workers])
    assert sorted(uid for each in claimed for uid in each) == sorted(f"2.{number}" for number in range(12))
    for worker in workers:
        worker.close()


def test_the_same_result_from_two_workers_is_recorded_once(ledger: Ledger, ask: Ask) -> None:
    take_in(ledger)
    ledger.mark_ready(STUDY)
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    result = result_of(claim)
    taken = together([lambda: ledger.record(claim, result, stored(result), [PACS])] * 4)
    assert sorted(taken) == [False, False, False, True]
    assert len(ask("readings", "reading_id")) == 1


def test_a_study_is_delivered_whoever_sends_the_last_object(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    together(
        [
            lambda item=item: ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0)  # type: ignore[misc]  # each its own
            for item in ledger.due("pacs")
        ]
    )
    assert ask("studies", "state") == ["delivered"]


def test_processes_share_the_ledger(ledger: Ledger, url: str, ask: Ask) -> None:
    for number in range(12):
        take_in(ledger, f"1.{number}", f"2.{number}")
        ledger.mark_ready(f"2.{number}")
    arguments = [sys.executable, "-W", "error", "-c", WORKER, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([*arguments, str(number)], **pipes) for number in range(3)]  # type: ignore[call-overload]  # keywords for all alike
    for worker in workers:
        assert worker.stdout.readline() == "open\n"
    said = [worker.communicate("go\n", timeout=60)[0].splitlines() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert sorted(line for each in said for line in each) == sorted(
        f"2.{number} True" for number in range(12)
    )
    assert len(ask("arrivals", "sop_uid", state="received")) == 3 * 20 + 20
    assert ask("studies", "state") == ["recorded"] * 12
