"""Invented readings for the encoders: a column of rounded vertebrae with discs between, and its source header."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from spinepacs.analysis.measuring.measure import measure
from spinepacs.analysis.seeing.localisation import Localisation
from spinepacs.dicom.reading.film import LoadedFilm
from spinepacs.dicom.reading.shown import Shown
from spinepacs.dicom.reading.source import source_header
from spinepacs.domain.anatomy import DiscLevel, Level, Region, Span
from spinepacs.domain.findings import DiscHeight, Reading, Spine, Versions, Vertebra
from spinepacs.domain.geometry import Endplate, Outline, PointPx, Spacing, SpacingBasis
from spinepacs.domain.measures import Reason, Unit
from spinepacs.domain.signs import (
    Area,
    Conclusion,
    ExpectedFrom,
    Finding,
    Scheme,
    Side,
    Sign,
    Statement,
)
from spinepacs.domain.study import View
from tests.films import make_dx

VERSIONS = Versions("spine-v0", "0.1", "default", "1")
_ERRORS = (0.02, 0.02, 0.01, 0.02, 0.02)
LOCALISATION = {
    view: Localisation(dict.fromkeys(Region, _ERRORS), 1.0, (0.0,) * 5, (0.0,) * 5)
    for view in (View.LATERAL, View.AP)
}
SPACING = Spacing(0.143, 0.143, SpacingBasis.DETECTOR_PLANE)


def header(rows: int = 600, columns: int = 400, **elements: Any) -> Dataset:
    """Return the header of a valid DX film, as ``read_film`` hands it over: without pixels."""
    return source_header(make_dx(np.full((rows, columns), 900, np.uint16), **elements))


def film(source: Dataset) -> LoadedFilm:
    """Return a film of this header; encoders do not look at its pixels."""
    shown = Shown(1.0, 0.0, (2048.0, 4096.0), np.empty(0), inverted=False)
    return LoadedFilm(None, source, shown)  # type: ignore[arg-type]


def display(rows: int = 600, columns: int = 400) -> NDArray[np.uint8]:
    """(rows, columns) uint8: a soft grey slope."""
    y, x = np.mgrid[0:rows, 0:columns]
    return (40 + 60 * np.sin(np.pi * x / columns) + 20 * y / rows).astype(np.uint8)


def reading(
    source: Dataset,
    first: Level = Level.C2,
    count: int = 6,
    spacing: Spacing | None = SPACING,
    view: View = View.LATERAL,
) -> Reading:
    """Return a reading of ``count`` vertebrae from ``first`` downwards on a gently curved line."""
    rows, columns = int(source.Rows), int(source.Columns)
    pitch = rows / (count + 1)
    vertebrae = tuple(
        _vertebra(Level(first + n), columns / 2 + columns / 12 * np.sin(n / 2), pitch * (n + 1), pitch)
        for n in range(count)
    )
    discs = tuple(_disc(a, b, spacing, view) for a, b in pairwise(vertebrae) if a.level is not Level.C1)
    spine = Spine(vertebrae, (), view, True if view is View.LATERAL else None, "header")
    findings = tuple(_findings([disc.disc for disc in discs])) if view is View.LATERAL else ()
    return Reading(
        source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID, VERSIONS, rows, columns,
        spacing, spine, discs, findings, None, measures=measure(spine, spacing, LOCALISATION),
        conclusions=_conclusions(findings),
    )  # fmt: skip


def _findings(discs: list[DiscLevel]) -> Iterator[Finding]:
    """Of the discs in turn one without loss, one withheld, one of stage 2 with a slip and a spur beside it."""
    for n, disc in enumerate(discs):
        withheld = n % 3 == 1
        yield Finding(
            Sign.DISC_HEIGHT_LOSS,
            disc,
            Scheme.SPINEPACS,
            0.2 * n,
            Unit.RATIO,
            n % 3,
            None if withheld else n % 3,
            Reason.LOW_CONFIDENCE if withheld else None,
            grade_range=(1, 2),
            expected=0.3,
            expected_from=ExpectedFrom.NEIGHBOURS,
            reference_scheme=Scheme.KETTLER,
            reference_grade=1,
        )
        if n % 3 == 2:
            yield Finding(Sign.SPONDYLOLISTHESIS, disc, Scheme.MEYERDING, 0.3, Unit.RATIO, 2, 2)
            side = Side.UPPER_ANTERIOR
            yield Finding(Sign.OSTEOPHYTES, disc.lower, Scheme.KETTLER, 0.1, Unit.RATIO, 1, 1, side=side)


def _conclusions(findings: tuple[Finding, ...]) -> tuple[Conclusion, ...]:
    worst = [finding for finding in findings if finding.published_grade]
    words = "Signs of osteochondrosis, to be judged by a physician."
    span = Span(Level.C2, Level.C7)
    signs = Conclusion(
        Area.CERVICAL, span, Scheme.KETTLER, 2, 2, Statement.MODERATE_SIGNS, words, tuple(worst[:2])
    )
    none = Conclusion(
        Area.COMBINED,
        None,
        Scheme.SPINEPACS,
        2,
        None,
        Statement.WITHHELD,
        "Withheld.",
        (),
        Reason.TOO_FEW_DISCS,
    )
    return (signs, none) if findings else ()


def _vertebra(level: Level, x: float, y: float, pitch: float) -> Vertebra:
    width, height = pitch * 0.55, pitch * 0.37
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    round_off = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.array([x, y]) + np.sign(round_off) * np.abs(round_off) ** 0.4 * [width, height]
    return Vertebra(
        level,
        level,
        0.9,
        "",
        0.95,
        Outline(points),
        _plate(x, y - height, width),
        _plate(x, y + height, width),
    )


def _plate(x: float, y: float, width: float) -> Endplate:
    across = np.linspace(-0.85, 0.85, 9) * width + x
    curve = np.stack([across, np.full(9, y)], axis=1)
    return Endplate(PointPx(*curve[0]), PointPx(*curve[-1]), curve)


def _disc(a: Vertebra, b: Vertebra, spacing: Spacing | None, view: View) -> DiscHeight:
    assert a.lower
    assert b.upper
    ends = {
        "left": (a.lower.left, b.upper.left),
        "middle": (a.lower.middle, b.upper.middle),
        "right": (a.lower.right, b.upper.right),
    }
    names = {"left": "anterior", "right": "posterior"} if view is View.LATERAL else {}
    lines = {names.get(side, side): np.array(line) for side, line in ends.items()}
    px = {side: float(np.hypot(*(line[1] - line[0]))) for side, line in lines.items()}
    mm = {f"{side}_mm": value * spacing.row_mm for side, value in px.items()} if spacing else {}
    values = {f"{side}_px": value for side, value in px.items()} | mm
    index = px["middle"] / a.lower.width_px
    return DiscHeight(DiscLevel.below(a.level), height_index=index, wedge_deg=1.5, lines_px=lines, **values)
