"""What results hold: each is encoded for two films that have next to nothing in common, and the two are compared."""

from __future__ import annotations

import re
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path

import highdicom
from pydicom import Dataset, FileDataset, dcmread
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.uid import UID

import spinepacs
from spinepacs.dicom.encapsulated import encode_pdf
from spinepacs.dicom.identity import TYPE_2, WHERE_KNOWN
from spinepacs.dicom.objects import encode_all
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.dicom.report.document import encode_report
from spinepacs.dicom.segmentation import encode_segmentation
from spinepacs.domain.anatomy import Level
from spinepacs.domain.corrections import Correction, Draft, Shift
from spinepacs.domain.findings import EarlierObject, EncodedObject, ObjectKind, Reading, Versions
from spinepacs.domain.geometry import Spacing, SpacingBasis
from spinepacs.settings.sections import OutputSettings
from tests import films
from tests.conformance.markdown import table
from tests.dicom import readings

NAMES = {
    "SEG": "segmentation, `compat`",
    "LABELMAP": "segmentation, `labelmap`",
    "SR": "report",
    "SR3D": "report, `comprehensive-3d`",
    "OVERLAY": "picture",
    "GSPS": "presentation state",
    "PDF": "page",
    "REJECTION": "key object on what a person has replaced",
}
"""Ours for each, in the order of the page."""
SAME_REPORT = "SR3D"
"""Has what the report has, but for its class: no table of its own."""

_SHARED = frozenset((*TYPE_2, *WHERE_KNOWN, "SpecificCharacterSet"))
_ELSEWHERE = frozenset(("ContentSequence", "PixelData", "EncapsulatedDocument", "NumberOfGraphicPoints"))
"""Described in words, or like in both for no other reason than that they are samples."""
_LONGEST_VALUE = 48
_MOST_VALUES = 3
_UID = re.compile(r"[0-9]+(\.[0-9]+){3,}")
_VERSIONS = {spinepacs.__version__: "version of spinepacs", highdicom.__version__: "version of highdicom"}
_UNKNOWN_TO_PYDICOM = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}


@dataclass(frozen=True)
class Sample:
    """A film's header, and the results that it gets."""

    header: Dataset
    objects: dict[str, Dataset]
    corrected_report: Dataset
    strict: Dataset


@cache
def samples() -> tuple[Sample, Sample]:
    """Of a DX film of the neck with a spacing, and of a CR film of the loin without one."""
    neck = films.make_dx(films.spine_like(600, 400), PatientAge="051Y", DeviceSerialNumber="D1")
    loin = films.make_cr(
        films.spine_like(700, 500), seed="other", study="other",
        SpecificCharacterSet="ISO_IR 192", PatientName="B^C", PatientID="B2", PatientBirthDate="19510203",
        PatientSex="M", StudyDate="20250203", StudyTime="113000", StudyID="S2", AccessionNumber="A2",
        ReferringPhysicianName="D^E", StudyDescription="Lumbar spine", SeriesNumber=2, InstanceNumber=3,
        ContentDate="20250203", ContentTime="113100", AcquisitionDate="20250203", AcquisitionTime="113100",
        BodyPartExamined="LSPINE", PatientOrientation=["A", "F"], Manufacturer="Other", RescaleIntercept=10,
        RescaleSlope=2, RescaleType="US", LossyImageCompression="01", LossyImageCompressionRatio=10,
        LossyImageCompressionMethod="ISO_10918_1", DeviceSerialNumber="D2", SoftwareVersions="V2",
        PhotometricInterpretation="MONOCHROME1", WindowCenter=1000, WindowWidth=900,
    )  # fmt: skip
    spacing = Spacing(0.1, 0.1, SpacingBasis.CALIBRATED)
    versions = Versions("spine-v9", "9.9", "other", "9")
    return (
        _sample(neck, Level.C2, 6, readings.SPACING, readings.VERSIONS),
        _sample(loin, Level.L1, 4, spacing, versions),
    )


def _sample(film: FileDataset, first: Level, count: int, spacing: Spacing, versions: Versions) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        loaded = read_film(films.write(film, Path(folder) / "film.dcm"))
    assert isinstance(loaded, LoadedFilm)
    rows, columns = int(film.Rows), int(film.Columns)
    reading = replace(readings.reading(loaded.header, first, count, spacing), versions=versions)
    display = readings.display(rows, columns)
    output = OutputSettings(presentation_state_enabled=True, device_serial_number=str(count))
    made = {item.kind.name: item for item in encode_all(loaded, display, reading, output, _untimed)}
    earlier = [EarlierObject(o.kind, o.sop_uid, o.sop_class_uid, o.series_uid) for o in made.values()]
    pdf = b"%PDF-1.7 " + bytes(count)  # what is in it is nothing of DICOM
    made["PDF"] = encode_pdf(loaded.header, reading, pdf, output)
    labelmap = encode_segmentation(loaded.header, reading, OutputSettings(segmentation="labelmap"))
    assert labelmap is not None
    made["LABELMAP"] = labelmap
    made["SR3D"] = encode_report(loaded.header, reading, labelmap, OutputSettings(report="comprehensive-3d"))
    strict = encode_segmentation(loaded.header, reading, OutputSettings(segmentation="strict"))
    assert strict is not None
    again = {
        item.kind: item
        for item in encode_all(loaded, display, _corrected(reading), output, _untimed, earlier)
    }
    made["REJECTION"] = again[ObjectKind.REJECTION]
    objects = {name: _read(made[name]) for name in NAMES}
    return Sample(loaded.header, objects, _read(again[ObjectKind.SR]), _read(strict))


def _untimed(_: str) -> nullcontext[None]:
    return nullcontext()


def _corrected(reading: Reading) -> Reading:
    number = len(reading.discs)
    draft = Draft((Shift(1 if number > 3 else -1),), f"Doe^Jane{number}", f"Ward {number}", "counted again")
    at = datetime(2026, 11, number, number, number, number, tzinfo=UTC)
    return replace(reading, correction=Correction(f"a{number}", draft, at, f"a{number}"))


def _read(item: EncodedObject) -> Dataset:
    return dcmread(BytesIO(item.part10))


def uid_name(uid: str) -> str:
    """Name of a UID of the Standard."""
    return _UNKNOWN_TO_PYDICOM.get(uid) or UID(uid).name


def result_classes() -> list[str]:
    """SOP classes of all results, each once."""
    return list(dict.fromkeys(str(dataset.SOPClassUID) for dataset in samples()[0].objects.values()))


_SENT = {
    "SEG": 'default (`"strict"` too); `"SEG"` in `send`',
    "LABELMAP": '`output.segmentation = "labelmap"`',
    "SR": 'default; `"SR"` in `send`',
    "SR3D": '`output.report = "comprehensive-3d"`',
    "OVERLAY": 'default; `"OVERLAY"` in `send`',
    "GSPS": '`output.presentation_state_enabled`, `"GSPS"` in `send`',
    "PDF": '`"PDF"` in `send`',
    "REJECTION": "to whoever holds what a person has replaced, unasked",
}


def results() -> str:
    """One row for each kind of result."""
    rows = []
    for name, words in NAMES.items():
        dataset = samples()[0].objects[name]
        syntax = dataset.file_meta.TransferSyntaxUID.name
        number = int(dataset.SeriesNumber) // 1000 * 1000
        sop_class = f"{uid_name(dataset.SOPClassUID)} `{dataset.SOPClassUID}`"
        rows.append((words, sop_class, dataset.Modality, syntax, f"{number} +", _SENT[name]))
    head = ("object", "SOP class", "Modality", "written in", "Series Number", "made and sent when")
    return table(head, rows)


def patient_and_study() -> str:
    """Attributes that are copied from the film."""
    rows = [(_tag(name), _named(name), "always; empty where the film has none") for name in TYPE_2]
    rows += [
        (_tag(name), _named(name), "always" if name == "StudyInstanceUID" else "where the film has it")
        for name in WHERE_KNOWN
    ]
    return table(("tag", "attribute", "present"), sorted(rows))


def attributes(name: str) -> str:
    """Attributes of one kind of result, beside those of :func:`patient_and_study`."""
    one, other = samples()
    values = [_values(sample.objects[name]) for sample in (one, other)]
    paths = list(dict.fromkeys([*values[0], *values[1]]))
    rows = []
    for path in sorted(paths, key=lambda path: [tag_for_keyword(part) or 0 for part in path]):
        here, there = (found.get(path, frozenset()) for found in values)
        is_films = here != there and _is_of(one, path[-1], here) and _is_of(other, path[-1], there)
        told = "of the film" if is_films else _told(here, there)
        rows.append((_tag(path[-1]), f"{'>' * (len(path) - 1)}{_named(path[-1])}", told))
    return table(("tag", "attribute", "value"), rows)


def _is_of(sample: Sample, keyword: str, values: frozenset[str]) -> bool:
    """Whether an attribute has the film's value, or refers to the film."""
    source = keyword.removeprefix("Referenced") if keyword.startswith("ReferencedSOP") else keyword
    return source in sample.header and values == {_text(sample.header[source])}


def strict_segmentation() -> str:
    """What a ``strict`` segmentation lacks of a ``compat`` one; there is nothing that it has beside."""
    sample = samples()[0]
    compat, strict = _values(sample.objects["SEG"]), _values(sample.strict)
    assert not set(strict) - set(compat)
    without = [path for path in compat if path not in strict and path[:-1] in {(), *strict}]
    rows = [(_tag(path[-1]), f"{'>' * (len(path) - 1)}{_named(path[-1])}") for path in without]
    return table(("tag", "attribute that `strict` lacks, with what is in it"), rows)


def _values(dataset: Dataset, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], frozenset[str]]:
    """All values of each attribute, in whatever item of its sequence, by the keywords that lead there."""
    found: dict[tuple[str, ...], frozenset[str]] = {}
    for element in dataset:
        path = (*above, element.keyword)
        if not above and element.keyword in _SHARED:
            continue
        found[path] = found.get(path, frozenset()) | {_text(element)}
        if element.VR == "SQ" and element.keyword not in _ELSEWHERE:
            for item in element.value:
                for below, values in _values(item, path).items():
                    found[below] = found.get(below, frozenset()) | values
    return found


def _text(element: DataElement) -> str:
    if element.VR == "SQ":
        return "sequence" if element.value else ""
    if element.keyword in _ELSEWHERE or isinstance(element.value, bytes):
        return "bytes"
    if isinstance(element.value, MultiValue):
        return "\\".join(map(str, element.value))
    return "" if element.value is None else str(element.value)


def _told(one: frozenset[str], other: frozenset[str]) -> str:
    """What can be said of an attribute of two objects: its value, where there is but one."""
    if not one or not other:
        return "not in all"
    if one == other == {"sequence"}:
        return "sequence"
    if one == other:
        return " or ".join(map(_constant, sorted(one))) if len(one) <= _MOST_VALUES else "several"
    return "made for each"


def _constant(value: str) -> str:
    if value in ("bytes", "sequence"):
        return "made for each" if value == "bytes" else value
    if value in _VERSIONS:
        return _VERSIONS[value]
    if _UID.fullmatch(value):
        return uid_name(value)
    if not value:
        return "empty"
    return f"`{value[:_LONGEST_VALUE]}`" + ("…" if len(value) > _LONGEST_VALUE else "")


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword) or 0
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _named(keyword: str) -> str:
    return dictionary_description(tag_for_keyword(keyword) or 0)
