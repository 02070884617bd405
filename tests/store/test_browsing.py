"""Studies are searched by indexes, page by page, on both databases."""

from __future__ import annotations

import pytest

from spinepacs.errors import BadSettings
from spinepacs.store import browsing, story
from spinepacs.store.browsing import Search, find_all, find_page
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import OutboxState
from spinepacs.store.rereading import Choice
from tests.store import makers


def with_signs(ledger: Ledger) -> None:
    claim = makers.claimed(ledger)
    plain = makers.result_of(claim)
    images = tuple(makers.replace(image, reading=makers.with_signs(image.reading)) for image in plain.images)
    ledger.record(claim, makers.replace(plain, images=images), makers.stored(plain), (makers.PACS,))


@pytest.mark.parametrize("few", [0, 5000])
@pytest.mark.parametrize(
    ("search", "is_found"),
    [
        (Search(), True),
        (Search(patient="PAT-0001", accession="ACC-1", date_from="2026-11-20", date_to="2026-11-20"), True),
        (Search(patient="PAT"), False),
        (Search(date_to="2026-11-19"), False),
        (Search(state="recorded"), True),
        (Search(level="l4/5"), True),
        (Search(level="C2"), False),
        (Search(sign="osteophytes", grade="2", level="L5"), True),
        (Search(sign="osteophytes", grade="2", level="L4"), False),
        (Search(sign="spondylolisthesis"), True),
        (Search(sign="vertebral_deformity"), False),
        (Search(grade="3"), False),
        (Search(model="spine-v0 0.1.0", destination="pacs"), True),
        (Search(model="spine-v0 9"), False),
        (Search(destination="elsewhere"), False),
    ],
)
def test_a_study_is_found_by_what_is_asked(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, few: int, search: Search, is_found: bool
) -> None:
    """By the index of findings where they are few, and study by study where they are many."""
    monkeypatch.setattr(browsing, "_FEW", few)
    with_signs(ledger)
    assert [row["study_uid"] for row in find_page(ledger, search).rows] == [makers.STUDY] * is_found


def test_a_finding_of_a_reading_that_was_replaced_is_not_found(ledger: Ledger) -> None:
    with_signs(ledger)
    ledger.rereading.ask(Choice(makers.STUDY), makers.NEWER)
    claim = ledger.claim(makers.NEWER, 3)
    assert claim
    result = makers.result_of(claim)
    ledger.record(claim, result, makers.stored(result), ())
    assert find_page(ledger, Search(sign="osteophytes")).rows == []
    assert len(find_page(ledger, Search(sign="disc_height_loss", grade="2")).rows) == 1


def test_pages_go_on_where_the_last_one_ended(ledger: Ledger) -> None:
    for n in range(7):
        ledger.add_arrival(makers.arrival(f"1.9.{n}", seconds=n // 2))  # two came at the same time
        for waiting in ledger.unregistered(10):
            ledger.register(waiting.arrival_id, makers.header(waiting.sop_uid, f"1.8.{n}"), None)
    whole = [row["study_uid"] for row in find_page(ledger, Search(), size=100).rows]
    assert len(whole) == 7
    paged = [row["study_uid"] for page in find_all(ledger, Search(), size=2) for row in page]
    assert paged == whole
    with pytest.raises(BadSettings, match="no place in the list"):
        find_page(ledger, Search(), "yesterday 1.2")


def test_what_is_open_is_counted(ledger: Ledger) -> None:
    with_signs(ledger)
    ledger.add_arrival(makers.arrival("1.4"))
    for item in ledger.due("pacs")[:1]:
        ledger.finish_delivery(item.outbox_id, OutboxState.FAILED, 0xA900)
    counts = ledger.open_counts()
    assert counts.studies == {"recorded": 1}
    assert counts.arrivals == {"received": 1}
    assert counts.towards == {("pacs", "pending"): 2, ("pacs", "failed"): 1}


def test_the_time_line_tells_what_happened_in_order_and_who_did_it(ledger: Ledger) -> None:
    with_signs(ledger)
    for item in ledger.due("pacs"):
        ledger.begin_delivery([item.outbox_id])
        ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0)
    ledger.accounts.note("command", "anna", "192.0.2.7", makers.STUDY, "retry 1.2.3")
    ledger.accounts.note("viewed", "anna", "192.0.2.7", makers.STUDY)
    told = [(moment.what, moment.who) for moment in story.timeline(ledger, makers.STUDY)]
    assert told[0] == ("arrived", "MODALITY (192.0.2.7)")
    assert told[1] == ("reading began", "")
    assert told[2] == ("film read", "spine-v0 0.1.0, policy disc-height 1.0")
    assert told[-1] == ("retry 1.2.3", "anna")
    sent = [moment for moment in story.timeline(ledger, makers.STUDY) if moment.what == "sent"]
    assert sum(int(part.split()[0]) for moment in sent for part in moment.detail.split(", ")) == 3
    assert story.timeline(ledger, "9.9") == []


def test_a_film_s_file_and_study(ledger: Ledger) -> None:
    with_signs(ledger)
    assert story.film_file(ledger, makers.SOP) == makers.digest(makers.SOP)
    assert story.study_of(ledger, makers.SOP) == makers.STUDY
    assert story.film_file(ledger, "9") is None
    assert story.study_of(ledger, "9") is None


def test_the_course_of_a_disc_has_the_films_that_the_newest_model_has_read(ledger: Ledger) -> None:
    for number, (day, versions) in enumerate(
        (("20240101", makers.VERSIONS), ("20250101", makers.NEWER), ("20260101", makers.NEWER))
    ):
        makers.take_in(ledger, f"1.5.{number}.1", f"1.5.{number}", study_date=day)
        ledger.mark_ready(f"1.5.{number}")
        claim = ledger.claim(versions, 3)
        assert claim
        plain = makers.result_of(claim)
        images = tuple(makers.replace(each, reading=makers.with_signs(each.reading)) for each in plain.images)
        ledger.record(claim, makers.replace(plain, images=images), makers.stored(plain), ())
    course = [row for row in story.course(ledger, "PAT-0001") if row["disc"] == "L5/S1"]
    assert [row["study_date"] for row in course] == ["2025-01-01", "2026-01-01"]
    assert [(row["height_index"], row["height_index_sd"]) for row in course] == [(0.3, 0.01)] * 2
    assert story.course(ledger, "PAT-000") == story.course(ledger, "") == []
