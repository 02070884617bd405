"""What is true of the patient on a synthetic film, whatever the film shows of it: slips, signs, build."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from spinepacs.training.films.anatomy import Anatomy
from spinepacs.training.films.build import Build
from spinepacs.training.films.discs import meyerding_grade
from spinepacs.training.films.mesh import Floats
from spinepacs.training.films.pose import Pose, place_vertebra
from spinepacs.training.films.shape import BodyShape, genant_grade, spur_grade

SPUR_SIDES = ("anterior", "posterior", "lateral")


def bare(pose: Pose) -> Pose:
    """Return the pose without spurs: a mark is set where the rim would be without its spur."""
    return replace(pose, shapes=tuple(replace(shape, spur_mm=np.zeros((2, 3))) for shape in pose.shapes))


def corners_mm(anatomy: Anatomy, pose: Pose, coronal: bool) -> list[Floats]:
    """Return the corners (4, 3) mm in the room of every body on one plane, spurs left out; order as in `Body`."""
    plain, found = bare(pose), []
    for i, vertebra in enumerate(anatomy.vertebrae):
        points = (vertebra.coronal if coronal else vertebra.sagittal).corners
        found.append(place_vertebra(vertebra.lift(points, coronal=coronal), i, anatomy, plain))
    return found


def slip_mm(above: Floats, below: Floats) -> tuple[float, float]:
    """Return how far a body stands in front of the next one, and that one's depth, mm (Meyerding 1932).

    above, below: corners (4, n) in the order upper front, upper back, lower back, lower front. The step runs from the
    back of the lower body's upper plate to the back of the upper body's lower plate, along the former plate.
    """
    plate = below[0] - below[1]
    depth = float(np.linalg.norm(plate))
    return float((above[2] - below[1]) @ plate) / depth, depth


def slips(anatomy: Anatomy, pose: Pose) -> dict[str, dict[str, float]]:
    """Return for every disc (C2/C3 to L5/S1) the step between its bodies: mm, percent of depth, Meyerding grade.

    Positive: the upper body stands in front. mm in the patient. Whether a step is a slip is `drawn_percent`, 0 for
    spines that were drawn without one: healthy plates do not end exactly above each other.
    """
    corners, found = corners_mm(anatomy, pose, coronal=False), {}
    for i in range(1, anatomy.last):
        step, depth = slip_mm(corners[i], corners[i + 1])
        found[f"{anatomy.levels[i]}/{anatomy.levels[i + 1]}"] = {
            "mm": round(step, 3),
            "percent": round(100 * step / depth, 2),
            "drawn_percent": round(-100 * float(pose.discs.slip[i]), 2),
            "meyerding": meyerding_grade(step / depth) if pose.discs.slip[i] else 0,
        }
    return found


def body_signs(shape: BodyShape, scale: float) -> dict[str, Any]:
    """Return osteophytes (mm in the patient, and grade), sclerosis grades and fracture of one body."""
    record: dict[str, Any] = {"osteophyte_grade": 0, "osteophytes_mm": {}}
    for plate, row in zip(("upper", "lower"), shape.spur_mm * shape.scale * scale, strict=True):
        record["osteophytes_mm"][plate] = dict(
            zip(SPUR_SIDES, (round(float(mm), 2) for mm in row), strict=True)
        )
        record["osteophyte_grade"] = max(record["osteophyte_grade"], spur_grade(float(row.max())))
    record["sclerosis_grade"] = dict(zip(("upper", "lower"), shape.sclerosis, strict=True))
    if shape.fracture:
        record["fracture"] = {
            "kind": shape.fracture,
            "height_lost": round(shape.loss, 3),
            "genant": genant_grade(shape.loss),
        }
    return record


def patient_record(anatomy: Anatomy, pose: Pose, build: Build, caged: tuple[int, ...]) -> dict[str, Any]:
    """Return what the patient's build and discs are, for the truth file."""

    def discs(which: tuple[int, ...]) -> list[str]:
        return [f"{anatomy.levels[i]}/{anatomy.levels[i + 1]}" for i in which]

    return {
        "sex": build.sex,
        "child": build.cortex < 1,
        "size": round(build.scale, 4),
        "rib_pairs": build.ribs,
        "lumbar_vertebrae": build.lumbar,
        "transitional": build.deep_seated,
        "fused_discs": discs(tuple(i for i, joined in enumerate(pose.discs.fused) if joined)),
        "vacuum_discs": discs(tuple(i for i, gas in enumerate(pose.discs.gas) if gas)),
        "caged_discs": discs(caged),
    }
