"""Whatever happens, in whatever order: no image is lost, none is read twice, and states move along the arrows only."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from spinepacs.domain.findings import Refusal
from spinepacs.settings.sections import RetentionSettings
from spinepacs.store import tables
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalOutcome, Claim, OutboxState
from spinepacs.store.rereading import Choice
from spinepacs.store.states import STUDY_MOVES
from tests.store.makers import (
    NO_VERTEBRA,
    NOT_A_SPINE,
    PACS,
    VERSIONS,
    VIEWER,
    arrival,
    header,
    result_of,
    stored,
)

ATTEMPTS = 2
ARROWS = {(source, target) for source, targets in STUDY_MOVES.items() for target in targets}

REASONS = (NOT_A_SPINE.code, NO_VERTEBRA.code, "TRUNCATED")
ENDS = (OutboxState.PENDING, OutboxState.SENT, OutboxState.FAILED)
"""How an attempt to deliver may end."""

studies = st.sampled_from(["2.0", "2.0", "2.1"])
images = st.integers(0, 9).map("1.{}".format)


class LedgerMachine(RuleBasedStateMachine):
    """Senders, readers, workers, couriers and a person, all at one ledger."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spinepacs-machine-"))
        shutil.copy(self.template, self.folder / "ledger.sqlite")
        self.ledger = Ledger.open(f"sqlite:///{self.folder / 'ledger.sqlite'}", migrate=False)
        self.states: dict[str, str] = {}
        self.offered: set[tuple[str, str]] = set()
        self.claims: list[Claim] = []
        self.letters: dict[int, str] = {}

    @rule(image=images, content=st.sampled_from(["one", "one", "one", "two"]))
    def arrive(self, image: str, content: str) -> None:
        """A file comes in; it may have come before, and with other bytes."""
        outcome = self.ledger.add_arrival(arrival(image, content=image + content))
        assert (outcome is ArrivalOutcome.DUPLICATE) == ((image, content) in self.offered)
        self.offered.add((image, content))

    @rule(
        study=studies, how=st.sampled_from(["select", "select", "select", "refuse", "unreadable", "mismatch"])
    )
    def register(self, study: str, how: str) -> None:
        """The headers of the files that wait are read."""
        for waiting in self.ledger.unregistered(10):
            if how == "unreadable":
                self.ledger.mark_unreadable(waiting.arrival_id, Refusal("TRUNCATED", "cut"))
            else:
                sop_uid = "9.9" if how == "mismatch" else waiting.sop_uid
                refusal = NOT_A_SPINE if how == "refuse" else None
                self.ledger.register(waiting.arrival_id, header(sop_uid, study), refusal)

    @rule(image=images, study=studies)
    def send(self, image: str, study: str) -> None:
        """A good film comes in by the shortest way."""
        self.arrive(image, "one")
        self.states_move_along_the_arrows()
        self.register(study, "select")

    @rule()
    def quiet(self) -> None:
        """The quiet period of every arriving study passes."""
        for clock in self.ledger.arriving():
            self.ledger.mark_ready(clock.study_uid)

    @rule()
    def claim(self) -> None:
        """The quiet period passes and a worker takes a study."""
        self.quiet()
        self.states_move_along_the_arrows()
        if claim := self.ledger.claim(VERSIONS, ATTEMPTS):
            assert claim.attempt_number <= ATTEMPTS
            self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), refusal=st.sampled_from([None, None, NO_VERTEBRA]))
    def record(self, data: st.DataObject, refusal: Refusal | None) -> None:
        """A worker, perhaps one that was thought dead, comes with its result."""
        claim = data.draw(st.sampled_from(self.claims))
        result = result_of(claim, refusal)
        self.ledger.record(claim, result, stored(result), [PACS, VIEWER])

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), transient=st.booleans())
    def fail(self, data: st.DataObject, transient: bool) -> None:
        """An attempt ends without result."""
        self.ledger.fail(data.draw(st.sampled_from(self.claims)), "CRASH", "died", transient=transient)

    @rule()
    def restart(self) -> None:
        """The daemon is killed and started again."""
        self.ledger.return_orphans()

    @rule(destination=st.sampled_from(["pacs", "viewer"]), state=st.sampled_from(ENDS))
    def deliver(self, destination: str, state: OutboxState) -> None:
        """A courier tries two objects."""
        for item in self.ledger.due(destination, limit=2):
            self.ledger.begin_delivery([item.outbox_id])
            self.ledger.finish_delivery(item.outbox_id, state, 0 if state is OutboxState.SENT else None)

    @rule(study=st.one_of(st.none(), studies))
    def retry(self, study: str | None) -> None:
        """A person decides that it shall be tried again."""
        self.ledger.retry(study)

    @rule(study=st.one_of(st.none(), studies), refused=st.sampled_from([None, *REASONS]))
    def reread(self, study: str | None, refused: str | None) -> None:
        """The rules have changed: a person asks for films to be read again."""
        self.ledger.rereading.ask(Choice(study, refused), VERSIONS)

    @rule()
    def expire(self) -> None:
        """Retention deletes all that it may, as if a day had passed."""
        everything = RetentionSettings(days=1, refused=True)
        self.ledger.files.expire(everything, datetime.now(UTC) + timedelta(days=2))

    @invariant()
    def nothing_is_deleted_that_is_still_needed(self) -> None:
        deleted = self.ledger.rows(
            select(tables.arrivals.c.arrival_id, tables.arrivals.c.state, tables.readings.c.reading_id)
            .join_from(tables.arrivals, tables.readings, isouter=True)
            .where(tables.arrivals.c.file_deleted_at.is_not(None))
        )
        assert all(row["state"] in ("selected", "refused") for row in deleted)
        assert all(row["reading_id"] is not None for row in deleted if row["state"] == "selected")
        unsent = (
            select(tables.outbox.c.outbox_id)
            .join_from(tables.outbox, tables.objects)
            .where(tables.objects.c.file_deleted_at.is_not(None), tables.outbox.c.state != "sent")
        )
        assert self.ledger.rows(unsent) == []

    @invariant()
    def states_move_along_the_arrows(self) -> None:
        rows = self.ledger.rows(select(tables.studies.c.study_uid, tables.studies.c.state))
        now = {row["study_uid"]: row["state"] for row in rows}
        moves = {(self.states.get(uid), state) for uid, state in now.items() if self.states.get(uid) != state}
        assert moves <= ARROWS
        assert self.states.keys() <= now.keys()
        self.states = now

    @invariant()
    def every_file_that_was_taken_is_in_one_place(self) -> None:
        rows = self.ledger.rows(select(tables.arrivals))
        assert len(rows) == len(self.offered)
        in_use = Counter(row["sop_uid"] for row in rows if row["state"] not in ("conflict", "unreadable"))
        assert set(in_use.values()) <= {1}
        for row in rows:
            if row["state"] != "received":  # what has a study already is to be selected anew
                assert (row["study_uid"] is not None) == (row["state"] in ("selected", "refused"))
            assert bool(row["reason_code"]) == (row["state"] in ("refused", "unreadable", "conflict"))

    @invariant()
    def nothing_is_read_twice_and_no_letter_is_lost(self) -> None:
        published = select(tables.readings.c.sop_uid).where(tables.readings.c.refusal_code == "")
        readings = Counter(row["sop_uid"] for row in self.ledger.rows(published))
        assert set(readings.values()) <= {1}
        rows = self.ledger.rows(select(tables.outbox.c.outbox_id, tables.outbox.c.state))
        now = {row["outbox_id"]: row["state"] for row in rows}
        assert self.letters.keys() <= now.keys()
        assert all(now[key] == "sent" for key, state in self.letters.items() if state == "sent")
        self.letters = now

    def teardown(self) -> None:
        """In the end, when everything works and a person has retried, all is read and sent."""
        self.restart()
        self.retry(None)
        while self.ledger.unregistered(1):
            self.register("2.0", "select")
        for _ in range(20):
            self.quiet()
            if claim := self.ledger.claim(VERSIONS, 99):
                result = result_of(claim)
                assert self.ledger.record(claim, result, stored(result), [PACS, VIEWER])
        for destination in ("pacs", "viewer"):
            for item in self.ledger.due(destination, limit=1000):
                self.ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0)
        self.check_all_done()
        self.ledger.close()
        shutil.rmtree(self.folder)

    def check_all_done(self) -> None:
        """Every selected image has its reading, every reading's objects are everywhere, every study has ended."""
        counts = self.ledger.counts()
        assert set(counts.studies) <= {"delivered", "refused"}
        assert {state for _, state in counts.outbox} <= {"sent"}
        read = self.ledger.rows(select(tables.readings.c.arrival_id, tables.readings.c.refusal_code))
        assert len({row["arrival_id"] for row in read}) == counts.arrivals.get("selected", 0)
        published = [row for row in read if not row["refusal_code"]]
        assert sum(counts.outbox.values()) == 4 * len(published), (
            "SEG, SR and picture to one, a picture to the other"
        )


def test_the_ledger_keeps_its_promises_in_any_order(sqlite_template: Path) -> None:
    class Machine(LedgerMachine):
        template = sqlite_template

    # Shrinking takes minutes; add Phase.shrink when a failure is not clear as it is.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    # A busy machine is no failure, hence no deadline and no health check of the speed.
    slow = [HealthCheck.too_slow]
    quick = settings(
        max_examples=20, stateful_step_count=40, deadline=None, phases=phases, suppress_health_check=slow
    )
    run_state_machine_as_test(Machine, settings=quick)
