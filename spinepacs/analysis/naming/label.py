"""Detections → the named spine: levels made consistent, endplates found, view and facing settled.

Notes that a :class:`~spinepacs.domain.findings.Spine` may carry:

``LEVEL_AMBIGUOUS``        some vertebra's level is not sure: it has another one in too many of the chains that fit
``LEVELS_SHIFTED``         most published levels differ from the network's
``VERTEBRAE_MISSING``      levels inside the chain were not found: ``Spine.missing`` names them
``DETECTIONS_DROPPED``     something was found that fits nowhere in the chain
``HEAD_AT_THE_BOTTOM``     the film stands on its head
``VIEW_FROM_PICTURE``      the header does not give the view, or not for sure and another one
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spinepacs.analysis.naming.chain import Chain, best_chain
from spinepacs.analysis.naming.pose import anterior_left_from_picture, view_from_picture
from spinepacs.analysis.seeing.endplates import find_endplates
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import SURE_MARGIN, SURE_SCORE, Detection, Refusal, Spine, Vertebra
from spinepacs.domain.study import View

_LEAST_VERTEBRAE = 2
_LEAST_END_SCORE = 0.2
"""Confidence of the first and the last vertebra: what the network draws into the shoulders below a neck has less. On
45 AP, 15 lateral and 16 synthetic films nothing true was lost at 0.2, and some at 0.25."""
_IN_VIEW = (
    # What films of a body part show at most; matched in this order, anywhere in BodyPartExamined.
    (("WHOLE", "SCOLIOSIS"), Level.C1, Level.S1),
    (("CTSPINE", "CERVICOTHORACIC"), Level.C1, Level.T12),
    (("TLSPINE", "THORACOLUMBAR"), Level.T1, Level.S1),
    (("CSPINE", "CERVICAL", "NECK"), Level.C1, Level.T4),
    (("TSPINE", "THORACIC", "DORSAL"), Level.C6, Level.L3),
    (("LSPINE", "LSSPINE", "LUMB"), Level.T9, Level.S1),
)


def label(
    detections: Sequence[Detection],
    view: View,
    anterior_left: bool | None,
    body_part: str = "",
    *,
    view_is_sure: bool = True,
) -> Spine | Refusal:
    """Name the vertebrae of one film.

    Parameters
    ----------
    detections
        In any order, native px.
    view, anterior_left
        As the header states them (see :class:`~spinepacs.domain.study.Radiograph`).
    body_part
        BodyPartExamined: levels that such a film should not show are made less likely, not impossible.
    view_is_sure
        False: where the picture shows AP and not lateral, or the other way round, it is right.

    Returns
    -------
    The spine, or a refusal: ``NO_VERTEBRA_FOUND``, or ``TOO_FEW_VERTEBRAE`` for fewer than two sure ones in one chain,
    where neither a level nor a disc can be told from one body alone. Less sure ones are kept where they fit.
    """
    if not detections:
        return Refusal("NO_VERTEBRA_FOUND", "no vertebra was found on this film")
    chain = _sure_at_both_ends(detections, levels_in_view(body_part), view)
    if sum(one.score >= SURE_SCORE for one in chain.detections) < _LEAST_VERTEBRAE:
        return Refusal("TOO_FEW_VERTEBRAE", "fewer than two sure vertebrae in a row were found on this film")
    vertebrae = _vertebrae(chain)
    notes = _chain_notes(chain, vertebrae)
    if view is View.UNKNOWN or (view is not View.OBLIQUE and not view_is_sure):
        shown = view_from_picture(vertebrae)
        if shown not in (View.UNKNOWN, view):
            view = shown
            notes.append("VIEW_FROM_PICTURE")
    facing, basis = _facing(vertebrae, view, anterior_left)
    return Spine(vertebrae, missing_between(chain.levels), view, facing, basis, tuple(notes))


def _sure_at_both_ends(detections: Sequence[Detection], in_view: range, view: View) -> Chain:
    """The best chain that neither begins nor ends with a doubtful vertebra: there only one neighbour vouches for it."""
    chain = best_chain(detections, in_view, view)
    doubtful = [one for one in (chain.detections[0], chain.detections[-1]) if one.score < _LEAST_END_SCORE]
    left = [one for one in detections if not any(one is other for other in doubtful)]
    return _sure_at_both_ends(left, in_view, view) if doubtful and left else chain


def levels_in_view(body_part: str) -> range:
    """Levels that a film of this body part shows, as a range of level numbers; all where it does not say."""
    spelled = "".join(letter for letter in body_part.upper() if letter.isalpha())
    for words, first, last in _IN_VIEW:
        if any(word in spelled for word in words):
            return range(first, last + 1)
    return range(Level.C1, Level.S1 + 1)


def _vertebrae(chain: Chain) -> tuple[Vertebra, ...]:
    published = set(chain.levels)
    rightwards = np.stack([chain.axes[:, 1], -chain.axes[:, 0]], axis=1)
    outlines = [detection.outline.points for detection in chain.detections]
    # All at once: most of it is what numpy takes to be called.
    towards = np.concatenate([-chain.axes, chain.axes])
    plates = find_endplates(2 * outlines, towards, np.concatenate([rightwards, rightwards]))
    uppers, lowers = plates[: len(outlines)], plates[len(outlines) :]
    return tuple(
        Vertebra(
            level=level,
            raw_level=detection.raw_level,
            raw_score=float(detection.class_scores.max()),
            level_reason=_level_reason(detection.raw_level, level, published),
            score=detection.score,
            outline=detection.outline,
            upper=upper if level.has_upper_plate else None,
            lower=lower if level.has_lower_plate else None,
            level_margin=float(margin) if np.isfinite(margin) else None,
            other_level=other if margin < SURE_MARGIN else None,
        )
        for detection, level, margin, other, upper, lower in zip(
            chain.detections, chain.levels, chain.margins, chain.others, uppers, lowers, strict=True
        )
    )


def _level_reason(raw: Level, level: Level, published: set[Level]) -> str:
    """Why the published level is not the network's: ``TAKEN`` by another vertebra, or by the ``CHAIN`` as a whole."""
    if raw == level:
        return ""
    return "TAKEN" if raw in published else "CHAIN"


def missing_between(levels: Sequence[Level]) -> tuple[Level, ...]:
    """Levels between the first and the last that are not there."""
    return tuple(level for level in Level if levels[0] < level < levels[-1] and level not in levels)


def _chain_notes(chain: Chain, vertebrae: Sequence[Vertebra]) -> list[str]:
    differing = sum(vertebra.level != vertebra.raw_level for vertebra in vertebrae)
    applies = {
        "LEVEL_AMBIGUOUS": any(vertebra.level_is_ambiguous for vertebra in vertebrae),
        "LEVELS_SHIFTED": differing > len(vertebrae) / 2,
        "VERTEBRAE_MISSING": bool(missing_between(chain.levels)),
        "DETECTIONS_DROPPED": bool(chain.dropped),
        "HEAD_AT_THE_BOTTOM": bool(chain.axes[:, 1].mean() < 0),
    }
    return [note for note, true in applies.items() if true]


def _facing(vertebrae: Sequence[Vertebra], view: View, anterior_left: bool | None) -> tuple[bool | None, str]:
    """Which image side is anterior, and how it is known; nothing but lateral films has one."""
    if view is not View.LATERAL:
        return None, ""
    if anterior_left is not None:
        return anterior_left, "header"
    facing = anterior_left_from_picture(vertebrae)
    return facing, "" if facing is None else "picture"
