"""The grades that a person has given: in this correction, and in those before, wherever their places went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from spinepacs.analysis.judging.grade import Given
from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.corrections import Draft, Grade, Operation, place_of
from spinepacs.domain.findings import Reading, Refusal
from spinepacs.domain.measures import Place, Reason
from spinepacs.domain.signs import GRADE_NAMES, Finding, Side, Sign

_Key = tuple[Sign, Place, Side | None]


def given(
    earlier: Sequence[Finding], renamed: Mapping[Level, Level], operations: Sequence[Operation]
) -> Given | Refusal:
    """Grades to publish in place of the computed ones.

    Parameters
    ----------
    earlier
        Findings of the reading that is corrected; a person's among them go with their vertebrae.
    renamed
        What each of its vertebrae is called now.

    Returns
    -------
    Refused with ``NO_SUCH_PLACE`` or ``NO_SUCH_GRADE``.
    """
    grades = dict(_carried(earlier, renamed))
    for operation in operations:
        if isinstance(operation, Grade):
            place = place_of(operation.place)
            if place is None:
                return Refusal(
                    "NO_SUCH_PLACE", "a grade is given for something that is no vertebra and no disc"
                )
            if operation.grade >= len(GRADE_NAMES[operation.sign]):
                return Refusal("NO_SUCH_GRADE", f"{operation.sign.value} has no grade {operation.grade}")
            grades[operation.sign, place, operation.side] = operation.grade
    return grades


def missing(operations: Sequence[Operation], findings: Sequence[Finding]) -> Refusal | None:
    """Why not every grade that is given now has found its place; an earlier one may have lost it with its name."""
    found = {_key(finding) for finding in findings}
    for one in operations:
        if isinstance(one, Grade) and (one.sign, place_of(one.place), one.side) not in found:
            where = f"{one.place} {one.side or ''}".strip()
            return Refusal("NO_SUCH_FINDING", f"{one.sign.value} is not looked at, or not found, at {where}")
    return None


def unlike(draft: Draft, base: Reading, reading: Reading) -> Refusal | None:
    """Why a reading that a person accepts as it is published cannot be: today's rules would publish another one."""
    if draft.is_acceptance and _published(base) != _published(reading):
        return Refusal(
            "OUTDATED",
            "today's policy publishes other grades than those that are accepted: `spinepacs reread` the study first",
        )
    return None


def _published(reading: Reading) -> dict[_Key, int]:
    return {_key(one): one.published_grade for one in reading.findings if one.published_grade is not None}


def _key(finding: Finding) -> _Key:
    return finding.sign, finding.place, finding.side if isinstance(finding.place, Level) else None


def _carried(earlier: Sequence[Finding], renamed: Mapping[Level, Level]) -> Iterator[tuple[_Key, int]]:
    for finding in earlier:
        if finding.reason is not Reason.BY_PERSON or finding.published_grade is None:
            continue
        sign, place, side = _key(finding)
        went: Place | None = None
        if isinstance(place, Level):
            went = renamed.get(place)
        elif isinstance(place, DiscLevel):
            above, below = renamed.get(place.upper), renamed.get(place.lower)
            if above is not None and below == above + 1 and above > Level.C1:
                went = DiscLevel.below(above)
        if went is not None:
            yield (sign, went, side), finding.published_grade
