"""A conclusion in words: its parts are codes and findings, so that it can be said in any language, at any time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spinepacs.domain import words
from spinepacs.domain.anatomy import Span
from spinepacs.domain.measures import Reason
from spinepacs.domain.signs import Area, Conclusion, Finding, ForAge, Side, Sign, Statement
from spinepacs.language import N_, _, speaking, spoken

PARTS = (Sign.DISC_HEIGHT_LOSS, Sign.OSTEOPHYTES, Sign.SUBCHONDRAL_SCLEROSIS)
"""Signs that an overall degree is made of."""
_AT_DISCS = words.Words(
    {
        Sign.DISC_HEIGHT_LOSS: N_("loss of disc height, stage {grade} ({word})"),
        Sign.OSTEOPHYTES: N_("anterior osteophytes, grade {grade} ({word})"),
        Sign.SUBCHONDRAL_SCLEROSIS: N_("subchondral sclerosis, degree {grade} ({word})"),
    }
)
_SLIPS = words.Words(
    {
        Side.ANTERIOR: N_("antero slip {grade} at {place}"),
        Side.POSTERIOR: N_("retro slip {grade} at {place}"),
        None: N_("slip {grade} at {place}"),
    }
)
_WHY = words.Words(
    {
        Reason.NOT_LATERAL: N_("the film is not a lateral one"),
        Reason.LEVEL_AMBIGUOUS: N_("the levels may be shifted by one"),
        Reason.TOO_FEW_DISCS: N_("too few of its discs could be graded"),
    }
)
_AGE = words.Words(
    {
        ForAge.LESS: N_("L1-S1 together: fewer changes than are usual at this age."),
        ForAge.USUAL: N_("L1-S1 together: usual at this age."),
        ForAge.MORE: N_("L1-S1 together: more changes than are usual at this age."),
    }
)
_SAID = words.Words(
    {
        Statement.WITHHELD: N_("{region}: no statement, since {why}."),
        Statement.NO_SIGNS: N_(
            "{region}: no radiographic signs of osteochondrosis at the discs that could be graded."
        ),
        Statement.ISOLATED_SIGNS: N_("{region}: single radiographic signs of wear{where}."),
        Statement.SLIGHT_SIGNS: N_(
            "{region}: slight radiographic signs of osteochondrosis (overall degree {degree} of 3){where}."
        ),
        Statement.MODERATE_SIGNS: N_(
            "{region}: moderate radiographic signs of osteochondrosis (overall degree {degree} of 3){where}."
        ),
        Statement.SEVERE_SIGNS: N_(
            "{region}: severe radiographic signs of osteochondrosis (overall degree {degree} of 3){where}."
        ),
    }
)


def statement(conclusion: Conclusion) -> str:
    """What a conclusion says, in the language that is spoken; that a physician is to judge it is not said.

    In English that is the sentence that it has had since it was made.
    """
    if spoken() == "en" and conclusion.sentence:
        return conclusion.sentence.removesuffix(words.TO_PHYSICIAN)
    return " ".join(_parts(conclusion))


def sentence(conclusion: Conclusion) -> str:
    """The same with who is to judge it, where there is something to be judged."""
    if spoken() == "en" and conclusion.sentence:
        return conclusion.sentence
    said = statement(conclusion)
    return said if conclusion.statement is Statement.WITHHELD else f"{said} {_(words.PHYSICIAN)}"


def english(conclusion: Conclusion) -> str:
    """The sentence that a conclusion is given when it is made: it is stored, and in tables for programs."""
    with speaking("en"):
        return sentence(conclusion)


def _parts(conclusion: Conclusion) -> Iterable[str]:
    at_discs = [finding for finding in conclusion.support if _counts(finding)]
    # A degree of 0 has no signs, whatever else shows: that is said after it.
    said = Statement.NO_SIGNS if conclusion.published_degree == 0 else conclusion.statement
    yield _SAID[said].format(
        region=_region(conclusion.area, conclusion.span),
        why=_WHY[conclusion.reason] if conclusion.reason else "",
        degree=conclusion.published_degree,
        where=_where(at_discs),
    )
    if also := [finding for finding in conclusion.support if not _counts(finding)]:
        yield _("Besides: {signs}.", signs="; ".join(map(_said, also)))
    if conclusion.for_age:
        yield _AGE[conclusion.for_age]


def _counts(finding: Finding) -> bool:
    """Whether it is one of the signs of a disc that the degree rests on."""
    return finding.sign in PARTS and finding.disc is not None


def _region(area: Area, span: Span | None) -> str:
    return f"{words.AREAS[area]} ({span.name})" if span else words.AREAS[area]


def _where(support: Sequence[Finding]) -> str:
    """The disc that is worst, with its signs."""
    if not support:
        return ""
    at = [finding for finding in support if finding.disc == support[0].disc]
    return _(", most marked at {disc}: {signs}", disc=at[0].place.name, signs="; ".join(map(_at_disc, at)))


def _at_disc(finding: Finding) -> str:
    grade = finding.published_grade or 0
    return _AT_DISCS[finding.sign].format(grade=grade, word=words.grade_name(finding.sign, grade))


def _said(finding: Finding) -> str:
    """A sign with its place: ``retro slip I at C5/C6``, ``deformity 2 (moderate, wedge) at T8``."""
    grade = finding.published_grade or 0
    word, place = words.grade_name(finding.sign, grade), finding.place.name
    if finding.sign is Sign.SPONDYLOLISTHESIS:
        way = finding.side if finding.side in _SLIPS else None
        return _SLIPS[way].format(grade=word, place=place)
    form = f", {words.FORMS[finding.form]}" if finding.form else ""
    side = f", {words.SIDES[finding.side]}" if finding.side else ""
    return _(
        "{sign} {grade} ({word}{form}) at {place}{side}",
        sign=words.SIGNS[finding.sign],
        grade=grade,
        word=word,
        form=form,
        place=place,
        side=side,
    )
