"""What is believed of a film, and which element of its header says so: for people who ask why."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataset import Dataset

from spinepacs.dicom.reading.header import anterior_left, turn_of, view_grounds, view_of
from spinepacs.dicom.reading.parse import quiet, texts
from spinepacs.dicom.reading.spacing import SPACING_KEYWORDS, spacing_ground
from spinepacs.domain.geometry import Turn
from spinepacs.domain.study import View
from spinepacs.domain.words import BASES, Words
from spinepacs.language import N_, _

_TURNS: Words[Turn] = Words(
    {
        Turn.NONE: N_("up, as it is stored"),
        Turn.CLOCKWISE: N_("up after a turn: clockwise"),
        Turn.HALF: N_("up after a turn: half"),
        Turn.COUNTERCLOCKWISE: N_("up after a turn: counterclockwise"),
    }
)


@dataclass(frozen=True)
class Ground:
    """One thing that is believed: what it is, in which words, the keyword of the element that says so (empty: none
    does), the element's tag (``(gggg,eeee)``) and name, and what else is stated and was not believed."""

    what: str
    believed: str
    keyword: str
    tag: str = ""
    name: str = ""
    beside: str = ""


@quiet()
def grounds(dataset: Dataset) -> list[Ground]:
    """Say what is believed of view, side, head and spacing, by the same code that reads films."""
    return [_named(ground) for ground in (_view(dataset), _front(dataset), _head(dataset), _spacing(dataset))]


def _view(dataset: Dataset) -> Ground:
    view, stated = view_of(dataset), view_grounds(dataset)
    keyword = stated[0][0] if stated else ""
    others = [f"{word}: {other.value}" for word, other in stated[1:] if other is not view]
    said = _("not known: the picture decides") if view is View.UNKNOWN else view.value
    return Ground(_("view"), said, keyword, beside=", ".join(others))


def _front(dataset: Dataset) -> Ground:
    left = anterior_left(dataset, view_of(dataset))
    if left is None:
        return Ground(_("front"), _("not stated: the picture decides on lateral films"), "")
    side = _("at the image's left") if left else _("at the image's right")
    return Ground(_("front"), side, "PatientOrientation")


def _head(dataset: Dataset) -> Ground:
    turn = turn_of(dataset)
    if turn is None:
        return Ground(_("head"), _("not stated: the picture decides"), "")
    return Ground(_("head"), _TURNS[turn], "PatientOrientation")


def _spacing(dataset: Dataset) -> Ground:
    spacing, keyword = spacing_ground(dataset)
    others = [
        f"{other}: {' × '.join(texts(dataset, other))}"
        for other in SPACING_KEYWORDS
        if other != keyword and any(texts(dataset, other))
    ]
    if spacing is None:
        none = _("none: lengths in px and ratios only")
        return Ground(_("pixel spacing"), none, "", beside=", ".join(others))
    size = f"{spacing.row_mm:.4g} × {spacing.column_mm:.4g} {BASES[spacing.basis]}"
    by = ""
    if spacing.magnification != 1:
        by = _(", divided by a magnification of {factor}", factor=f"{spacing.magnification:.3g}")
    return Ground(_("pixel spacing"), size + by, keyword, beside=", ".join(others))


def _named(ground: Ground) -> Ground:
    """With the tag and the name that PS3.6 gives the element."""
    number = tag_for_keyword(ground.keyword) if ground.keyword else None
    if number is None:
        return ground
    tag = f"({number >> 16:04X},{number & 0xFFFF:04X})"
    return Ground(
        ground.what, ground.believed, ground.keyword, tag, dictionary_description(number), ground.beside
    )
