"""The client of a worklist, against a server that keeps to the letter of the Standard, and against others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from spinepacs.domain.worklist import CodedTerm, Input, Output, Priority, Scheduled
from spinepacs.exchange.archive import ArchiveAway, NotGiven
from spinepacs.exchange.performed import not_performed, performed, progress
from spinepacs.exchange.ups import Said, Worklist
from tests import films, peers_ups
from tests.peers_ups import CANCELED, COMPLETED, IN_PROGRESS, refers
from tests.web_liars import answer, web

CODE, US = CodedTerm("A1", "99X", "to be read"), CodedTerm("SPINEPACS", "99SPINEPACS", "spinepacs")
MINE, OTHERS = str(generate_uid()), str(generate_uid())
OBJECT = Output("1.2", "1.2.3", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3.4", "pacs")


@pytest.fixture
def ups() -> peers_ups.Ups:
    made = peers_ups.Ups()
    made.schedule("1.1", refers(films.make_dx()))
    return made


@pytest.fixture
def worklist(ups: peers_ups.Ups) -> Iterator[Worklist]:
    with web(ups) as server:
        client = Worklist(server.url)
        yield client
        client.close()


def where(_: Output) -> Dataset:
    item, access = Dataset(), Dataset()
    access.RetrieveAETitle = "ARCHIVE"
    item.DICOMRetrievalSequence = [access]
    return item


def done() -> Dataset:
    return performed(US, CODE, datetime(2026, 11, 23, tzinfo=UTC), [OBJECT], where)


def test_what_is_ours_is_found_page_by_page(worklist: Worklist, ups: peers_ups.Ups) -> None:
    for number in range(150):
        ups.schedule(f"2.{number}", code="B1")
    ups.schedule("3.1", InputReadinessState="INCOMPLETE")
    ups.schedule("3.2", ProcedureStepState=IN_PROGRESS)
    assert list(worklist.scheduled(CODE, None, "SPINES")) == [Scheduled("1.1", CODE)]
    assert len(list(worklist.scheduled(CodedTerm("B1", "99X"), None, ""))) == 150
    assert list(worklist.scheduled(CodedTerm("A1", "99Y"), None, "")) == []
    assert list(worklist.scheduled(None, US, "")) == []
    assert list(worklist.scheduled(None, None, "KNEES")) == []
    assert "answers" in worklist.probe()


def test_of_one_priority(worklist: Worklist, ups: peers_ups.Ups) -> None:
    for uid, stated in (("2.1", "HIGH"), ("2.2", "LOW"), ("2.3", "URGENT"), ("2.4", None)):
        ups.schedule(uid, ScheduledProcedureStepPriority=stated)
    of = {
        priority: {each.uid for each in worklist.scheduled(CODE, None, "", priority)} for priority in Priority
    }
    assert of == {Priority.HIGH: {"2.1"}, Priority.MEDIUM: {"1.1"}, Priority.LOW: {"2.2"}}
    found = {each.uid: each.priority for each in worklist.scheduled(CODE, None, "")}
    assert found["2.3"] is found["2.4"] is Priority.MEDIUM, "what is not known is as usual"


def test_a_server_that_ignores_filters_is_not_believed(ups: peers_ups.Ups) -> None:
    ups.schedule("2.1", code="B1")
    ups.schedule("2.2", ProcedureStepState=IN_PROGRESS)
    rows, nothing = list(ups.workitems.values()), answer("204 No Content")
    with web(lambda _: answer("200 OK", rows), lambda _: nothing) as server:
        client = Worklist(server.url)
        assert list(client.scheduled(CODE, None, "")) == [Scheduled("1.1", CODE)]
        assert list(client.scheduled(CODE, None, "", Priority.HIGH)) == []
        client.close()


def test_what_a_workitem_refers_to(worklist: Worklist, ups: peers_ups.Ups) -> None:
    film = films.make_dx()
    whole = Input(str(film.StudyInstanceUID), str(film.SeriesInstanceUID), str(film.SOPInstanceUID))
    assert worklist.inputs("1.1") == [whole]
    ups.schedule("1.2", *(refers(film, is_whole=is_whole) for is_whole in (True, False, True, True)))
    ups.workitems["1.2"]["00404021"]["Value"][0]["0020000D"]["Value"] = ["../../etc"]
    assert worklist.inputs("1.2") == [Input(whole.study_uid), whole]
    with pytest.raises(NotGiven, match="404"):
        worklist.inputs("9.9")


def test_claimed_read_and_completed(worklist: Worklist, ups: peers_ups.Ups) -> None:
    assert worklist.change("1.1", MINE, IN_PROGRESS) is Said.DONE
    assert worklist.change("1.1", OTHERS, IN_PROGRESS) is Said.NOT_TAKEN
    assert worklist.change("1.1", MINE, IN_PROGRESS) is Said.NOT_TAKEN, "C302, though it is ours"
    assert worklist.update("1.1", OTHERS, progress(0, "mine")) is Said.NOT_TAKEN
    assert worklist.update("1.1", MINE, progress(50, "half")) is Said.DONE
    assert worklist.change("1.1", MINE, COMPLETED) is Said.NOT_TAKEN, "C304: nothing is said of what was done"
    assert worklist.update("1.1", MINE, done()) is Said.DONE
    assert worklist.change("1.1", MINE, COMPLETED) is Said.DONE
    assert worklist.change("1.1", MINE, COMPLETED) is Said.DONE, "B306, a warning"
    assert worklist.update("1.1", MINE, done()) is Said.NOT_TAKEN
    step = ups.step("1.1", peers_ups.PERFORMED)
    (output,) = step[peers_ups.OUTPUT]["Value"]
    assert output["00081199"]["Value"][0]["00081155"]["Value"] == ["1.2.3.4"]
    assert output["0040E021"]["Value"][0]["00080054"]["Value"] == ["ARCHIVE"]
    assert step["00404019"]["Value"][0]["00080100"]["Value"] == ["A1"]


@pytest.mark.parametrize(
    ("reason_code", "code"),
    [
        ("NO_VERTEBRA_FOUND", "110513"),
        ("NOT_DICOM", "110521"),
        ("NOT_SELECTED", "110522"),
        ("NOT_SENT", "110523"),
        ("ATTEMPTS_USED_UP", "110501"),
    ],
)
def test_claimed_and_canceled_with_a_reason(
    worklist: Worklist, ups: peers_ups.Ups, reason_code: str, code: str
) -> None:
    worklist.change("1.1", MINE, IN_PROGRESS)
    assert worklist.change("1.1", MINE, CANCELED) is Said.NOT_TAKEN, "C304: nothing is said of why"
    assert worklist.update("1.1", MINE, not_performed(reason_code, "so it is")) is Said.DONE
    assert worklist.change("1.1", MINE, CANCELED) is Said.DONE
    step = ups.step("1.1", peers_ups.PROGRESS)
    assert step["0074100E"]["Value"][0]["00080100"]["Value"] == [code]
    assert step["00741238"]["Value"] == [f"{reason_code}: so it is"]


def test_the_state_that_a_workitem_has_there(worklist: Worklist, ups: peers_ups.Ups) -> None:
    assert worklist.state("1.1") == "SCHEDULED"
    worklist.change("1.1", MINE, IN_PROGRESS)
    assert worklist.state("1.1") == IN_PROGRESS
    assert worklist.state("9.9") is None


def test_what_is_gone(worklist: Worklist) -> None:
    assert worklist.change("9.9", MINE, IN_PROGRESS) is Said.GONE
    assert worklist.update("9.9", MINE, progress(1, "one")) is Said.GONE


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (lambda _: answer("503 Service Unavailable"), "HTTP 503"),
        (lambda _: answer("401 Unauthorized"), "credentials"),
        (lambda _: answer("400 Bad Request"), "HTTP 400"),
        (lambda _: answer("200 OK", b"{"), "no JSON"),
        (lambda _: answer("200 OK", [1]), "no list of datasets"),
        (lambda _: answer("200 OK", b"<p>", "text/html"), "log in"),
        (lambda _: None, "does not answer"),
    ],
)
def test_what_is_no_answer(script, words):
    with web(script) as server:
        client = Worklist(server.url)
        with pytest.raises(ArchiveAway, match=words):
            list(client.scheduled(CODE, None, ""))
        client.close()
