"""Phantoms, graded: what the tests of grades, quality and conclusions have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.judging.conclude import conclude
from spinepacs.analysis.judging.grade import grade
from spinepacs.analysis.judging.policy import Policy
from spinepacs.analysis.judging.quality import Quality, quality
from spinepacs.analysis.judging.texture import Texture, texture
from spinepacs.analysis.measuring.measure import measure
from spinepacs.analysis.naming.label import label
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Spine
from spinepacs.domain.geometry import Endplate, Points
from spinepacs.domain.signs import Conclusion, Finding, Sign
from spinepacs.domain.study import Radiograph, View
from spinepacs.settings.shipped import shipped

POLICY = Policy.load(shipped("config", "grading.toml"))


class Graded(NamedTuple):
    """Everything that comes after the names of the vertebrae."""

    spine: Spine
    texture: Texture
    quality: Quality
    findings: tuple[Finding, ...]
    conclusions: tuple[Conclusion, ...]

    def at(self, sign: Sign, place: str) -> Finding:
        """The finding without a rim or endplate of its own at a disc or vertebra."""
        return next(f for f in self.findings if f.sign is sign and f.place.name == place)


def radiograph(picture: NDArray[np.uint8], view: View = View.LATERAL, age: float | None = None) -> Radiograph:
    """A film whose stored values are its grey levels."""
    return Radiograph(
        "1.2", "1.2.1", "1.2.1.1", picture.astype(np.float32), picture, None, view, True, "", age_years=age
    )


def graded(
    phantom,
    view: View = View.LATERAL,
    picture: NDArray[np.uint8] | None = None,
    detections=None,
    localisation=None,
    age: float | None = None,
    spurs: Mapping[tuple[Level, str], float] | None = None,
    policy: Policy = POLICY,
) -> Graded:
    """Name, measure, look at and grade a phantom; the front is at the image's left.

    ``spurs``: what a tracer says of front rims (level; ``upper``, ``lower``), of all others that there is none.
    """
    lateral = view is View.LATERAL
    spine = with_spurs(
        label(detections or phantom.detections(), view, True if lateral else None), spurs or {}
    )
    film = radiograph(phantom.picture() if picture is None else picture, view, age)
    look = texture(spine, film)
    verdict = quality(spine, film, look)
    findings = grade(spine, measure(spine, None, localisation), look, verdict, policy)
    return Graded(spine, look, verdict, findings, conclude(spine, findings, policy, age))


def with_spurs(spine: Spine, spurs: Mapping[tuple[Level, str], float]) -> Spine:
    """The spine as a tracer that looks for spurs draws it."""

    def told(level: Level, side: str, plate: Endplate | None) -> Endplate | None:
        return plate and replace(plate, spurs=(spurs.get((level, side), 0.0), 0.0))

    return replace(
        spine,
        vertebrae=tuple(
            replace(
                body, **{side: told(body.level, side, getattr(body, side)) for side in ("upper", "lower")}
            )
            for body in spine.vertebrae
        ),
    )


def drawn(picture: NDArray[np.uint8], corners: Points, value: int = 190) -> NDArray[np.uint8]:
    """The picture with one more polygon."""
    picture = picture.copy()
    cv2.fillPoly(picture, [np.round(corners).astype(np.int32)], value)
    return picture
