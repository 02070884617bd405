"""What documents are made of comes back from the database as it was recorded: a person's reading before a model's."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, select, update

from spinepacs.domain.corrections import Reject, Shift
from spinepacs.domain.findings import ObjectKind, Reading
from spinepacs.domain.study import FilmOwner
from spinepacs.exchange.fhir.bundle import bundle, document_uid
from spinepacs.settings.destinations import FhirDestination
from spinepacs.store.ledger import Ledger
from spinepacs.store.rereading import Choice
from spinepacs.store.results import owners_of, so_far
from spinepacs.store.tables import vertebrae
from tests.store import makers
from tests.store.test_corrections import asked, worked

EHR = FhirDestination(kind="fhir", name="ehr", url="http://127.0.0.1:1/r5")


def authors(readings: tuple[Reading, ...]) -> list[str]:
    return [one.correction.draft.author if one.correction else "" for one in readings]


def test_a_reading_comes_back_with_all_that_is_said_of_it(ledger: Ledger) -> None:
    claim = makers.recorded_with_signs(ledger)
    (found,) = so_far(ledger, claim.study_uid).readings
    meant = makers.with_signs(makers.reading(claim.arrivals[0].sop_uid, claim.study_uid))
    assert found.versions == meant.versions
    assert found.measures == meant.measures
    assert found.spacing == meant.spacing
    owner = FilmOwner("P")
    assert bundle(owner, [found]) == bundle(owner, [replace(meant, series_uid=found.series_uid)])


def test_plates_of_before_keep_the_one_spread_of_both_corners(ledger: Ledger) -> None:
    claim = makers.recorded_with_signs(ledger)

    def as_before(connection: Connection) -> None:
        stored = connection.scalars(select(vertebrae.c.upper_px).limit(1)).one()
        old = {name: value for name, value in stored.items() if name != "spreads"} | {"spread": 0.07}
        connection.execute(update(vertebrae).values(upper_px=old))

    ledger.accounts.database.write(as_before)
    (found,) = so_far(ledger, claim.study_uid).readings
    assert found.spine is not None
    for body in found.spine.vertebrae:
        assert body.upper is not None
        assert body.upper.spreads == (0.07, 0.07)


def test_films_come_in_order_and_refused_ones_not(ledger: Ledger) -> None:
    claim = makers.claimed(ledger, "1.1", "1.2", "1.3")
    result = makers.result_of(claim)
    refused = makers.image("1.2", refusal=makers.NO_VERTEBRA)
    result = replace(result, images=(result.images[0], refused, result.images[2]))
    assert ledger.record(claim, result, makers.stored(result), [])
    assert [each.sop_uid for each in so_far(ledger, makers.STUDY).readings] == ["1.1", "1.3"]
    assert so_far(ledger, "9.9.9").readings == ()
    owners = owners_of(ledger, makers.STUDY)
    assert list(owners) == ["1.1", "1.2", "1.3"]
    assert set(owners.values()) == {FilmOwner("PAT-0001", "ACC-1", "20261120")}


def test_a_persons_reading_is_the_current_one_also_when_a_model_reads_after_it(ledger: Ledger) -> None:
    makers.recorded(ledger)
    asked(ledger, Shift(-1))
    worked(ledger)
    ledger.rereading.ask(Choice(study=makers.STUDY), makers.NEWER)
    claim = ledger.claim(makers.NEWER, 3)
    assert claim is not None
    result = makers.result_of(claim)
    assert ledger.record(claim, result, makers.stored(result), [])
    known = so_far(ledger, makers.STUDY)
    assert authors(known.readings) == ["Doe^Jane"]
    assert authors(known.told[makers.SOP]) == [""], "no document speaks of what the newer model has read"
    asked(ledger, Reject("another patient's"), author="Roe^Ann")
    worked(ledger)
    known = so_far(ledger, makers.STUDY)
    assert authors(known.readings) == ["Roe^Ann"]
    assert known.readings[0].refusal is not None
    assert authors(known.told[makers.SOP]) == ["", "Doe^Jane"]


def test_reports_are_known_by_owner_and_a_persons_is_the_first_one(ledger: Ledger) -> None:
    claim = makers.claimed(ledger)
    result = makers.result_of(claim)
    (image,) = result.images
    uid = document_uid([image.reading])
    item = replace(image.objects[0], kind=ObjectKind.FHIR, sop_uid=uid, sop_class_uid="", series_uid="")
    result = replace(result, images=(replace(image, objects=(item,)),))
    assert ledger.record(claim, result, makers.stored(result), [EHR])
    (owner,) = owners_of(ledger, makers.STUDY).values()
    assert so_far(ledger, makers.STUDY).reports == {owner: (uid,)}
