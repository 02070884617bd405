"""The grading policy: a named, versioned set of thresholds, read from ``config/grading.toml``."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

from spinepacs.domain.anatomy import ALL_DISCS, DiscLevel, Region
from spinepacs.domain.signs import Sign
from spinepacs.errors import BadSettings
from spinepacs.toml import read_toml, usable_keys

Steps = tuple[float, ...]
"""Least value of the grades from 1 on, growing."""

_WITH_DISCS = (Region.CERVICAL, Region.THORACIC, Region.LUMBAR)
_DISCS = {disc.name: disc for disc in ALL_DISCS}


def grade_of(value: float, steps: Steps) -> int:
    """Grade of a value: how many steps it has reached."""
    return bisect_right(steps, value)


@dataclass(frozen=True)
class HeightRules:
    """Loss of disc height; spreads are standard deviations of logarithms (see ``config/grading.toml``).

    ``certain``: by region of the upper vertebra, like :class:`Policy`'s. ``most_deviation``: of the loss, beyond which
    its stage is withheld.
    """

    usual_index: Mapping[DiscLevel, float]
    reach: int
    disc_spread: float
    spine_spread: float
    narrowed: float
    least_index: float
    most_deviation: float
    certain: Mapping[Region, float]
    stage_from: Steps
    reference_from: Steps


@dataclass(frozen=True)
class SlipRules:
    """Slips: Meyerding's steps; by graded disc the usual step and how far from it a slip begins (shares of depth)."""

    grade_from: Steps
    usual: Mapping[DiscLevel, tuple[float, float]]


@dataclass(frozen=True)
class SpurRules:
    """Osteophytes, shares of depth, and the standard deviation of what is told of them, by region.

    ``discs``: those whose rims are graded.
    """

    discs: frozenset[DiscLevel]
    grade_from: Steps
    error: Mapping[Region, float]


@dataclass(frozen=True)
class Policy:
    """A named, versioned set of rules; the file explains each value.

    Parameters
    ----------
    least_score
        Confidence of a vertebra below which nothing that stands on it is published, 0–1.
    certain
        By sign other than loss of disc height, standard deviations from none below which grade 0 is published.
    sclerosis_from
        By region; regions that are not named are not graded.
    degeneration_from, most_sclerosis
        Points of the overall degrees, and the most that sclerosis gives.
    least_share
        Share of a region's discs that a conclusion needs.
    height_loss_by_age
        (age in years, share of people), growing.
    """

    name: str
    version: str
    least_score: float
    certain: Mapping[Sign, float]
    height: HeightRules
    slip: SlipRules
    spur: SpurRules
    sclerosis_from: Mapping[Region, Steps]
    deformity_from: Steps
    degeneration_from: Steps
    most_sclerosis: int
    least_share: float
    height_loss_by_age: tuple[tuple[float, float], ...]

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read a policy file.

        Raises
        ------
        BadSettings
            If it cannot be read, lacks a key or holds a value that cannot be meant.
        """
        data = read_toml(path, BadSettings, "is model.policy right?")
        with usable_keys(path, BadSettings):
            return _policy(data)


def _policy(data: Mapping[str, Any]) -> Policy:
    degeneration, conclusion = data["disc_degeneration"], data["conclusion"]
    sclerosis = data["subchondral_sclerosis"]["degree_from"]
    return Policy(
        name=str(data["name"]),
        version=str(data["version"]),
        least_score=float(data["publish"]["least_score"]),
        certain={Sign(sign): float(count) for sign, count in data["publish"]["certain"].items()},
        height=_height(data["disc_height_loss"]),
        slip=_slip(data["spondylolisthesis"]),
        spur=_spur(data["osteophytes"]),
        sclerosis_from={Region(region): _steps(steps, 3) for region, steps in sclerosis.items()},
        deformity_from=_steps(data["vertebral_deformity"]["grade_from"], 3),
        degeneration_from=_steps(degeneration["degree_from"], 3),
        most_sclerosis=int(degeneration["most_sclerosis"]),
        least_share=float(conclusion["least_share"]),
        height_loss_by_age=tuple(
            sorted((float(age), float(share)) for age, share in conclusion["height_loss_by_age"].items())
        ),
    )


def _height(data: Mapping[str, Any]) -> HeightRules:
    rules = data["rules"]
    found = HeightRules(
        usual_index={_DISCS[name]: float(index) for name, index in data["usual_index"].items()},
        reach=int(rules["reach"]),
        disc_spread=float(rules["disc_spread"]),
        spine_spread=float(rules["spine_spread"]),
        narrowed=float(rules["narrowed"]),
        least_index=float(rules["least_index"]),
        most_deviation=float(rules.get("most_deviation", inf)),
        certain={region: float(rules["certain"][region]) for region in _WITH_DISCS},
        stage_from=_steps(rules["stage_from"], 4),
        reference_from=_steps(rules["reference_from"], 3),
    )
    if found.reach < 1 or min(found.disc_spread, found.spine_spread, *found.usual_index.values()) <= 0:
        raise ValueError("reach, spreads and usual indices must be positive")
    return found


def _slip(data: Mapping[str, Any]) -> SlipRules:
    usual, at = {}, 0
    for row in data["usual"]:
        last = ALL_DISCS.index(_DISCS[row["to"]]) + 1
        if row.keys() != {"to"}:
            usual.update(dict.fromkeys(ALL_DISCS[at:last], (float(row["step"]), float(row["within"]))))
        at = last
    if at < len(ALL_DISCS):
        raise ValueError("spondylolisthesis.usual must reach L5/S1")
    return SlipRules(_steps(data["grade_from"], 4), usual)


def _spur(data: Mapping[str, Any]) -> SpurRules:
    error = {Region(region): float(share) for region, share in data["error"].items()}
    discs = frozenset(_DISCS[name] for name in data["discs"])
    if not {disc.upper.region for disc in discs} <= error.keys():
        raise ValueError("osteophytes: error names the regions of all discs")
    return SpurRules(discs, _steps(data["grade_from"], 3), error)


def _steps(values: Sequence[float], count: int) -> Steps:
    steps = tuple(float(value) for value in values)
    if len(steps) != count or steps[0] <= 0 or any(b <= a for a, b in pairwise(steps)):
        raise ValueError(f"{count} values that grow from above 0 are needed, not {list(values)}")
    return steps
