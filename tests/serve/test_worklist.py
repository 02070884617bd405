"""Workitems by a real daemon: from a scripted UPS-RS server, with films from a real Orthanc and results at DCMTK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from sqlalchemy import select

from spinepacs.domain.campaign import ItemState
from spinepacs.domain.worklist import WORKLIST, Output, Scheduled, WorkitemState
from spinepacs.exchange.archive import ArchiveAway
from spinepacs.serve.worklist import Working
from spinepacs.settings.destinations import DicomDestination, DicomwebDestination
from spinepacs.settings.sections import WorkSettings
from spinepacs.settings.settings import Settings
from spinepacs.settings.worklist import WorklistSettings
from spinepacs.status import Status, as_text
from spinepacs.status import _worklist as add_worklist
from spinepacs.store.ledger import Ledger
from spinepacs.store.tables import workitems
from tests import films, peers, peers_ups
from tests.daemons import daemon, destination, film
from tests.peers_ups import CANCELED, COMPLETED, IN_PROGRESS, SCHEDULED, refers
from tests.serve.test_campaign import column
from tests.store.test_workitems import NEW
from tests.web_liars import answer, web

CODE = "A1^99X^to be read"


@pytest.mark.peer
def test_claimed_killed_read_and_told(tmp_path: Path) -> None:
    """Two are claimed while the archive is away, one of them without an answer; nothing is claimed or read twice."""
    good, port = film(1), peers.free_port()
    empty = films.make_dx(np.full((300, 200), 100, np.uint16), seed="2", study="2", BodyPartExamined="LSPINE")
    ups = peers_ups.Ups(deaf=["PUT"], stolen=["1.5"])
    ups.schedule("1.1", refers(good))
    ups.schedule("1.2", refers(empty, is_whole=False))
    ups.schedule("1.3", refers(good), code="B1")
    ups.schedule("1.4", refers(film(4)))
    ups.schedule("1.5", refers(film(5)))
    with web(ups) as server, peers.dcmtk_storescp(tmp_path) as scp:
        archive = f"http://127.0.0.1:{port}/dicom-web"
        settings = {"enabled": True, "url": server.url, "workitem_codes": [CODE], "poll_s": 0.2}
        with daemon(
            tmp_path, [destination(scp.port, "dcmtk")], worklist={**settings, "dicomweb": archive}
        ) as running:
            running.start()
            running.wait_ready()
            claimed = lambda: [ups.state(uid) for uid in ("1.1", "1.2", "1.4")] == [IN_PROGRESS] * 3  # noqa: E731
            peers.wait_until(claimed, 60, f"three claims; see {running.log}")
            owners = dict(ups.owners)
            assert "workitem" in running.command("queue")
            running.kill()
            with peers.orthanc(tmp_path, dicomweb=True, http_port=port) as pacs:
                for each in (good, empty):
                    pacs.post("/instances", films.write(each, tmp_path / "film.dcm").read_bytes())
                running.start()
                running.wait_ready()
                ended = {
                    "1.1": COMPLETED,
                    "1.2": CANCELED,
                    "1.3": SCHEDULED,
                    "1.4": CANCELED,
                    "1.5": IN_PROGRESS,
                }
                is_ended = lambda: {uid: ups.state(uid) for uid in ended} == ended  # noqa: E731
                peers.wait_until(is_ended, 90, f"the end of all workitems; see {running.log}")
                known = lambda: not {"claiming", "claimed"} & set(column(running, workitems.c.state))  # noqa: E731
                peers.wait_until(known, 30, "that we know it, too")
                assert "UPS-RS answers" in running.check()
                counted = 'spinepacs_workitems{state="lost"} 1.0'
                is_counted = lambda: counted in running.http("/metrics")[1]  # noqa: E731
                peers.wait_until(is_counted, 60, "that the metrics say so")
                assert "worklist       0 workitems are ours, 1 were lost\n" in running.command("status")
        assert ups.owners == owners, "nobody has claimed anything twice"
        assert ups.owners["1.5"] == "2.25.1"
        _check_output(ups, {str(dcmread(path).SOPInstanceUID) for path in scp.received()})
        for uid, code in (("1.2", "110513"), ("1.4", "110523")):
            step = ups.step(uid, peers_ups.PROGRESS)
            assert step["0074100E"]["Value"][0]["00080100"]["Value"] == [code]
        assert sorted(column(running, workitems.c.state)) == ["canceled", "canceled", "completed", "lost"]


def _check_output(ups: peers_ups.Ups, sent: set[str]) -> None:
    """What is named as output is what has been sent, where it was sent; by series."""
    outputs = ups.step("1.1", peers_ups.PERFORMED)[peers_ups.OUTPUT]["Value"]
    named = {each["00081155"]["Value"][0] for output in outputs for each in output["00081199"]["Value"]}
    assert named == sent
    assert len(named) == len(outputs) == 3
    assert {output["0040E021"]["Value"][0]["00080054"]["Value"][0] for output in outputs} == {"DCMTK"}


@dataclass
class Bench:
    """The worker on workitems, a server, and a ledger."""

    working: Working
    ups: peers_ups.Ups
    ledger: Ledger
    clock: list[float]

    def step(self, number: int = 1) -> list[bool]:
        campaign = self.ledger.campaigns.named(WORKLIST)
        return [self.working.next(campaign, NO_SUPPLY) for _ in range(number)]

    def states(self) -> list[str]:
        rows = self.ledger.rows(
            select(workitems.c.state, workitems.c.reason_code).order_by(workitems.c.workitem_uid)
        )
        return [f"{row['state']} {row['reason_code']}".strip() for row in rows]


NO_SUPPLY: Any = None
PACS = DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=104)


@pytest.fixture
def bench(ledger: Ledger) -> Iterator[Callable[..., Bench]]:
    with ExitStack() as open_ones:

        def make(*uids: str, **changes: Any) -> Bench:
            ups = peers_ups.Ups()
            for uid in uids:
                ups.schedule(uid, refers(film(1)))
            server = open_ones.enter_context(web(changes.pop("script", ups)))
            wanted = WorklistSettings(**{"enabled": True, "url": server.url, "label": "SPINES", **changes})
            settings = Settings(
                work=WorkSettings(retry_wait_s=0.001, maximum_attempts=2),
                worklist=wanted,
                destinations=(PACS,),
            )
            ledger.campaigns.stand(NEW)
            clock = [0.0]
            made = Working(settings, ledger, lambda: clock[0])
            open_ones.callback(lambda: made._server and made._server.close())
            return Bench(made, ups, ledger, clock)

        yield make


def test_no_more_are_claimed_than_there_is_room_for(bench: Callable[..., Bench]) -> None:
    made = bench("1.1", "1.2", "1.3", maximum=2)
    made.step(5)
    assert [made.ups.state(uid) for uid in ("1.1", "1.2", "1.3")] == [IN_PROGRESS, IN_PROGRESS, SCHEDULED]
    asked = len(made.ups.said)
    made.step(5)
    assert len(made.ups.said) == asked, "nothing is asked while there is no room"


def test_the_server_is_asked_again_after_a_while_only(bench: Callable[..., Bench]) -> None:
    made = bench(poll_s=10)
    made.step(3)
    once = len(made.ups.said)
    made.clock[0] = 11.0
    made.step(3)
    assert len(made.ups.said) == 2 * once


def test_a_server_that_answers_again_is_news(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.ledger.campaigns.say(made.ledger.campaigns.named(WORKLIST), "it does not answer")
    assert made.step(2) == [True, False]


def test_a_claim_that_was_answered_to_nobody_is_ours(bench: Callable[..., Bench]) -> None:
    made = bench("1.1")
    made.step()
    made.ups.deaf.append("PUT")
    with pytest.raises(ArchiveAway):
        made.step()
    assert made.states() == ["claiming"]
    made.step()
    assert made.states() == ["claimed"]


def not_sent(made: Bench) -> None:
    """A workitem that is ours, and of which no film comes."""
    made.step(2)
    campaign = made.ledger.campaigns.named(WORKLIST)
    item = made.ledger.campaigns.next_item(campaign, datetime.now(UTC))
    assert item is not None
    made.ledger.campaigns.close(item, ItemState.FAILED, "NOT_SENT", "it did not come")


@pytest.mark.parametrize("deaf", [[], ["POST"], ["PUT"]])
def test_whatever_is_not_answered_is_said_again(bench: Callable[..., Bench], deaf: list[str]) -> None:
    made = bench("1.1")
    not_sent(made)
    made.ups.deaf += deaf
    for _ in deaf:
        with pytest.raises(ArchiveAway):
            made.step()
    made.step()
    assert made.states() == ["canceled NOT_SENT"]
    assert made.ups.state("1.1") == CANCELED
    assert not any(made.step(2))


def test_what_somebody_else_has_ended_is_lost(bench: Callable[..., Bench]) -> None:
    made = bench("1.1", "1.2")
    made.step(3)
    made.ups.workitems.pop("1.2")
    made.ups.workitems["1.1"][peers_ups.STATE]["Value"] = [CANCELED]
    campaign = made.ledger.campaigns.named(WORKLIST)
    while item := made.ledger.campaigns.next_item(campaign, datetime.now(UTC)):
        made.ledger.campaigns.close(item, ItemState.FAILED, "NOT_SENT", "it did not come")
    peers.wait_until(lambda: not any(made.step()), 10, "that nothing is left to do")
    peers.wait_until(lambda: any(made.step()) or made.ledger.workitems.open() == 0, 10, "that both are lost")
    assert made.states() == ["canceled CANCELED_THERE", "lost GONE"]
    assert made.ups.state("1.1") == CANCELED
    assert peers_ups.PROGRESS not in made.ups.workitems["1.1"] or not made.ups.workitems["1.1"][
        peers_ups.PROGRESS
    ].get("Value"), "nothing is claimed of it"


def test_what_is_urgent_is_claimed_first_and_what_states_nothing_too(bench: Callable[..., Bench]) -> None:
    made = bench(maximum=4)
    for uid, stated in (("1.1", "LOW"), ("1.2", None), ("1.3", "MEDIUM"), ("1.4", "HIGH"), ("1.5", "LOW")):
        made.ups.schedule(uid, refers(film(1)), ScheduledProcedureStepPriority=stated)
    made.step(9)
    claims = [path.split("/")[1] for method, path, _ in made.ups.said if method == "PUT"]
    assert claims == ["1.4", "1.3", "1.1", "1.2"]


@pytest.mark.parametrize(
    ("there", "ended"),
    [
        (CANCELED, "canceled CANCELED_THERE"),
        (COMPLETED, "lost COMPLETED_THERE"),
        (SCHEDULED, "lost NOT_OURS"),
        ("", "lost GONE"),
    ],
)
def test_what_somebody_else_ends_while_we_wait_is_noticed(
    bench: Callable[..., Bench], there: str, ended: str
) -> None:
    """One is looked at at a time, and each in its turn; nothing more is said of it, or fetched for it."""
    made = bench("1.1", "1.2", poll_s=10)
    made.step(5)
    if there:
        made.ups.workitems["1.2"][peers_ups.STATE]["Value"] = [there]
    else:
        made.ups.workitems.pop("1.2")
    for _ in range(2):
        made.clock[0] += 11
        made.step()
    assert made.states() == ["claimed", ended]
    changes = [said for said in made.ups.said if said[0] != "GET"]
    assert [path for _, path, _ in changes] == ["/1.1/state", "/1.2/state"]
    campaign = made.ledger.campaigns.named(WORKLIST)
    assert made.ledger.campaigns.listed(campaign) == 1


def test_what_it_says_of_its_end_was_heard_though_the_server_denies_it(bench: Callable[..., Bench]) -> None:
    """Some servers refuse the second time what the Standard takes with a warning (B304, B306)."""
    made = bench("1.1")
    not_sent(made)
    made.ups.deaf.append("PUT")
    with pytest.raises(ArchiveAway):
        made.step()
    made.ups.owners["1.1"] = "2.25.1"
    made.step()
    assert made.states() == ["canceled NOT_SENT"]


def test_status_says_what_is_ours_and_what_a_person_may_have_to_end(bench: Callable[..., Bench]) -> None:
    made, told = bench("1.1", "1.2", "1.3"), Status(running=True)
    made.step(4)
    first, second, _ = made.ledger.workitems.due(datetime.now(UTC))
    made.ledger.workitems.end(first, WorkitemState.LOST, "NOT_TAKEN", "it is not taken")
    made.ledger.workitems.end(second, WorkitemState.LOST, "NOT_OURS", "somebody else has it")
    made.ledger.campaigns.say(made.ledger.campaigns.named(WORKLIST), "the worklist does not answer")
    add_worklist(made.ledger, told)
    trouble = "the worklist does not answer"
    assert told.worklist == {"open": 1, "lost": 2, "left_open": 1, "trouble": trouble}
    (problem,) = told.problems
    assert problem.startswith("1 workitems were lost")
    assert f"1 workitems are ours, 2 were lost ({trouble})" in as_text(told, made.working._settings)


def test_whoever_dies_over_a_workitem_gives_it_up_in_the_end(bench: Callable[..., Bench]) -> None:
    made = bench("1.1")
    made.step()
    for workitem in made.ledger.workitems.due(datetime.now(UTC)):
        made.ledger.workitems.put_back(workitem, "", datetime.now(UTC), counted=True)
    for workitem in made.ledger.workitems.due(datetime.now(UTC)):
        made.ledger.workitems.begin(workitem)
    made.step()
    assert made.states() == ["lost DIED"]
    assert made.ups.state("1.1") == SCHEDULED


def test_a_server_that_is_away_is_nobodys_fault(bench: Callable[..., Bench]) -> None:
    made = bench(script=lambda _: answer("503 Service Unavailable"))
    made.ledger.workitems.claiming(Scheduled("1.1"), "2.25.2")
    for _ in range(3):
        with pytest.raises(ArchiveAway, match="503"):
            made.step()
    (left,) = made.ledger.workitems.due(datetime.now(UTC))
    assert (left.attempts, left.state) == (0, WorkitemState.CLAIMING)


def test_where_results_are_is_where_they_were_sent(bench: Callable[..., Bench]) -> None:
    made = bench()
    web_pacs = DicomwebDestination(name="web", kind="dicomweb", url="https://pacs.example.org/rs")
    made.working._settings = made.working._settings.model_copy(update={"destinations": (PACS, web_pacs)})
    output = Output("1.2", "1.2.3", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3.4", "web")
    (access,) = made.working._where(output).WADORSRetrievalSequence
    assert access.RetrieveURL == "https://pacs.example.org/rs/studies/1.2/series/1.2.3"
    (access,) = made.working._where(output._replace(destination="pacs")).DICOMRetrievalSequence
    assert access.RetrieveAETitle == "PACS"
