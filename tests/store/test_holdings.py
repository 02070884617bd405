"""What the spool holds of a study, as it is given out: films and current results, and nothing that is gone."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Table, update

from spinepacs.domain.findings import Refusal
from spinepacs.store.holdings import StudyKeys, holdings, studies_held
from spinepacs.store.ledger import Ledger
from spinepacs.store.tables import arrivals, objects
from tests.store.makers import SERIES, SOP, STUDY, arrival, header, recorded, take_in
from tests.store.test_corrections import asked, send_all, worked


def gone(ledger: Ledger, table: Table) -> None:
    """Its files are deleted."""
    change = update(table).values(file_deleted_at=datetime.now(UTC))
    ledger.accounts.database.write(lambda connection: connection.execute(change))


def kinds(ledger: Ledger, *names: str) -> list[str]:
    return [each.kind for each in holdings(ledger, *names)]


def test_films_come_before_results_and_what_is_gone_is_not_there(ledger: Ledger) -> None:
    recorded(ledger)
    take_in(ledger, "1.2.3.9", refusal=Refusal("NOT_SELECTED", "no spine"))
    assert kinds(ledger, STUDY)[:2] == ["", ""]
    assert sorted(kinds(ledger, STUDY)[2:]) == ["OVERLAY", "SEG", "SR"]
    film = holdings(ledger, STUDY)[0]
    assert (film.study_uid, film.series_uid, film.sop_uid) == (STUDY, SERIES, SOP)
    assert kinds(ledger, STUDY, SERIES, SOP) == [""]
    assert kinds(ledger, STUDY, "1.2") == kinds(ledger, "1.2") == kinds(ledger, "1.2", SERIES, SOP) == []
    assert [each.kind for each in holdings(ledger, STUDY, results=False)] == ["", ""]
    gone(ledger, objects)
    assert kinds(ledger, STUDY) == ["", ""]
    assert len(studies_held(ledger, StudyKeys(), 10, 0)) == 1
    gone(ledger, arrivals)
    assert studies_held(ledger, StudyKeys(), 10, 0) == []


def test_what_was_corrected_is_given_by_its_own_uid_alone(ledger: Ledger) -> None:
    recorded(ledger)
    before = {each.sop_uid for each in holdings(ledger, STUDY) if each.kind}
    send_all(ledger)
    asked(ledger)
    worked(ledger)
    now = {each.sop_uid for each in holdings(ledger, STUDY) if each.kind}
    assert sorted(kinds(ledger, STUDY)) == ["", "OVERLAY", "SEG", "SR"]
    assert not before & now
    for uid in before:
        assert [each.sop_uid for each in holdings(ledger, STUDY, "", uid)] == [uid]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (StudyKeys(), ["1.2", "1.1"]),
        (StudyKeys(study_uids=("1.1", "1.9")), ["1.1"]),
        (StudyKeys(patient_id="P-1"), ["1.1"]),
        (StudyKeys(patient_id="P?1"), ["1.1"]),
        (StudyKeys(patient_id="P*"), ["1.2", "1.1"]),
        (StudyKeys(patient_id="P_1"), []),
        (StudyKeys(patient_id="P%*"), []),
        (StudyKeys(patient_id="p*"), []),
        (StudyKeys(patient_id="[P]*"), []),
        (StudyKeys(patient_id="*\\*"), []),
        (StudyKeys(accession_number="A'2"), ["1.2"]),
        (StudyKeys(modalities=("CT", "CR")), ["1.2"]),
        (StudyKeys(date_from=date(2026, 2, 1)), ["1.2"]),
        (StudyKeys(date_to=date(2026, 2, 1)), ["1.1"]),
        (StudyKeys(date_from=date(2026, 1, 1), date_to=date(2026, 2, 3)), ["1.2", "1.1"]),
        (StudyKeys(patient_id="P-1", accession_number="A'2"), []),
    ],
)
def test_studies_are_found_by_their_keys(ledger: Ledger, keys: StudyKeys, found: list[str]) -> None:
    films = [
        header("1.1.1", "1.1", patient_id="P-1", accession_number="A1", study_date="20260101"),
        header(
            "1.2.1", "1.2", patient_id="P-2", accession_number="A'2", study_date="20260203", modality="CR"
        ),
    ]
    for number, each in enumerate(films):
        ledger.add_arrival(arrival(each.sop_uid, seconds=number))
        (waiting,) = ledger.unregistered(1)
        ledger.register(waiting.arrival_id, each, None)
    assert [row["study_uid"] for row in studies_held(ledger, keys, 10, 0)] == found
    assert [row["study_uid"] for row in studies_held(ledger, keys, 1, 0)] == found[:1]
    assert [row["study_uid"] for row in studies_held(ledger, keys, 10, 1)] == found[1:]
