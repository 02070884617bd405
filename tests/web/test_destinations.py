"""Destinations and machines: what waits, who answers, which certificate ends, which process is down."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from spinepacs.serve.health import HealthServer
from spinepacs.settings.sections import HealthSettings
from spinepacs.store.accounts import AccountRole
from spinepacs.store.ledger import Ledger
from spinepacs.store.notices import NewNotice
from spinepacs.store.spool import Spool
from tests.certificates import authority
from tests.peers import UNCLOSED_SOCKETS, free_port
from tests.peers_postgresql import postgresql_with_tables
from tests.store import makers
from tests.test_health_pages import answering, http
from tests.web.consoles import console

pytestmark = UNCLOSED_SOCKETS


def pacs(port: int, **values: object) -> dict[str, object]:
    return {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port, **values}


def test_a_destination_is_asked_whether_it_answers(ledger: Ledger, spool: Spool) -> None:
    entity = AE(ae_title="PACS")
    entity.add_supported_context(Verification)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    there = pacs(server.server_address[1])
    try:
        with console(ledger, spool, destinations=[there, pacs(free_port(), name="dead")]) as running:
            visitor = running.visitor()
            form = {"csrf": visitor.csrf}
            assert (
                "answered with success"
                in visitor.post("/destinations/echo", form | {"destination": "pacs"}).text
            )
            assert (
                "connection refused"
                in visitor.post("/destinations/echo", form | {"destination": "dead"}).text
            )
            assert visitor.post("/destinations/echo", form | {"destination": "other"}).status == 404
            viewer = running.visitor(AccountRole.VIEWER)
            form = {"csrf": viewer.csrf, "destination": "pacs"}
            assert viewer.post("/destinations/echo", form).status == 403
    finally:
        server.shutdown()


@pytest.mark.usefixtures("study")
def test_what_waits_is_counted_also_for_destinations_that_are_gone(ledger: Ledger, spool: Spool) -> None:
    with console(ledger, spool, destinations=[pacs(104, name="other", hours=["00:00-00:01"])]) as running:
        text = running.visitor().get("/destinations").text
        assert re.search(
            r'pacs <span class="tag bad">not in the settings</span></th>.*?<td class="n">3</td>', text
        )
        assert "PACS@127.0.0.1:104" in text
        assert "<span>read</span>" in text, "seconds of the steps"


@pytest.mark.peer
def test_certificates_say_how_long_they_last(ledger: Ledger, spool: Spool, tmp_path: Path) -> None:
    ours = authority(tmp_path).issue(tmp_path, "ours").certificate
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    there = pacs(104, tls=True, tls_certificate=str(ours), tls_ca=str(bad))
    with console(ledger, spool, destinations=[there]) as running:
        text = running.visitor().get("/destinations").text
    assert re.search(
        r"<td>ours.pem</td><td>\d{4}-\d\d-\d\d</td><td class=\"n\"><span class=\"tag bad\">1</span>", text
    )
    assert re.search(r"<td>bad.pem</td><td>cannot be read", text)
    assert str(tmp_path) not in text, "where files lie is nobody's business"


def test_the_parts_of_the_only_machine_are_those_of_its_health_page(ledger: Ledger, spool: Spool) -> None:
    def not_ready() -> str:
        return "no worker is up"

    health = HealthServer(HealthSettings(port=0), {"database": lambda: "", "model": not_ready}, figures=None)  # type: ignore[arg-type]  # no metrics are asked for
    health.start()
    try:
        with console(ledger, spool, health={"port": health.port}) as running:
            text = running.visitor().get("/destinations").text
    finally:
        health.stop()
    assert '<span class="tag good">up</span> database' in text
    assert re.search(r'<span class="tag bad">down</span> model <span class="note">no worker is up', text)


def test_another_program_on_the_health_port_costs_no_page(ledger: Ledger, spool: Spool) -> None:
    with answering(http(b"<html></html>")) as port, console(ledger, spool, health={"port": port}) as running:
        assert running.visitor().get("/destinations").status == 200


@pytest.mark.peer
def test_over_postgresql_every_page_shows_the_same_and_machines_their_processes(
    tmp_path: Path, spool: Spool
) -> None:
    with postgresql_with_tables() as server, Ledger.open(server.create_database(server.template)) as ledger:
        identity = ledger.machines.join("reader-1", "worker")
        life = {"is_up": False, "restarts": 3, "started_s": 0.0}
        ledger.machines.beat(identity, {"worker-1": life, "<b>": life | {"is_up": True}}, {})
        claim = makers.recorded_with_signs(ledger)
        with console(ledger, spool, cluster={"enabled": True}, destinations=[pacs(104)]) as running:
            visitor = running.visitor()
            pages = ("/destinations", "/queue", f"/studies/{claim.study_uid}", "/studies.csv",
                     "/studies?sign=osteophytes&grade=2&level=L5&model=spine-v0&date_from=2020-01-01")  # fmt: skip
            texts = {path: visitor.get(path).text for path in pages}
            assert visitor.get("/studies?destination=pacs").status == 200
    assert "reader-1" in texts["/destinations"]
    assert '<span class="tag bad">down</span> worker-1' in texts["/destinations"]
    assert "<b>" not in texts["/destinations"]
    for path in pages[2:]:
        assert "PAT-0001" in texts[path], path


def test_who_is_told_is_shown_with_what_waits_and_without_addresses(ledger: Ledger, spool: Spool) -> None:
    hook = {
        "name": "ops",
        "kind": "webhook",
        "url": "https://hook.example.org/token-of-ours",
        "on": ["study-failed"],
    }
    ledger.notices.add("ops", [NewNotice("study-failed", "1", {"reason_code": "X"})])
    batch = ledger.notices.begin("ops", 0, 0, lambda attempts: 60.0)
    assert batch is not None
    ledger.notices.not_sent(batch, "nobody there")
    with console(ledger, spool, notifications=[hook]) as running:
        text = running.visitor().get("/destinations").text
    row = r'ops</th><td>webhook</td><td>study-failed</td><td class="n">1</td><td class="n">0</td><td></td>'
    assert re.search(row + "<td>nobody there<", text)
    assert "token-of-ours" not in text
