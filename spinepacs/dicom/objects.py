"""Which objects a reading has: all of a new one, and what a person's correction makes of earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from spinepacs.dicom import author
from spinepacs.dicom.overlay.picture import draw_overlay, encode_overlay
from spinepacs.dicom.overlay.presentation import encode_presentation
from spinepacs.dicom.reading.film import LoadedFilm
from spinepacs.dicom.reading.parse import quiet
from spinepacs.dicom.report.document import encode_report
from spinepacs.dicom.report.rejection import encode_rejection
from spinepacs.dicom.segmentation import encode_segmentation
from spinepacs.domain.corrections import Draft
from spinepacs.domain.findings import EarlierObject, EncodedObject, ObjectKind, Reading, Refusal
from spinepacs.language import speaking
from spinepacs.settings.sections import OutputSettings

Step = Callable[[str], AbstractContextManager[None]]
"""Times a step by its name."""


def encode_all(
    film: LoadedFilm,
    display: NDArray[np.uint8],
    reading: Reading,
    output: OutputSettings,
    step: Step,
    earlier: Sequence[EarlierObject] = (),
) -> Iterator[EncodedObject]:
    """Encode what the settings ask for.

    A correction names the report that its own replaces, and has a key object that rejects all that is ``earlier``. One
    that accepts has a report alone, which refers to the segmentation that is there; one that rejects a key object
    alone.

    Parameters
    ----------
    film
        The source image, with its sanitised header.
    display
        (rows, columns) uint8, for the picture.
    earlier
        What earlier readings of the film have left in archives.
    """
    header = film.header
    there = {item.kind: item for item in earlier}
    draft = reading.correction.draft if reading.correction else None
    if draft and draft.is_acceptance and earlier:
        if output.report_enabled:
            with step("report"):
                report = encode_report(
                    header, reading, there.get(ObjectKind.SEG), output, there.get(ObjectKind.SR)
                )
            yield report
        return
    if not (draft and draft.is_rejection):
        yield from _results(film, display, reading, output, step, there.get(ObjectKind.SR))
    if draft and earlier:
        with step("report"):
            rejection = encode_rejection(header, reading, earlier, output)
        yield rejection


def _results(
    film: LoadedFilm,
    display: NDArray[np.uint8],
    reading: Reading,
    output: OutputSettings,
    step: Step,
    predecessor: EarlierObject | None,
) -> Iterator[EncodedObject]:
    header, segmentation = film.header, None
    if output.segmentation_enabled:
        with step("segmentation"):
            segmentation = encode_segmentation(header, reading, output)
    if segmentation:
        yield segmentation
    if output.report_enabled:
        with step("report"):
            report = encode_report(header, reading, segmentation, output, predecessor)
        yield report
    if output.overlay_enabled:
        with step("overlay"):
            with speaking(output.language):
                picture = draw_overlay(display, reading)
            overlay = encode_overlay(header, reading, picture, output)
        yield overlay
    if output.presentation_state_enabled and reading.spine:
        with step("presentation"):
            state = encode_presentation(header, reading, film.shown, output)
        yield state


@quiet()  # a character set that is misspelt is no news here
def unwritable(header: Dataset, draft: Draft) -> Refusal | None:
    """Why the author of a correction cannot be named in the film's objects, whose character set is the film's own."""
    if all(author.can_hold(header, words) for words in (draft.author, draft.organisation)):
        return None
    return Refusal(
        "AUTHOR_NOT_WRITABLE",
        "the film's character set has not all letters of the author or the organisation: give them in Latin ones",
    )
