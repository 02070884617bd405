"""A film → its named spine: detect, name, look again where one is missing, draw the bodies from near by, name them as
they were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.naming.chain import best_chain
from spinepacs.analysis.naming.label import label
from spinepacs.analysis.naming.redrawing import redrawn
from spinepacs.analysis.seeing.gaps import find_gaps
from spinepacs.analysis.seeing.normalise import with_square_pixels
from spinepacs.analysis.seeing.segment import Segmenter, Step, scaled, untimed
from spinepacs.analysis.seeing.windows import join
from spinepacs.domain.findings import Detection, Refusal, Spine, Vertebra
from spinepacs.domain.geometry import Outline, stretching
from spinepacs.domain.study import Radiograph, View


def find_spine(
    segmenter: Segmenter, film: Radiograph, step: Step = untimed
) -> tuple[Spine | Refusal, tuple[Detection, ...]]:
    """Find and name the vertebrae of a film.

    Parameters
    ----------
    step
        Called with ``normalise``, ``infer``, ``segment``, ``levels``, ``label`` and ``trace``, some more than once.

    Returns
    -------
    spine
        The named spine, or why there is none.
    found
        All detections, native px: those of the spine and those that it has no place for.
    """
    display, factor = with_square_pixels(film.display, film.spacing)
    read = _traced(segmenter, display, factor, _first_named(segmenter, display, factor, film, step), step)
    return _named_as_drawn(segmenter, display, factor, read, film, step)


def find_bodies(segmenter: Segmenter, film: Radiograph) -> tuple[Detection, ...]:
    """What :func:`find_spine` finds as it is first named, before any body is drawn: what the prices of names are
    fitted to."""
    display, factor = with_square_pixels(film.display, film.spacing)
    return _first_named(segmenter, display, factor, film, untimed)[1]


def _first_named(
    segmenter: Segmenter,
    display: NDArray[np.uint8],
    factor: NDArray[np.float64],
    film: Radiograph,
    step: Step,
) -> tuple[Spine | Refusal, tuple[Detection, ...]]:
    """Detect, name, and look again where one is missing."""
    seen = _read(
        segmenter, display, detect(segmenter, display, film.view, step, view_is_sure=film.view_is_sure), step
    )
    spine, found = _named(seen, factor, film, step)
    if isinstance(spine, Spine) and spine.missing:
        more = segmenter.detect_missing(display, find_gaps(spine, factor), step)
        if more:
            spine, found = _named(_read(segmenter, display, seen + more, step), factor, film, step)
    return spine, found


def _named(
    seen: Sequence[Detection], factor: NDArray[np.float64], film: Radiograph, step: Step
) -> tuple[Spine | Refusal, tuple[Detection, ...]]:
    """The spine of what was seen in px of the display, and all of it in native px."""
    found = tuple(scaled(detection, factor) for detection in seen)
    with step("label"):
        return named(found, film), found


def _traced(
    segmenter: Segmenter,
    display: NDArray[np.uint8],
    factor: NDArray[np.float64],
    read: tuple[Spine | Refusal, tuple[Detection, ...]],
    step: Step,
) -> tuple[Spine | Refusal, tuple[Detection, ...]]:
    """Spine and detections with the bodies drawn again from near by, where the model has a tracer; names stay."""
    spine, found = read
    if segmenter.tracer is None or isinstance(spine, Refusal):
        return read
    with step("trace"):
        seen = _stretched(spine.vertebrae, 1 / factor)
        fresh = _stretched(redrawn(segmenter.tracer, display, seen), factor)
        drawn = {id(old.outline): new.outline for old, new in zip(spine.vertebrae, fresh, strict=True)}
        return replace(spine, vertebrae=fresh), tuple(
            _with_outline(one, drawn[id(one.outline)]) if id(one.outline) in drawn else one for one in found
        )


def _stretched(bodies: tuple[Vertebra, ...], factor: NDArray[np.float64]) -> tuple[Vertebra, ...]:
    """The same bodies on a picture that is so many times as wide and as high."""
    if (factor == 1).all():  # copies would have to work out their areas and centres again
        return bodies
    return tuple(body.moved(stretching(*factor)) for body in bodies)


def _named_as_drawn(
    segmenter: Segmenter,
    display: NDArray[np.uint8],
    factor: NDArray[np.float64],
    read: tuple[Spine | Refusal, tuple[Detection, ...]],
    film: Radiograph,
    step: Step,
) -> tuple[Spine | Refusal, tuple[Detection, ...]]:
    """The same bodies, read and named once more where they were drawn: there the reader looks at their middles, and
    distances and sizes are truer. Where that changes names, they are drawn anew."""
    spine, found = read
    if segmenter.tracer is None or isinstance(spine, Refusal):
        return read
    said = _read(segmenter, display, tuple(scaled(one, 1 / factor) for one in found), step)
    found = tuple(replace(one, evidence=new.evidence) for one, new in zip(found, said, strict=True))
    with step("label"):
        again = named(found, film)
    if isinstance(again, Refusal):
        return read
    drawn = {(id(body.outline), body.level): body for body in spine.vertebrae}
    before = [drawn.get((id(body.outline), body.level)) for body in again.vertebrae]
    if not all(before):
        return _traced(segmenter, display, factor, (again, found), step)
    kept = zip(again.vertebrae, filter(None, before), strict=True)
    plated = tuple(replace(body, upper=old.upper, lower=old.lower) for body, old in kept)
    return replace(again, vertebrae=plated), found


def _with_outline(detection: Detection, outline: Outline) -> Detection:
    box = np.concatenate([outline.points.min(axis=0), outline.points.max(axis=0)])
    return replace(detection, outline=outline, box_px=box)


def named(found: Sequence[Detection], film: Radiograph) -> Spine | Refusal:
    """Name what was found on a film (native px), with all that its header says."""
    return label(found, film.view, film.anterior_left, film.body_part, view_is_sure=film.view_is_sure)


def _read(
    segmenter: Segmenter, display: NDArray[np.uint8], seen: tuple[Detection, ...], step: Step
) -> tuple[Detection, ...]:
    """Detections with what the reader says of them, where the model has one; px of ``display``."""
    if segmenter.reader is None or not seen:
        return seen
    with step("levels"):
        towards = best_chain(seen).axes.mean(axis=0)
        return segmenter.reader.read(display, seen, towards / np.hypot(*towards))


def detect(
    segmenter: Segmenter,
    display: NDArray[np.uint8],
    view: View = View.UNKNOWN,
    step: Step = untimed,
    *,
    view_is_sure: bool = True,
) -> tuple[Detection, ...]:
    """Read one film: as a whole, and again in windows along the spine where the manifest asks for it.

    AP films are read as a whole only: windows were measured to find nothing more on them
    (docs/decisions/0004-a-closer-look.md).

    Parameters
    ----------
    display
        (rows, columns) uint8, bright bone on dark ground, square pixels.
    view
        As the header states it; if it does not, or is not sure, the first look tells.
    step
        Called with ``normalise``, ``infer`` and ``segment``, once for each look.

    Returns
    -------
    Detections in native px, best first; empty where there is no vertebra.
    """
    found = segmenter.detect_whole(display, step)
    if _is_ap(view, view_is_sure, found):
        return found
    return join(found, segmenter.detect_closer(display, found, step))


def _is_ap(view: View, view_is_sure: bool, found: Sequence[Detection]) -> bool:
    if view is View.UNKNOWN or not view_is_sure:
        spine = label(found, view, None, view_is_sure=view_is_sure)
        return spine.view is View.AP if isinstance(spine, Spine) else view is View.AP
    return view is View.AP
