"""Which images are read: a pure function of the header, the rules and the sender."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from spinepacs.dicom.reading.classes import RADIOGRAPH_CLASSES, UNKNOWN_SOP_CLASS, is_private
from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import NO_RADIOGRAPH, OWN_RESULT, StudyHeader
from spinepacs.language import _
from spinepacs.settings.sections import SelectionSettings


def select(header: StudyHeader, rules: SelectionSettings, calling_ae: str) -> Refusal | None:
    """Tell why an image is not read.

    Parameters
    ----------
    header : StudyHeader
        Of the image.
    rules : SelectionSettings
        ``[selection]`` of the settings.
    calling_ae : str
        AE title of the sender; empty for files.

    Returns
    -------
    Refusal or None
        None where it is selected; ``OWN_RESULT`` and ``NO_RADIOGRAPH`` for what can be no film under any rules;
        ``UNKNOWN_SOP_CLASS`` for a film of a private class; ``NOT_SELECTED`` with the rule that kept it out; no value
        of the header, since people write anything anywhere.
    """
    if refusal := no_film(header, rules.sop_classes):
        return refusal
    reason = _kept_out_by(header, rules, calling_ae)
    if is_private(header.sop_class_uid):
        return (
            Refusal(NO_RADIOGRAPH, f"SOPClassUID is private, and {reason}") if reason else UNKNOWN_SOP_CLASS
        )
    return Refusal("NOT_SELECTED", reason) if reason else None


def no_film(header: StudyHeader, sop_classes: Collection[str] = ()) -> Refusal | None:
    """Tell that an object is no film, whatever the rules are; classes that the rules name may hold one."""
    if header.is_ours:
        return Refusal(OWN_RESULT, "spinepacs wrote this object: results are not read again")
    sop_class = header.sop_class_uid
    if is_private(sop_class) or sop_class in RADIOGRAPH_CLASSES or sop_class in sop_classes:
        return None
    return Refusal(NO_RADIOGRAPH, "SOPClassUID is of a class that holds no radiograph")


@dataclass(frozen=True)
class Verdict:
    """What one rule says of an image: its name in the settings, whether the image passes, and why it does or not."""

    rule: str
    passes: bool
    reason: str


def verdicts(header: StudyHeader, rules: SelectionSettings, calling_ae: str) -> Iterator[Verdict]:
    """Give what each rule says, in order; the first that an image does not pass keeps it out."""
    passes = header.modality in rules.modalities
    is_in, is_out = (
        _("Modality is among selection.modalities"),
        _("Modality is not among selection.modalities"),
    )
    yield Verdict("modalities", passes, is_in if passes else is_out)
    passes, reason = (
        not rules.sop_classes,
        _("selection.sop_classes lets in every class that may hold a radiograph"),
    )
    if rules.sop_classes:
        passes, uid = header.sop_class_uid in rules.sop_classes, header.sop_class_uid
        reason = _("SOPClassUID {uid} is not among selection.sop_classes", uid=uid)
        if passes:
            reason = _("SOPClassUID {uid} is among selection.sop_classes", uid=uid)
    yield Verdict("sop_classes", passes, reason)
    passes, reason = not rules.calling_ae_titles, _("selection.calling_ae_titles lets in every sender")
    if rules.calling_ae_titles:
        passes = calling_ae in rules.calling_ae_titles
        reason = _("the sender is not among selection.calling_ae_titles")
        if passes:
            reason = _("the sender is among selection.calling_ae_titles")
    yield Verdict("calling_ae_titles", passes, reason)
    speaks = _what_speaks_of_spine(header, rules)
    silent = _(
        "BodyPartExamined and the descriptions match neither selection.body_parts nor selection.descriptions"
    )
    yield Verdict("body_parts, descriptions", bool(speaks), speaks or silent)


def _kept_out_by(header: StudyHeader, rules: SelectionSettings, calling_ae: str) -> str:
    """Name the first rule that an image does not pass; empty where it passes all."""
    return next((each.reason for each in verdicts(header, rules, calling_ae) if not each.passes), "")


def _what_speaks_of_spine(header: StudyHeader, rules: SelectionSettings) -> str:
    """Compare the body part with the list, and all texts (the body part too) with the expressions; empty: nothing."""
    for part in rules.body_parts:
        if _plain(header.body_part) == _plain(part):
            return _("BodyPartExamined is {part} of selection.body_parts", part=part)
    texts = (header.body_part, *header.descriptions)
    for pattern in rules.descriptions:
        if any(re.search(pattern, text, re.IGNORECASE) for text in texts if text):
            return _(
                "BodyPartExamined or a description matches {pattern} of selection.descriptions",
                pattern=pattern,
            )
    return ""


def _plain(body_part: str) -> str:
    """Upper case without spaces, hyphens, underscores and slashes."""
    return re.sub(r"[\s_/-]+", "", body_part).upper()
