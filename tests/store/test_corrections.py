"""What persons correct, in the ledger: one current reading, whoever asks second is told, and what is replaced where."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from spinepacs.domain.anatomy import Level
from spinepacs.domain.corrections import Accept, Draft, Grade, Operation, Reject, Shift
from spinepacs.domain.findings import (
    RESULTS,
    EncodedObject,
    ImageResult,
    ObjectKind,
    Reading,
    Refusal,
    StudyResult,
)
from spinepacs.domain.signs import Sign
from spinepacs.settings.destinations import Destination
from spinepacs.store import queries
from spinepacs.store.corrections import Asked, CurrentReading, Forestalled
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import Claim, CorrectionJob, OutboxState
from spinepacs.store.rereading import Choice
from tests.store.conftest import Ask
from tests.store.makers import (
    NEWER,
    PACS,
    SOP,
    STUDY,
    VERSIONS,
    VIEWER,
    claimed,
    digest,
    reading,
    recorded,
    recorded_with_signs,
    result_of,
    stored,
    take_in,
    with_signs,
)


def draft(*operations: Operation, author: str = "Doe^Jane") -> Draft:
    return Draft(operations or (Shift(-1),), author, "Ward 3", "counted again")


def current(ledger: Ledger) -> CurrentReading:
    found = ledger.corrections.current(SOP)
    assert isinstance(found, CurrentReading)
    return found


def asked(ledger: Ledger, *operations: Operation, author: str = "Doe^Jane") -> Asked:
    found = ledger.corrections.ask(SOP, current(ledger).reading_id, draft(*operations, author=author))
    assert isinstance(found, Asked)
    return found


def kinds_of(job: CorrectionJob) -> tuple[ObjectKind, ...]:
    """What the encoders make of such a correction (spinepacs.dicom.objects)."""
    wanted = job.correction.draft
    if wanted.is_acceptance and job.earlier:
        return (ObjectKind.SR,)
    made = () if wanted.is_rejection else RESULTS
    return (*made, *([ObjectKind.REJECTION] if job.earlier else []))


def corrected(claim: Claim, job: CorrectionJob) -> ImageResult:
    """What the pipeline makes of a correction: the same vertebrae a level up, or a rejection."""
    plain = reading(job.arrival.sop_uid, claim.study_uid, versions=claim.versions)
    assert plain.spine is not None
    vertebrae = tuple(replace(v, level=Level(v.level - 1)) for v in plain.spine.vertebrae)
    plain = replace(plain, correction=job.correction, spine=replace(plain.spine, vertebrae=vertebrae))
    if job.correction.draft.is_rejection:
        plain = replace(plain, refusal=Refusal("REJECTED", "no"), spine=None, discs=(), findings=())
    made = tuple(
        EncodedObject(kind, SOP, f"2.25.{job.correction_id}.{n}", "1.2.840.10008.5.1.4.1.1.88.33",
                      f"2.25.{job.correction_id}.{n}.9", "1.2.840.10008.1.2.1", b"DICM")
        for n, kind in enumerate(kinds_of(job))
    )  # fmt: skip
    return ImageResult(plain, made)


def worked(ledger: Ledger, *destinations: Destination, refusal: Refusal | None = None) -> Claim:
    """A worker claims what is due and records it."""
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    films = result_of(claim)
    made = tuple(refusal or corrected(claim, job) for job in claim.corrections)
    files = {
        item.sop_uid: digest(item.sop_uid)
        for one in made
        if isinstance(one, ImageResult)
        for item in one.objects
    }
    result = StudyResult(claim.study_uid, films.images, made)
    assert ledger.record(claim, result, {**stored(films), **files}, destinations or (PACS,))
    return claim


def send_all(ledger: Ledger, destination: str = "pacs") -> None:
    for item in ledger.due(destination):
        ledger.begin_delivery([item.outbox_id])
        ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0)


def corrections_done(ledger: Ledger, *drafts: Operation) -> None:
    for operation in drafts:
        asked(ledger, operation)
        worked(ledger)
        send_all(ledger)


def test_what_a_person_asks_for_becomes_the_current_reading_and_the_models_stays(
    ledger: Ledger, ask: Ask
) -> None:
    recorded(ledger)
    send_all(ledger)
    base = current(ledger)
    assert base.author == ""
    asked(ledger)
    assert ask("studies", "state") == ["ready"]
    claim = worked(ledger)
    assert claim.arrivals == ()
    assert len(claim.corrections) == 1
    assert [item.kind for item in claim.corrections[0].earlier] == [
        ObjectKind.OVERLAY, ObjectKind.SEG, ObjectKind.SR,
    ]  # fmt: skip
    now = current(ledger)
    assert (now.author, now.reading_id) == ("Doe^Jane", base.reading_id + 1)
    assert ask("corrections", "state") == ["done"]
    assert [film["author"] for film in queries.find(ledger, "films")] == ["Doe^Jane"]
    assert {row["level"] for row in queries.find(ledger, "vertebrae")} == {"L3", "L4", "L5"}
    assert len(queries.find(ledger, "films", all_versions=True)) == 2
    followed = queries.find(ledger, "follow-up", all_versions=True)
    assert {row["reading_id"] for row in followed} == {now.reading_id}, "under old names nothing is followed"
    assert [item.kind.value for item in ledger.due("pacs")] == ["SEG", "SR", "OVERLAY", "KO"]


def test_a_newer_model_does_not_replace_a_persons_reading_and_sends_nothing(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    corrections_done(ledger, Shift(-1))
    ledger.rereading.ask(Choice(study=STUDY), NEWER)
    claim = ledger.claim(NEWER, 3)
    assert claim is not None
    result = result_of(claim)
    assert ledger.record(claim, result, stored(result), [PACS])
    assert ask("readings", "model_version") == ["0.1.0", "0.1.0", "1.0.0"], "it is kept"
    assert current(ledger).author == "Doe^Jane"
    assert [film["author"] for film in queries.find(ledger, "films")] == ["Doe^Jane"]
    assert ledger.due("pacs") == []
    assert ask("studies", "state") == ["delivered"]


def test_who_asks_second_is_told_who_was_first(ledger: Ledger) -> None:
    recorded(ledger)
    seen = current(ledger).reading_id
    asked(ledger)
    second = ledger.corrections.ask(SOP, seen, draft(author="Roe^Ann"))
    assert isinstance(second, Forestalled)
    assert (second.author, second.is_pending) == ("Doe^Jane", True)
    worked(ledger)
    third = ledger.corrections.ask(SOP, seen, draft(author="Roe^Ann"))
    assert isinstance(third, Forestalled)
    assert (third.author, third.is_pending) == ("Doe^Jane", False)
    asked(ledger, author="Roe^Ann")
    worked(ledger)
    assert [row["state"] for row in ledger.corrections.history(SOP)] == ["done", "superseded"]


def test_of_many_at_once_one_is_first(url: str, ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    seen = current(ledger).reading_id
    answers: list[object] = []
    ready = threading.Barrier(4)

    def go(number: int) -> None:
        with Ledger.open(url) as own:
            ready.wait()
            answers.append(own.corrections.ask(SOP, seen, draft(author=f"P{number}")))

    threads = [threading.Thread(target=go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(answer).__name__ for answer in answers) == ["Asked", *["Forestalled"] * 3]
    assert ask("corrections", "state") == ["pending"]


def test_what_was_not_sent_yet_is_not_sent_and_needs_no_rejection(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    send_all(ledger, "viewer")
    asked(ledger)
    worked(ledger, PACS, VIEWER)
    assert [item.kind.value for item in ledger.due("pacs")] == ["SEG", "SR", "OVERLAY"]
    assert [item.kind.value for item in ledger.due("viewer")] == ["OVERLAY", "KO"], (
        "it has an earlier picture"
    )
    assert ask("outbox", "state").count("withdrawn") == 3


def test_an_attempt_that_may_have_arrived_is_rejected(ledger: Ledger) -> None:
    recorded(ledger)
    ledger.begin_delivery([ledger.due("pacs")[0].outbox_id])
    asked(ledger)
    worked(ledger)
    assert [item.kind.value for item in ledger.due("pacs")] == ["SEG", "SR", "OVERLAY", "KO"]


def test_what_a_person_has_withdrawn_from_a_destination_stays_so(ledger: Ledger) -> None:
    recorded(ledger)
    ledger.withdraw("pacs")
    asked(ledger)
    worked(ledger)
    assert ledger.due("pacs") == []


def test_an_accepted_reading_has_a_report_alone(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    send_all(ledger)
    asked(ledger, Accept())
    claim = worked(ledger)
    assert claim.corrections[0].correction.drawn_by == "", "names and outlines are the model's"
    assert [item.kind.value for item in ledger.due("pacs")] == ["SR"]
    send_all(ledger)
    asked(ledger, Shift(1))
    (job,) = worked(ledger).corrections
    assert sorted(item.kind.value for item in job.earlier) == ["OVERLAY", "SEG", "SR"]
    assert job.earlier[-1].sop_uid.startswith("2.25."), "the report that was accepted, not the one before"
    assert job.correction.drawn_by == job.correction.uid


def test_of_a_rejected_reading_nothing_is_published_until_it_is_corrected(ledger: Ledger) -> None:
    recorded(ledger)
    corrections_done(ledger, Reject("not this patient"))
    for what in ("discs", "vertebrae", "findings", "measures", "conclusions", "follow-up"):
        assert queries.find(ledger, what) == []
    (film,) = queries.find(ledger, "films")
    assert film["refusal_code"] == "REJECTED"
    assert ledger.counts().unseen["films"] == 0, "who rejects it has seen it"
    assert ledger.counts().refused == {}
    base = current(ledger).base
    assert base.spine is not None
    assert len(base.spine.vertebrae) == 3
    corrections_done(ledger, Shift(-1))
    assert len(queries.find(ledger, "discs")) == 2


def test_a_correction_that_cannot_be_made_is_refused_and_the_study_goes_on(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    send_all(ledger)
    asked(ledger)
    worked(ledger, refusal=Refusal("LEVEL_BEYOND_SPINE", "beyond"))
    assert ask("corrections", "refusal_code") == ["LEVEL_BEYOND_SPINE"]
    assert ask("studies", "state") == ["delivered"]
    assert current(ledger).author == ""
    asked(ledger)


def test_a_correction_that_kills_its_workers_is_given_up_and_the_study_is_not(
    ledger: Ledger, ask: Ask
) -> None:
    recorded(ledger)
    send_all(ledger)
    asked(ledger)
    for _ in range(2):
        assert ledger.claim(VERSIONS, 2) is not None
        assert ledger.return_orphans() == 1
    assert ledger.claim(VERSIONS, 2) is None
    assert ask("corrections", "state") == ["refused"]
    assert ask("corrections", "refusal_code") == ["ATTEMPTS_USED_UP"]
    assert ask("studies", "state") == ["delivered"]


def test_a_claim_that_was_taken_back_records_nothing(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    asked(ledger)
    first = ledger.claim(VERSIONS, 3)
    assert first is not None
    ledger.return_orphans()
    worked(ledger)
    late = StudyResult(STUDY, (), tuple(corrected(first, job) for job in first.corrections))
    assert not ledger.record(first, late, {}, [PACS])
    assert len(ask("readings", "reading_id")) == 2


def test_a_correction_that_comes_while_its_study_is_in_work_is_next(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    take_in(ledger, "1.2.3.1.2")
    ledger.mark_ready(STUDY)
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    asked(ledger)
    result = result_of(claim)
    assert ledger.record(claim, result, stored(result), [PACS])
    assert ask("studies", "state") == ["ready"]
    assert len(worked(ledger).corrections) == 1


def test_a_person_does_not_wait_behind_others(ledger: Ledger) -> None:
    recorded(ledger)
    take_in(ledger, "9.1", "9")
    ledger.mark_ready("9")
    asked(ledger)
    first = ledger.claim(VERSIONS, 3)
    assert first is not None
    assert first.study_uid == STUDY


@pytest.mark.parametrize("author", ["", "  ", "x" * 65, "a\nb", "a\\b"])
def test_a_correction_needs_an_author_whom_dicom_can_name(ledger: Ledger, author: str) -> None:
    recorded(ledger)
    answer = ledger.corrections.ask(SOP, current(ledger).reading_id, draft(author=author))
    assert isinstance(answer, Refusal)
    assert answer.code == "NO_AUTHOR"


def test_a_film_that_nobody_has_read_cannot_be_corrected(ledger: Ledger) -> None:
    assert isinstance(ledger.corrections.current("1.1"), Refusal)
    assert isinstance(ledger.corrections.ask("1.1", 1, draft()), Refusal)
    take_in(ledger)
    assert isinstance(ledger.corrections.current(SOP), Refusal)


def test_the_trail_says_who_asked_for_what_and_what_became_of_it(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    asked(ledger, Shift(-1), Grade(Sign.DISC_HEIGHT_LOSS, "L3/L4", 2, "narrow"))
    worked(ledger)
    details = dict(zip(ask("audit_events", "action"), ask("audit_events", "detail"), strict=True))
    assert set(details) >= {"correction-asked", "corrected"}
    rows = ledger.corrections.history()
    assert rows[0]["operations"][1]["reason"] == "narrow"
    assert rows[0]["reading_id"] == 2
    said = ask("events", "detail", kind="correction-asked")
    assert said == ["shift grade, by Doe^Jane"]


def test_a_reading_comes_back_from_its_rows(ledger: Ledger) -> None:
    recorded_with_signs(ledger)
    made = with_signs(reading())
    found = current(ledger).reading
    assert [v.level for v in found.spine.vertebrae] == [Level.L4, Level.L5, Level.S1]  # type: ignore[union-attr]
    assert found.measures == made.measures
    assert found.findings == made.findings
    assert [c.sentence for c in found.conclusions] == [c.sentence for c in made.conclusions]
    assert found.conclusions[0].support == made.conclusions[0].support
    assert (found.spacing, found.notes, found.versions) == (made.spacing, made.notes, made.versions)
    _same_vertebrae(found, made)
    assert [disc.middle_px for disc in found.discs] == [60, 30]


def _same_vertebrae(found: Reading, made: Reading) -> None:
    assert found.spine is not None
    assert made.spine is not None
    for one, other in zip(found.spine.vertebrae, made.spine.vertebrae, strict=True):
        assert np.abs(one.outline.points - other.outline.points).max() < 0.001
        assert replace(one, outline=other.outline, upper=None, lower=None) == replace(
            other, upper=None, lower=None
        )
        for plate in ("upper", "lower"):
            a, b = getattr(one, plate), getattr(other, plate)
            assert (a is None) == (b is None)
            if a:
                assert np.allclose([a.left, a.right], [b.left, b.right], atol=0.001)
                assert np.allclose(a.curve, b.curve, atol=0.001)


def test_times_of_corrections_are_zone_aware(ledger: Ledger) -> None:
    claim = claimed(ledger)
    result = result_of(claim)
    ledger.record(claim, result, stored(result), [PACS])
    asked(ledger)
    (row,) = ledger.corrections.history(SOP)
    assert abs((datetime.now(UTC) - row["made_at"]).total_seconds()) < 600
    assert row["sop_uid"] == SOP
