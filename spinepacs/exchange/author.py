"""The person who has corrected a reading, in documents for other systems."""

from __future__ import annotations

from spinepacs.dicom.identity import DISCLAIMER
from spinepacs.domain.corrections import Correction
from spinepacs.language import _


def parts_of(author: str) -> list[str]:
    """Family, given, middle names, prefix, suffix of a name as DICOM writes it (PS3.5 6.2.1); empty: not stated."""
    return [part.strip() for part in [*author.partition("=")[0].split("^", 4), "", "", "", ""][:5]]


def spoken(author: str) -> str:
    """The name as it is spoken: ``Doe^Jane`` is Jane Doe."""
    family, given, middle, prefix, suffix = parts_of(author)
    return " ".join(part for part in (prefix, given, middle, family, suffix) if part)


def closing(correction: Correction | None, made_by: str = "") -> str:
    """What stands below results of a film: what they are not for, what has made them, and who has looked at them."""
    told = f"{_(DISCLAIMER)}. {made_by}" if made_by else _(DISCLAIMER)
    if correction is None:
        return _("{told}, not verified by a physician.", told=told)
    draft = correction.draft
    whose = f"{spoken(draft.author)}, {draft.organisation}" if draft.organisation else spoken(draft.author)
    if draft.is_acceptance:
        return _("{told}. Accepted by {whose}.", told=told, whose=whose)
    if draft.is_rejection:
        return _("{told}. Rejected by {whose}.", told=told, whose=whose)
    return _("{told}. Corrected by {whose}.", told=told, whose=whose)
