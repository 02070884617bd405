"""The queue shows what is not done, and what a person confirms there changes the ledger."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from spinepacs.domain.study import StudyState
from spinepacs.domain.worklist import Scheduled
from spinepacs.store.accounts import AccountRole
from spinepacs.store.records import OutboxState
from spinepacs.store.tables import audit_events
from tests.store import makers
from tests.web.consoles import Console, Visitor


def confirm(visitor: Visitor, **target: str) -> str:
    """Ask for an action, read what it says, and do it; what was said before."""
    query = "&".join(f"{name}={value}" for name, value in target.items())
    page = visitor.get(f"/queue/action?{query}")
    assert page.status == 200, page.text
    form = dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text.partition("<main")[2])
    )
    answer = visitor.post("/queue/action", form | target)
    assert answer.status == 200, answer.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text))


def states(site: Console) -> dict[str, int]:
    return site.ledger.counts().studies


def commands(site: Console) -> list[tuple[str, str, str]]:
    rows = site.ledger.rows(select(audit_events).where(audit_events.c.action == "command"))
    return [(row["account"], row["study_uid"], row["detail"]) for row in rows]


def test_an_empty_queue_says_so(site: Console) -> None:
    assert "Nothing waits, nothing has failed" in site.visitor().get("/queue").text


def test_what_waits_is_shown_with_numbers_and_the_part_that_is_asked_for_again(
    site: Console, study: str
) -> None:
    visitor = site.visitor(AccountRole.VIEWER)
    for path in ("/queue", "/queue/now"):
        text = visitor.get(path).text
        assert f'href="/studies/{study}"' in text
        assert "ACC-1" in text
        assert re.search(r'<th scope="row">pacs</th>\s*<td class="n" data-head="To be sent">3</td>', text)
        assert "<strong>1</strong> recorded" in text
        assert "/queue/action" not in text, "a viewer decides nothing"
    assert "<html" not in visitor.get("/queue/now").text
    assert "/queue/action?action=withdraw&amp;destination=pacs" in site.visitor().get("/queue").text


def test_who_is_to_be_asked_for_and_what_a_worklist_wants(site: Console) -> None:
    ledger, visitor = site.ledger, site.visitor()
    ledger.add_arrival(makers.arrival())
    for waiting in ledger.unregistered(1):
        ledger.register(waiting.arrival_id, makers.header(), None, ask_again_after=timedelta(days=1))
    ledger.workitems.claiming(Scheduled("2.25.7"), "2.25.8")
    text = visitor.get("/queue").text
    assert "an archive is yet to be asked for" in text
    assert f'title="{makers.STUDY}">priors' in text
    assert 'title="2.25.7">workitem' in text
    assert "2.25.8" not in text
    assert makers.header().patient_id not in text


def test_a_study_is_read_now_though_more_may_come(site: Console) -> None:
    makers.take_in(site.ledger)
    said = confirm(site.visitor(), action="assemble", study=makers.STUDY)
    assert "with the 1 film that is here now" in said
    assert states(site) == {StudyState.READY: 1}
    assert commands(site) == [("administrator", makers.STUDY, f"assemble {makers.STUDY}")]


def test_what_failed_is_tried_again_or_given_up(site: Console) -> None:
    claim = makers.claimed(site.ledger)
    site.ledger.fail(claim, "DEFECT", "it broke", transient=False)
    visitor = site.visitor(AccountRole.READER)
    assert "DEFECT: it broke" in visitor.get("/queue").text
    assert "Its 1 film is read again" in confirm(visitor, action="retry", study=makers.STUDY)
    assert states(site) == {StudyState.READY: 1}
    claim = site.ledger.claim(makers.VERSIONS, 3)
    assert claim
    site.ledger.fail(claim, "DEFECT", "it broke", transient=False)
    assert "The 1 file of this study will be deleted" in confirm(
        visitor, action="discard", study=makers.STUDY
    )
    assert states(site) == {StudyState.REFUSED: 1}
    assert site.ledger.counts().files_deleted["original"] == 1


def test_what_waits_for_a_destination_goes_elsewhere_or_nowhere(site: Console, study: str) -> None:
    visitor = site.visitor()
    assert "3 results that wait for pacs" in confirm(
        visitor, action="redirect", destination="pacs", to="viewer"
    )
    assert site.ledger.counts().outbox == {("viewer", OutboxState.PENDING): 3}
    assert "3 results will not be sent to viewer" in confirm(visitor, action="withdraw", destination="viewer")
    assert site.ledger.counts().outbox == {("viewer", OutboxState.WITHDRAWN): 3}
    assert states(site) == {StudyState.DELIVERED: 1}
    assert [detail for _, _, detail in commands(site)] == ["redirect pacs viewer", "withdraw viewer"]


def test_failed_results_of_a_destination_are_sent_again(site: Console, study: str) -> None:
    for item in site.ledger.due("pacs"):
        site.ledger.finish_delivery(item.outbox_id, OutboxState.FAILED, 0xA900, "not taken")
    assert "3 results that were given up are sent again" in confirm(
        site.visitor(), action="retry", destination="pacs"
    )
    assert site.ledger.counts().outbox == {("pacs", OutboxState.PENDING): 3}


def test_refused_films_are_shown_until_somebody_has_seen_to_them(site: Console) -> None:
    claim = makers.claimed(site.ledger)
    result = makers.result_of(claim, makers.NO_VERTEBRA)
    site.ledger.record(claim, result, {}, ())
    visitor = site.visitor()
    assert "NO_VERTEBRA_FOUND" in visitor.get("/queue").text
    confirm(visitor, action="seen", file=makers.SOP)
    assert "NO_VERTEBRA_FOUND" not in visitor.get("/queue").text
    assert commands(site)[0][1] == makers.STUDY


def test_an_unreadable_file_is_given_up(site: Console) -> None:
    site.ledger.add_arrival(makers.arrival())
    site.ledger.mark_unreadable(site.ledger.unregistered(1)[0].arrival_id, makers.Refusal("NOT_DICOM", "no"))
    visitor = site.visitor()
    assert "NOT_DICOM" in visitor.get("/queue").text
    confirm(visitor, action="discard", file=makers.SOP)
    assert "NOT_DICOM" not in visitor.get("/queue").text


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ({"action": "nonsense"}, 404),
        ({"action": "retry", "study": "9.9"}, 404),
        ({"action": "retry"}, 404),
        ({"action": "assemble", "study": makers.STUDY}, 409),
        ({"action": "discard", "study": makers.STUDY}, 409),
        ({"action": "withdraw", "destination": "nowhere"}, 404),
        ({"action": "redirect", "destination": "pacs", "to": "nowhere"}, 400),
        ({"action": "redirect", "destination": "pacs"}, 400),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(
    site: Console, study: str, target: dict[str, str], status: int
) -> None:
    visitor = site.visitor()
    assert visitor.post("/queue/action", target | {"csrf": visitor.csrf}).status == status
    assert site.ledger.counts().outbox == {("pacs", OutboxState.PENDING): 3}
    assert commands(site) == []


def test_a_viewer_decides_nothing(site: Console, study: str) -> None:
    visitor = site.visitor(AccountRole.VIEWER)
    assert visitor.get("/queue/action?action=withdraw&destination=pacs").status == 403
    form = {"action": "withdraw", "destination": "pacs", "csrf": visitor.csrf}
    assert visitor.post("/queue/action", form).status == 403
    assert site.ledger.counts().outbox == {("pacs", OutboxState.PENDING): 3}
