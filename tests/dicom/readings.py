"""Invented readings for the encoders: a column of rounded vertebrae with discs between, and its source header."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from spinepacs.anatomy import DiscLevel, Level
from spinepacs.dicom.source import source_header
from spinepacs.findings import DiscHeight, Finding, Reading, Spine, Versions, Vertebra
from spinepacs.geometry import Endplate, Outline, PointPx, Spacing, SpacingBasis
from spinepacs.study import View
from tests.films import make_dx

VERSIONS = Versions("spine-v0", "0.1", "default", "1")
SPACING = Spacing(0.143, 0.143, SpacingBasis.DETECTOR_PLANE)


def header(rows: int = 600, columns: int = 400, **elements: Any) -> Dataset:
    """Return the header of a valid DX film, as ``read_film`` hands it over: without pixels."""
    return source_header(make_dx(np.full((rows, columns), 900, np.uint16), **elements))


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
    findings = tuple(
        Finding("disc_height_loss", 0.2, "ratio", n % 3, n % 3 if n != 1 else None, disc=disc.disc)
        for n, disc in enumerate(discs)
    )
    return Reading(
        source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID, VERSIONS, rows, columns,
        spacing, spine, discs, findings, None,
    )  # fmt: skip


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
