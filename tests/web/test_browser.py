"""The console in a real browser: by mouse and by keyboard, on a desk and on a phone, by day and by night."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from spinepacs.store.accounts import AccountRole
from tests.daemons import film as film_of_phantom
from tests.store import makers
from tests.web import axe
from tests.web.consoles import PASSWORD, Console
from tests.web.test_studies import part10

pytestmark = pytest.mark.peer
ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts"
SCREENS = [(1280, 900), (390, 844)]


@pytest.fixture
def filled(site: Console) -> Console:
    """A study whose film is in the spool, read with signs, its results waiting; one that failed; an account."""
    (kept,) = site.spool.add_together([part10(film_of_phantom(1))])
    site.ledger.add_arrival(makers.replace(makers.arrival(), sha256=kept.sha256))
    for waiting in site.ledger.unregistered(10):
        site.ledger.register(waiting.arrival_id, makers.header(), None)
    site.ledger.mark_ready(makers.STUDY)
    claim = site.ledger.claim(makers.VERSIONS, 3)
    assert claim
    plain = makers.result_of(claim)
    images = tuple(makers.replace(image, reading=makers.with_signs(image.reading)) for image in plain.images)
    site.ledger.record(claim, makers.replace(plain, images=images), makers.stored(plain), (makers.PACS,))
    makers.take_in(site.ledger, "1.5.1", "1.5")
    site.ledger.mark_ready("1.5")
    failed = site.ledger.claim(makers.VERSIONS, 3)
    assert failed
    site.ledger.fail(failed, "DEFECT", "it broke", transient=False)
    site.account("anna", AccountRole.READER)
    return site


def visit(browser: Any, site: Console, *, width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
    """Log in by keyboard; whatever the browser complains of fails the test in the end."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(f"{site.url}/studies")
    page.keyboard.type("anna")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies")
    return page


def test_a_person_logs_in_opens_a_study_and_hides_a_layer(chromium: Any, filled: Console) -> None:
    page = visit(chromium, filled)
    page.click(f"tbody a[href='/studies/{makers.STUDY}']")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.querySelector('svg.picture image').getBBox().width") == 2500
    loaded = page.evaluate(
        "async () => { const image = new Image(); image.src = document.querySelector('svg.picture image')"
        ".getAttribute('href'); await image.decode(); return image.naturalWidth }"
    )
    assert loaded == film_of_phantom(1).Columns
    outlines = page.locator("g.outlines polygon").first
    assert outlines.is_visible()
    page.uncheck("input[data-layer=outlines]")
    assert not outlines.is_visible()
    assert page.locator("g.names text").first.is_visible()
    page.check("input[data-layer=outlines]")
    assert outlines.is_visible()
    assert page.complaints == []


def test_the_film_moves_by_mouse_and_keyboard_and_says_what_is_pointed_at(
    chromium: Any, filled: Console
) -> None:
    page = visit(chromium, filled)
    page.goto(f"{filled.url}/studies/{makers.STUDY}")
    picture = page.locator("svg.picture")

    def box() -> list[float]:
        return [float(part) for part in picture.get_attribute("viewBox").split()]

    def slope() -> float:
        return float(page.locator("feFuncR").get_attribute("slope"))

    picture.focus()
    assert box() == [0, 0, 2500, 3000]
    page.keyboard.press("+")
    assert box() == pytest.approx([250, 300, 2000, 2400])
    page.keyboard.press("ArrowRight")
    assert box()[0] == pytest.approx(450)
    page.keyboard.press("]")
    assert slope() == pytest.approx(1.1)
    page.keyboard.press("Home")
    assert slope() == 1
    page.keyboard.press("0")
    assert box() == [0, 0, 2500, 3000]
    picture.hover()
    page.mouse.wheel(0, -100)
    page.wait_for_function("document.querySelector('svg.picture').viewBox.baseVal.width < 2500")
    page.click("button[data-do=all]")
    page.locator("g.outlines g").first.dispatch_event("pointerover")
    assert "L4; found with a score of 0.90; the network says L3" in page.inner_text("[data-said]")
    assert page.complaints == []


def test_the_queue_follows_without_a_click_and_a_decision_is_confirmed(
    chromium: Any, filled: Console
) -> None:
    page = visit(chromium, filled)
    page.goto(f"{filled.url}/queue")
    assert "DEFECT: it broke" in page.inner_text("main")
    page.click("text=Give it up")
    assert "will be deleted" in page.inner_text("main")
    page.click("text=No, back")
    makers.take_in(filled.ledger, "1.6.1", "1.6")
    page.wait_for_selector("text=study …1.6", timeout=20_000)
    page.click("section:has(h2:has-text('Failed:')) >> text=Try again")
    page.click("button.main")
    assert "1 back in the queue" in page.inner_text("main")
    assert filled.ledger.counts().studies["ready"] == 1
    assert page.complaints == []


def test_a_page_that_asks_again_leads_to_the_login_when_the_session_has_ended(
    chromium: Any, filled: Console
) -> None:
    page = visit(chromium, filled)
    page.goto(f"{filled.url}/queue")
    filled.ledger.accounts.disable("anna")
    page.wait_for_url("**/login", timeout=20_000)


def test_by_keyboard_the_content_is_one_key_away_and_the_focus_is_seen(
    chromium: Any, filled: Console
) -> None:
    page = visit(chromium, filled)
    page.goto(f"{filled.url}/queue")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Tab")
    assert "3px" in page.evaluate("getComputedStyle(document.activeElement).outline")


@pytest.mark.parametrize(("screen", "scheme"), list(product(SCREENS, ("light", "dark"))), ids=str)
def test_axe_finds_no_serious_fault_and_nothing_is_wider_than_the_screen(
    chromium: Any, filled: Console, screen: tuple[int, int], scheme: str
) -> None:
    text = axe.source()
    width, height = screen
    page = visit(chromium, filled, width=width, height=height, scheme=scheme)
    found = {}
    paths = ("/queue", "/studies", f"/studies/{makers.STUDY}", "/studies/1.5", "/rules", "/destinations", "/machines",
             f"/queue/action?action=retry&study={makers.STUDY}")  # fmt: skip
    for path in paths:
        page.goto(f"{filled.url}{path}")
        found[path] = axe.faults(page, text)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found[path].append("wider than the screen")
    page.click("text=Log out")
    found["/login"] = axe.faults(page, text)
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"console-{width}-{scheme}.png")
    assert {path: faults for path, faults in found.items() if faults} == {}
    assert not [said for said in page.complaints if not re.search("favicon", said)]


def test_axe_would_find_a_fault(chromium: Any) -> None:
    page = chromium.new_page()
    page.set_content("<html lang=en><title>x</title><main><img src=x><button></button></main>")
    assert {fault.partition(":")[0] for fault in axe.faults(page, axe.source())} >= {
        "image-alt",
        "button-name",
    }


@pytest.mark.parametrize("screen", SCREENS, ids=str)
def test_a_person_reads_russian_and_the_choice_stays(
    chromium: Any, filled: Console, screen: tuple[int, int]
) -> None:
    text = axe.source()
    width, height = screen
    page = visit(chromium, filled, width=width, height=height)
    page.goto(f"{filled.url}/queue")
    assert page.locator("html").get_attribute("lang") == "en"
    page.get_by_role("button", name="Русский").click()
    page.wait_for_selector("html[lang=ru]", state="attached")
    assert page.url == f"{filled.url}/queue"
    assert page.locator("h1").inner_text() == "Очередь"
    assert page.locator(".languages [aria-current]").inner_text() == "Русский"
    for path, word in (
        ("/studies", "Исследования"),
        (f"/studies/{makers.STUDY}", "Ход событий"),
        ("/rules", "Правила"),
    ):
        page.goto(f"{filled.url}{path}")
        assert page.get_by_role("heading", name=word).first.is_visible()
        assert axe.faults(page, text) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=ARTIFACTS / f"russian-{path.count('/')}-{width}.png", full_page=True)
    cookie = next(each for each in page.context.cookies() if each["name"] == "spinepacs_language")
    assert (cookie["value"], cookie["httpOnly"], cookie["sameSite"]) == ("ru", True, "Strict")
    assert page.complaints == []
