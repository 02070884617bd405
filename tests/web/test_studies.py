"""Studies are found by what is asked for, listed page by page, and shown with what the database holds."""

from __future__ import annotations

import csv
import html
import io
import re

import cv2
import numpy as np
import pytest
from sqlalchemy import select

from spinepacs.store.accounts import AccountRole
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.store.tables import audit_events
from tests import films
from tests.daemons import film as film_of_phantom
from tests.store import makers
from tests.web.consoles import Console, console

HOSTILE = '<script>alert("x")</script>'


def actions(site: Console) -> list[tuple[str, str, str]]:
    rows = site.ledger.rows(
        select(audit_events).where(audit_events.c.account != "").order_by(audit_events.c.audit_id)
    )
    return [(row["action"], row["study_uid"], row["detail"]) for row in rows if row["action"] != "login"]


def listed(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><a href="/studies/([^"]+)"', text)


def many(ledger: Ledger, number: int) -> list[str]:
    """So many studies, the newest first."""
    for n in range(number):
        assert ledger.add_arrival(makers.arrival(f"1.9.{n}", seconds=n))
        for waiting in ledger.unregistered(10):
            header = makers.header(
                waiting.sop_uid, f"1.8.{n}", patient_id=f"P{n % 3}", study_date=f"202601{n % 28 + 1:02}"
            )
            ledger.register(waiting.arrival_id, header, None)
    return [f"1.8.{n}" for n in reversed(range(number))]


def test_pages_follow_one_another_without_gap_or_repetition(site: Console) -> None:
    expected, visitor, found = many(site.ledger, 120), site.visitor(), []
    path = "/studies"
    while path:
        text = visitor.get(path).text
        found += listed(text)
        following = re.search(r'href="([^"]+)" rel="next"', text)
        path = html.unescape(following[1]) if following else ""
    assert found == expected


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("patient=P1", 4), ("patient=nobody", 0), ("accession=ACC-1", 12), ("state=arriving", 12), ("state=failed", 0),
        ("date_from=2026-01-10", 3), ("date_from=2026-01-02&date_to=2026-01-04", 3), ("level=L4", 0),
        ("sign=osteophytes", 0),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_found(site: Console, query: str, number: int) -> None:
    many(site.ledger, 12)
    assert len(listed(site.visitor().get(f"/studies?{query}").text)) == number


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("level=L4", True), ("level=L4/L5", True), ("level=C3", False), ("sign=osteophytes&grade=2", True),
        ("sign=osteophytes&grade=3", False), ("sign=osteophytes&grade=2&level=L5", True),
        ("sign=osteophytes&grade=2&level=L4", False), ("grade=2", True), ("sign=vertebral_deformity", False),
        ("model=spine-v0 0.1.0", True), ("model=spine-v0", True), ("model=spine-v0 2", False),
        ("destination=pacs", True),
        ("destination=viewer", False), ("state=recorded", True),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("study")
def test_findings_are_searched_by_sign_grade_level_model_and_destination(
    site: Console, query: str, is_found: bool
) -> None:
    found = listed(site.visitor().get(f"/studies?{query.replace(' ', '%20')}").text)
    assert found == ([makers.STUDY] if is_found else [])


@pytest.mark.parametrize(
    "query",
    [
        "date_from=soon",
        "level=X9",
        "sign=none",
        "grade=many",
        "grade=-1",
        "state=lost",
        "after=x",
        "after=0001-01-01T00:00:00%2B14:00+1.2.3",
    ],
)
def test_what_is_no_question_is_said(site: Console, query: str) -> None:
    assert site.visitor().get(f"/studies?{query}").status == 400


def test_columns_are_those_that_are_chosen(site: Console, study: str) -> None:
    text = site.visitor().get("/studies?column=modality&column=study_uid&column=nonsense").text
    heads = re.findall(r'<th scope="col">([^<]+)</th>', text)
    assert heads == ["Study", "Modality", "Study uid"]


def test_csv_holds_all_rows_and_no_formula(site: Console) -> None:
    expected = many(site.ledger, 130)
    makers.take_in(site.ledger, "1.7.1", "1.7", patient_id='=cmd|"/c calc"!A1', accession_number="+1")
    answer = site.visitor().get("/studies.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert sorted(row["study_uid"] for row in rows) == sorted([*expected, "1.7"])
    assert next(row for row in rows if row["study_uid"] == "1.7")["patient_id"].startswith("'=")
    assert actions(site)[-1] == ("exported", "", "studies as CSV, by nothing")
    assert len(list(csv.DictReader(io.StringIO(site.visitor().get("/studies.csv?patient=P1").text)))) == 43


def test_a_hostile_header_is_only_text(site: Console) -> None:
    makers.take_in(
        site.ledger, patient_id=HOSTILE, accession_number="'\"><img src=x>", study_description="{{ 7*7 }}<b>"
    )
    visitor = site.visitor()
    for path in ("/studies", f"/studies/{makers.STUDY}", "/queue", "/studies?patient=%3Cscript%3E"):
        text = visitor.get(path).text
        assert "<script>" not in text, path
        assert "<img" not in text
        assert "49" not in re.findall(r"<b>|49<", text)
    assert html.escape(HOSTILE, quote=False) in visitor.get(f"/studies/{makers.STUDY}").text.replace(
        "&#34;", '"'
    )


def test_the_page_of_a_study_shows_what_the_database_holds(site: Console, study: str) -> None:
    text = html.unescape(site.visitor().get(f"/studies/{study}").text)
    for said in (
        "PAT-0001", "ACC-1", "2026-11-20", "62 years", "LWS seitlich", "4.5 ± 0.4", "6.4 ± 1.0 mm (20 %)",
        "48.2 ± 2.9°",
        "antero I", "Moderate signs of osteochondrosis.", "levels may be shifted by one", "most levels differ",
        "mm in the detector plane", "MODALITY (192.0.2.7)", "spine-v0 0.1.0, policy disc-height 1.0", "read 500 ms",
        "segment 250 ms", "the network says L3: made consistent along the chain",
    ):  # fmt: skip
        assert said in text, said
    assert 'points="200.0,2200.0 300.0,2200.0 300.0,2280.0 200.0,2280.0"' in text, "the outline of L4"
    assert actions(site) == [("viewed", study, "")]


def test_a_study_that_is_not_there(site: Console) -> None:
    assert site.visitor().get("/studies/9.9").status == 404
    assert site.visitor().get("/studies/..%2f..%2fetc%2fpasswd").status == 404


def test_what_people_decided_stands_in_the_time_line(site: Console, study: str) -> None:
    visitor = site.visitor(AccountRole.READER)
    visitor.post("/queue/action", {"action": "retry", "study": study, "csrf": visitor.csrf})
    text = visitor.get(f"/studies/{study}").text
    assert re.search(rf"<strong>retry {study}</strong> <span class=\"by\">reader</span>", text)


def test_the_course_of_a_disc_is_drawn_from_study_to_study(site: Console, study: str) -> None:
    makers.take_in(site.ledger, "1.5.1", "1.5", study_date="20240101")
    site.ledger.mark_ready("1.5")
    claim = site.ledger.claim(makers.VERSIONS, 3)
    assert claim
    result = makers.result_of(claim)
    site.ledger.record(claim, result, makers.stored(result), ())
    text = site.visitor().get(f"/studies/{study}").text
    assert 'href="/studies/1.5"' in text
    assert re.search(r'aria-label="L5/S1, lateral: 2024-01-01: 0.30 ± 0.00; 2026-11-20: 0.30', text)


def test_identity_is_shown_to_viewers_only_where_the_settings_say_so(
    ledger: Ledger, spool: Spool, study: str
) -> None:
    links = {"OHIF": "https://ohif/{study_uid}", "RIS": "https://ris/{patient_id}"}
    with console(ledger, spool, web={"show_identity": False, "viewers": links}) as running:
        for path in ("/studies", f"/studies/{study}", "/queue", "/studies.csv", "/studies?column=patient_id"):
            said = running.visitor(AccountRole.VIEWER).get(path).text
            for secret in ("PAT-0001", "ACC-1", "LWS seitlich", "61.5", "62 years"):
                assert secret not in said, (path, secret)
        assert listed(running.visitor(AccountRole.VIEWER).get("/studies?patient=nobody").text), "not asked"
        assert "ris/" not in running.visitor(AccountRole.VIEWER).get(f"/studies/{study}").text
        reader = running.visitor(AccountRole.READER).get(f"/studies/{study}").text
        assert f'href="https://ohif/{study}"' in reader
        assert 'href="https://ris/PAT-0001"' in reader


def with_file(ledger: Ledger, spool: Spool, content: bytes, sop_uid: str = makers.SOP) -> None:
    """An image of the study whose file is in the spool."""
    (kept,) = spool.add_together([content])
    new = makers.replace(makers.arrival(sop_uid), sha256=kept.sha256)
    ledger.add_arrival(new)
    for waiting in ledger.unregistered(10):
        ledger.register(waiting.arrival_id, makers.header(waiting.sop_uid), None)


def part10(dataset: films.FileDataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_the_picture_is_the_windowed_film(site: Console) -> None:
    dataset = film_of_phantom(1)
    with_file(site.ledger, site.spool, part10(dataset))
    path = f"/studies/{makers.STUDY}/films/{makers.SOP}/picture"
    answer = site.visitor().get(path)
    assert answer.headers["Content-Type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture.shape == (dataset.Rows, dataset.Columns)
    assert np.corrcoef(picture.ravel(), dataset.pixel_array.ravel())[0, 1] > 0.98
    assert site.visitor().get(path).body == answer.body
    assert site.visitor().get(f"/studies/9.9/films/{makers.SOP}/picture").status == 404
    assert site.visitor().get(f"/studies/{makers.STUDY}/films/9/picture").status == 404


def test_a_film_that_cannot_be_read_costs_its_picture_only(site: Console) -> None:
    with_file(site.ledger, site.spool, b"\0" * 200)
    answer = site.visitor().get(f"/studies/{makers.STUDY}/films/{makers.SOP}/picture")
    assert answer.status == 422
    assert "NOT_DICOM" in answer.text
    assert site.visitor().get("/queue").status == 200


def test_a_film_that_takes_too_long_is_given_up(ledger: Ledger, spool: Spool) -> None:
    with console(ledger, spool, web={"picture_time_limit_s": 0.001}) as running:
        with_file(ledger, spool, part10(film_of_phantom(1)))
        answer = running.visitor().get(f"/studies/{makers.STUDY}/films/{makers.SOP}/picture")
        assert answer.status == 422
        assert "TIME_LIMIT" in answer.text
