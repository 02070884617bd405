"""SR content items (PS3.3 C.17.3) as plain datasets.

highdicom's classes check and deep-copy every level of the tree, which takes about 15 ms a measurement group; these
functions write the same items directly, and the tests read the result back with highdicom.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.sr.coding import Code

CONTAINS = "CONTAINS"
CONTEXT = "HAS OBS CONTEXT"
MODIFIER = "HAS CONCEPT MOD"
ACQUISITION = "HAS ACQ CONTEXT"
INFERRED = "INFERRED FROM"
SELECTED = "SELECTED FROM"


def code_sequence(code: Code) -> Items:
    """One code as a sequence of one item (PS3.3 8.8)."""
    item = Dataset()
    item.add_new(0x00080100, "SH", code.value)
    item.add_new(0x00080102, "SH", code.scheme_designator)
    item.add_new(0x00080104, "LO", code.meaning)
    return Items([item])


def container(
    relation: str | None, concept: Code, children: Iterable[Dataset], template: str = ""
) -> Dataset:
    """CONTAINER; with the template that it follows (TID of DCMR) where it follows one."""
    item = _item(relation, "CONTAINER", concept, children)
    item.add_new(0x0040A050, "CS", "SEPARATE")
    if template:
        used = Dataset()
        used.MappingResource, used.TemplateIdentifier = "DCMR", template
        item.ContentTemplateSequence = [used]
    return item


def text(relation: str, concept: Code, value: str) -> Dataset:
    """TEXT."""
    item = _item(relation, "TEXT", concept)
    item.add_new(0x0040A160, "UT", value)
    return item


def code(relation: str, concept: Code, value: Code, children: Iterable[Dataset] = ()) -> Dataset:
    """CODE."""
    item = _item(relation, "CODE", concept, children)
    item.add_new(0x0040A168, "SQ", code_sequence(value))
    return item


def uid(relation: str, concept: Code, value: str) -> Dataset:
    """UIDREF."""
    item = _item(relation, "UIDREF", concept)
    item.add_new(0x0040A124, "UI", value)
    return item


def number(relation: str, concept: Code, value: str, unit: Code, children: Iterable[Dataset] = ()) -> Dataset:
    """NUM; ``value`` is a decimal string (VR DS)."""
    measured = Dataset()
    measured.add_new(0x004008EA, "SQ", code_sequence(unit))
    measured.add_new(0x0040A30A, "DS", value)
    item = _item(relation, "NUM", concept, children)
    item.add_new(0x0040A300, "SQ", Items([measured]))
    return item


def image(
    relation: str,
    concept: Code | None,
    sop_class_uid: str,
    sop_uid: str,
    *,
    segment: int | None = None,
    children: Iterable[Dataset] = (),
) -> Dataset:
    """IMAGE, or one segment of a segmentation."""
    reference = Dataset()
    reference.add_new(0x00081150, "UI", sop_class_uid)
    reference.add_new(0x00081155, "UI", sop_uid)
    if segment is not None:
        reference.ReferencedSegmentNumber = segment
    item = _item(relation, "IMAGE", concept, children)
    item.add_new(0x00081199, "SQ", Items([reference]))
    return item


def polyline(relation: str, concept: Code | None, points: NDArray[np.float64], source: Dataset) -> Dataset:
    """SCOORD polyline; (N, 2) points in px, drawn on the IMAGE item ``source`` (PS3.3 C.18.6)."""
    item = _item(relation, "SCOORD", concept, [source])
    item.add_new(0x00700022, "FL", [float(v) for v in points.ravel()])
    item.add_new(0x00700023, "CS", "POLYLINE")
    return item


def _item(
    relation: str | None, value_type: str, concept: Code | None, children: Iterable[Dataset] = ()
) -> Dataset:
    item = Dataset()
    if relation:
        item.add_new(0x0040A010, "CS", relation)
    item.add_new(0x0040A040, "CS", value_type)
    if concept is not None:
        item.add_new(0x0040A043, "SQ", code_sequence(concept))
    nested: Sequence[Dataset] = list(children)
    if nested:
        item.add_new(0x0040A730, "SQ", Items(nested))
    return item
