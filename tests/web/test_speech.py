"""The console speaks the language of the browser or the one that was chosen, in every word of every page."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from spinepacs import language
from spinepacs.store.accounts import AccountRole
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.web import site as sites
from spinepacs.web.speech import COOKIE, preferred
from tests.store import makers
from tests.test_languages import LATIN, Marked, left_over
from tests.web.consoles import Console, console

FOLDER = Path(sites.__file__).parent / "templates"
TEMPLATES = sorted(path.name for path in FOLDER.glob("*.html"))
SAME = {"spinepacs", "UTC", "ms", "TLS", "ECHO", "DICOM", "MB"}
SETTINGS = {"modalities", "sopclasses", "callingaetitles", "bodyparts", "descriptions", "others", "selection"}
SPOKEN = re.compile(r'(?:aria-label|title|alt|placeholder|data-head)="([^"]*)')
OWN_NAMES = {"English", "Deutsch"}


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_word_of_a_template_is_out_of_reach_of_translators(template: str) -> None:
    source = (FOLDER / template).read_text(encoding="utf-8")
    plain = re.sub(r"\{[{%#].*?[}%#]\}", "\u2022", source, flags=re.DOTALL)  # attributes stay whole
    shown = LATIN.findall(re.sub(r"<[^<>]*>", " ", html.unescape(plain)).replace("_", ""))
    heard = LATIN.findall(" ".join(SPOKEN.findall(plain)))
    assert {*shown, *heard} - SAME - SETTINGS == set()


@pytest.mark.usefixtures("study")
def test_no_word_of_a_page_is_untranslated(site: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "catalogue", lambda _: Marked())
    visitor = site.visitor()
    pages = [
        "/login", "/queue", "/studies", "/studies?level=L4", f"/studies/{makers.STUDY}", "/rules", "/destinations",
        "/machines",
        f"/queue/action?action=retry&study={makers.STUDY}", "/queue/action?action=retry&destination=PACS",
        "/queue/action?action=redirect&destination=PACS", "/queue/action?action=withdraw&destination=PACS",
        "/no/such/page", f"/queue/action?action=discard&file={makers.SOP}", "/queue/action?action=seen&file=1.2",
    ]  # fmt: skip
    seen: dict[str, set[str]] = {}
    for path in pages:
        answer = visitor.get(path, **{"Accept-Language": "ru"})
        assert '<html lang="ru">' in answer.text, path
        seen[path] = words_of(answer.text)
    tried = visitor.post("/rules", {"csrf": visitor.csrf, "sop_uid": "1.9"}, **{"Accept-Language": "ru"})
    seen["tried"] = words_of(tried.text)
    assert {path: words for path, words in seen.items() if words} == {}


KNOWN = {
    "DICOM", "CSV", "OHIF", "SOP", "Instance", "AE", "Calling", "SPINE", "LWS", "seitlich", "PAT", "ACC", "PACS",
    "administrator", "ORTHANC", "Window", "disc", "height", "SEG", "SR", "OVERLAY", "MB", "DX", "CR", "RF", "XA",
    "drop", "ms", "Jane", "Doe", "LIST", "pacs", "all", "LSPINE",
    "viewer", "MODALITY", "UNKNOWN", "made", "consistent", "along", "the", "chain",
}  # fmt: skip
"""Names, values of headers and settings, and what other systems are called."""


def words_of(page: str) -> set[str]:
    """Words in Latin letters that a person reads or hears."""
    shown = re.sub(r"<(script|style|title|code|select|dl)\b.*?</\1>", " ", page, flags=re.DOTALL)
    heard = " ".join(re.findall(r'(?:aria-label|title|alt|placeholder|data-head)="([^"]*)"', page))
    return left_over(html.unescape(re.sub(r"<[^<>]+>", " ", shown) + " " + heard)) - KNOWN - OWN_NAMES


@pytest.mark.parametrize(
    ("header", "best"),
    [
        ("", "en"), ("fr, it;q=0.8", "en"), ("ru", "ru"), ("ru-RU,ru;q=0.9,en-US;q=0.8", "ru"), ("de, ru", "de"),
        ("fr,de;q=0.5,en;q=0.4", "de"), ("en;q=0.4, de;q=0.6", "de"), ("DE-at", "de"), ("ru;q=0", "en"),
        ("ru;q=many, de", "de"), ("x" * 10000 + ",ru", "en"),
    ],
)  # fmt: skip
def test_the_browsers_first_language_that_there_is_counts(header: str, best: str) -> None:
    assert preferred(header) == best


def test_a_choice_is_remembered_before_the_browsers_own_and_leads_back(site: Console) -> None:
    visitor = site.visitor(AccountRole.VIEWER)
    assert '<html lang="en">' in visitor.get("/queue").text
    assert '<html lang="de">' in visitor.get("/queue", **{"Accept-Language": "de-DE"}).text
    answer = visitor.post("/language", {"language": "ru", "next": "/studies?level=L4"})
    assert (answer.status, answer.headers["Location"]) == (303, "/studies?level=L4")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Max-Age=31536000" in cookie
    text = visitor.get("/studies?level=L4", **{"Accept-Language": "de"}).text
    assert '<html lang="ru">' in text
    assert "Исследования" in text
    assert 'value="/studies?level=L4"' in text
    assert visitor.cookies[COOKIE] == "ru"


@pytest.mark.parametrize("form", [{"language": "xx"}, {}, {"language": "ru\r\nX: y"}])
def test_what_is_no_language_is_refused_and_nothing_kept(site: Console, form: dict[str, Any]) -> None:
    visitor = site.stranger()
    assert visitor.post("/language", form).status == 400
    assert COOKIE not in visitor.cookies


def test_a_choice_leads_to_no_other_site_and_no_other_site_makes_one(site: Console) -> None:
    visitor = site.stranger()
    answer = visitor.post("/language", {"language": "de", "next": "https://evil.example/"})
    assert answer.headers["Location"] == "/"
    foreign = visitor.post("/language", {"language": "ru"}, **{"Sec-Fetch-Site": "cross-site"})
    assert foreign.status == 403


def test_two_at_once_hear_each_their_own(site: Console) -> None:
    one, other = site.visitor(), site.visitor(AccountRole.VIEWER)
    one.cookies[COOKIE], other.cookies[COOKIE] = "ru", "de"
    for _ in range(3):
        assert "Очередь" in one.get("/queue").text
        assert "Warteschlange" in other.get("/queue").text


def test_a_language_of_the_results_is_not_that_of_the_pages(ledger: Ledger, spool: Spool) -> None:
    with console(ledger, spool, output={"language": "ru"}) as running:
        assert '<html lang="en">' in running.visitor().get("/queue").text
