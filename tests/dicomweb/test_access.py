"""Nothing of DICOMweb answers to strangers, and to an account only what its role may do."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.routing import Route

from spinepacs.dicomweb import server
from spinepacs.dicomweb.app import ROOT, SERVICES, make_app
from spinepacs.dicomweb.calls import Server
from spinepacs.intake.port import open_port
from spinepacs.settings.dicomweb import DicomwebSettings
from spinepacs.store.accounts import AccountRole, sha256_of
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.store.tables import audit_events
from spinepacs.web.darkroom import Darkroom
from spinepacs.web.guard import COOKIE
from tests.certificates import authority
from tests.daemons import film
from tests.dicomweb.servers import RELATED, SENDER, VIEWER, Running, basic, body, part10, serving
from tests.web.consoles import settings

NAMES = {"study": "1.2.3", "series": "1.2.3.4", "instance": "1.2.3.4.5", "frames": "1"}
PATHS = [(each, ROOT + re.sub(r"\{(\w+)\}", lambda found: NAMES[found[1]], each.path)) for each in SERVICES]


def test_every_route_is_in_the_list_of_services(ledger: Ledger, spool: Spool) -> None:
    made = settings(ledger, spool)
    application: Starlette = make_app(Server(made, spool, ledger, Darkroom(made.web, spool)))
    routes = [route for route in application.routes if isinstance(route, Route)]
    assert len(routes) == len(application.routes) == len(SERVICES) + 1
    assert {route.path for route in routes[:-1]} == {ROOT + each.path for each in SERVICES}
    assert routes[-1].path == "/{path:path}"


@pytest.mark.parametrize(
    "header",
    [
        "", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", basic(SENDER, "wrong"), basic("nobody"), basic("", ""),
        "Bearer", "Bearer x", "Bearer " + "x" * 9000, "Digest x", "\xff\xfe", basic(VIEWER) + "x",
    ],
)  # fmt: skip
def test_strangers_are_told_nothing(site: Running, header: str) -> None:
    content = body(part10(film(1)))
    for each, path in [*PATHS[:4], (SERVICES[2], "/"), (SERVICES[2], "/../etc/passwd")]:
        sent = {"Authorization": header} if header else {}
        answer = site.ask(each.method, path, content if each.method == "POST" else None, None, sent)
        assert answer.status in (401, 429), path
        assert "ct1" not in answer.text
        if answer.status == 401:
            assert "Basic" in answer.headers["WWW-Authenticate"]
            assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert site.files() == []


def test_no_service_answers_without_an_account(site: Running) -> None:
    for each, path in PATHS:
        assert site.ask(each.method, path, b"" if each.method == "POST" else None, None).status == 401, path
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert site.ask(method, path, None, None).status in (401, 405), path


def test_each_role_may_do_its_own(site: Running) -> None:
    for role in (AccountRole.READER, AccountRole.ADMINISTRATOR):
        site.ledger.accounts.add(role.value, role, site.ledger.accounts.find(VIEWER).password_hash)
    for name, role in ((SENDER, AccountRole.SENDER), (VIEWER, AccountRole.VIEWER), ("reader", AccountRole.READER),
                       ("administrator", AccountRole.ADMINISTRATOR)):  # fmt: skip
        for each, path in PATHS:
            headers = {"Content-Type": RELATED}
            answer = site.ask(each.method, path, b"" if each.method == "POST" else None, name, headers)
            assert (answer.status == 403) == (not role.includes(each.role)), (name, path)


def test_a_token_is_an_account_until_it_ends(site: Running) -> None:
    accounts = site.ledger.accounts
    accounts.add_token(sha256_of("of-the-viewer"), VIEWER, None)
    accounts.add_token(sha256_of("too-old"), VIEWER, datetime.now(UTC) - timedelta(seconds=1))

    def status(token: str) -> int:
        return site.ask("GET", "/dicom-web/studies", None, None, {"Authorization": f"Bearer {token}"}).status

    assert status("of-the-viewer") == 200
    assert status("too-old") == 401
    accounts.end_tokens(VIEWER)
    assert status("of-the-viewer") == 401


def test_the_cookie_of_the_console_counts_for_nothing(site: Running) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    site.ledger.accounts.log_in(sha256_of("session"), VIEWER, "", until)
    assert site.ask("GET", "/dicom-web/studies", None, None, {"Cookie": f"{COOKIE}=session"}).status == 401
    assert (
        site.ask("GET", "/dicom-web/studies", None, None, {"Authorization": "Bearer session"}).status == 401
    )
    answer = site.get("/studies")
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_another_password_or_none_ends_it_at_once(site: Running) -> None:
    assert site.get("/studies").status == 200
    assert site.get("/studies").status == 200, "by memory now"
    site.ledger.accounts.disable(VIEWER)
    assert site.get("/studies").status == 401
    site.ledger.accounts.set_password(VIEWER, "another hash")
    assert site.get("/studies").status == 401


def test_guessing_is_limited_and_the_right_password_is_not_told_then(site: Running) -> None:
    def status(password: str) -> int:
        headers = {"Authorization": basic(SENDER, password)}
        return site.ask("GET", "/dicom-web/studies", None, None, headers).status

    assert [status("wrong") for _ in range(6)] == [401] * 5 + [429]
    answer = site.ask("GET", "/dicom-web/studies", None, SENDER)
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert site.get("/studies").status == 200, "another account is not locked out"
    rows = site.ledger.rows(select(audit_events).where(audit_events.c.action == "login-failed"))
    assert [(row["account"], row["detail"]) for row in rows] == [(SENDER, "DICOMweb")] * 5


def test_other_networks_and_other_sites_are_refused(ledger: Ledger, spool: Spool) -> None:
    with serving(ledger, spool, dicomweb={"networks": ["192.0.2.0/24"], "proxies": ["127.0.0.1"]}) as site:
        assert site.get("/studies").status == 403
        through = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
        assert site.get("/studies", **through).status == 200
        assert site.get("/studies", **{**through, "X-Forwarded-Proto": "http"}).status == 403, "in the clear"
        assert site.get("/studies", **{**through, "X-Forwarded-For": "198.51.100.1"}).status == 403
        assert site.get("/studies", **{**through, "X-Forwarded-For": "no address"}).status == 403
    with serving(ledger, spool) as site:
        headers = {"Content-Type": RELATED, "Sec-Fetch-Site": "cross-site"}
        assert site.ask("POST", "/dicom-web/studies", b"", SENDER, headers).status == 403
        assert site.get("/studies", **{"X-Forwarded-For": "192.0.2.7"}).status == 200, (
            "nobody's proxy: not believed"
        )
    rows = ledger.rows(select(audit_events).where(audit_events.c.action == "searched"))
    assert [row["peer"] for row in rows] == ["192.0.2.7", "127.0.0.1"]


def test_with_tls_and_a_certificate_that_is_renewed(ledger: Ledger, spool: Spool, tmp_path: Path) -> None:
    ours = authority(tmp_path)
    identity = ours.issue(tmp_path, "server")
    tls = {"tls": True, "tls_certificate": str(identity.certificate), "tls_key": str(identity.key)}

    def serial(port: int) -> str:
        trusting = ssl.create_default_context(cafile=str(ours.certificate))
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as line,
        ):
            assert line.version() == "TLSv1.3"
            return str(line.getpeercert()["serialNumber"])  # type: ignore[index]

    with serving(ledger, spool, dicomweb=tls) as site:
        request = urllib.request.Request(
            f"https://127.0.0.1:{site.port}/dicom-web/studies", headers={"Authorization": basic(VIEWER)}
        )
        trusting = ssl.create_default_context(cafile=str(ours.certificate))
        with urllib.request.urlopen(request, context=trusting) as answer:  # noqa: S310 - our own URL
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"]
        before = serial(site.port)
        ours.issue(tmp_path, "server")
        assert serial(site.port) != before
        with socket.create_connection(("127.0.0.1", site.port)) as plain:
            plain.sendall(b"GET /dicom-web/studies HTTP/1.1\r\nHost: a\r\n\r\n")
            assert not plain.recv(100).startswith(b"HTTP/1.1 200")


def test_a_head_that_never_ends_is_cut_off(site: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_HEAD_S", 0.3)
    with socket.create_connection(("127.0.0.1", site.port)) as line:
        line.settimeout(20)
        line.sendall(b"GET /dicom-web/studies HTTP/1.1\r\nHost: ")
        came = b"-"
        while came:
            try:
                came = line.recv(100)
            except ConnectionResetError:
                came = b""


def test_settings_that_would_send_passwords_in_the_clear_are_refused() -> None:
    with pytest.raises(ValidationError, match="open to the network"):
        DicomwebSettings(enabled=True, bind="0.0.0.0")  # noqa: S104 - that is what is refused
    with pytest.raises(ValidationError, match="tls_certificate"):
        DicomwebSettings(enabled=True, tls=True)
    assert not DicomwebSettings().enabled
    assert DicomwebSettings(enabled=True, bind="0.0.0.0", proxies=("10.0.0.1",)).proxies  # noqa: S104


def test_the_port_is_waited_for(ledger: Ledger, spool: Spool) -> None:
    import threading

    said: list[bytes] = []
    stop = threading.Event()
    with open_port("127.0.0.1", 0) as taken:
        made = settings(ledger, spool, dicomweb={"enabled": True, "port": taken.getsockname()[1]})
        thread = threading.Thread(
            target=server.run, args=(made, spool, ledger, stop, said.append, b"ready", b"waiting")
        )
        thread.start()
        while not said:
            time.sleep(0.01)
        stop.set()
        thread.join(20)
    assert said == [b"waiting"]


def test_where_viewers_may_not_see_whose_it_is_they_see_nothing(ledger: Ledger, spool: Spool) -> None:
    with serving(ledger, spool, web={"show_identity": False}) as site:
        site.ledger.accounts.add(
            "reader", AccountRole.READER, site.ledger.accounts.find(VIEWER).password_hash
        )
        for each, path in PATHS[2:]:
            assert site.ask(each.method, path).status == 403, path
            assert site.ask(each.method, path, None, "reader").status in (200, 404), path
        assert site.store(body(part10(film(1)))).status == 200


def test_where_an_authority_is_named_peers_show_its_certificate(
    ledger: Ledger, spool: Spool, tmp_path: Path
) -> None:
    ours = authority(tmp_path)
    own, theirs = ours.issue(tmp_path, "server"), ours.issue(tmp_path, "peer")
    tls = {"tls_certificate": str(own.certificate), "tls_key": str(own.key), "tls_ca": str(ours.certificate)}
    with serving(ledger, spool, dicomweb={"tls": True, **tls}) as site:

        def ask(trusting: ssl.SSLContext) -> int:
            line = http.client.HTTPSConnection("127.0.0.1", site.port, timeout=30, context=trusting)
            try:
                line.request("GET", "/dicom-web/studies", headers={"Authorization": basic(VIEWER)})
                return line.getresponse().status
            finally:
                line.close()

        trusting = ssl.create_default_context(cafile=str(ours.certificate))
        with pytest.raises(OSError, match=r"certificate required|reset|closed|EOF"):
            ask(trusting)
        trusting.load_cert_chain(theirs.certificate, theirs.key)
        assert ask(trusting) == 200
