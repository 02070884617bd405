"""The printable page of each film as an object, where a destination is sent it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from spinepacs.dicom.encapsulated import encode_pdf
from spinepacs.dicom.reading.header import read_header
from spinepacs.dicom.reading.parse import parse
from spinepacs.dicom.reading.source import source_header
from spinepacs.domain.findings import ImageResult, StudyResult
from spinepacs.errors import SpinepacsError
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
    pages = _pages(result.images, films, character_set, output)
    return replace(result, images=tuple(pages))


def _pages(
    images: Sequence[ImageResult], films: Sequence[Path], character_set: str, output: OutputSettings
) -> Iterator[ImageResult]:
    for image, film in zip(images, films, strict=True):
        if not image.objects or image.reading.spine is None:
            yield image
            continue
        try:
            pdf = as_pdf(image, read_header(film, character_set))
            header = source_header(parse(film, with_pixels=False, character_set=character_set))
            page = encode_pdf(header, image.reading, pdf, output)
        except SpinepacsError:
            raise
        except Exception as error:  # a picture of the results must not cost the results
            _log.error("page not made: %s", type(error).__name__, extra={"sop_uid": image.reading.sop_uid})
            yield image
        else:
            yield replace(image, objects=(*image.objects, page))
