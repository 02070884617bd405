"""Nothing of the console is shown or changed without a login, the role and the token that it takes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
from starlette.routing import Mount, Route

from spinepacs.store.accounts import AccountRole
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.web.app import PAGES
from spinepacs.web.guard import COOKIE, Page
from spinepacs.web.headers import POLICY
from tests.web.consoles import Console, console

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "spinepacs" / "web" / "static"
FOR_EVERYBODY = {
    ("GET", "/login"), ("POST", "/login"), ("GET", "/login/oidc"), ("GET", "/login/oidc/back"), ("POST", "/language"),
}  # fmt: skip
NAMES = {"study_uid": "1.2.3", "sop_uid": "1.2.3.1.1", "path": "no/such/page", "correction_id": "1"}
PATHS = [(page, re.sub(r"\{(\w+)(:\w+)?\}", lambda found: NAMES[found[1]], page.path)) for page in PAGES]


def ids(value: object) -> str | None:
    return f"{value.method}-{value.path}" if isinstance(value, Page) else None


def test_every_route_is_in_the_list_of_pages(site: Console) -> None:
    """So that what follows asks for all that there is; static files are for everybody."""
    mounts = [route.path for route in site.application.routes if isinstance(route, Mount)]
    routes = [route for route in site.application.routes if isinstance(route, Route)]
    found = {(method, route.path) for route in routes for method in (route.methods or ()) if method != "HEAD"}
    assert mounts == ["/static"]
    assert len(routes) + len(mounts) == len(site.application.routes)
    assert found == {(page.method, page.path) for page in PAGES}
    assert {(page.method, page.path) for page in PAGES if page.role is None} == FOR_EVERYBODY


@pytest.mark.usefixtures("study")
def test_without_a_login_every_page_leads_to_it(site: Console) -> None:
    for page, path in PATHS:
        if page.role is None:
            continue
        for cookie in ("", "not-a-session", "x" * 5000):
            stranger = site.stranger()
            stranger.cookies = {COOKIE: cookie} if cookie else {}
            answer = stranger.ask(page.method, path, b"csrf=" if page.changes else None)
            assert answer.status == (401 if page.changes else 303), path
            if not page.changes:
                assert answer.headers["Location"].startswith("/login"), path
            assert "PAT-0001" not in answer.text


@pytest.mark.usefixtures("study")
def test_every_page_answers_to_the_roles_that_may_see_it_and_to_no_other(site: Console) -> None:
    for role in (AccountRole.VIEWER, AccountRole.READER, AccountRole.ADMINISTRATOR):
        visitor = site.visitor(role)
        csrf = visitor.csrf
        for page, path in PATHS:
            if page.path == "/logout":
                continue
            answer = visitor.post(path, {"csrf": csrf}) if page.changes else visitor.get(path)
            if page.role and not role.includes(page.role):
                assert answer.status == 403, (role, path)
            else:
                assert answer.status in (200, 303, 400, 403 if page.role is None else 404, 404, 422), (
                    role,
                    path,
                )
                assert answer.status != 403 or page.path == "/login", (role, path)


def test_methods_that_no_page_has_are_refused(site: Console) -> None:
    visitor = site.visitor()
    for method, path in product(
        ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"), ("/studies", "/queue/action")
    ):
        assert visitor.ask(method, path).status == 405


@pytest.mark.parametrize("csrf", ["", "wrong", "0" * 64, None])
def test_a_change_without_the_token_of_ones_forms_is_refused(
    site: Console, study: str, csrf: str | None
) -> None:
    visitor = site.visitor()
    form = {"action": "withdraw", "destination": "pacs"} | ({} if csrf is None else {"csrf": csrf})
    for page, path in PATHS:
        if page.changes and page.role is not None:
            assert visitor.post(path, form).status == 403, path
    assert site.ledger.counts().outbox == {("pacs", "pending"): 3}


def test_the_token_of_another_session_is_refused(site: Console) -> None:
    stolen = site.visitor().csrf
    assert site.visitor().post("/logout", {"csrf": stolen}).status == 403


def test_what_another_site_sends_is_refused(site: Console) -> None:
    visitor = site.visitor()
    form = {"csrf": visitor.csrf}
    for where in ("cross-site", "same-site"):
        assert visitor.post("/logout", form, **{"Sec-Fetch-Site": where}).status == 403
    assert visitor.post("/logout", form, **{"Sec-Fetch-Site": "same-origin"}).status == 303


@pytest.mark.usefixtures("study")
def test_every_answer_has_the_headers_that_protect_it_and_no_page_a_script_or_style_of_its_own(
    site: Console,
) -> None:
    visitor = site.visitor()
    for page, path in PATHS:
        if page.changes:
            continue
        answer = visitor.get(path)
        assert answer.headers["Content-Security-Policy"] == POLICY, path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store", path
        assert "Server" not in answer.headers
        if answer.headers.get_content_type() == "text/html":
            assert not re.search(
                r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", answer.text
            ), path
            assert not re.search(r'(src|href)="(https?:)?//', answer.text), (
                "something is loaded from elsewhere"
            )
    assert "unsafe" not in POLICY


def test_a_session_ends_with_the_logout_with_time_and_with_the_account(site: Console) -> None:
    visitor = site.visitor()
    kept = dict(visitor.cookies)
    assert visitor.get("/queue").status == 200
    assert visitor.post("/logout", {"csrf": visitor.csrf}).status == 303
    visitor.cookies = kept
    assert visitor.get("/queue").status == 303
    assert site.visitor(hours=-0.001).get("/queue").status == 303
    reader = site.visitor(AccountRole.READER)
    assert reader.get("/queue").status == 200
    assert site.ledger.accounts.disable("reader")
    assert reader.get("/queue").status == 303
    viewer = site.visitor(AccountRole.VIEWER)
    assert site.ledger.accounts.set_password("viewer", "another hash")
    assert viewer.get("/queue").status == 303


def test_the_database_holds_no_cookie(site: Console) -> None:
    token = site.visitor().cookies[COOKIE]
    path = Path(site.ledger.url.removeprefix("sqlite:///"))
    held = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    assert token.encode() not in held
    assert b"administrator" in held


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "a b", "localhost@evil.example"]
)
def test_a_foreign_name_is_refused(site: Console, host: str) -> None:
    assert site.visitor().get("/queue", Host=host).status == 400


def test_only_the_names_of_the_settings_are_ours(ledger: Ledger, spool: Spool) -> None:
    with console(ledger, spool, web={"hosts": ["spine.example.org"]}) as running:
        visitor = running.visitor()
        for host in ("spine.example.org", "SPINE.example.org:443", "localhost:11181", "127.0.0.1"):
            assert visitor.get("/queue", Host=host).status == 200, host


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
        "/static/htmx/../../app.py", "/static/%00", "/static/",
    ],
)  # fmt: skip
def test_static_files_are_those_and_no_others(site: Console, path: str) -> None:
    answer = site.stranger().get(path)
    assert answer.status in (303, 404)
    assert b"def " not in answer.body


def test_static_files_come_without_a_login_and_are_installed() -> None:
    """What pip installs is what pyproject.toml names."""
    text = (ROOT / "pyproject.toml").read_text()
    patterns = re.findall(r'"(web/[^"]+)"', text)
    wing = ROOT / "spinepacs"
    installed = {path for pattern in patterns for path in wing.glob(pattern) if path.is_file()}
    there = {
        path for path in (wing / "web").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert installed == there
    assert STATIC / "htmx" / "LICENSE" in installed


def test_static_files_are_kept_by_browsers(site: Console) -> None:
    answer = site.stranger().get("/static/console.css")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "public, max-age=86400"


def test_what_is_too_large_is_refused_before_it_is_read(ledger: Ledger, spool: Spool) -> None:
    with console(ledger, spool, web={"maximum_upload_mb": 1}) as running:
        visitor = running.visitor()
        csrf = visitor.csrf
        assert visitor.upload("/rules", b"x" * 2_000_000, csrf=csrf).status == 413
        assert visitor.post("/queue/action", {"csrf": csrf, "study": "x" * 100_000}).status == 413
        unmeasured = visitor.ask(
            "POST", "/rules", headers={"Transfer-Encoding": "chunked"}, body=b"0\r\n\r\n"
        )
        assert unmeasured.status == 411
        stated = {
            "Transfer-Encoding": "chunked",
            "Content-Length": "1",
        }  # then the chunks count (RFC 9112 6.3)
        for path in ("/rules", "/login"):
            answer = visitor.ask(
                "POST", path, headers=stated, body=b"10000\r\n" + b"x" * 65536 + b"\r\n0\r\n\r\n"
            )
            assert answer.status == 411, path
        assert visitor.upload("/queue/action", b"x", csrf=csrf).status == 400, "no file is taken there"
        assert visitor.post("/queue/action", {"csrf": csrf} | {f"f{n}": n for n in range(50)}).status == 400


PROXY = {"proxies": ["127.0.0.0/8"], "account_header": "X-Remote-User"}


def test_a_proxy_of_the_settings_may_name_the_account_and_nobody_else(ledger: Ledger, spool: Spool) -> None:
    with console(ledger, spool, web=PROXY) as running:
        running.account("anna", AccountRole.READER)
        stranger = running.stranger()
        assert "anna" in stranger.get("/queue", **{"X-Remote-User": "anna"}).text
        assert stranger.get("/queue", **{"X-Remote-User": "nobody"}).status == 303
        assert stranger.get("/queue").status == 303
        ledger.accounts.disable("anna")
        assert stranger.get("/queue", **{"X-Remote-User": "anna"}).status == 303
    elsewhere = PROXY | {"proxies": ["192.0.2.0/24"]}
    with console(ledger, spool, web=elsewhere) as running:
        running.account("otto")
        headers = {"X-Remote-User": "otto", "X-Forwarded-For": "192.0.2.7"}
        assert running.stranger().get("/queue", **headers).status == 303


def test_behind_tls_cookies_stay_behind_it(ledger: Ledger, spool: Spool) -> None:
    with console(ledger, spool, web=PROXY) as running:
        answer = running.stranger().get("/login", **{"X-Forwarded-Proto": "https"})
        assert "; secure" in answer.headers["Set-Cookie"].lower()
        assert answer.headers["Strict-Transport-Security"]
        assert "Strict-Transport-Security" not in running.stranger().get("/login").headers


def test_a_defect_shows_nothing_of_what_it_was_about(
    site: Console, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Geheim^Erika")

    visitor = site.visitor()
    monkeypatch.setattr("spinepacs.store.story.summary", fail)
    answer = visitor.get("/studies/1.2.3")
    assert answer.status == 500
    assert "Geheim" not in answer.text + caplog.text


def test_sessions_last_as_long_as_they_say(site: Console) -> None:
    accounts = site.ledger.accounts
    site.account("anna")
    accounts.log_in("a", "anna", "", datetime.now(UTC) + timedelta(seconds=30))
    accounts.log_in("b", "anna", "", datetime.now(UTC) - timedelta(seconds=1))
    assert accounts.of_session("a")
    assert accounts.of_session("b") is None
