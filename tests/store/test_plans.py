"""Nothing that is done for each image, or over and over, reads a whole table: what it costs must not grow with it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from spinepacs.domain.corrections import Draft, Shift
from spinepacs.store import browsing, queries, story
from spinepacs.store.browsing import Search
from spinepacs.store.corrections import Asked as Asking
from spinepacs.store.corrections import CurrentReading
from spinepacs.store.ledger import Ledger
from tests.store import makers
from tests.store.growing import Steps, go_through, multiply, one_study
from tests.store.test_replacing import ALL, record

_ROWS = 4000
_COUNTED = {"counts", "queue"}
"""These say how many there are of what: they may go through an index, and /metrics asks for them seldom."""
_SHORT = {"alembic_version", "audit_exports", "commitments", "failed_files"}
"""Tables that stay short, or are empty here."""
_OF_WHAT_IS_OPEN = re.compile(
    r"\bix_(arrivals_received|attempts_open|attempts_machine|outbox_open|outbox_uncommitted|studies_mixed|"
    r"prior_asks_open|workitems_open)\b"
)


class Asked:
    """Statements of each step, with their values."""

    def __init__(self) -> None:
        self.by_step: dict[str, dict[str, Any]] = defaultdict(dict)
        self._statements: list[tuple[str, Any]] = []

    def note(self, statement: str, parameters: Any, executemany: bool) -> None:
        """Note one that the ledger is about to execute."""
        self._statements.append((statement, parameters[0] if executemany else parameters))

    def end(self, step: str) -> None:
        """All that was noted belongs to this step."""
        self.by_step[step] |= {s: p for s, p in self._statements if re.match("SELECT|UPDATE|DELETE", s)}
        self._statements.clear()


class NotedSteps(Steps):
    """Steps whose statements are noted."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked = asked

    def time(self, name: str, work: Any) -> Any:
        """Do it, and note what it has asked."""
        self._asked.end("between")
        result = super().time(name, work)
        self._asked.end(name)
        return result


@contextmanager
def _noted(ledger: Ledger) -> Iterator[Asked]:
    asked, engine = Asked(), ledger._database._engine

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, executemany: bool) -> None:
        asked.note(statement, parameters, executemany)

    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


def _plan(ledger: Ledger, statement: str, parameters: Any) -> list[str]:
    how = "EXPLAIN QUERY PLAN " if ledger._database.is_sqlite else "EXPLAIN "
    with ledger._database.read() as connection:
        return [str(row[-1]).strip() for row in connection.exec_driver_sql(how + statement, parameters)]


def _reads_all(line: str, statement: str) -> bool:
    """Whether a line of a plan goes through a table, or through an index of all its rows."""
    if (
        "ix_arrivals_state_reason_code" in line
    ):  # nearly all arrivals are in one state: this one is for counting
        return True
    if found := re.match(r"SCAN (\w+)", line):
        is_newest = (
            re.search(r"WHERE|GROUP", statement) is None and "LIMIT" in statement
        )  # in the order of the key
        return found[1] in _LARGE and not is_newest and not _OF_WHAT_IS_OPEN.search(line)
    found = re.search(r"Seq Scan on (\w+)", line)
    return bool(found and found[1] in _LARGE)


_LARGE = {
    "studies", "arrivals", "readings", "objects", "outbox", "attempts", "events", "audit_events", "vertebrae", "discs",
    "measures", "findings", "conclusions", "notes",
}  # fmt: skip


@pytest.mark.parametrize("knows_the_rows", [False, True], ids=["no statistics", "statistics"])
def test_no_step_of_a_study_and_no_sweep_reads_a_whole_table(url: str, knows_the_rows: bool) -> None:
    with Ledger.open(url) as ledger:
        one_study(ledger)
    multiply(url, _ROWS)
    with Ledger.open(url) as ledger, _noted(ledger) as asked:
        if knows_the_rows:
            ledger.refresh_statistics()
        go_through(ledger, "9.1", NotedSteps(asked))
        assert len(asked.by_step) > 20
        whole = {
            f"{step}: {statement}": line
            for step, statements in asked.by_step.items()
            if step not in _COUNTED
            for statement, parameters in statements.items()
            for line in _plan(ledger, statement, parameters)
            if _reads_all(line, statement)
        }
    assert whole == {}


@pytest.mark.parametrize("knows_the_rows", [False, True], ids=["no statistics", "statistics"])
def test_no_correction_reads_a_whole_table(url: str, knows_the_rows: bool) -> None:
    with Ledger.open(url) as ledger:
        one_study(ledger)
    multiply(url, _ROWS)
    with Ledger.open(url) as ledger, _noted(ledger) as asked:
        if knows_the_rows:
            ledger.refresh_statistics()
        makers.take_in(ledger, "8.1", "8")
        ledger.mark_ready("8")
        first = ledger.claim(makers.VERSIONS, 3)
        assert first is not None
        record(ledger, first, *ALL)
        asked.end("before")
        current = ledger.corrections.current("8.1")
        assert isinstance(current, CurrentReading)
        draft = Draft((Shift(-1),), "Doe^Jane")
        assert isinstance(ledger.corrections.ask("8.1", current.reading_id, draft), Asking)
        claim = ledger.claim(makers.VERSIONS, 3)
        assert claim is not None
        assert len(claim.corrections) == 1
        record(ledger, claim, *ALL)
        asked.end("correction")
        whole = {
            statement: line
            for statement, parameters in asked.by_step["correction"].items()
            for line in _plan(ledger, statement, parameters)
            if _reads_all(line, statement)
        }
    assert len(asked.by_step["correction"]) > 20
    assert whole == {}


def test_what_a_disc_shows_is_found_by_its_reading(url: str) -> None:
    """One patient's discs: not by an index of all findings of a kind, as SQLite would without statistics."""
    with Ledger.open(url) as ledger:
        one_study(ledger)
    multiply(url, _ROWS)
    with Ledger.open(url) as ledger:
        ledger.refresh_statistics()
        for asked in (
            "SELECT disc, stage FROM disc_measures WHERE patient_id = 'PAT-77' AND is_current",
            "SELECT disc, stage_change FROM disc_follow_up WHERE patient_id = 'PAT-77' AND is_current",
        ):
            plan = _plan(ledger, asked, ())
            assert not [line for line in plan if "ix_findings_kind_published_grade" in line]
            assert not [line for line in plan if _reads_all(line, asked)]


def test_no_page_of_the_console_reads_a_whole_table(url: str) -> None:
    with Ledger.open(url) as ledger:
        one_study(ledger)
    multiply(url, _ROWS)
    study_uid = f"{makers.STUDY}.7"
    with Ledger.open(url) as ledger, _noted(ledger) as asked:
        # A few rows only: of 4000 studies PostgreSQL reads all, rather than look up fifty.
        first = browsing.find_page(ledger, Search(), size=5)
        browsing.find_page(ledger, Search(), first.after, size=5)
        for search in (
            Search(patient="PAT-7"),
            Search(accession="none"),
            Search(sign="spondylolisthesis", grade="5"),
        ):
            browsing.find_page(ledger, search, size=5)
        browsing.models(ledger)
        for question in (story.summary, story.images, story.timeline):
            question(ledger, study_uid)
        reading_id = queries.find_films(ledger, study=study_uid)[0]["reading_id"]
        story.shapes(ledger, reading_id)
        story.film_file(ledger, f"{makers.SOP}.7")
        story.course(ledger, "PAT-7")
        story.readings_of(ledger, f"{makers.SOP}.7")
        story.overlay_file(ledger, reading_id)
        story.deliveries_of(ledger, reading_id)
        ledger.corrections.history(f"{makers.SOP}.7")
        queries.find_studies(ledger, limit=5, patient="PAT-7")
        asked.end("pages")
        whole = {
            statement: line
            for statement, parameters in asked.by_step["pages"].items()
            for line in _plan(ledger, statement, parameters)
            if _reads_all(line, statement)
        }
        by_kind = [
            statement
            for statement, parameters in asked.by_step["pages"].items()
            if "study_summary" in statement
            and any("ix_findings_kind" in line for line in _plan(ledger, statement, parameters))
        ]
    assert by_kind == [], "it would go through the findings of all studies"
    assert len(asked.by_step["pages"]) > 15
    assert whole == {}
