"""Where a radiologist would mark a vertebral body: its outline and corners, found on planes through the mesh.

A plane through the canal separates body and arch, so the piece that contains the body's centre is the body alone.
Corners come from the rim at 18 and 82 % of the depth, extrapolated to the walls: rounded rims and small
osteophytes then move them no more than they move a human mark.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.training.films.mesh import Floats, Mesh, section

GRID_MM = 0.25
HALF_MM = 40.0
FRACTIONS = (0.18, 0.34, 0.5, 0.66, 0.82)


@dataclass(frozen=True)
class Body:
    """The body's marks on one plane, in the vertebra's own frame; `across` is depth (lateral) or width (AP).

    outline: (N, 2) mm (across, up), closed. corners: (4, 2) mm in the order upper-low side,
    upper-high side, lower-high side, lower-low side, where "low" is the small end of `across` (front, or right).
    """

    outline: Floats
    corners: Floats


def plane_mask(mesh: Mesh, frame: Floats, origin: Floats, axis: int, offsets_mm: Floats) -> NDArray[np.uint8]:
    """Return the body's majority mask over parallel planes, (H, W) uint8, row 0 at the top of the frame.

    frame: (3, 3) rows are the vertebra's x, y, z axes; origin: (3,) mm. axis: the frame axis the planes cut at
    offsets_mm (0: sagittal planes, 1: coronal planes).
    """
    local = (mesh.vertices - origin) @ frame.T
    size = int(2 * HALF_MM / GRID_MM)
    across = local[:, 1 - axis]
    uv = np.stack([(across + HALF_MM) / GRID_MM, (HALF_MM - local[:, 2]) / GRID_MM], axis=1)
    votes = np.zeros((size, size), np.float32)
    for offset in offsets_mm:
        depth = np.ascontiguousarray(local[:, axis])
        votes += section(np.ascontiguousarray(uv), depth, mesh.faces, float(offset), (size, size))
    return (votes > len(offsets_mm) / 2).astype(np.uint8)


def keep_body(mask: NDArray[np.uint8], close_mm: float = 1.5) -> NDArray[np.uint8]:
    """Fill the mask's holes and keep the piece at the centre (or the one nearest to it)."""
    size = 2 * int(close_mm / GRID_MM) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    middle = (mask.shape[1] / 2, mask.shape[0] / 2)
    best = max(contours, key=lambda c: cv2.pointPolygonTest(c, middle, True))
    filled = np.zeros_like(mask)
    cv2.drawContours(filled, [best], -1, 1, cv2.FILLED)
    return filled


def outline_of(mask: NDArray[np.uint8]) -> Floats:
    """Return the mask's outline as (N, 2) mm (across, up), about one point per 2 mm."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    ring = max(contours, key=cv2.contourArea)[:, 0].astype(np.float64)
    ring = ring[:: max(1, len(ring) // 56)]
    return np.stack([(ring[:, 0] + 0.5) * GRID_MM - HALF_MM, HALF_MM - (ring[:, 1] + 0.5) * GRID_MM], axis=1)


def _edge(mask: NDArray[np.uint8], across_mm: float, upper: bool) -> float:
    """Return the height (mm) of the mask's upper or lower rim, mean over 1.5 mm around across_mm."""
    centre = int((across_mm + HALF_MM) / GRID_MM)
    columns = mask[:, max(0, centre - 3) : centre + 4]
    rows = [np.flatnonzero(column) for column in columns.T if column.any()]
    if not rows:
        return 0.0
    picked = [row[0] if upper else row[-1] + 1 for row in rows]
    return HALF_MM - float(np.mean(picked)) * GRID_MM


def _wall(mask: NDArray[np.uint8], low: bool, band: tuple[float, float]) -> Floats:
    """Return (slope, offset) of across over height for the low or high wall between two heights (mm)."""
    heights, places = [], []
    for height in np.linspace(band[0], band[1], 9):
        columns = np.flatnonzero(mask[int((HALF_MM - height) / GRID_MM)])
        if len(columns):
            heights.append(height)
            places.append((columns[0] if low else columns[-1] + 1) * GRID_MM - HALF_MM)
    return np.polyfit(heights, places, 1)


def _turn(
    mask: NDArray[np.uint8],
    walls: tuple[Floats, Floats],
    band: tuple[float, float],
    upper: bool,
    low_side: bool,
) -> Floats:
    """Return the mask's point farthest along a diagonal, (2,) mm: where the eye sees wall turn into plate."""
    middle = np.array([np.mean([np.polyval(wall, np.mean(band)) for wall in walls]), np.mean(band)])
    depth = np.polyval(walls[1], middle[1]) - np.polyval(walls[0], middle[1])
    height = _edge(mask, middle[0], True) - _edge(mask, middle[0], False)
    rows, columns = np.nonzero(mask)
    points = np.stack([(columns + 0.5) * GRID_MM - HALF_MM, HALF_MM - (rows + 0.5) * GRID_MM], axis=1)
    away = (points - middle) / [depth * (-1 if low_side else 1), height * (1 if upper else -1)]
    return np.asarray(points[np.argmax(away.sum(axis=1))])


def body_of(mask: NDArray[np.uint8], band: tuple[float, float], lip: float = 0.5) -> Body:
    """Return outline and corners of a body mask.

    band: the heights (mm) between which its walls are straight. lip: how much a corner follows the rim's lip (1)
    rather than the straight lines of wall and plate (0).
    """
    low, high = _wall(mask, True, band), _wall(mask, False, band)
    corners, rims = np.zeros((4, 2)), []
    for upper in (True, False):
        height = band[1] if upper else band[0]
        left, right = np.polyval(low, height), np.polyval(high, height)
        across = left + np.array(FRACTIONS) * (right - left)
        rim = np.array([_edge(mask, a, upper) for a in across])
        # The rim line runs through the outer marks only: the plate's hollow must not lower the corners.
        line = np.polyfit(across[[0, -1]], rim[[0, -1]], 1)
        for wall, slot in ((low, 0 if upper else 3), (high, 1 if upper else 2)):
            up = np.polyval(line, np.polyval(wall, height))
            # Where wall (across over height) and rim (height over across) meet.
            for _ in range(4):
                up = np.polyval(line, np.polyval(wall, up))
            corners[slot] = (np.polyval(wall, up), up)
            turn = _turn(mask, (low, high), band, upper, slot in (0, 3))
            corners[slot] = lip * turn + (1 - lip) * corners[slot]
        rims.append(np.stack([across, rim], axis=1)[1:-1])
    waist = np.array([[np.polyval(wall, np.mean(band)), np.mean(band)] for wall in (high, low)])
    ring = [
        corners[:1],
        rims[0],
        corners[1:2],
        waist[:1],
        corners[2:3],
        rims[1][::-1],
        corners[3:],
        waist[1:],
    ]
    return Body(np.concatenate(ring), corners)


def free_form(mask: NDArray[np.uint8], corners: Floats) -> Body:
    """Return the marks of a body that is no quadrilateral (C1, C2, S1): its whole outline, and given corners."""
    return Body(outline_of(mask), corners)


def hull_body(points: Floats) -> Body:
    """Return the marks of a convex part seen whole (C1's anterior part): points (N, 2) mm (across, up)."""
    hull = cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
    low, high = hull.min(axis=0), hull.max(axis=0)
    return Body(hull, np.array([[low[0], high[1]], high, [high[0], low[1]], low]))
