"""The printable page of each film as an object, where a destination is sent it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spinepacs.dicom.encapsulated import encode_pdf
from spinepacs.dicom.reading.header import read_header
from spinepacs.dicom.reading.parse import parse
from spinepacs.dicom.reading.source import source_header
from spinepacs.domain.findings import ImageResult, ObjectKind, StudyResult
from spinepacs.errors import SpinepacsError
from spinepacs.language import speaking
from spinepacs.settings.sections import OutputSettings
from spinepacs.show.page.pdf import as_pdf

_log = logging.getLogger(__name__)


def with_pages(
    result: StudyResult, films: Sequence[Path], character_set: str, output: OutputSettings
) -> StudyResult:
    """Add the page of each film that has results; one that cannot be printed is logged, and the others go on.

    Parameters
    ----------
    films
        Their files, in the order of the result.
    character_set
        Of their texts where they declare none.
    """
    pairs = zip(result.images, films, strict=True)
    return replace(
        result, images=tuple(with_page(image, film, character_set, output) for image, film in pairs)
    )


def with_page(image: ImageResult, film: Path, character_set: str, output: OutputSettings) -> ImageResult:
    """Add the page of one film; see :func:`with_pages`. A key object comes after it, as after all results."""
    if image.reading.spine is None:
        return image
    try:
        with speaking(output.language):
            pdf = as_pdf(image, read_header(film, character_set))
        header = source_header(parse(film, with_pixels=False, character_set=character_set))
        page = encode_pdf(header, image.reading, pdf, output)
    except SpinepacsError:
        raise
    except Exception as error:  # a picture of the results must not cost the results
        _log.error("page not made: %s", type(error).__name__, extra={"sop_uid": image.reading.sop_uid})
        return image
    results = [item for item in image.objects if item.kind is not ObjectKind.REJECTION]
    return replace(image, objects=(*results, page, *image.objects[len(results) :]))
