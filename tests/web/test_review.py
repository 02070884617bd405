"""The review of a film without a browser: roles, drafts that are none, what is tried and what is then recorded."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from spinepacs.domain.anatomy import Level
from spinepacs.domain.corrections import Accept, Draft, Grade, MovePoint, PlatePoint, Reject, Shift
from spinepacs.domain.findings import Refusal
from spinepacs.domain.signs import Sign
from spinepacs.store import story
from spinepacs.store.accounts import AccountRole
from spinepacs.store.corrections import Asked
from spinepacs.store.tables import audit_events, corrections
from spinepacs.web.drafting import changed, said
from spinepacs.web.headers import POLICY
from tests.review.conftest import House
from tests.web.consoles import Answer, Console, Visitor, console

HOSTILE = '<script>alert("x")</script>'
UP = [{"kind": "shift", "by": -1}]


@dataclass
class Review:
    """The review of one film on a console."""

    site: Console
    house: House
    sop_uid: str

    @property
    def study(self) -> str:
        return f"/studies/{self.house.current(self.sop_uid).reading.study_uid}"

    @property
    def path(self) -> str:
        return f"{self.study}/films/{self.sop_uid}/review"

    @property
    def base(self) -> int:
        return self.house.current(self.sop_uid).reading_id

    def post(self, visitor: Visitor, page: str, operations: Any = (), **form: Any) -> Answer:
        text = operations if isinstance(operations, str) else json.dumps(list(operations))
        sent = {"csrf": visitor.csrf, "base": self.base, "operations": text, **form}
        return visitor.post(f"{self.path}/{page}", sent)

    def publish(
        self, visitor: Visitor, operations: Any = UP, author: str = "Doe^Jane", **form: Any
    ) -> Answer:
        return self.post(visitor, "publish", operations, author=author, **form)

    def rows(self) -> list[dict[str, Any]]:
        return self.house.ledger.rows(select(corrections))


@pytest.fixture
def review(house: House, sop_uid: str) -> Iterator[Review]:
    sections = {"model": {"folder": str(house.settings.model.folder)}, "web": {"show_identity": False}}
    with console(house.ledger, house.spool, **sections) as site:
        yield Review(site, house, sop_uid)


def tables(text: str) -> list[str]:
    """Rows of the tables of differences, as text."""
    part = re.search(r'class="differences"[^>]*>(.*?)</div>', text, re.DOTALL)
    assert part, text
    rows = re.findall(r"<(?:tr|li)>(.*?)</(?:tr|li)>", part[1], re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]+>", "|", row)) for row in rows]


def test_what_is_shown_before_is_what_is_recorded_after_and_the_audit_trail_knows_the_account(
    review: Review,
) -> None:
    visitor = review.site.visitor(AccountRole.READER)
    start = visitor.get(review.study).text
    assert "All names one up" in start
    tried = review.post(visitor, "draft", do="up")
    assert tried.status == 200
    assert "all names 1 up" in tried.text
    shown = tables(tried.text)
    assert "L1 → |T12|" in shown
    assert review.rows() == [], "nothing is written before it is published"
    (draft,) = set(re.findall(r'name="operations" value="([^"]*)"', tried.text))

    base = review.base
    asked = review.publish(visitor, html.unescape(draft), organisation="Ward 3", reason="six lumbar bodies")
    assert "queued" in asked.text
    assert 'hx-trigger="every 1s"' in asked.text
    assert "All names one up" not in asked.text, "nobody can ask for another one meanwhile"
    review.house.work()
    (row,) = review.rows()
    assert (row["state"], row["author"], row["organisation"]) == ("done", "Doe^Jane", "Ward 3")
    assert row["base_reading_id"] == base
    over = visitor.get(f"{review.path}/state").text
    assert "every 1s" not in over
    assert "It is sent nowhere" in over
    assert "Show the new reading" in over
    assert "Show the new reading" not in visitor.get(review.study).text, "it is shown"
    assert tables(visitor.get(f"{review.path}/changes/{row['correction_id']}").text) == shown
    page = visitor.get(review.study).text
    assert "corrected by Doe^Jane" in page
    assert "six lumbar bodies" in page
    trail = review.house.ledger.rows(select(audit_events).order_by(audit_events.c.audit_id))
    assert ("command", "reader", f"correct {review.sop_uid}") in [
        (row["action"], row["account"], row["detail"]) for row in trail
    ]
    assert "correction-asked" in [row["action"] for row in trail]


def test_viewers_see_the_history_and_no_more(review: Review) -> None:
    review.house.correct(review.sop_uid, Reject("Mr Smith moved"))
    viewer = review.site.visitor(AccountRole.VIEWER)
    page = viewer.get(review.study).text
    assert "History: 2 readings and requests" in page
    assert "Doe^Jane" in page
    assert "All names one up" not in page
    assert "Correct…" not in page
    assert "review.js" not in page
    (row,) = review.rows()
    changes = f"{review.path}/changes/{row['correction_id']}"
    for text in (page, viewer.get(changes).text, viewer.get(review.path).text):
        assert "Smith" not in text, "free words may name somebody"
    reader = review.site.visitor(AccountRole.READER)
    assert "Smith" in reader.get(review.study).text
    assert "Smith" in reader.get(changes).text
    for page_ in ("draft", "publish"):
        assert review.post(viewer, page_, UP, author="X").status == 403
    assert viewer.get(f"{review.path}/draft").status == 403


@pytest.mark.parametrize(
    ("operations", "form"),
    [
        ("{", {}),
        ("null", {}),
        ('[{"kind": "shift", "by": "<b>"}]', {}),
        ('[{"kind": "explode"}]', {}),
        (json.dumps(UP * 101), {}),
        (json.dumps([{"kind": "insert", "level": "L3", "outline": [[1, 1]] * 600}]), {}),
        ('[{"kind": "move", "vertebra": "L3", "point": "upper_left", "to": [NaN, 1]}]', {}),
        ("[]", {"do": "explode"}),
        ("[]", {"do": "name", "vertebra": "L9", "level": "L1"}),
        ("[]", {"do": "name"}),
        ("[]", {"do": "grade", "finding": "osteophytes|L1", "grade": "1"}),
        ("[]", {"do": "grade", "finding": "osteophytes|L1/L2|", "grade": "many"}),
        ("[]", {"do": "add", "add": "[" * 5000}),
        ("[]", {"do": "add", "add": '{"kind": "shift"}'}),
        ("[]", {"do": "up", "base": "1; drop table"}),
        ("[]", {"do": "up", "base": "9" * 40}),
    ],
)
def test_a_draft_that_is_none_is_refused_without_a_trace(
    review: Review, operations: str, form: dict[str, str]
) -> None:
    visitor = review.site.visitor(AccountRole.READER)
    for page in ("draft", "publish"):
        if page == "publish" and "do" in form and "base" not in form:
            continue  # its buttons are nothing to it
        answer = review.post(visitor, page, operations, author="Doe^Jane", **form)
        assert answer.status == 400, answer.text
        assert "Traceback" not in answer.text
        assert "<b>" not in answer.text
        assert "drop table" not in answer.text
    assert review.rows() == []


def test_a_draft_that_cannot_be_made_says_why_and_the_rest_of_it_stays(review: Review) -> None:
    visitor = review.site.visitor(AccountRole.READER)
    answer = review.post(visitor, "draft", UP, do="name", vertebra="L1", level="C1")
    assert answer.status == 200
    assert "LEVEL_BEYOND_SPINE" in answer.text
    assert "all names 1 up" in answer.text
    assert "Publish as a new reading" in answer.text
    alone = review.post(visitor, "draft", UP, do="accept")
    assert "STANDS_ALONE" in alone.text
    for author, operations, code in (
        ("", UP, "NO_AUTHOR"),
        ("a\\b", UP, "NO_AUTHOR"),
        ("Doe", [], "NO_CHANGE"),
    ):
        assert code in review.publish(visitor, operations, author).text
    assert review.publish(visitor, reason="x" * 1001).status == 400
    assert review.rows() == []


def test_each_form_of_the_desk_adds_what_it_says(review: Review) -> None:
    visitor = review.site.visitor(AccountRole.READER)
    desk = visitor.get(f"{review.path}/draft").text
    assert "Nothing is changed yet" in desk
    finding = html.unescape(re.findall(r'<option value="(disc_height_loss\|[^"]*)"', desk)[1])
    place = finding.split("|")[1]
    forms = {
        "L5 is L4, the rest follow": {"do": "name", "vertebra": "L5", "level": "L4"},
        "L5 is right, and so are the rest": {"do": "name", "vertebra": "L5", "level": "L5"},
        "L2 removed": {"do": "remove", "vertebra": "L2"},
        "L2 removed, those below move up": {"do": "close", "vertebra": "L2"},
        f"{place}: loss of height graded 4 critical (seen on CT)": {
            "do": "grade", "finding": finding, "grade": "4", "why": "seen on CT",
        },
        "accepted as it is": {"do": "accept"},
        "rejected: blurred": {"do": "reject", "why": "blurred"},
    }  # fmt: skip
    for words, form in forms.items():
        answer = review.post(visitor, "draft", **form).text
        assert f"<li>{words}</li>" in answer
        assert "Publish as a new reading" in answer
        assert "This cannot be" not in answer
    graded = review.post(visitor, "draft", do="grade", finding=finding, grade="4").text
    assert f"{place}: loss of height" in graded
    assert "4 critical (graded by a person)" in graded
    visitor.cookies["spinepacs_language"] = "ru"
    graded = review.post(visitor, "draft", do="grade", finding=finding, grade="4").text
    assert f"{place}: снижение высоты, оценка 4 критическая" in graded
    assert "4 критическая (оценено человеком)" in graded, "the child speaks it too"
    assert review.rows() == []


def test_of_two_at_once_the_second_is_told_who_was_first(review: Review) -> None:
    first, second = (review.site.visitor(role) for role in (AccountRole.READER, AccountRole.ADMINISTRATOR))
    base = review.base
    assert "All names one up" in second.get(review.study).text
    assert "queued" in review.publish(first, author="First^Fay").text
    for answer in (
        review.publish(second, author="Second^Sue"),
        review.post(second, "draft", do="down"),
        second.get(f"{review.path}/draft"),
    ):
        assert re.search(
            r"First\^Fay was first: .* asked for at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", answer.text
        )
        assert "Look at the reading that there is now" in answer.text
    review.house.work()
    for answer in (
        review.publish(second, author="Second^Sue", base=base),
        review.post(second, "draft", do="down", base=base),
    ):
        assert re.search(r"First\^Fay was first: this film has had another reading since 20", answer.text)
    assert [row["author"] for row in review.rows()] == ["First^Fay"]
    assert "queued" in review.publish(second, author="Second^Sue").text, (
        "of what there is now it may be asked"
    )


def test_names_and_reasons_of_people_are_text_and_nothing_else(review: Review) -> None:
    visitor = review.site.visitor(AccountRole.READER)
    review.publish(
        visitor, [{"kind": "reject", "reason": HOSTILE}], author=HOSTILE, organisation=HOSTILE, reason=HOSTILE
    )
    assert [row["author"] for row in review.rows()] == [HOSTILE]
    pages = [visitor.get(review.study).text, visitor.get(f"{review.path}/state").text]
    pages.append(review.post(visitor, "draft", do="up").text)
    review.house.work()
    (row,) = review.rows()
    pages += [visitor.get(path).text for path in (review.study, review.path, f"{review.path}/draft")]
    pages.append(visitor.get(f"{review.path}/changes/{row['correction_id']}").text)
    for page in pages:
        assert "<script>alert" not in page
    assert "&lt;script&gt;" in pages[0]


def test_the_signature_is_remembered_for_the_session_and_for_no_other(review: Review) -> None:
    visitor = review.site.visitor(AccountRole.READER)
    assert 'name="author" value="reader"' in review.post(visitor, "draft", do="up").text
    review.publish(visitor, author="Doe^Jane", organisation="Ward 3")
    review.house.work()
    again = review.post(visitor, "draft", do="up").text
    assert 'name="author" value="Doe^Jane"' in again
    assert 'name="organisation" value="Ward 3"' in again
    other = review.site.visitor(AccountRole.ADMINISTRATOR)
    other.cookies["spinepacs_signature"] = visitor.cookies["spinepacs_signature"]
    assert 'name="author" value="administrator"' in review.post(other, "draft", do="up").text
    for forged in ("x", "x.y", ".", "é.é", "a" * 4000):
        other.cookies["spinepacs_signature"] = forged
        assert review.post(other, "draft", do="up").status == 200


def test_a_correction_that_is_refused_says_why_and_another_may_be_asked_for(review: Review) -> None:
    visitor = review.site.visitor(AccountRole.READER)
    review.publish(visitor, [{"kind": "shift", "by": 20}])
    review.house.work()
    over = visitor.get(f"{review.path}/state").text
    assert "LEVEL_BEYOND_SPINE" in over
    assert "every 1s" not in over
    page = visitor.get(review.study).text
    assert "LEVEL_BEYOND_SPINE" in page
    assert "All names one up" in page


def test_what_was_rejected_can_be_corrected_after_all(review: Review) -> None:
    visitor = review.site.visitor(AccountRole.READER)
    review.house.correct(review.sop_uid, Reject("blurred"))
    assert "All names one up" in visitor.get(review.study).text
    tried = review.post(visitor, "draft", do="up").text
    assert "all names 1 up" in tried
    review.publish(visitor)
    review.house.work()
    assert review.house.current(review.sop_uid).reading.refusal is None


def test_a_film_of_another_study_and_one_whose_file_is_gone_are_not_corrected(review: Review) -> None:
    visitor = review.site.visitor(AccountRole.READER)
    for path in (f"/studies/9.9/films/{review.sop_uid}/review", f"{review.study}/films/9.9/review"):
        for page in ("", "/draft", "/state"):
            assert visitor.get(f"{path}{page}").status == 404
        form = {"csrf": visitor.csrf, "base": 1, "operations": json.dumps(UP), "author": "X"}
        assert visitor.post(f"{path}/publish", form).status == 404
    assert visitor.get(f"{review.path}/state").status == 404, "nobody has corrected it"
    assert visitor.get(f"{review.path}/changes/7").status == 404


def test_changes_of_a_draft_go_on_with_the_last_one_or_stand_beside_it() -> None:
    up = {"do": "up"}
    assert changed((), up) == (Shift(-1),)
    assert changed((Shift(-1),), up) == (Shift(-2),)
    assert changed((Shift(1),), up) == ()
    assert changed((Accept(), Shift(1)), {"do": "undo"}) == (Accept(),)
    assert changed((), {"do": "undo"}) == ()
    moves = [MovePoint(Level.L4, PlatePoint.UPPER_LEFT, (x, 1.0)) for x in (1.0, 2.0)]
    add = {"do": "add", "add": '{"kind": "move", "vertebra": "L4", "point": "upper_left", "to": [2, 1]}'}
    assert changed((moves[0],), add) == (moves[1],)
    assert changed((moves[0], Shift(1)), add) == (moves[0], Shift(1), moves[1])
    grade = Grade(Sign.OSTEOPHYTES, "L4/L5", 2, "seen on CT")
    assert said(grade) == "L4/L5: osteophytes graded 2 moderate (seen on CT)"
    assert said(grade, with_reasons=False) == "L4/L5: osteophytes graded 2 moderate"
    refused = changed((grade,), up)
    assert isinstance(refused, Refusal)
    assert refused.code == "GRADES_LAST", "the place of a grade is that of the names at the end"


def test_a_pending_correction_of_elsewhere_is_told_on_the_page(review: Review) -> None:
    asked = review.house.ledger.corrections.ask(review.sop_uid, review.base, Draft((Shift(-1),), "Cli^Carl"))
    assert isinstance(asked, Asked)
    page = review.site.visitor(AccountRole.READER).get(review.study).text
    assert "Cli^Carl" in page
    assert 'hx-trigger="every 1s"' in page
    assert "All names one up" not in page


def test_the_printable_page_is_a_file_of_the_current_reading(review: Review) -> None:
    review.house.correct(review.sop_uid, Shift(-1))
    path = f"{review.study}/films/{review.sop_uid}/page"
    assert f'href="{path}"' in review.site.visitor().get(review.study).text
    answer = review.site.visitor(AccountRole.READER).get(path)
    assert answer.status == 200
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="film-')
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "T12/L1" in answer.text
    assert "data:image/jpeg;base64," in answer.text
    russian = review.site.visitor(AccountRole.READER).get(path, **{"Accept-Language": "ru"}).text
    assert '<html lang="ru">' in russian
    assert "Рентгенограмма позвоночника" in russian
    assert "SECRET-4711" in answer.text, "whose film it is, for a reader"
    assert "SECRET-4711" not in review.site.visitor(AccountRole.VIEWER).get(path).text
    review.house.correct(review.sop_uid, Accept())
    assert "data:image/jpeg;base64," in review.site.visitor().get(path).text, (
        "what is accepted has no new picture"
    )
    review.house.correct(review.sop_uid, Reject("Mr Smith moved"))
    rejected = review.site.visitor(AccountRole.VIEWER).get(path).text
    assert "REJECTED" in rejected
    assert "Smith" not in rejected
    assert "Smith" in review.site.visitor(AccountRole.READER).get(path).text
    assert review.site.visitor().get(f"/studies/9.9/films/{review.sop_uid}/page").status == 404
    review.house.correct(review.sop_uid, Shift(1))
    sha256 = story.overlay_file(review.house.ledger, review.base)
    assert sha256
    review.house.spool.path_of(sha256).unlink()
    gone = review.site.visitor().get(path)
    assert gone.status == 422
    assert str(review.house.folder) not in gone.text
