"""Findings → a conclusion for each region of a film: a finding for a physician, never a diagnosis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from spinepacs.analysis.judging.policy import Policy
from spinepacs.domain.anatomy import ALL_DISCS, DiscLevel, Level, Span
from spinepacs.domain.findings import Spine
from spinepacs.domain.measures import Reason
from spinepacs.domain.sentences import PARTS, english
from spinepacs.domain.signs import Area, Conclusion, Finding, ForAge, Scheme, Sign, Statement
from spinepacs.domain.study import View

_DISCS = {
    Area.CERVICAL: (Level.C2, Level.C7),
    Area.THORACIC: (Level.T1, Level.T11),
    Area.LUMBAR: (Level.T12, Level.L4),
    Area.LUMBOSACRAL: (Level.L5, Level.L5),
}
"""Upper levels of the first and the last disc of a region."""
_BY_DEGREE = (
    Statement.NO_SIGNS, Statement.SLIGHT_SIGNS, Statement.MODERATE_SIGNS, Statement.SEVERE_SIGNS,
)  # fmt: skip
_LUMBAR = tuple(disc for disc in ALL_DISCS if Level.L1 <= disc.upper <= Level.L5)
_SEVERE_STAGE = 3
"""Stage of height loss from which a disc alone shows osteochondrosis: half of it is gone."""


class _Region(NamedTuple):
    """The discs of one region that a film shows, with their findings."""

    area: Area
    discs: tuple[DiscLevel, ...]
    findings: tuple[Finding, ...]

    def also(self) -> tuple[Finding, ...]:
        """Published signs that no overall degree counts: slips, deformed bodies, what shows at a vertebra alone."""
        return tuple(f for f in self.findings if f.published_grade and not self._counts(f))

    def _counts(self, finding: Finding) -> bool:
        if finding.sign not in PARTS or finding.disc is not None:
            return finding.sign in PARTS or finding.sign is Sign.DISC_DEGENERATION
        same = [f.disc for f in self.findings if f.sign is finding.sign and f.disc and f.published_grade]
        return any(finding.level in disc for disc in same)


def conclude(
    spine: Spine, findings: Sequence[Finding], policy: Policy, age_years: float | None = None
) -> tuple[Conclusion, ...]:
    """State what the findings of each region add up to, from head to foot; all regions together where there are more.

    Parameters
    ----------
    age_years
        Of the patient; None where it is not known: then nothing is compared with what is usual.
    """
    if spine.view is not View.LATERAL:
        return (_withheld(Area.COMBINED, _span(_shown(spine)), Reason.NOT_LATERAL),)
    regions = list(_regions(spine, findings))
    if len(regions) > 1:
        discs = tuple(disc for region in regions for disc in region.discs)
        regions.append(_Region(Area.COMBINED, discs, tuple(findings)))
    for_age = _for_age(findings, policy, age_years)
    return tuple(
        _concluded(region, policy, for_age if region.area is Area.LUMBAR else None) for region in regions
    )


def _shown(spine: Spine) -> tuple[DiscLevel, ...]:
    found = {vertebra.level for vertebra in spine.vertebrae}
    return tuple(disc for disc in ALL_DISCS if found.issuperset(disc))


def _regions(spine: Spine, findings: Sequence[Finding]) -> Iterator[_Region]:
    shown = _shown(spine)
    for area, (first, last) in _DISCS.items():
        discs = tuple(disc for disc in shown if first <= disc.upper <= last)
        if discs:
            yield _Region(area, discs, tuple(f for f in findings if _is_at(f, discs, shown)))


def _is_at(finding: Finding, discs: Sequence[DiscLevel], shown: Sequence[DiscLevel]) -> bool:
    """Whether a finding is at one of the discs, or at a vertebra whose first disc on the film is one of them."""
    if finding.level is None:
        return finding.disc in discs
    return next((disc for disc in shown if finding.level in disc), None) in discs


def _concluded(region: _Region, policy: Policy, for_age: ForAge | None) -> Conclusion:
    span = _span(region.discs)
    overall = [f for f in region.findings if f.sign is Sign.DISC_DEGENERATION]
    published = [f.published_grade for f in overall if f.published_grade is not None]
    computed = max((f.computed_grade for f in overall if f.computed_grade is not None), default=None)
    if not published or len(published) < policy.least_share * len(region.discs):
        ambiguous = sum(f.reason is Reason.LEVEL_AMBIGUOUS for f in overall) * 2 > len(region.discs)
        reason = Reason.LEVEL_AMBIGUOUS if ambiguous else Reason.TOO_FEW_DISCS
        return _withheld(region.area, span, reason, computed, region.also())
    degree, also = max(published), region.also()
    support = _support(region.findings)
    statement = (
        _BY_DEGREE[degree] if _is_combined(support) or not (degree or also) else Statement.ISOLATED_SIGNS
    )
    support += also
    return _said(
        Conclusion(
            region.area, span, Scheme.WALRAEVENS, computed, degree, statement, "", support, None, for_age
        )
    )


def _withheld(
    area: Area,
    span: Span | None,
    reason: Reason,
    computed: int | None = None,
    also: tuple[Finding, ...] = (),
) -> Conclusion:
    return _said(
        Conclusion(area, span, Scheme.WALRAEVENS, computed, None, Statement.WITHHELD, "", also, reason=reason)
    )


def _said(conclusion: Conclusion) -> Conclusion:
    return replace(conclusion, sentence=english(conclusion))


def _support(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Published signs of discs, worst first."""
    found = [f for f in findings if f.sign in PARTS and f.disc is not None and f.published_grade]
    return tuple(
        sorted(
            found,
            key=lambda f: (-(f.published_grade or 0), f.sign is not Sign.DISC_HEIGHT_LOSS, -(f.value or 0)),
        )
    )


def _is_combined(support: Sequence[Finding]) -> bool:
    """Whether at one disc a loss of height goes with changes of its rims or endplates, or is severe in itself."""
    lost = {f.disc: f.published_grade or 0 for f in support if f.sign is Sign.DISC_HEIGHT_LOSS}
    beside = {f.disc for f in support if f.sign is not Sign.DISC_HEIGHT_LOSS}
    return bool(lost.keys() & beside) or max(lost.values(), default=0) >= _SEVERE_STAGE


def _for_age(findings: Sequence[Finding], policy: Policy, age_years: float | None) -> ForAge | None:
    """Compare all lumbar discs together, since so much is known of people without symptoms; None if one is not graded.

    A first degree is usual where half of the people of that age have lost disc height; higher ones never are.
    """
    degrees = [
        f.published_grade
        for f in findings
        if f.sign is Sign.DISC_DEGENERATION and f.disc in _LUMBAR and f.published_grade is not None
    ]
    ages, shares = np.array(policy.height_loss_by_age).T
    if age_years is None or len(degrees) < len(_LUMBAR) or not ages[0] - 5 <= age_years <= ages[-1] + 15:
        return None
    common, degree = float(np.interp(age_years, ages, shares)) >= 0.5, max(degrees)
    if degree == 0:
        return ForAge.LESS if common else ForAge.USUAL
    return ForAge.USUAL if degree == 1 and common else ForAge.MORE


def _span(discs: Sequence[DiscLevel]) -> Span | None:
    return Span(discs[0].upper, discs[-1].lower) if discs else None
