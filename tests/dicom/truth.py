"""Readings of the demo's synthetic films as a perfect network would give them: from the true outlines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from spinepacs.analysis.measuring.measure import disc_heights, measure
from spinepacs.analysis.naming.label import label
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection, Reading, Spine
from spinepacs.domain.geometry import Outline
from tests.dicom.readings import VERSIONS
from tests.phantoms import scores_of

FILMS = Path(__file__).resolve().parents[2] / "demo" / "films"


def true_reading(name: str, path: Path | None = None) -> tuple[LoadedFilm, Reading]:
    """Film and reading of ``demo/films/NAME.dcm``, or of a file that shows the same with another header."""
    film = read_film(path or FILMS / f"{name}.dcm")
    assert isinstance(film, LoadedFilm)
    truth = json.loads((FILMS / "truth" / f"{name}.json").read_text())
    detections = [_detection(entry["level"], entry["outline_px"]) for entry in truth["vertebrae"]]
    image = film.radiograph
    spine = label(detections, image.view, image.anterior_left, image.body_part)
    assert isinstance(spine, Spine)
    reading = Reading(
        image.study_uid, image.series_uid, image.sop_uid, VERSIONS, image.rows, image.columns, image.spacing,
        spine, disc_heights(spine, image.spacing), (), None, measures=measure(spine, image.spacing),
    )  # fmt: skip
    return film, reading


def _detection(level: str, outline: list[list[float]]) -> Detection:
    points = np.array(outline)
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return Detection(scores_of(Level[level]), 0.95, box, Outline(points))
