"""Measurements + policy → findings. The policy (``config/grading.toml``) holds every threshold with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spinepacs.anatomy import Level
from spinepacs.errors import BadSettings
from spinepacs.findings import DiscHeight, Spine
from spinepacs.measures import Unit
from spinepacs.signs import ExpectedFrom, Finding, Reason, Scheme, Sign
from spinepacs.study import View


@dataclass(frozen=True)
class DiscHeightLoss:
    """Rules for the loss of disc height.

    Parameters
    ----------
    neighbour_reach
        Levels above and below whose discs make the expected height.
    least_neighbours
        Fewer of them: nothing is graded.
    stage_from
        Least loss (ratio, 0–1) of the stages 1 to 4, growing.
    least_score
        Confidence of both vertebrae below which the stage is withheld, 0–1.
    """

    neighbour_reach: int
    least_neighbours: int
    stage_from: tuple[float, float, float, float]
    least_score: float

    def stage(self, loss: float) -> int:
        """Stage 0 (none) to 4 (disc all but gone) of a loss ratio."""
        return int(np.searchsorted(self.stage_from, loss, side="right"))


@dataclass(frozen=True)
class Policy:
    """A named, versioned set of rules."""

    name: str
    version: str
    disc_height_loss: DiscHeightLoss

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read a policy file.

        Raises
        ------
        BadSettings
            If it cannot be read, lacks a key or holds a value that cannot be meant.
        """
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadSettings(f"{path}: cannot be read ({error.strerror}); is model.policy right?") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadSettings(f"{path}: not valid TOML: {error}") from error
        try:
            return cls(str(data["name"]), str(data["version"]), _disc_height_loss(data["disc_height_loss"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadSettings(f"{path}: missing or unusable key: {error}") from error


def _disc_height_loss(data: dict[str, Any]) -> DiscHeightLoss:
    first, second, third, fourth = (float(value) for value in data["stage_from"])
    rules = DiscHeightLoss(
        neighbour_reach=int(data["neighbour_reach"]),
        least_neighbours=int(data["least_neighbours"]),
        stage_from=(first, second, third, fourth),
        least_score=float(data["least_score"]),
    )
    if not 0 < first < second < third < fourth < 1:
        raise ValueError("stage_from must grow, between 0 and 1")
    if rules.neighbour_reach < 1 or rules.least_neighbours < 1:
        raise ValueError("neighbour_reach and least_neighbours must be 1 or more")
    return rules


def grade(discs: Sequence[DiscHeight], spine: Spine, policy: Policy) -> tuple[Finding, ...]:
    """Grade the measures of one film; on films that are not lateral there is nothing to grade yet."""
    if spine.view is not View.LATERAL:
        return ()
    scores = {vertebra.level: vertebra.score for vertebra in spine.vertebrae}
    ambiguous = "LEVEL_AMBIGUOUS" in spine.notes
    return tuple(
        _height_loss(disc, expected_index(disc, discs, policy.disc_height_loss), scores, ambiguous, policy)
        for disc in discs
    )


def expected_index(disc: DiscHeight, discs: Sequence[DiscHeight], rules: DiscHeightLoss) -> float | None:
    """Median height index of a disc's neighbours in its region; None where there are too few."""
    upper = disc.disc.upper
    indices = [
        other.height_index
        for other in discs
        if 0 < abs(other.disc.upper - upper) <= rules.neighbour_reach
        and other.disc.upper.region is upper.region
    ]
    expected = float(np.median(indices)) if len(indices) >= rules.least_neighbours else 0.0
    return expected if expected > 0 else None


def _height_loss(
    disc: DiscHeight, expected: float | None, scores: dict[Level, float], ambiguous: bool, policy: Policy
) -> Finding:
    if expected is None:
        return Finding(
            Sign.DISC_HEIGHT_LOSS, disc.disc, Scheme.SPINEPACS, None, Unit.RATIO, None, None,
            Reason.NO_EXPECTED_HEIGHT,
        )  # fmt: skip
    rules = policy.disc_height_loss
    loss = 1 - disc.height_index / expected
    stage = rules.stage(loss)
    doubtful = min(scores[disc.disc.upper], scores[disc.disc.lower]) < rules.least_score
    reason = Reason.LEVEL_AMBIGUOUS if ambiguous else Reason.LOW_CONFIDENCE if doubtful else None
    return Finding(
        Sign.DISC_HEIGHT_LOSS, disc.disc, Scheme.SPINEPACS, loss, Unit.RATIO, stage, None if reason else stage,
        reason, expected=expected, expected_from=ExpectedFrom.NEIGHBOURS,
    )  # fmt: skip
