"""The drawing of the states, the table of moves and what the ledger does are one."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spinepacs.domain.corrections import Shift
from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import Source
from spinepacs.errors import Permanent
from spinepacs.store.arrivals import FILE_MISSING
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import OutboxState
from spinepacs.store.rereading import Choice
from spinepacs.store.states import ARRIVAL_MOVES, CORRECTION_MOVES, OUTBOX_MOVES, STUDY_MOVES
from tests.store.makers import (
    NEWER,
    NO_VERTEBRA,
    NOT_A_SPINE,
    PACS,
    STUDY,
    VERSIONS,
    arrival,
    claimed,
    header,
    recorded,
    result_of,
    stored,
    take_in,
)
from tests.store.test_corrections import asked, corrections_done, worked

Moves = set[tuple[str, str]]
PAGE = (Path(__file__).parents[2] / "docs" / "state-machines.md").read_text(encoding="utf-8")
MACHINES = {
    "Study": STUDY_MOVES,
    "Arrival": ARRIVAL_MOVES,
    "Outbox item": OUTBOX_MOVES,
    "Correction": CORRECTION_MOVES,
}
TABLES = {"Study": "studies", "Arrival": "arrivals", "Outbox item": "outbox", "Correction": "corrections"}
NEW = "[*]"
LATER = datetime(2030, 1, 1, tzinfo=UTC)


def drawn(machine: str) -> Moves:
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(machine))
    return set(re.findall(r"^ +(\S+) --> (\S+):", text, flags=re.MULTILINE))


def tabled(moves: Mapping[object, frozenset[object]]) -> Moves:
    return {
        (NEW if source is None else str(source), str(target))
        for source, targets in moves.items()
        for target in targets
    }


@pytest.mark.parametrize("machine", MACHINES)
def test_the_drawing_shows_the_moves_of_the_table(machine: str) -> None:
    assert drawn(machine) == tabled(MACHINES[machine])


# -- what the ledger does: one story for each arrow ---------------------------------------------------------


def read_and_sent(ledger: Ledger) -> None:
    recorded(ledger)
    send(ledger, OutboxState.SENT)


def send(ledger: Ledger, state: OutboxState, **how: datetime) -> None:
    for item in ledger.due("pacs"):
        ledger.finish_delivery(item.outbox_id, state, 0, **how)


def late_image(ledger: Ledger) -> None:
    take_in(ledger, "1.2.3.1.2")


def refused_at_selection(ledger: Ledger) -> None:
    take_in(ledger, refusal=NOT_A_SPINE)
    ledger.mark_ready(STUDY)
    late_image(ledger)


def attempts_used_up(ledger: Ledger) -> None:
    claimed(ledger, maximum_attempts=1)
    ledger.return_orphans()
    assert ledger.claim(VERSIONS, 1) is None


def nobody_wants_the_results(ledger: Ledger) -> None:
    claim = claimed(ledger)
    result = result_of(claim)
    ledger.record(claim, result, stored(result), ())


def nothing_was_found(ledger: Ledger) -> None:
    claim = claimed(ledger)
    ledger.record(claim, result_of(claim, NO_VERTEBRA), {}, ())


def an_image_comes_while_it_is_read(ledger: Ledger) -> None:
    claim = claimed(ledger)
    late_image(ledger)
    result = result_of(claim)
    ledger.record(claim, result, stored(result), ())


def it_fails_and_is_tried_again(ledger: Ledger) -> None:
    ledger.fail(claimed(ledger), "CRASH", "died", transient=True)


def failed(ledger: Ledger) -> None:
    ledger.fail(claimed(ledger), "DEFECT", "broken", transient=False)


def failed_and_retried(ledger: Ledger) -> None:
    failed(ledger)
    ledger.retry(STUDY)


def failed_and_an_image_comes(ledger: Ledger) -> None:
    failed(ledger)
    late_image(ledger)


def failed_and_discarded(ledger: Ledger) -> None:
    failed(ledger)
    ledger.files.discard(STUDY)


def recorded_and_an_image_comes(ledger: Ledger) -> None:
    recorded(ledger)
    late_image(ledger)


def delivered_and_an_image_comes(ledger: Ledger) -> None:
    read_and_sent(ledger)
    late_image(ledger)


def a_conflict_takes_the_place_of_an_unreadable_file(ledger: Ledger) -> None:
    ledger.add_arrival(arrival())
    ledger.add_arrival(arrival(content="other"))
    (first,) = ledger.unregistered(10)
    ledger.mark_unreadable(first.arrival_id, Refusal("TRUNCATED", "cut"))


def a_missing_file_comes_again(ledger: Ledger) -> None:
    ledger.add_arrival(arrival())
    ledger.mark_unreadable(ledger.unregistered(1)[0].arrival_id, Refusal(FILE_MISSING, "gone"))
    ledger.add_arrival(arrival())


def its_sender_becomes_known(ledger: Ledger) -> None:
    ledger.add_arrival(replace(arrival(), source=Source.SPOOL, calling_ae=""))
    ledger.register(ledger.unregistered(1)[0].arrival_id, header(), NOT_A_SPINE)
    ledger.add_arrival(arrival())


def read_again_by_another_model(before: Callable[[Ledger], None]) -> Callable[[Ledger], None]:
    def story(ledger: Ledger) -> None:
        before(ledger)
        ledger.rereading.ask(Choice(study=STUDY), NEWER)

    return story


def sent_and_refused_and_selected_anew(ledger: Ledger) -> None:
    refused_at_selection(ledger)
    ledger.rereading.ask(Choice(refused=NOT_A_SPINE.code), VERSIONS)


def discarded_and_sent_again(ledger: Ledger) -> None:
    failed_and_discarded(ledger)
    ledger.add_arrival(arrival())


def kept_by_the_destination(ledger: Ledger) -> None:
    recorded(ledger)
    send(ledger, OutboxState.SENT, commitment_due_at=LATER)
    items = ledger.commitments.due("pacs", LATER)
    ledger.commitments.begin("2.25.1", "pacs", [item.outbox_id for item in items], LATER)
    ledger.commitments.answer("2.25.1", [item.sop_uid for item in items], {}, "PACS")


def not_kept(ledger: Ledger) -> None:
    recorded(ledger)
    send(ledger, OutboxState.SENT, commitment_due_at=LATER)
    again, given_up, _ = ledger.commitments.due("pacs", LATER)
    ledger.commitments.send_again(again, OutboxState.PENDING, "not kept", LATER)
    ledger.commitments.send_again(given_up, OutboxState.FAILED, "not kept", LATER)


def not_sent_and_retried(ledger: Ledger) -> None:
    recorded(ledger)
    send(ledger, OutboxState.FAILED)
    ledger.retry(STUDY)


def not_sent_and_withdrawn(ledger: Ledger) -> None:
    recorded(ledger)
    send(ledger, OutboxState.FAILED)
    ledger.withdraw("pacs")


def withdrawn(ledger: Ledger) -> None:
    recorded(ledger)
    ledger.withdraw("pacs")


def corrected_twice(ledger: Ledger) -> None:
    recorded(ledger)
    corrections_done(ledger, Shift(-1), Shift(1))


def corrected_in_vain(ledger: Ledger) -> None:
    recorded(ledger)
    asked(ledger, Shift(-1))
    worked(ledger, refusal=Refusal("LEVEL_BEYOND_SPINE", "beyond"))


def a_person_asks_while_it_is_read(ledger: Ledger) -> None:
    recorded(ledger)
    late_image(ledger)
    ledger.mark_ready(STUDY)
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    asked(ledger, Shift(-1))
    result = result_of(claim)
    ledger.record(claim, result, stored(result), ())


STORIES: tuple[Callable[[Ledger], None], ...] = (
    read_and_sent, refused_at_selection, attempts_used_up, nobody_wants_the_results, nothing_was_found,
    an_image_comes_while_it_is_read, it_fails_and_is_tried_again, failed_and_retried, failed_and_an_image_comes,
    failed_and_discarded, recorded_and_an_image_comes, delivered_and_an_image_comes,
    a_conflict_takes_the_place_of_an_unreadable_file, a_missing_file_comes_again, its_sender_becomes_known,
    *map(read_again_by_another_model, (recorded, read_and_sent, nothing_was_found, failed)),
    sent_and_refused_and_selected_anew, discarded_and_sent_again,
    kept_by_the_destination, not_kept, not_sent_and_retried, not_sent_and_withdrawn, withdrawn,
    corrected_twice, corrected_in_vain, a_person_asks_while_it_is_read,
)  # fmt: skip
RESTORED = {"recorded": recorded, "delivered": read_and_sent, "refused": nothing_was_found}
"""How a study comes to have nothing left to read, by the state that it then moves on to."""


@pytest.fixture
def watched(tmp_path: Path, sqlite_template: Path) -> Callable[..., dict[str, Moves]]:
    """Tells a story to a ledger of its own and gives the moves that its rows made."""

    def tell(*stories: Callable[[Ledger], None]) -> dict[str, Moves]:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.sqlite"
        shutil.copy(sqlite_template, path)
        _watch(path)
        with Ledger.open(f"sqlite:///{path}", migrate=False) as ledger:
            for story in stories:
                story(ledger)
        with sqlite3.connect(path) as connection:
            rows = connection.execute("SELECT machine, source, target FROM seen").fetchall()
        connection.close()
        return {name: {(a, b) for machine, a, b in rows if machine == name} for name in MACHINES}

    return tell


def _watch(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE seen (machine TEXT, source TEXT, target TEXT)")
    for machine, table in TABLES.items():
        connection.executescript(f"""
            CREATE TRIGGER seen_{table}_new AFTER INSERT ON {table}
            BEGIN INSERT INTO seen VALUES ('{machine}', '{NEW}', NEW.state); END;
            CREATE TRIGGER seen_{table}_moved AFTER UPDATE OF state ON {table} WHEN OLD.state <> NEW.state
            BEGIN INSERT INTO seen VALUES ('{machine}', OLD.state, NEW.state); END;
        """)  # noqa: S608 - the tables' names are this file's own
    connection.close()


def test_every_move_of_the_tables_is_made_and_no_other(watched: Callable[..., dict[str, Moves]]) -> None:
    seen: dict[str, Moves] = {name: set() for name in MACHINES}
    for story in STORIES:
        for name, moves in watched(story).items():
            seen[name] |= moves
    past_working = {("ready", state) for state in RESTORED}
    expected = {name: tabled(moves) for name, moves in MACHINES.items()}
    assert seen["Study"] == expected["Study"] - past_working
    assert seen["Arrival"] == expected["Arrival"]
    assert seen["Outbox item"] == expected["Outbox item"]
    assert seen["Correction"] == expected["Correction"]


@pytest.mark.parametrize("state", RESTORED)
def test_a_study_with_nothing_left_to_read_moves_on(
    state: str, tmp_path: Path, sqlite_template: Path
) -> None:
    path = tmp_path / "ledger.sqlite"
    shutil.copy(sqlite_template, path)
    with Ledger.open(f"sqlite:///{path}", migrate=False) as ledger:
        RESTORED[state](ledger)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE studies SET state = 'ready'")
    connection.close()
    with Ledger.open(f"sqlite:///{path}", migrate=False) as ledger:
        assert ledger.claim(VERSIONS, 3) is None
        assert ledger.counts().studies == {state: 1}


def test_a_move_that_the_table_does_not_know_is_refused(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    shutil.copy(sqlite_template, path)
    with Ledger.open(f"sqlite:///{path}", migrate=False) as ledger:
        claim = claimed(ledger)
        connection = sqlite3.connect(path)
        with connection:  # somebody has meddled with the row of a study that is in work
            connection.execute("UPDATE studies SET state = 'delivered'")
        result = result_of(claim)
        with pytest.raises(Permanent, match="cannot become recorded"):
            ledger.record(claim, result, stored(result), [PACS])
        assert ledger.counts().studies == {"delivered": 1}
        connection.close()
