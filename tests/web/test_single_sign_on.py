"""Single sign-on: who is proven to be somebody with a role is let in, as by a password, and nobody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey
from sqlalchemy import select

from spinepacs.check.partners import single_sign_on
from spinepacs.store.accounts import AccountRole
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.store.tables import audit_events
from spinepacs.web.guard import COOKIE
from tests.web.consoles import PASSWORD, Answer, Visitor, console
from tests.web.providers import CLIENT, Scripted, real_provider, scripted_provider
from tests.web.test_login import attempt, trail

ROLES = {"spine-readers": "reader", "pacs-admins": "administrator"}


def oidc(issuer: str, **changes: Any) -> dict[str, Any]:
    return {"oidc": {"issuer": issuer, "client_id": CLIENT, "roles": ROLES, "timeout_s": 10, **changes}}


def begun(visitor: Visitor, provider: Scripted, onward: str = "") -> dict[str, str]:
    """What the browser is sent to the provider with."""
    answer = visitor.get("/login/oidc" + (f"?next={onward}" if onward else ""))
    assert answer.status == 303, answer.text
    asked = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
    assert answer.headers["Location"].startswith(f"{provider.issuer}/login?")
    provider.challenge = asked["code_challenge"]
    provider.claims = provider.usual(asked["nonce"])
    return asked


def details(ledger: Ledger) -> list[str]:
    """Why nobody was let in."""
    failed = select(audit_events.c.detail).where(audit_events.c.action == "login-failed")
    return [row["detail"] for row in ledger.rows(failed.order_by(audit_events.c.audit_id))]


def back(visitor: Visitor, state: str, code: str = "c0de", more: str = "") -> Answer:
    return visitor.get(f"/login/oidc/back?state={state}&code={code}{more}")


def test_who_has_a_role_is_let_in_as_by_a_password(
    ledger: Ledger, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OIDC_SECRET", "known to both")
    with (
        scripted_provider() as provider,
        console(
            ledger,
            spool,
            web=oidc(provider.issuer, secret_variable="OIDC_SECRET"),  # noqa: S106 - a name
        ) as site,
    ):
        visitor = site.stranger()
        assert "Single sign-on" in visitor.get("/login?next=/studies").text
        asked = begun(visitor, provider, "/studies")
        assert (asked["response_type"], asked["client_id"], asked["scope"]) == (
            "code",
            CLIENT,
            "openid profile",
        )
        assert asked["code_challenge_method"] == "S256"
        assert asked["redirect_uri"] == f"{site.url}/login/oidc/back"
        answer = back(visitor, asked["state"], more=f"&iss={provider.issuer}")
        assert answer.status == 200
        assert '<meta http-equiv="refresh" content="0;url=/studies">' in answer.text
        cookie = next(each for each in answer.headers.get_all("Set-Cookie") or () if each.startswith(COOKIE))
        assert {"httponly", "samesite=strict", "path=/"} <= {
            part.strip().lower() for part in cookie.split(";")
        }
        assert provider.basic == ["Basic " + base64.b64encode(b"spinepacs:known to both").decode()]
        assert "oidc:jane" in visitor.get("/queue").text
        account = ledger.accounts.find("oidc:jane")
        assert account is not None
        assert account.role is AccountRole.READER
        assert back(visitor, asked["state"]).status == 403, "a login is good for one time"
        visitor.post("/logout", {"csrf": visitor.csrf})
        assert visitor.get("/queue").status == 303
        assert trail(site) == [
            ("command", "oidc:jane", "127.0.0.1"), ("login", "oidc:jane", "127.0.0.1"),
            ("login-failed", "unknown", "127.0.0.1"), ("logout", "oidc:jane", "127.0.0.1"),
        ]  # fmt: skip
        assert attempt(site.stranger(), "oidc:jane", PASSWORD).status == 403, "no password fits it"
        asked = begun(visitor, provider)
        provider.claims["roles"] = "pacs-admins"
        assert back(visitor, asked["state"]).status == 200
        account = ledger.accounts.find("oidc:jane")
        assert account is not None
        assert account.role is AccountRole.ADMINISTRATOR, "the role is the provider's of today"
        site.account("anna")
        assert attempt(site.stranger(), "anna", PASSWORD).status == 303, (
            "who has an account here still logs in"
        )


def other_key(provider: Scripted) -> None:
    provider.announced, provider.key = provider.key, RSAKey.generate_key(2048, {"kid": "one"}, auto_kid=False)


def unsigned(provider: Scripted) -> None:
    def token(claims: dict[str, Any]) -> str:
        parts = ({"alg": "none"}, claims)
        return (
            ".".join(
                base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts
            )
            + "."
        )

    provider.token = token


def by_our_secret(provider: Scripted) -> None:
    """HS256 with what everybody knows: the public key."""

    def token(claims: dict[str, Any]) -> str:
        def part(value: bytes) -> str:
            return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

        head = part(json.dumps({"alg": "HS256", "kid": "one"}).encode())
        signed = f"{head}.{part(json.dumps(claims).encode())}"
        public = provider.key.as_pem(private=False)
        return f"{signed}.{part(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"

    provider.token = token


def claims(**changes: Any) -> Callable[[Scripted], None]:
    def change(provider: Scripted) -> None:
        made = {**provider.claims, **changes}
        provider.claims = {name: value for name, value in made.items() if value is not None}

    return change


@pytest.mark.parametrize(
    "what",
    [
        claims(nonce="another"), claims(nonce=None), claims(aud="somebody else"), claims(aud=[CLIENT, "x"], azp="x"),
        claims(iss="http://127.0.0.1:1"), claims(exp=int(time.time()) - 600), claims(exp=None), claims(sub=None),
        claims(roles=["others"]), claims(roles=None), claims(roles={"spine-readers": True}), other_key, unsigned,
        by_our_secret,
    ],
)  # fmt: skip
def test_what_does_not_prove_it_lets_nobody_in(
    ledger: Ledger, spool: Spool, what: Callable[[Scripted], None]
) -> None:
    with scripted_provider() as provider, console(ledger, spool, web=oidc(provider.issuer)) as site:
        visitor = site.stranger()
        asked = begun(visitor, provider)
        what(provider)
        answer = back(visitor, asked["state"])
        assert answer.status == 403
        assert COOKIE not in visitor.cookies
        assert ledger.accounts.all() == []
        assert [action for action, _, _ in trail(site)] == ["login-failed"]


def test_a_login_that_was_not_begun_in_this_browser_is_refused(ledger: Ledger, spool: Spool) -> None:
    with scripted_provider() as provider, console(ledger, spool, web=oidc(provider.issuer)) as site:
        visitor, other = site.stranger(), site.stranger()
        theirs = begun(other, provider)
        ours = begun(visitor, provider)
        kept = dict(visitor.cookies)
        forged = dict(visitor.cookies)
        forged["spinepacs_oidc"] = forged["spinepacs_oidc"][:-1] + (
            "0" if forged["spinepacs_oidc"][-1] != "0" else "1"
        )
        for cookies, query in (
            (kept, f"state={theirs['state']}&code=c0de"),
            (kept, "code=c0de"),
            ({}, f"state={ours['state']}&code=c0de"),
            (forged, f"state={ours['state']}&code=c0de"),
            (kept, f"state={ours['state']}&error=access_denied"),
            (kept, f"state={ours['state']}&code=c0de&iss=http://127.0.0.1:1"),
            (kept, f"state={ours['state']}&code=other"),
        ):
            visitor.cookies = dict(cookies)
            assert visitor.get(f"/login/oidc/back?{query}").status == 403, query
            assert COOKIE not in visitor.cookies
        provider.challenge = theirs["code_challenge"]
        visitor.cookies = kept
        assert back(visitor, ours["state"]).status == 403, "a code of another login: PKCE"


def test_neither_takes_the_others_account(ledger: Ledger, spool: Spool) -> None:
    with scripted_provider() as provider, console(ledger, spool, web=oidc(provider.issuer)) as site:
        site.account("jane", AccountRole.ADMINISTRATOR)
        first = site.stranger()
        assert back(first, begun(first, provider)["state"]).status == 200
        assert ledger.accounts.find("jane").role is AccountRole.ADMINISTRATOR  # type: ignore[union-attr]  # it is there
        second = site.stranger()
        asked = begun(second, provider)
        provider.claims["sub"] = "another person"
        assert back(second, asked["state"]).status == 403, "the name belongs to the first who had it"
        ledger.accounts.disable("oidc:jane")
        assert first.get("/queue").status == 303
        assert back(first, begun(first, provider)["state"]).status == 403
        third = site.stranger()
        asked = begun(third, provider)
        provider.claims |= {"sub": "third", "preferred_username": "Jörg <b>"}
        assert back(third, asked["state"]).status == 200
        assert [each.name for each in ledger.accounts.all() if re.fullmatch("oidc:[0-9a-f]{16}", each.name)]


def test_roles_may_lie_deeper_or_with_the_userinfo(ledger: Ledger, spool: Spool) -> None:
    settings = {"role_claim": "realm_access.roles", "local_accounts": False}
    with scripted_provider() as provider:
        provider.userinfo = {"sub": "4711", "realm_access": {"roles": ["spine-readers"]}}
        with console(ledger, spool, web=oidc(provider.issuer, **settings)) as site:
            visitor = site.stranger()
            assert back(visitor, begun(visitor, provider)["state"]).status == 200, details(ledger)
            provider.userinfo = {"sub": "4712", "realm_access": {"roles": ["spine-readers"]}}
            assert back(visitor, begun(visitor, provider)["state"]).status == 403
            site.account("anna")
            page = site.stranger()
            assert 'name="password"' not in page.get("/login").text
            csrf = page.cookies["spinepacs_login"]
            answer = page.post("/login", {"csrf": csrf, "name": "anna", "password": PASSWORD})
            assert answer.status == 403
            assert COOKIE not in page.cookies


def test_a_provider_that_is_away_or_names_itself_otherwise_is_told(ledger: Ledger, spool: Spool) -> None:
    with scripted_provider() as provider, console(ledger, spool, web=oidc(provider.issuer)) as site:
        assert single_sign_on(_settings(provider.issuer)).ok
        provider.names_itself = "http://127.0.0.1:1"
        answer = site.stranger().get("/login/oidc")
        assert answer.status == 503
        assert "it names itself otherwise" in answer.text
        assert not single_sign_on(_settings(provider.issuer)).ok
    assert (
        "does not answer as it should: ConnectionError" in single_sign_on(_settings(provider.issuer)).detail
    )


def _settings(issuer: str) -> Any:
    from spinepacs.settings.oidc import OidcSettings

    return OidcSettings.model_validate(oidc(issuer)["oidc"])


@pytest.mark.peer
def test_with_a_real_provider_in_a_real_browser(
    ledger: Ledger, spool: Spool, chromium: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OIDC_SECRET", "it takes any")
    people = {
        "jane": {"preferred_username": "jane", "roles": ["spine-readers"]},
        "john": {"preferred_username": "john", "roles": ["gardeners"]},
    }
    with (
        real_provider(**people) as issuer,
        console(ledger, spool, web=oidc(issuer, secret_variable="OIDC_SECRET")) as site,  # noqa: S106 - a name
    ):
        page = chromium.new_context().new_page()
        complaints: list[str] = []
        for name, lands in (("john", "**/login/oidc/back?*"), ("jane", "**/studies")):
            page.goto(f"{site.url}/studies")
            page.on(
                "console", lambda message: complaints.append(message.text) if site.url in page.url else None
            )
            page.get_by_role("link", name="Single sign-on").click()
            page.wait_for_url(f"{issuer}/**", wait_until="domcontentloaded")
            page.get_by_role("button", name=name, exact=True).first.click(no_wait_after=True)
            page.wait_for_url(lands)
            assert len(details(ledger)) == 1, details(ledger)
        assert page.get_by_text("oidc:jane").is_visible()
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        refused = ledger.rows(select(audit_events.c.detail).where(audit_events.c.action == "login-failed"))
        assert [row["detail"] for row in refused] == [
            "single sign-on: no role, disabled, or another person's name"
        ]
        assert not [text for text in complaints if "Content Security Policy" in text]
