"""A film → its named spine: detect, name, and look again where the chain misses a vertebra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.gaps import find_gaps
from spinepacs.analysis.label import label
from spinepacs.analysis.normalise import with_square_pixels
from spinepacs.analysis.segment import Segmenter, Step, scaled, untimed
from spinepacs.findings import Detection, Refusal, Spine
from spinepacs.study import Radiograph


def find_spine(
    segmenter: Segmenter, film: Radiograph, step: Step = untimed
) -> tuple[Spine | Refusal, tuple[Detection, ...]]:
    """Find and name the vertebrae of a film.

    Parameters
    ----------
    step
        Called with ``normalise``, ``infer``, ``segment`` and ``label``, each more than once.

    Returns
    -------
    spine
        The named spine, or why there is none.
    found
        All detections, native px: those of the spine and those that it has no place for.
    """
    display, factor = with_square_pixels(film.display, film.spacing)
    found = _native(segmenter.detect(display, film.view, step), factor)
    with step("label"):
        spine = label(found, film.view, film.anterior_left, film.body_part)
    if isinstance(spine, Refusal) or not spine.missing:
        return spine, found
    found += _native(segmenter.detect_missing(display, find_gaps(spine, factor), step), factor)
    with step("label"):
        return label(found, film.view, film.anterior_left, film.body_part), found


def _native(found: Sequence[Detection], factor: NDArray[np.float64]) -> tuple[Detection, ...]:
    return tuple(scaled(detection, factor) for detection in found)
