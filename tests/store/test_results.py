"""What documents are made of comes back from the database as it was recorded."""

from __future__ import annotations

from dataclasses import replace

from spinepacs.domain.study import FilmOwner
from spinepacs.exchange.fhir.bundle import bundle
from spinepacs.store.ledger import Ledger
from spinepacs.store.results import owners_of, readings_of
from tests.store import makers


def test_a_reading_comes_back_with_all_that_is_said_of_it(ledger: Ledger) -> None:
    claim = makers.recorded(ledger)
    (found,) = readings_of(ledger, claim.study_uid)
    meant = makers.reading(claim.arrivals[0].sop_uid, claim.study_uid)
    assert found.versions == meant.versions
    assert found.measures == meant.measures
    assert found.findings == meant.findings
    stripped = tuple(replace(each, support=()) for each in meant.conclusions)
    assert found.conclusions == stripped
    assert found.spacing == meant.spacing
    owner = FilmOwner("P")
    assert bundle(owner, [found]) == bundle(owner, [replace(meant, series_uid=found.series_uid)])


def test_films_come_in_order_each_with_its_newest_reading_and_refused_ones_not(ledger: Ledger) -> None:
    makers.recorded(ledger, "1.1", "1.2")
    assert [each.sop_uid for each in readings_of(ledger, makers.STUDY)] == ["1.1", "1.2"]
    assert readings_of(ledger, "9.9.9") == []
    owners = owners_of(ledger, makers.STUDY)
    assert set(owners) == {"1.1", "1.2"}
    assert all(owner.patient_id for owner in owners.values())
