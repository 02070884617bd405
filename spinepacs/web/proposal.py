"""A reading as the film's script draws it while it is corrected: bodies, the points that can be moved, and discs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from spinepacs.dicom.codes import colour_of
from spinepacs.domain import words
from spinepacs.domain.anatomy import Level
from spinepacs.domain.geometry import Endplate, Outline, PointPx
from spinepacs.domain.signs import GRADE_NAMES, Side, Sign
from spinepacs.language import _
from spinepacs.web.drafting import POINTS

Row = dict[str, Any]


def proposal(reading: Mapping[str, Any], new_names: Collection[str] = ()) -> Row:
    """Bodies and discs of a reading.

    Parameters
    ----------
    reading
        As ``readings.json`` has it (:func:`spinepacs.show.tables.reading_to_json`); coordinates in the film's px.
    new_names
        Levels that are to be seen as changed.
    """
    bodies = [_body(vertebra, vertebra["level"] in new_names) for vertebra in reading["vertebrae"]]
    sides = [body.pop("side") for body in bodies]
    of_film = max(reading["columns"], reading["rows"]) / 50
    return {
        "bodies": bodies,
        "discs": [list(disc["lines_px"].values()) for disc in reading["discs"]],
        "letters": round(min(of_film, 0.42 * float(np.median(sides))), 1) if sides else of_film,
    }


def _body(vertebra: Mapping[str, Any], is_new: bool) -> Row:
    outline = Outline(np.array(vertebra["outline_px"], np.float64))
    plates = {
        side: Endplate(
            PointPx(*plate["left"]), PointPx(*plate["right"]), np.array(plate["curve"], np.float64)
        )
        for side in ("upper", "lower")
        if (plate := vertebra[f"{side}_endplate_px"])
    }
    points = {
        f"{side}_{where}": [round(value, 2) for value in getattr(plate, where)]
        for side, plate in plates.items()
        for where in ("left", "middle", "right")
    }
    return {
        "level": vertebra["level"],
        "order": int(Level[vertebra["level"]]),
        "colour": f"rgb{colour_of(Level[vertebra['level']])}",
        "is_new": is_new,
        "at": [round(value, 1) for value in outline.centroid],
        "outline": outline.points.round(2).tolist(),
        "plates": [plate.curve.round(2).tolist() for plate in plates.values()],
        "points": points,
        "side": outline.area_px**0.5,
    }


def script_words() -> dict[str, Any]:
    """What the film's script says by itself (``static/review.js``); ``%`` stands for a name."""
    return {
        "corners": [
            _("upper left corner"),
            _("upper right corner"),
            _("lower right corner"),
            _("lower left corner"),
        ],
        "points": {name: _("%, {point} of its endplate", point=words) for name, words in POINTS.items()},
        "whole": _("The missed vertebra as a whole"),
        "keys": _("%; arrow keys move it"),
        "would": _("It would be % here."),
        "beyond": _("There is no level beyond C1 and S1: name the others first."),
        "how": _(
            "Click on the film to bring it there, drag it or its corners, or move them with the arrow keys."
        ),
    }


def gradable(reading: Mapping[str, Any]) -> list[Row]:
    """What of a reading a person may grade: ``value`` for the form, ``name`` for people, ``grades`` in words."""
    found = []
    for finding in reading["findings"]:
        sign, side = Sign(finding["sign"]), str(finding["side"] or "")
        is_of_body = finding["place"] in Level.__members__
        grade = finding["published_grade"]
        now = _("withheld") if grade is None else _("now {grade}", grade=grade)
        where = f"{finding['place']} {words.SIDES[Side(side)] if side and is_of_body else ''}".strip()
        found.append(
            {
                "value": f"{sign.value}|{finding['place']}|{side}",
                "name": f"{where}: {words.SIGNS[sign]}, {now}",
                "grades": [f"{n} {words.grade_name(sign, n)}" for n in range(len(GRADE_NAMES[sign]))],
            }
        )
    return found
