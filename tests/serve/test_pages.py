"""The page as Encapsulated PDF: whole, the film's patient, the same bytes each time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from spinepacs.dicom.encapsulated import encode_pdf
from spinepacs.dicom.reading.header import read_header
from spinepacs.domain.corrections import Correction, Draft, Shift
from spinepacs.domain.findings import EncodedObject, ImageResult, ObjectKind, StudyResult
from spinepacs.errors import BadSettings
from spinepacs.serve import pages
from spinepacs.settings.sections import OutputSettings
from spinepacs.show.page import pdf as printing
from spinepacs.show.page.article import article
from tests import films, peers
from tests.dicom import readings
from tests.dicom.tools import dciodvfy_complaints

OUTPUT = OutputSettings()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return films.write(films.make_dx(), tmp_path / "film.dcm")


def result_of() -> StudyResult:
    reading = readings.reading(readings.header())
    report = EncodedObject(ObjectKind.SR, reading.sop_uid, "2.25.7", "", "", "", b"")
    return StudyResult(reading.study_uid, (ImageResult(reading, (report,)),))


@pytest.mark.peer
@pytest.mark.parametrize("size_bytes", [1000, 1001])
def test_dciodvfy_has_nothing_to_say(tmp_path: Path, size_bytes: int) -> None:
    source = readings.header()
    pdf = b"%PDF-1.7\n" + bytes(size_bytes - 9)
    found = encode_pdf(source, readings.reading(source), pdf, OUTPUT)
    (tmp_path / "page.dcm").write_bytes(found.part10)
    known = ("EncapsulatedPDF", "Error - Missing attribute Type 2C Conditional Element=<Laterality>")
    assert [line for line in dciodvfy_complaints(tmp_path / "page.dcm") if not line.startswith(known)] == []
    dataset = pydicom.dcmread(BytesIO(found.part10))
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == pdf
    assert len(dataset.EncapsulatedDocument) % 2 == 0
    assert dataset.StudyInstanceUID == source.StudyInstanceUID
    assert dataset.SourceInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_a_page_is_printed_with_the_film_s_patient(film: Path) -> None:
    peers.needs_weasyprint()
    made = pages.with_pages(result_of(), [film], "", OUTPUT)
    again = pages.with_pages(result_of(), [film], "", OUTPUT)
    report, page = made.images[0].objects
    assert (report.kind, page.kind) == (ObjectKind.SR, ObjectKind.PDF)
    assert page.part10 == again.images[0].objects[1].part10
    dataset = pydicom.dcmread(BytesIO(page.part10))
    assert dataset.PatientID == films.PATIENT_ID
    assert dataset.EncapsulatedDocument.startswith(b"%PDF-")


def test_the_page_of_a_correction_names_the_person_and_comes_before_the_key_object(film: Path) -> None:
    peers.needs_weasyprint()
    (image,) = result_of().images
    draft = Draft((Shift(0),), "Doe^Jane", "Ward <3>")
    fixed = replace(image.reading, correction=Correction("a1", draft, datetime(2026, 11, 30, tzinfo=UTC), ""))
    rejection = replace(image.objects[0], kind=ObjectKind.REJECTION)
    made = pages.with_page(ImageResult(fixed, (*image.objects, rejection)), film, "", OUTPUT)
    assert [item.kind for item in made.objects] == [ObjectKind.SR, ObjectKind.PDF, ObjectKind.REJECTION]
    plain = pages.with_page(image, film, "", OUTPUT)
    assert made.objects[1].sop_uid != plain.objects[1].sop_uid
    said = article(made, read_header(film))
    assert "Not for diagnostic use. Corrected by Jane Doe, Ward &lt;3&gt;. 2026-11-30." in said
    assert "Found by software" in article(plain, read_header(film))


def test_a_page_that_cannot_be_printed_costs_nothing_but_itself(
    film: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> bytes:
        raise RuntimeError(films.PATIENT_ID)

    monkeypatch.setattr(pages, "as_pdf", fails)
    made = pages.with_pages(result_of(), [film], "", OUTPUT)
    assert [item.kind for item in made.images[0].objects] == [ObjectKind.SR]
    assert "RuntimeError" in caplog.text
    assert films.PATIENT_ID not in caplog.text


def test_damaged_pictures_stay_damaged_when_pages_are_printed() -> None:
    """In a process of its own: WeasyPrint is imported once only."""
    peers.needs_weasyprint()
    code = """
import io
from PIL import Image
from spinepacs.show.page.pdf import load_weasyprint
load_weasyprint()
whole = io.BytesIO()
Image.effect_noise((64, 64), 50).save(whole, "PNG")
try:
    Image.open(io.BytesIO(whole.getvalue()[:2000])).load()
except OSError as error:
    print(error)
"""
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "truncated" in seen


def test_without_weasyprint_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(BadSettings, match="spinepacs\\[pdf\\]"):
        printing.load_weasyprint()
