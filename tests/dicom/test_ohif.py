"""A result in OHIF, in a real browser, over Orthanc's DICOMweb: segments and measurements are drawn."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from spinepacs.dicom.codes import colour_of
from spinepacs.dicom.overlay.picture import draw_overlay, encode_overlay
from spinepacs.dicom.report.document import encode_report
from spinepacs.dicom.segmentation import encode_segmentation
from spinepacs.domain.findings import Reading
from spinepacs.domain.measures import Quantity
from spinepacs.settings.sections import OutputSettings
from tests.dicom.ohif import ohif
from tests.dicom.truth import FILMS, true_reading
from tests.peers import orthanc, require

try:
    from playwright import sync_api as playwright
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("playwright (PyPI) is not installed", allow_module_level=True)

ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts"
# No GPU and no sandbox for root in a container; the rest is OHIF's need for WebGL.
CHROMIUM = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def no_spacing(film: Dataset) -> None:
    for keyword in ("ImagerPixelSpacing", "PixelSpacing", "EstimatedRadiographicMagnificationFactor"):
        if keyword in film:
            delattr(film, keyword)


def whole_geometry(film: Dataset) -> None:
    """Plane and spacing, but no slice thickness, which no projection has."""
    film.FrameOfReferenceUID = film.StudyInstanceUID
    film.ImagePositionPatient, film.ImageOrientationPatient = [0, 0, 0], [0, 1, 0, 0, 0, -1]
    film.PixelSpacing = film.ImagerPixelSpacing


HEADERS: dict[str, Callable[[Dataset], None]] = {
    "as-it-is": lambda film: None, "no-spacing": no_spacing, "whole-geometry": whole_geometry,
}  # fmt: skip


@contextmanager
def archive_with_result(tmp_path: Path, change: Callable[[Dataset], None]) -> Iterator[tuple[str, Reading]]:
    """Orthanc with a film of the demo, its header changed, its SEG, its report and its picture.

    Its 1241 columns are no multiple of 8: the frames of a BINARY SEG do not begin at bytes.
    """
    dataset = dcmread(FILMS / "1-cervical-lateral.dcm")
    change(dataset)
    dataset.save_as(tmp_path / "film.dcm")
    film, reading = true_reading("1-cervical-lateral", tmp_path / "film.dcm")
    output = OutputSettings()
    segmentation = encode_segmentation(film.header, reading, output)
    assert segmentation
    picture = draw_overlay(film.radiograph.display, reading)
    objects = [
        segmentation,
        encode_report(film.header, reading, segmentation, output),
        encode_overlay(film.header, reading, picture, output),
    ]
    with orthanc(tmp_path, dicomweb=True) as pacs:
        pacs.post("/instances", (tmp_path / "film.dcm").read_bytes())
        for item in objects:
            pacs.post("/instances", item.part10)
        yield pacs.url, reading


def coloured(page: playwright.Page, reading: Reading, name: str) -> int:
    """Pixels of the viewport in a hue of the segments; the screenshot is kept as an artifact."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / name)
    shot = page.locator('[data-cy="viewport-pane"]').screenshot()
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2HSV)
    assert reading.spine
    hues = {
        int(cv2.cvtColor(np.uint8([[colour_of(v.level)]]), cv2.COLOR_RGB2HSV)[0, 0, 0])
        for v in reading.spine.vertebrae
    }
    near = np.isin(picture[..., 0], [h + d for h in hues for d in (-3, -2, -1, 0, 1, 2, 3)])
    return int((near & (picture[..., 1] > 60) & (picture[..., 2] > 60)).sum())


def open_series(page: playwright.Page, name: str) -> None:
    """Double-click a series in the study browser, as a user does."""
    page.locator('[data-cy^="study-browser-thumbnail"]').filter(has_text=name).first.dblclick()


@pytest.mark.peer
@pytest.mark.parametrize("header", HEADERS)
def test_ohif_draws_the_segments_and_the_measurements(tmp_path: Path, header: str) -> None:
    chromium = require("chromium")
    with (
        archive_with_result(tmp_path, HEADERS[header]) as (orthanc_url, reading),
        ohif(orthanc_url) as url,
        playwright.sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(40_000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}/viewer?StudyInstanceUIDs={reading.study_uid}")
        page.get_by_text("Skip all").click()
        assert coloured(page, reading, f"ohif-film-{header}.png") < 200

        open_series(page, "Vertebrae")
        page.get_by_text("Yes", exact=True).click()
        page.locator('[data-cy="panelSegmentation-btn"]').click()
        for vertebra in reading.spine.vertebrae if reading.spine else ():
            page.get_by_text(vertebra.level.name, exact=True).first.wait_for()
        page.wait_for_timeout(1000)  # the canvas is drawn a little later than the panel
        assert coloured(page, reading, f"ohif-segments-{header}.png") > 20_000

        open_series(page, "Spine measurements")
        drawn = page.locator("svg.svg-layer")
        heights = [m for m in reading.measures if m.quantity is Quantity.DISC_HEIGHT_MIDDLE]
        drawn.get_by_text("Disc height").nth(len(heights) - 1).wait_for(state="attached")
        page.wait_for_timeout(500)
        page.screenshot(path=ARTIFACTS / f"ohif-measurements-{header}.png")
        text = " ".join(drawn.all_text_contents())
        for height in heights:
            unit = "{pixels}" if height.unit == "px" else height.unit  # as UCUM writes it
            assert f"Disc height: {height.value:.2f} {unit}" in text
        (angle,) = [m for m in reading.measures if m.quantity is Quantity.CERVICAL_LORDOSIS]
        assert f"Cervical lordosis C2-C7: {angle.value:.1f}" in text
        assert drawn.locator("polyline").count() > len(heights)
        assert errors == []
        browser.close()
