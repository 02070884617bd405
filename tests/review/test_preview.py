"""What a correction would change is told by a child of limits, and what is told is what then comes."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from pydicom import dcmread
from sqlalchemy import select

from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.corrections import (
    Accept,
    Correction,
    Draft,
    Grade,
    Insert,
    Name,
    Operation,
    Reject,
    Remove,
    Shift,
)
from spinepacs.domain.findings import ImageResult, Refusal, Versions
from spinepacs.domain.measures import Reason
from spinepacs.domain.signs import Finding, Sign
from spinepacs.errors import BadInput
from spinepacs.pipeline import Pipeline
from spinepacs.review.child import Preview
from spinepacs.review.difference import NONE, changes
from spinepacs.review.preview import DIED, Reviewer
from spinepacs.store.rereading import Choice
from spinepacs.store.tables import corrections, readings
from tests import films
from tests.daemons import PHANTOM
from tests.peers import wait_until
from tests.review.conftest import House

L3_4, L2_3 = DiscLevel.below(Level.L3), DiscLevel.below(Level.L2)


def draft(*operations: Operation) -> Draft:
    return Draft(operations, "Doe^Jane")


def grade_at(house: House, sop_uid: str, sign: Sign, place: DiscLevel) -> Finding:
    found = house.current(sop_uid).reading.findings
    return next(one for one in found if (one.sign, one.place) == (sign, place))


def test_what_is_told_is_what_comes_and_nothing_is_written_before(house: House, sop_uid: str) -> None:
    before = house.current(sop_uid).reading
    with Reviewer(house.settings) as reviewer:
        told = reviewer.preview(sop_uid, draft(Shift(-1)))
        refused = reviewer.preview(sop_uid, draft(Shift(9)))
        accepted = reviewer.preview(sop_uid, draft(Accept()))
        unknown = reviewer.preview("1.2.3", draft(Shift(1)))
    assert isinstance(told, Preview)
    assert isinstance(refused, Refusal)
    assert refused.code == "LEVEL_BEYOND_SPINE"
    assert isinstance(accepted, Preview)
    assert accepted.changes == (), "what is accepted stays as it is"
    assert isinstance(unknown, Refusal)
    assert house.ledger.rows(select(corrections)) == []
    assert len(house.ledger.rows(select(readings))) == 1

    house.correct(sop_uid, Shift(-1))
    assert told.changes == changes(before, house.current(sop_uid).reading)
    names = [(one.after, one.before) for one in told.changes if one.what == "name"]
    assert names == list(pairwise(["T12", "L1", "L2", "L3", "L4", "L5", "S1"]))
    assert [vertebra["level"] for vertebra in told.reading["vertebrae"]] == [
        "T12",
        "L1",
        "L2",
        "L3",
        "L4",
        "L5",
    ]
    assert {one.what for one in told.changes} >= {"name", "disc", "grade", "conclusion"}


def test_a_child_that_dies_costs_one_answer(house: House, sop_uid: str) -> None:
    with Reviewer(house.settings) as reviewer:
        assert isinstance(reviewer.preview(sop_uid, draft(Shift(-1))), Preview)
        child = reviewer._child
        assert child is not None
        os.kill(child.pid, signal.SIGSTOP)
        os.kill(child.pid, signal.SIGKILL)
        answers = [reviewer.preview(sop_uid, draft(Shift(-1))) for _ in range(2)]
    assert isinstance(answers[1], Preview)
    assert isinstance(answers[0], Preview) or answers[0].code == DIED


def test_who_closes_it_does_not_wait_for_an_answer(house: House, sop_uid: str) -> None:
    with Reviewer(house.settings) as reviewer, ThreadPoolExecutor(1) as pool:
        assert isinstance(reviewer.preview(sop_uid, draft(Shift(-1))), Preview)
        child = reviewer._child
        assert child is not None
        os.kill(child.pid, signal.SIGSTOP)
        waiting = pool.submit(reviewer.preview, sop_uid, draft(Shift(-1)))
        wait_until(reviewer._turn.locked, 20, "the question")
        reviewer.close()
        answer = waiting.result(20)
    assert isinstance(answer, Refusal)
    assert answer.code == DIED


def test_a_film_that_takes_too_long_is_given_up(house: House, sop_uid: str) -> None:
    work = house.settings.work.model_copy(update={"time_limit_s": 0.000001})
    hurried = house.settings.model_copy(update={"work": work})
    with Reviewer(hurried) as reviewer:
        answer = reviewer.preview(sop_uid, draft(Shift(-1)))
    assert isinstance(answer, Refusal)
    assert answer.code == "TIME_LIMIT"


def test_a_persons_grade_is_published_beside_the_computed_one_and_overall_degrees_follow(
    house: House, sop_uid: str
) -> None:
    before = grade_at(house, sop_uid, Sign.DISC_HEIGHT_LOSS, L2_3)
    degree = grade_at(house, sop_uid, Sign.DISC_DEGENERATION, L2_3)
    house.correct(sop_uid, Grade(Sign.DISC_HEIGHT_LOSS, "L2/L3", 4, "seen on CT"))
    after = grade_at(house, sop_uid, Sign.DISC_HEIGHT_LOSS, L2_3)
    assert (after.computed_grade, after.published_grade) == (before.computed_grade, 4)
    assert after.reason is Reason.BY_PERSON
    overall = grade_at(house, sop_uid, Sign.DISC_DEGENERATION, L2_3)
    assert (overall.published_grade or 0) > (degree.published_grade or 0)
    assert overall.reason is Reason.PARTS_BY_PERSON
    sentence = house.current(sop_uid).reading.conclusions[0].sentence
    assert "L2/L3: loss of disc height, stage 4" in sentence

    house.correct(sop_uid, Shift(-1))
    carried = grade_at(house, sop_uid, Sign.DISC_HEIGHT_LOSS, DiscLevel.below(Level.L1))
    assert (carried.published_grade, carried.reason) == (4, Reason.BY_PERSON), "it goes with its disc"
    assert grade_at(house, sop_uid, Sign.DISC_HEIGHT_LOSS, L2_3).reason is not Reason.BY_PERSON


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (Grade(Sign.DISC_HEIGHT_LOSS, "T1/T2", 1), "NO_SUCH_FINDING"),
        (Grade(Sign.DISC_HEIGHT_LOSS, "L9", 1), "NO_SUCH_PLACE"),
        (Grade(Sign.OSTEOPHYTES, "L2/L3", 4), "NO_SUCH_GRADE"),
    ],
)
def test_a_grade_for_what_is_not_there_is_refused(
    house: House, sop_uid: str, operation: Grade, code: str
) -> None:
    house.correct(sop_uid, operation)
    (row,) = house.ledger.corrections.history(sop_uid)
    assert (row["state"], row["refusal_code"], row["reading_id"]) == ("refused", code, None)
    assert house.current(sop_uid).author == ""


def test_a_body_that_is_put_in_is_measured_like_any_other(house: House, sop_uid: str) -> None:
    """The phantom's L3 is taken away and drawn again by its corners."""
    first = house.current(sop_uid).reading
    assert first.spine is not None
    lost = first.spine.vertebrae[2]
    assert lost.upper is not None
    assert lost.lower is not None
    corners = (lost.upper.left, lost.upper.right, lost.lower.right, lost.lower.left)
    house.correct(sop_uid, Remove(Level.L3))
    without = house.current(sop_uid).reading
    assert [disc.disc.name for disc in without.discs] == ["L1/L2", "L4/L5", "L5/S1"]
    assert "VERTEBRAE_MISSING" in without.notes
    house.correct(sop_uid, Insert(Level.L3, tuple((p.x, p.y) for p in corners)))
    again = house.current(sop_uid).reading
    assert "VERTEBRAE_MISSING" not in again.notes
    by_disc = {disc.disc: disc.middle_px for disc in first.discs}
    for disc in again.discs:
        assert disc.middle_px == pytest.approx(by_disc[disc.disc], abs=2)


def test_what_todays_policy_would_publish_otherwise_cannot_be_accepted(house: House, sop_uid: str) -> None:
    base = house.current(sop_uid).reading
    (graded,) = (f for f in base.findings if (f.sign, f.place) == (Sign.DISC_HEIGHT_LOSS, L3_4))
    house.correct(sop_uid, Accept())
    assert house.current(sop_uid).author == "Doe^Jane"
    policy = house.worker.pipeline.policy
    strict = replace(policy, height=replace(policy.height, stage_from=(0.01, 0.02, 0.03, 0.04)))
    pipeline = replace(house.worker.pipeline, policy=strict)
    path = house.spool.path_of(house.current(sop_uid).sha256)
    assert graded.published_grade != 4
    again = pipeline.correct(path, base, Correction("a1", draft(Accept()), datetime.now(UTC), ""))
    assert isinstance(again, Refusal)
    assert again.code == "OUTDATED"


def test_a_model_that_reads_again_does_not_undo_it(house: House, sop_uid: str) -> None:
    house.correct(sop_uid, Name(Level.L1, Level.L1))
    today = Versions(*vars(house.worker.pipeline.versions).values())
    house.ledger.rereading.ask(Choice(study=house.current(sop_uid).reading.study_uid), today)
    assert house.ledger.claim(today, 3) is None, "it has been read with these already"
    assert house.current(sop_uid).author == "Doe^Jane"


def test_a_rejected_reading_says_so(house: House, sop_uid: str) -> None:
    before = house.current(sop_uid).reading
    house.correct(sop_uid, Reject("movement"))
    told = changes(before, house.current(sop_uid).reading)
    assert told[-1].after == "REJECTED: movement"
    assert {one.after for one in told if one.what == "name"} == {NONE}


def test_the_same_film_lying_on_its_side_is_corrected_as_if_it_stood(house: House) -> None:
    pixels = np.rot90(PHANTOM.picture()).astype(np.uint16) * 16
    lying = films.make_dx(pixels, seed="7", study="study-7", BodyPartExamined="LSPINE")
    sop_uid = house.read(lying)
    base = house.current(sop_uid).reading
    assert "TURNED_CLOCKWISE" in base.notes
    path = house.spool.path_of(house.current(sop_uid).sha256)
    assert dcmread(path).Rows == base.rows
    made = house.worker.pipeline.read_film(path)
    assert changes(base, made.reading) == (), "it comes back from the database as it was"
    house.correct(sop_uid, Shift(-1))
    house.correct(sop_uid, Shift(1))
    again = house.current(sop_uid).reading
    assert [disc.middle_px for disc in again.discs] == pytest.approx(
        [disc.middle_px for disc in base.discs], abs=0.01
    )
    assert isinstance(made, ImageResult)


@pytest.mark.parametrize(
    ("error", "code"),
    [(ValueError("a value"), "DEFECT"), (BadInput("TRUNCATED", "cut short"), "TRUNCATED")],
)
def test_what_goes_wrong_in_a_correction_costs_that_alone(
    house: House, sop_uid: str, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    def out(*_: object) -> None:
        raise error

    monkeypatch.setattr(Pipeline, "correct", out)
    house.correct(sop_uid, Shift(-1))
    (row,) = house.ledger.corrections.history(sop_uid)
    assert (row["state"], row["refusal_code"]) == ("refused", code)
    assert house.ledger.counts().studies == {"delivered": 1}
