"""Which images are read: a pure function of the header, the rules and the sender."""

from __future__ import annotations

import re
from collections.abc import Collection

from spinepacs.dicom.reading.classes import RADIOGRAPH_CLASSES, UNKNOWN_SOP_CLASS, is_private
from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import NO_RADIOGRAPH, OWN_RESULT, StudyHeader
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


def _kept_out_by(header: StudyHeader, rules: SelectionSettings, calling_ae: str) -> str:
    """Name the first rule that an image does not pass; empty where it passes all."""
    if header.modality not in rules.modalities:
        return "Modality is not among selection.modalities"
    if rules.sop_classes and header.sop_class_uid not in rules.sop_classes:
        return f"SOPClassUID {header.sop_class_uid} is not among selection.sop_classes"
    if rules.calling_ae_titles and calling_ae not in rules.calling_ae_titles:
        return "the sender is not among selection.calling_ae_titles"
    if not _speaks_of_spine(header, rules):
        return "BodyPartExamined and the descriptions match neither selection.body_parts nor selection.descriptions"
    return ""


def _speaks_of_spine(header: StudyHeader, rules: SelectionSettings) -> bool:
    """Compare the body part with the list, and all texts (the body part too) with the expressions."""
    if _plain(header.body_part) in {_plain(part) for part in rules.body_parts}:
        return True
    texts = (header.body_part, *header.descriptions)
    return any(
        re.search(pattern, text, re.IGNORECASE) for pattern in rules.descriptions for text in texts if text
    )


def _plain(body_part: str) -> str:
    """Upper case without spaces, hyphens, underscores and slashes."""
    return re.sub(r"[\s_/-]+", "", body_part).upper()
