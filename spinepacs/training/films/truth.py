"""What is known of a synthetic film: outlines, corners and disc heights, and the files that carry them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.training.films.anatomy import LEVELS, Anatomy, Vertebra
from spinepacs.training.films.angles import cobb_angles, sagittal_angles
from spinepacs.training.films.measures import bare, corners_mm
from spinepacs.training.films.mesh import Floats
from spinepacs.training.films.pose import Pose, place_vertebra
from spinepacs.training.films.xray import Camera

SHOWN = 0.5  # share of a body's area that must lie on the film for it to be labelled


@dataclass(frozen=True)
class Truth:
    """One vertebra on the film, in native pixels (origin: the top-left corner of the top-left pixel).

    outline_px: (N, 2). corners_px: (4, 2), clockwise on the film from the upper corner on the film's left.
    seen: False for a body at an end of the chain that the window has left all white or all black.
    """

    level: str
    outline_px: Floats
    corners_px: Floats
    seen: bool = True


@dataclass(frozen=True)
class Film:
    """A synthetic film and its truth.

    pixels: (H, W) uint8. value: (H, W) float32, the same before quantisation, 0..1. view: "lateral" or "ap".
    facing: side of the film the patient looks to ("left", "right"; "front" on AP films).
    disc_mm: true heights by disc ("C2/C3"), see `disc_heights`. slips: see `film_measures.slips`; signs: by level, see
    `film_measures.body_signs`; patient: see `film_measures.patient_record`.
    """

    pixels: NDArray[np.uint8]
    value: NDArray[np.float32]
    view: str
    region: str
    facing: str
    camera: Camera
    truths: tuple[Truth, ...]
    disc_mm: dict[str, dict[str, float]]
    slips: dict[str, dict[str, float]] = field(default_factory=dict)
    signs: dict[str, dict[str, Any]] = field(default_factory=dict)
    patient: dict[str, Any] = field(default_factory=dict)


def project_truths(
    anatomy: Anatomy, pose: Pose, camera: Camera, shift_mm: Floats, oblique: bool = False
) -> list[Truth]:
    """Return every vertebra's marks on the film, in or out of its field; oblique: of its silhouette."""
    truths = []
    plain = bare(pose)
    for i, vertebra in enumerate(anatomy.vertebrae):
        if oblique:
            outline, corners = silhouette(vertebra, pose.rotations[i])
            marks = [
                camera.project(place_vertebra(points, i, anatomy, plain) + shift_mm)[0]
                for points in (outline, corners)
            ]
            truths.append(Truth(vertebra.level, _hull(marks[0]), marks[1]))
            continue
        body = vertebra.sagittal if camera.lateral else vertebra.coronal
        marks = []
        for points in (body.outline, body.corners):
            lifted = vertebra.lift(points, coronal=not camera.lateral)
            marks.append(camera.project(place_vertebra(lifted, i, anatomy, plain) + shift_mm)[0])
        # On a lateral film that faces right, the small end of `across` (the front) lies to the right.
        corners = marks[1][[1, 0, 3, 2]] if camera.lateral else marks[1]
        truths.append(Truth(vertebra.level, marks[0], corners))
    return truths


def silhouette(vertebra: Vertebra, turned: Floats) -> tuple[Floats, Floats]:
    """Return outline (N, 3) and corners (4, 3), mm in the vertebra's frame, of a body seen from the front.

    turned: (3, 3) from its frame to the room. The plates are taken as ellipses between the marks of both planes;
    bodies that are no cylinders (C1, C2, S1) give the marks of both planes as their outline.
    """
    sagittal, coronal = vertebra.sagittal.corners, vertebra.coronal.corners
    way = turned[0, :2] / np.linalg.norm(turned[0, :2])  # what is across on the film, in the body's plane
    corners = np.zeros((4, 3))
    for upper in (True, False):
        front, back = sagittal[[0, 1] if upper else [3, 2]]
        right, left = coronal[[0, 1] if upper else [3, 2]]
        half = np.array([(left[0] - right[0]) / 2, (back[0] - front[0]) / 2])
        middle = np.array([(left[0] + right[0]) / 2, (back[0] + front[0]) / 2])
        reach = half**2 * way / np.linalg.norm(half * way)
        for sign, slot in ((-1, 0 if upper else 3), (1, 1 if upper else 2)):
            x, y = middle + sign * reach
            rim = (y - front[0]) / (back[0] - front[0])
            corners[slot] = (x, y, front[1] + rim * (back[1] - front[1]))
    if vertebra.level in ("C1", "C2", "S1"):
        both = vertebra.lift(vertebra.sagittal.outline), vertebra.lift(vertebra.coronal.outline, coronal=True)
        return np.concatenate(both), corners
    return corners, corners


def _hull(points: Floats) -> Floats:
    return np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], dtype=np.float64)


def mirror(truth: Truth, width_px: int) -> Truth:
    """Return the marks after the film is mirrored left to right."""
    flip = np.array([-1.0, 1.0])
    shift = np.array([float(width_px), 0.0])
    corners = (truth.corners_px * flip + shift)[[1, 0, 3, 2]]
    return replace(truth, outline_px=truth.outline_px * flip + shift, corners_px=corners)


def mark_seen(truths: list[Truth], value: NDArray[np.float32]) -> list[Truth]:
    """Say of the bodies at both ends of a chain whether the film, values 0..1, shows anything of them.

    A hole within the chain would teach a network to leave one out, so what lies between seen bodies counts as seen.
    """
    shown = [k for k, truth in enumerate(truths) if not _flat(truth.outline_px, value)]
    if not shown:
        return [replace(truth, seen=False) for truth in truths]
    return [replace(truth, seen=shown[0] <= k <= shown[-1]) for k, truth in enumerate(truths)]


def _flat(outline_px: Floats, value: NDArray[np.float32]) -> bool:
    """Return whether nine tenths of a body's box are saturated."""
    height, width = value.shape
    low = np.clip(outline_px.min(axis=0), 0, [width - 1, height - 1]).astype(int)
    high = np.clip(outline_px.max(axis=0), low + 1, [width, height]).astype(int)
    box = value[low[1] : high[1], low[0] : high[0]]
    return float(((box > 0.985) | (box < 0.015)).mean()) > 0.9


def clip_outline(outline_px: Floats, shape_px: tuple[int, int]) -> Floats | None:
    """Return an outline cut at the film's edge, or None when less than half of its area is on the film.

    The cut clips each point (Sutherland-Hodgman against the four edges).
    """
    height, width = shape_px
    whole = abs(_area(outline_px))
    points = outline_px
    for axis, bound, keep_low in (
        (0, 0.0, False),
        (0, float(width), True),
        (1, 0.0, False),
        (1, float(height), True),
    ):
        points = _cut(points, axis, bound, keep_low)
        if len(points) < 3:
            return None
    return points if abs(_area(points)) >= SHOWN * whole else None


def _area(points: Floats) -> float:
    x, y = points.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def _cut(points: Floats, axis: int, bound: float, keep_low: bool) -> Floats:
    side = (bound - points[:, axis]) * (1 if keep_low else -1)
    kept: list[Floats] = []
    for k in range(len(points)):
        a, b, here, there = points[k - 1], points[k], side[k - 1], side[k]
        if (here >= 0) != (there >= 0):
            kept.append(a + (b - a) * here / (here - there))
        if there >= 0:
            kept.append(b)
    return np.array(kept).reshape(-1, 2)


def disc_heights(
    anatomy: Anatomy, pose: Pose, lateral: bool, levels: set[str]
) -> dict[str, dict[str, float]]:
    """Return the true heights of every disc between two of the levels, mm in the patient, not on the detector.

    As on films: between the corners of both plates, at right angles to the bisectrix of the plates (Frobin 1997);
    "anterior" and "posterior" on lateral films, the patient's "right" and "left" on AP films, and their "mean"; also
    what that mean would be had nothing narrowed the disc ("healthy"), and were it as high as healthy discs of its level
    and build are on average ("usual").
    """
    sides = ("anterior", "posterior") if lateral else ("right", "left")
    corners = corners_mm(anatomy, pose, coronal=not lateral)
    found, names = {}, anatomy.levels
    for i in range(1, anatomy.last):
        if names[i] in levels and names[i + 1] in levels:
            above, below = corners[i][[3, 2]], corners[i + 1][[0, 1]]
            along = sum((p[1] - p[0]) / np.linalg.norm(p[1] - p[0]) for p in (above, below))
            along /= np.linalg.norm(along)
            down = -(pose.rotations[i][:, 2] + pose.rotations[i + 1][:, 2])
            down -= (down @ along) * along
            heights = np.maximum((below - above) @ (down / np.linalg.norm(down)), 0)
            full = [heights.mean() + lack[i] for lack in _lacks_mm(pose)]
            kinds = (*sides, "mean", "healthy", "usual")
            row = dict(zip(kinds, (*heights, heights.mean(), *full), strict=True))
            found[f"{names[i]}/{names[i + 1]}"] = {side: round(float(mm), 3) for side, mm in row.items()}
    return found


def _lacks_mm(pose: Pose) -> tuple[Floats, Floats]:
    """Return what discs lack of their own healthy height and of the usual one, (N,) mm in the patient."""
    discs = pose.discs
    return pose.scale * (discs.healthy_mm - discs.height_mm), pose.scale * (discs.usual_mm - discs.height_mm)


def class_of(level: str) -> int:
    """Return the network's class of a level; the sixth lumbar vertebra has none of its own and counts as L5.

    It is the last free body above the sacrum and looks like L5; without a label it would be taught as background.
    """
    return LEVELS.index("L5" if level == "L6" else level)


def yolo_lines(film: Film) -> list[str]:
    """Return the film's label lines: class and outline, normalised to 0..1."""
    height, width = film.pixels.shape
    lines = []
    for truth in film.truths:
        inside = clip_outline(truth.outline_px, (height, width))
        if inside is not None and truth.seen:
            numbers = (np.clip(inside / [width, height], 0, 1)).ravel()
            lines.append(f"{class_of(truth.level)} " + " ".join(f"{n:.6f}" for n in numbers))
    return lines


def film_angles(film: Film) -> dict[str, Any]:
    """Return the sagittal angles of a lateral film, the curves of a frontal one, nothing for an oblique one."""
    corners = {t.level: t.corners_px for t in film.truths}
    if film.view == "lateral":
        return dict(sagittal_angles(corners, film.facing))
    ends = ("C1", "C2", "S1")
    return (
        {"curves": cobb_angles({k: c for k, c in corners.items() if k not in ends})}
        if film.view == "ap"
        else {}
    )


def truth_record(film: Film, name: str, seed: int) -> dict[str, Any]:
    """Return the film's truth as plain values for JSON; px are native pixels, mm as named."""
    camera = film.camera
    rows = [
        {
            "level": t.level,
            "seen": t.seen,
            "outline_px": np.round(t.outline_px, 2).tolist(),
            "corners_px": np.round(t.corners_px, 2).tolist(),
            "upper_endplate_px": np.round(t.corners_px[:2], 2).tolist(),
            "lower_endplate_px": np.round(t.corners_px[[3, 2]], 2).tolist(),
            **film.signs.get(t.level, {}),
        }
        for t in film.truths
    ]
    return {
        "name": name,
        "seed": seed,
        "view": film.view,
        "region": film.region,
        "facing": film.facing,
        "rows": film.pixels.shape[0],
        "columns": film.pixels.shape[1],
        "spacing_mm": camera.spacing_mm,
        "magnification": round(camera.magnification, 5),
        "source_to_detector_mm": round(camera.source_mm, 1),
        "source_to_spine_mm": round(camera.source_mm - camera.object_mm, 1),
        "disc_heights_mm": {disc: heights["mean"] for disc, heights in film.disc_mm.items()},
        "disc_sides_mm": film.disc_mm,
        "slips": film.slips,
        "angles_deg": film_angles(film),
        "patient": film.patient,
        "vertebrae": rows,
    }


def write_film(film: Film, out_dir: Path, name: str, seed: int) -> None:
    """Write image, label and truth of a film, each in one step; the truth last, as the sign that all are there."""
    ok, png = cv2.imencode(".png", film.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 4])
    if not ok:
        raise OSError(f"film {name} could not be encoded as PNG")
    lines = "".join(line + "\n" for line in yolo_lines(film))
    record = json.dumps(truth_record(film, name, seed), separators=(",", ":"))
    for folder, ending, data in (
        ("images", "png", png.tobytes()),
        ("labels", "txt", lines.encode()),
        ("truth", "json", record.encode()),
    ):
        place = out_dir / folder
        place.mkdir(parents=True, exist_ok=True)
        # Readers list by ending, so a file under its working name is never taken for a film.
        part = place / f".{name}.{ending}.part"
        part.write_bytes(data)
        os.replace(part, place / f"{name}.{ending}")
