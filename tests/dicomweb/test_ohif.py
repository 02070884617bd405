"""OHIF, in a real browser, opens a study that it has from us alone: the film, the segments, the measurements."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import peers
from tests.daemons import film
from tests.dicom.ohif import ohif
from tests.dicomweb.servers import SENDER, VIEWER, basic
from tests.dicomweb.test_daemon import site_of

try:
    from playwright import sync_api as playwright
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("playwright (PyPI) is not installed", allow_module_level=True)

ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts"
# No GPU and no sandbox for root in a container; the rest is OHIF's need for WebGL.
CHROMIUM = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def seen(page: playwright.Page, name: str) -> tuple[int, int]:
    """Pixels of the viewport that are bright, and those that are coloured; the screenshot is kept."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / name)
    shot = page.locator('[data-cy="viewport-pane"]').screenshot()
    picture = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR).astype(int)
    brightest = picture.max(axis=2)
    return int((brightest > 100).sum()), int((brightest - picture.min(axis=2) > 60).sum())


@pytest.mark.peer
def test_ohif_opens_a_study_from_us_alone(tmp_path: Path) -> None:
    chromium = peers.require("chromium")
    sent = film(1)
    with site_of(tmp_path) as site:
        site.client(SENDER).store_instances([sent])
        peers.wait_until(lambda: site.running.states() == {"delivered": 1}, 60, "the study")
        with (
            ohif(f"http://127.0.0.1:{site.port}", Authorization=basic(VIEWER)) as url,
            playwright.sync_playwright() as driver,
        ):
            browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM)
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.set_default_timeout(60_000)
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(f"{url}/")
            page.get_by_text(str(sent.PatientID)).first.wait_for()
            page.goto(f"{url}/viewer?StudyInstanceUIDs={sent.StudyInstanceUID}")
            page.get_by_text("Skip all").click()
            page.wait_for_timeout(1000)
            bright, coloured = seen(page, "ohif-own-film.png")
            assert bright > 20_000
            assert coloured < 10_000, "the page itself has some"

            series = page.locator('[data-cy^="study-browser-thumbnail"]')
            series.filter(has_text="Vertebrae").first.dblclick()
            page.get_by_text("Yes", exact=True).click()
            page.locator('[data-cy="panelSegmentation-btn"]').click()
            page.get_by_text("L4", exact=True).first.wait_for()
            page.wait_for_timeout(1000)  # the canvas is drawn a little later than the panel
            assert seen(page, "ohif-own-segments.png")[1] > 20_000

            series.filter(has_text="Spine measurements").first.dblclick()
            drawn = page.locator("svg.svg-layer")
            drawn.get_by_text("Disc height").first.wait_for(state="attached")
            seen(page, "ohif-own-measurements.png")
            assert errors == []
            browser.close()
        assert site.running.terminate() == 0
