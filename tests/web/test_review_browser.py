"""A demo film is put right in a real browser: a daemon with the shipped model reads it, Orthanc gets what follows."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import ComprehensiveSRStorage
from pynetdicom import AE

from spinepacs.dicom.codes import VERTEBRAE
from spinepacs.domain.anatomy import Level
from spinepacs.settings.shipped import shipped
from spinepacs.store.accounts import AccountRole, sha256_of
from spinepacs.web.guard import COOKIE
from tests import peers
from tests.daemons import Daemon, daemon, destination
from tests.web import axe
from tests.web.consoles import password_hash
from tests.web.test_browser import ARTIFACTS

pytestmark = pytest.mark.peer
ROOT = Path(__file__).resolve().parents[2]
FILM = ROOT / "demo" / "films" / "2-lumbar-lateral.dcm"
PICTURE = ROOT / "docs" / "images" / "console.png"
"""Made here from the synthetic film, where SPINEPACS_PICTURES is set; 200 KB at most."""
LATER_S = 60_000.0


@dataclass(frozen=True)
class House:
    """A daemon that has read the film, and the archive that has its results."""

    running: Daemon
    archive: peers.Orthanc
    url: str
    film: Dataset

    def reports(self) -> list[Dataset]:
        """The SRs that the archive holds, oldest first."""
        found = []
        for instance in self.archive.get("/instances"):
            content = self.archive.download(f"/instances/{instance}/file")
            dataset = dcmread(io.BytesIO(content))
            if dataset.SOPClassUID == ComprehensiveSRStorage:
                found.append(dataset)
        return sorted(found, key=lambda one: str(getattr(one, "PredecessorDocumentsSequence", "")))

    def names(self) -> list[str]:
        """Of the vertebrae in the film's current reading."""
        with self.running.ledger() as ledger:
            current = ledger.corrections.current(str(self.film.SOPInstanceUID))
            return [vertebra.level.name for vertebra in current.reading.spine.vertebrae]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, port, film = tmp_path_factory.mktemp("review"), peers.free_port(), dcmread(FILM)
    with peers.orthanc(folder) as archive:
        goes = [destination(archive.dicom_port, "orthanc", ae_title=archive.ae_title)]
        model = {"folder": str(shipped("models", "spine"))}
        with daemon(folder, goes, web={"port": port}, model=model) as running:
            running.start()
            running.wait_ready(120)
            entity = AE(ae_title="MODALITY")
            entity.add_requested_context(film.SOPClassUID, film.file_meta.TransferSyntaxUID)
            association = entity.associate("127.0.0.1", running.port, ae_title="SPINEPACS")
            assert association.send_c_store(film).Status == 0x0000
            association.release()
            peers.wait_until(lambda: running.states() == {"delivered": 1}, 120, "the study")
            with running.ledger() as ledger:
                ledger.accounts.add("anna", AccountRole.READER, password_hash())
                until = datetime.now(UTC) + timedelta(hours=1)
                ledger.accounts.log_in(sha256_of("token"), "anna", "", until)
            yield House(running, archive, f"http://127.0.0.1:{port}", film)
            assert running.terminate() == 0


def opened(browser: Any, house: House, *, width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
    """The page of the film's study, logged in."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.add_cookies([{"name": COOKIE, "value": "token", "url": house.url}])
    page = context.new_page()
    page.set_default_timeout(LATER_S)
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(f"{house.url}/studies/{house.film.StudyInstanceUID}")
    return page


def ready(page: Any) -> None:
    """Wait until the last answer of the server is there and drawn."""
    waits = page.locator(".htmx-request")
    peers.wait_until(lambda: waits.count() == 0, 60, "the answer")
    page.wait_for_load_state("networkidle")


def names_on_film(page: Any) -> list[str]:
    return page.locator("svg.picture g.draft text").all_text_contents()


def draft(page: Any) -> None:
    """Open the desk with nothing on it."""
    page.click("text=Correct…")
    page.wait_for_selector("[data-draft]")


@pytest.mark.parametrize(("screen", "scheme"), [((1280, 900), "light"), ((390, 844), "dark")], ids=str)
def test_axe_finds_no_serious_fault_in_the_panel(
    chromium: Any,
    house: House,
    screen: tuple[int, int],
    scheme: str,
) -> None:
    text = axe.source()
    page = opened(chromium, house, width=screen[0], height=screen[1], scheme=scheme)
    found = axe.faults(page, text)
    ARTIFACTS.mkdir(exist_ok=True)
    draft(page)
    found += axe.faults(page, text)
    page.screenshot(path=ARTIFACTS / f"review-tools-{screen[0]}-{scheme}.png", full_page=True)
    page.click("button:has-text('One up')")
    page.wait_for_selector("text=What would change")
    ready(page)
    found += axe.faults(page, text)
    page.screenshot(path=ARTIFACTS / f"review-{screen[0]}-{scheme}.png", full_page=screen[0] < 500)
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= screen[0]
    assert page.complaints == []


def test_points_are_moved_by_mouse_and_keys_and_taken_back(chromium: Any, house: House) -> None:
    page = opened(chromium, house)
    draft(page)
    assert page.evaluate("document.activeElement.textContent") == "Draft of a correction"
    before = house.names()
    assert names_on_film(page) == before
    assert page.locator("g.handle").count() >= 3

    page.locator("[data-body='1'] polygon").click()
    assert page.input_value("[data-vertebra]") == before[1]
    handle = page.locator("[data-point=upper_left]")
    at = handle.locator(".dot").evaluate("line => [line.x1.baseVal.value, line.y1.baseVal.value]")
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("ol.steps-said")
    ready(page)
    steps = page.locator("ol.steps-said li").all_inner_texts()
    assert steps == [f"{before[1]}: upper left of its endplate moved"]
    moved = handle.locator(".dot").evaluate("line => [line.x1.baseVal.value, line.y1.baseVal.value]")
    assert moved == pytest.approx([at[0] + 1, at[1] + 10], abs=0.02)
    assert page.evaluate("document.activeElement.dataset.point") == "upper_left", (
        "the focus stays where one works"
    )

    box = handle.locator(".halo").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 12, box["y"] + 4, steps=4)
    page.mouse.up()
    ready(page)
    assert page.locator("ol.steps-said li").count() == 1, (
        "the same point again takes the place of its last move"
    )
    dragged = handle.locator(".dot").evaluate("line => [line.x1.baseVal.value, line.y1.baseVal.value]")
    assert dragged[0] > moved[0] + 1
    viewed = page.locator("svg.picture").get_attribute("viewBox")
    assert viewed.split()[:2] == ["0", "0"], "the film was not moved along"

    page.click("text=Undo the last")
    page.wait_for_selector("text=Nothing is changed yet")
    page.click("text=Discard the draft")
    page.wait_for_selector("text=Correct…")
    assert page.locator("g.draft").count() == 0
    assert house.names() == before
    assert page.complaints == []


def test_a_missed_body_is_proposed_drawn_and_put_in(chromium: Any, house: House) -> None:
    page = opened(chromium, house)
    draft(page)
    before = names_on_film(page)
    page.select_option("[data-vertebra]", before[2])
    page.click("text=It is none: remove it")
    peers.wait_until(lambda: len(names_on_film(page)) == len(before) - 1, 60, "the draft")
    ready(page)
    page.click("text=Draw a missed vertebra")
    assert f"It would be {before[2]} here" in page.inner_text("[data-placing-said]")
    assert page.evaluate("document.activeElement.dataset.point") == "whole"
    assert not page.is_visible("text=Draw a missed vertebra")
    page.keyboard.press("ArrowRight")
    page.screenshot(path=ARTIFACTS / "review-missed.png")
    page.click("text=Put it in")
    peers.wait_until(lambda: len(names_on_film(page)) == len(before), 60, "the draft")
    ready(page)
    assert sorted(names_on_film(page)) == sorted(before)
    assert page.locator("ol.steps-said li").all_inner_texts() == [
        f"{before[2]} removed",
        f"a missed vertebra put in as {before[2]}",
    ]
    assert page.complaints == []


def test_one_click_renames_the_film_and_the_archive_holds_the_new_report(
    chromium: Any,
    house: House,
) -> None:
    (report,) = house.reports()
    before = house.names()
    assert before[-1] in ("L5", "S1")
    page = opened(chromium, house)
    page.click("text=All names one up")
    page.wait_for_selector("text=What would change")
    shown = names_on_film(page)
    assert shown == ["T12", *before][: len(before)] if before[0] == "L1" else shown != before
    page.fill("input[name=author]", "Doe^Jane")
    page.fill("input[name=organisation]", "Ward 3")
    page.fill("input[name=reason]", "six lumbar bodies")
    ready(page)
    if os.environ.get("SPINEPACS_PICTURES"):
        _picture(page)
    page.click("text=Publish as a new reading")
    page.wait_for_selector(".status")
    assert page.evaluate("document.activeElement.textContent") == "Review", (
        "who works by keyboard stays there"
    )
    page.wait_for_selector(".status:has-text('delivered')")
    assert "orthanc: " in page.inner_text(".status")
    page.screenshot(path=ARTIFACTS / "review-delivered.png")
    page.click("text=Show the new reading")
    page.wait_for_load_state("networkidle")
    assert page.locator("svg.picture g.names text").all_text_contents() == shown
    assert "corrected by Doe^Jane" in page.inner_text("section.film")
    page.click("summary:has-text('History')")
    page.click("text=What it changed")
    page.wait_for_selector(".history .differences")
    page.screenshot(path=ARTIFACTS / "review-history.png")
    assert page.complaints == []

    assert house.names() == shown
    first, second = house.reports()
    assert first.SOPInstanceUID == report.SOPInstanceUID, "archives keep the earlier one"
    told = str(second)
    assert second.VerificationFlag == "VERIFIED"
    assert "Doe^Jane" in told
    (earlier,) = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert earlier.ReferencedSOPInstanceUID == first.SOPInstanceUID
    new, old = (set(shown) - set(before)).pop(), (set(before) - set(shown)).pop()
    assert VERTEBRAE[Level[new]].meaning in meanings(second) - meanings(first)
    assert VERTEBRAE[Level[old]].meaning in meanings(first) - meanings(second)

    again = opened(chromium, house)
    again.click("text=All names one down")
    again.wait_for_selector("text=What would change")
    assert again.input_value("input[name=author]") == "anna", "another browser does not know the name"


def _picture(page: Any) -> None:
    """For the docs: the film and its review, in a quarter of all shades, since a PNG of all is too large."""
    clip = {"x": 0, "y": 180, "width": 1280, "height": 720}
    taken = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    fewer = [min(255, 4 * round(value / 4)) for value in range(256)]
    taken.point(fewer * 3).save(PICTURE, optimize=True)
    assert PICTURE.stat().st_size <= 200_000


def meanings(report: Dataset) -> set[str]:
    """All that its codes mean."""
    return {str(element.value) for element in report.iterall() if element.keyword == "CodeMeaning"}
