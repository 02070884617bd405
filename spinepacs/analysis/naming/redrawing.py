"""The bodies of a named spine, drawn again from near by; one that hardly shows, where its neighbours say it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.naming.regular import Place, doubt, out_of_line
from spinepacs.analysis.seeing.tracer import Traced, Tracer
from spinepacs.domain.findings import Vertebra
from spinepacs.domain.geometry import Endplate, Points


def redrawn(
    tracer: Tracer,
    display: NDArray[np.uint8],
    vertebrae: Sequence[Vertebra],
    rows: Sequence[int] | None = None,
) -> tuple[Vertebra, ...]:
    """Draw bodies again; names stay.

    Parameters
    ----------
    display
        (rows, columns) uint8, bright bone on dark ground, square pixels.
    vertebrae
        From head to foot, at least one, px of ``display``.
    rows
        Which of them; all where it is not given.
    """
    way = np.subtract(vertebrae[-1].outline.centroid, vertebrae[0].outline.centroid)
    way = way / np.hypot(*way) if len(vertebrae) > 1 else np.array([0.0, 1.0])
    rows = range(len(vertebrae)) if rows is None else rows
    traced = tracer.trace(display, [body.outline for body in vertebrae], way, rows)
    drawn = list(vertebrae)
    for row, one in zip(rows, traced, strict=True):
        drawn[row] = _as_traced(drawn[row], one)
    size = np.array(display.shape[::-1], np.float64)
    moved = {
        row: _moved(drawn[row], place, size)
        for row, place in out_of_line(drawn).items()
        if row in rows and (place.centre > 0).all() and (place.centre < size).all()
    }
    if moved:
        outlines = [moved.get(row, body).outline for row, body in enumerate(drawn)]
        again = tracer.trace(display, outlines, way, tuple(moved))
        for (row, body), one in zip(moved.items(), again, strict=True):
            nearer = _as_traced(body, one)
            drawn[row] = nearer if one and doubt(nearer) < doubt(drawn[row]) else body
    return tuple(drawn)


def _as_traced(body: Vertebra, traced: Traced | None) -> Vertebra:
    """A vertebra as it was traced; where a plate was not, its own one stays."""
    if traced is None:
        return body
    upper = traced.upper if traced.upper and body.level.has_upper_plate else body.upper
    lower = traced.lower if traced.lower and body.level.has_lower_plate else body.lower
    return replace(body, outline=traced.outline, upper=upper, lower=lower)


def _moved(body: Vertebra, place: Place, size: Points) -> Vertebra:
    """A vertebra at its place on a picture of a size (width, height), with plates as unsure as the move was long."""
    middle = np.asarray(body.outline.centroid)

    def move(points: Points) -> Points:
        return np.asarray(np.clip((points - middle) * place.growth + place.centre, 0, size))

    there = body.moved(move)
    return replace(there, upper=_doubted(there.upper, place.move), lower=_doubted(there.lower, place.move))


def _doubted(plate: Endplate | None, move: float) -> Endplate | None:
    if plate is None or plate.spreads is None:
        return plate
    left, right = np.hypot(plate.spreads, move).tolist()
    return replace(plate, spreads=(left, right))
