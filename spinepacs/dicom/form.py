"""A dataset with gaps: made and encoded once, then filled in as often as one like it is needed.

highdicom and pydicom take 50 ms for the 1500 elements of a segmentation with 24 segments, of which one film's differ
from another's in a few UIDs. What a library has made is taken here as it is; only those texts are put in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr, write_data_element
from pydicom.tag import BaseTag

from spinepacs.dicom.explicit import element, item, padded

Values = Mapping[str, str]
"""What goes into the gaps, by the text that marks them."""
_Part = bytes | Callable[[Values], bytes]


class Form:
    """Takes a dataset apart, once.

    Parameters
    ----------
    dataset
        As a library has made it, in whatever character set its own texts will have.
    marks
        Texts that stand for a value: each element whose whole value is one of them is a gap, at whatever depth. They
        are ASCII, and so is what is filled in.
    """

    def __init__(self, dataset: Dataset, marks: frozenset[str]) -> None:
        characters = dataset.get("SpecificCharacterSet")
        self._encodings = convert_encodings(characters) if characters else [default_encoding]
        self._marks = marks
        self._sequences: dict[BaseTag, _Part] = {}
        self._others: list[DataElement] = []
        for each in correct_ambiguous_vr(dataset, is_little_endian=True):
            if each.VR == "SQ":
                self._sequences[each.tag] = _joined([self._item(nested) for nested in each.value])
            else:
                self._others.append(each)

    def filled(self, values: Values) -> Dataset:
        """A dataset of its own with the gaps filled; its sequences are encoded, see :func:`keep_encoded`."""
        dataset = Dataset()
        for other in self._others:
            own = copy(other)  # pydicom changes the element that is there when a value is set
            if (text := _text(own)) in self._marks:
                own.value = values[text]
            dataset[own.tag] = own
        for tag, part in self._sequences.items():
            value = part if isinstance(part, bytes) else part(values)
            dataset[tag] = RawDataElement(tag, "SQ", len(value), value, 0, False, True)
        return dataset

    def _item(self, dataset: Dataset) -> _Part:
        body = _joined([self._element(each) for each in dataset])
        return item(body) if isinstance(body, bytes) else lambda values: item(body(values))

    def _element(self, each: DataElement) -> _Part:
        tag, representation, text = each.tag, str(each.VR), _text(each)
        if representation == "SQ":
            nested = _joined([self._item(dataset) for dataset in each.value])
            if isinstance(nested, bytes):
                return element(tag, "SQ", nested)
            return lambda values: element(tag, "SQ", nested(values))
        if text in self._marks:
            return lambda values: element(
                tag, representation, padded(values[text].encode(default_encoding), representation)
            )
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_data_element(buffer, each, self._encodings)
        return buffer.getvalue()


def keep_encoded(dataset: Dataset) -> None:
    """Have pydicom write the encoded elements of a dataset as they are; to be called when nothing is put in any more.

    pydicom does so only while character set and transfer syntax are those in which the dataset was made.
    """
    characters = dataset.get("SpecificCharacterSet")
    encoding = convert_encodings(characters) if characters else default_encoding
    dataset.set_original_encoding(False, True, encoding)


def _joined(parts: list[_Part]) -> _Part:
    """Put parts together: those without gaps once and for all."""
    if all(isinstance(part, bytes) for part in parts):
        return b"".join(part for part in parts if isinstance(part, bytes))
    return lambda values: b"".join(part if isinstance(part, bytes) else part(values) for part in parts)


def _text(each: DataElement) -> str:
    """The value as it is written, where it can be a mark."""
    if isinstance(each.value, str):
        return each.value
    return "\\".join(map(str, each.value)) if each.VM > 1 and each.VR == "DS" else ""
