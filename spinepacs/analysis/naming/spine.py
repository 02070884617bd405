"""A film → its named spine: detect, name, look again where one is missing, draw the bodies from near by, name them as
they were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.naming.chain import best_chain
from spinepacs.analysis.naming.label import label
from spinepacs.analysis.naming.redrawing import redrawn
from spinepacs.analysis.naming.settling import settled
from spinepacs.analysis.seeing.gaps import find_gaps
from spinepacs.analysis.seeing.normalise import with_square_pixels
from spinepacs.analysis.seeing.segment import Segmenter, Step, scaled, untimed
from spinepacs.analysis.seeing.tracer import Tracer
from spinepacs.analysis.seeing.windows import join
from spinepacs.domain.findings import Detection, Refusal, Spine, Vertebra
from spinepacs.domain.geometry import Outline, stretching
from spinepacs.domain.study import Radiograph, View

Found = tuple[Spine | Refusal, tuple[Detection, ...]]
"""A named spine, or why there is none, and all that was detected; native px."""


def find_spine(segmenter: Segmenter, film: Radiograph, step: Step = untimed) -> Found:
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
    search = _Search.of(segmenter, film, step)
    return search.settled(*search.as_drawn(*search.first_named()))


def find_bodies(
    segmenter: Segmenter, film: Radiograph
) -> tuple[tuple[Detection, ...], tuple[Detection, ...]]:
    """What :func:`find_spine` finds, as it is first named, before any body is drawn, and in the end: what the prices of
    names are fitted to."""
    search = _Search.of(segmenter, film, untimed)
    first = search.first_named()
    return first[1], search.as_drawn(*first)[1]


class _Search(NamedTuple):
    """One film that is looked at: shown with square pixels, each of which is ``factor`` (2,) native ones."""

    segmenter: Segmenter
    film: Radiograph
    display: NDArray[np.uint8]
    factor: NDArray[np.float64]
    step: Step

    @classmethod
    def of(cls, segmenter: Segmenter, film: Radiograph, step: Step) -> Self:
        return cls(segmenter, film, *with_square_pixels(film.display, film.spacing), step)

    def first_named(self) -> Found:
        """Detect, name, and look again where one is missing."""
        film = self.film
        seen = self._read(
            detect(self.segmenter, self.display, film.view, self.step, view_is_sure=film.view_is_sure)
        )
        spine, found = self._named(seen)
        if isinstance(spine, Spine) and spine.missing:
            more = self.segmenter.detect_missing(self.display, find_gaps(spine, self.factor), self.step)
            if more:
                spine, found = self._named(self._read(seen + more))
        return spine, found

    def as_drawn(self, spine: Spine | Refusal, found: tuple[Detection, ...]) -> Found:
        """Bodies drawn from near by, where the model has a tracer, and read and named once more there: the reader looks
        at their middles, and distances and sizes are truer. What is part of the spine only then is drawn, too."""
        tracer = self.segmenter.tracer
        if tracer is None or isinstance(spine, Refusal):
            return spine, found
        spine, found = self._drawn(tracer, spine, found)
        said = self._read(tuple(scaled(one, 1 / self.factor) for one in found))
        heard = tuple(replace(one, evidence=new.evidence) for one, new in zip(found, said, strict=True))
        with self.step("label"):
            again = named(heard, self.film)
        if isinstance(again, Refusal):
            return spine, found
        drawn = {_drawn_as(body): body for body in spine.vertebrae}
        before = [drawn.get(_drawn_as(body)) for body in again.vertebrae]
        plated = tuple(
            replace(body, upper=old.upper, lower=old.lower) if old else body
            for body, old in zip(again.vertebrae, before, strict=True)
        )
        again, fresh = replace(again, vertebrae=plated), [row for row, old in enumerate(before) if not old]
        return self._drawn(tracer, again, heard, fresh) if fresh else (again, heard)

    def _named(self, seen: Sequence[Detection]) -> Found:
        """The spine of what was seen in px of the display, and all of it in native px."""
        found = tuple(scaled(detection, self.factor) for detection in seen)
        with self.step("label"):
            return named(found, self.film), found

    def _read(self, seen: tuple[Detection, ...]) -> tuple[Detection, ...]:
        """Detections with what the reader says of them, where the model has one; px of the display."""
        if self.segmenter.reader is None or not seen:
            return seen
        with self.step("levels"):
            towards = best_chain(seen).axes.mean(axis=0)
            return self.segmenter.reader.read(self.display, seen, towards / np.hypot(*towards))

    def _drawn(
        self,
        tracer: Tracer,
        spine: Spine,
        found: tuple[Detection, ...],
        rows: Sequence[int] | None = None,
    ) -> tuple[Spine, tuple[Detection, ...]]:
        """Spine and detections with its bodies, or these rows of them, drawn again from near by; names stay."""
        with self.step("trace"):
            seen = _stretched(spine.vertebrae, 1 / self.factor)
            drawn = redrawn(tracer, self.display, seen, rows)
            return _outlined(spine, _stretched(drawn, self.factor), found)

    def settled(self, spine: Spine | Refusal, found: tuple[Detection, ...]) -> Found:
        """Plates in doubt as the others have them. After the last naming: what settles by names would speak for
        them."""
        if self.segmenter.tracer is None or isinstance(spine, Refusal):
            return spine, found
        with self.step("trace"):
            seen = _stretched(spine.vertebrae, 1 / self.factor)
            at_rest = settled(seen, spine.view, spine.anterior_left, self.display.shape[::-1])
            if at_rest is seen:
                return spine, found
            return _outlined(spine, _stretched(at_rest, self.factor), found)


def _drawn_as(body: Vertebra) -> tuple[int, bool, bool]:
    """What a drawing depends on beside the film: the outline, and which plates a body of that name has."""
    return id(body.outline), body.level.has_upper_plate, body.level.has_lower_plate


def _outlined(
    spine: Spine, fresh: tuple[Vertebra, ...], found: tuple[Detection, ...]
) -> tuple[Spine, tuple[Detection, ...]]:
    """Spine and detections with its bodies outlined anew."""
    drawn = {id(old.outline): new.outline for old, new in zip(spine.vertebrae, fresh, strict=True)}
    return replace(spine, vertebrae=fresh), tuple(
        _with_outline(one, drawn[id(one.outline)]) if id(one.outline) in drawn else one for one in found
    )


def _stretched(bodies: tuple[Vertebra, ...], factor: NDArray[np.float64]) -> tuple[Vertebra, ...]:
    """The same bodies on a picture that is so many times as wide and as high."""
    if (factor == 1).all():  # copies would have to work out their areas and centres again
        return bodies
    return tuple(body.moved(stretching(*factor)) for body in bodies)


def _with_outline(detection: Detection, outline: Outline) -> Detection:
    box = np.concatenate([outline.points.min(axis=0), outline.points.max(axis=0)])
    return replace(detection, outline=outline, box_px=box)


def named(found: Sequence[Detection], film: Radiograph) -> Spine | Refusal:
    """Name what was found on a film (native px), with all that its header says."""
    return label(found, film.view, film.anterior_left, film.body_part, view_is_sure=film.view_is_sure)


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
