"""Who an object is: UIDs, patient and study, series, equipment, times; and its bytes.

Everything here is a function of the source image, the reading's versions and the settings: a retry yields the same
bytes, and a changed result a new UID (docs/output.md).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from typing import Any
from uuid import UUID, uuid5

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

import spinepacs
from spinepacs.dicom import author
from spinepacs.dicom.raster import PackedFrames
from spinepacs.domain.findings import EarlierObject, EncodedObject, ObjectKind, Reading, Versions
from spinepacs.language import N_
from spinepacs.settings.sections import OutputSettings

MANUFACTURER = "spinepacs"
"""Manufacturer and ManufacturerModelName of all that we write: what our own results are known by."""

DISCLAIMER = N_("Not for diagnostic use")

_NAMESPACE = UUID("6f0d4a52-9d0b-5c8e-8a57-3b1f0d5c7e21")
IMPLEMENTATION_CLASS_UID = f"2.25.{_NAMESPACE.int}"

_UNDATED = datetime(1970, 1, 1)
_SERIES_NUMBERS = {
    ObjectKind.REJECTION: 6000,
    ObjectKind.SEG: 7000,
    ObjectKind.SR: 8000,
    ObjectKind.OVERLAY: 9000,
    ObjectKind.GSPS: 10000,
    ObjectKind.PDF: 11000,
}
_SERIES_NAMES = {
    ObjectKind.REJECTION: "Rejected results",
    ObjectKind.SEG: "Vertebrae",
    ObjectKind.SR: "Spine measurements",
    ObjectKind.OVERLAY: "Spine picture",
    ObjectKind.GSPS: "Spine marks",
    ObjectKind.PDF: "Spine page",
}

TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Patient and study attributes that every object has, be they empty."""
WHERE_KNOWN = (
    "IssuerOfPatientID", "TypeOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "SourcePatientGroupIdentificationSequence", "GroupOfPatientsIdentificationSequence", "PatientBirthTime",
    "OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames", "ReferencedPatientSequence", "PatientAge",
    "PatientSize", "PatientWeight", "EthnicGroup", "PatientComments", "PatientSpeciesDescription",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified", "StudyInstanceUID", "StudyDescription",
    "IssuerOfAccessionNumberSequence", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "ProcedureCodeSequence", "ReferencedStudySequence", "AdmissionID", "IssuerOfAdmissionIDSequence",
    "ServiceEpisodeID", "IssuerOfServiceEpisodeIDSequence", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID", "TimezoneOffsetFromUTC",
)  # fmt: skip
"""Those that are copied where the source has them: who it is, which study, and what was done to hide it."""
_COPIED = tuple(map(Tag, ("SpecificCharacterSet", *TYPE_2, *WHERE_KNOWN)))
"""As tags: pydicom looks a keyword up each time."""

WORDS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
"""Value representations whose text depends on the character set (PS3.5 6.1.2.2)."""


class Carried(DataElement):
    """A text of the source whose bytes are written as they were read.

    pydicom would decode the value and write what it made of it, which is not the same for ISO 2022 IR 58, for several
    lines in ISO 2022 IR 149, for a Yen sign, and where the character set is misspelt, missing or not the bytes' own.

    Parameters
    ----------
    tag
        Tag or keyword of a text: a value representation that depends on the character set.
    raw
        The value; it is padded to an even length.
    """

    is_raw = True  # makes pydicom write the value as it is

    def __init__(self, tag: str | BaseTag, raw: bytes) -> None:
        padded = raw + b" " * (len(raw) % 2)
        super().__init__(Tag(tag), dictionary_VR(tag), padded, already_converted=True)

    @property
    def length(self) -> int:
        """Bytes of the value."""
        return len(self.value)


def keep_texts(dataset: Dataset) -> None:
    """Have pydicom write the texts of a dataset of ours as they were read, in whatever encoding it is written anew."""
    for tag in list(dataset.keys()):
        element: object = dataset.get_item(tag)
        if isinstance(element, RawDataElement) and element.VR in WORDS and element.value:
            dataset[tag] = Carried(tag, element.value)
        elif isinstance(element, (DataElement, RawDataElement)) and element.VR == "SQ":
            for item in dataset[tag].value:
                keep_texts(item)


def derived_uid(source_sop_uid: str, kind: str, versions: Versions, part: str = "") -> str:
    """Derive a UID (PS3.5 B.2: ``2.25.`` and a name-based UUID) from what a thing was made of.

    Parameters
    ----------
    source_sop_uid
        SOP Instance UID of the radiograph.
    kind
        What it names: an :class:`~spinepacs.domain.findings.ObjectKind`, or another word for things inside objects.
    versions
        Model and policy.
    part
        Whatever else sets it apart, for instance ``series`` or a setting.
    """
    name = [source_sop_uid, str(kind), versions.model_name, versions.model_version]
    # JSON delimits: ("ab", "c") and ("a", "bc") must not meet in one UID.
    key = json.dumps([*name, versions.policy_name, versions.policy_version, part])
    return f"2.25.{uuid5(_NAMESPACE, key).int}"


def films_uid(readings: Sequence[Reading], kind: str) -> str:
    """Derive the UID of what is made of several films: the same whenever the same readings are said in it."""
    films = "|".join(sorted(reading.sop_uid for reading in readings))
    by_persons = sorted(reading.correction.uid for reading in readings if reading.correction)
    return derived_uid(films, kind, readings[0].versions, "|".join(by_persons))


def made_at(header: Dataset) -> datetime:
    """Time that is written into objects: the source's own, so that the same reading gives the same bytes.

    Content, acquisition, series or study date and time, the first date that is valid; 1970-01-01 where none is.
    """
    for name in ("Content", "Acquisition", "Series", "Study"):
        day = re.fullmatch(r"\d{8}", str(header.get(f"{name}Date") or ""))
        time = re.match(r"\d{2}(\d{2}(\d{2})?)?", str(header.get(f"{name}Time") or ""))
        if day:
            try:
                return datetime.strptime(day[0] + (time[0] if time else "").ljust(6, "0"), "%Y%m%d%H%M%S")
            except ValueError:
                continue
    return _UNDATED


def copy_patient_and_study(header: Dataset, target: Dataset) -> None:
    """Copy patient and study as the source has them, so that the object joins its study in every archive.

    Texts are bytes in both, in the character set of the source; all that we write ourselves is ASCII.
    """
    target.pop("SpecificCharacterSet", None)
    for tag in _COPIED:
        if tag in header:
            target[tag] = header[tag]


def patient_orientation(header: Dataset) -> list[str] | None:
    """Directions of row and column (type 2C), both of them or none."""
    value = header.get("PatientOrientation")
    return None if not value or isinstance(value, str) or len(value) != 2 else list(value)


def series_number(header: Dataset, kind: ObjectKind) -> int:
    """6000 (key object), 7000 (SEG) … 11000 (PDF), plus ten times the source's series and its instance."""
    series, image = (_number(header.get(keyword)) for keyword in ("SeriesNumber", "InstanceNumber"))
    return _SERIES_NUMBERS[kind] + series % 100 * 10 + image % 10


def series_description(reading: Reading, kind: ObjectKind) -> str:
    """Say what it is, which levels and what it is not for, in at most 64 characters (VR LO)."""
    levels = [vertebra.level.name for vertebra in reading.spine.vertebrae] if reading.spine else []
    span = f" {levels[0]}-{levels[-1]}" if levels else ""
    return f"{_SERIES_NAMES[kind]}{span} ({MANUFACTURER}, not for diagnostic use)"


def object_uid(reading: Reading, kind: ObjectKind, output: OutputSettings, part: str = "sop") -> str:
    """SOP or series UID of an object; the settings that change its content are part of it."""
    setting: str = output.segmentation if kind in (ObjectKind.SEG, ObjectKind.SR) else ""
    if kind is ObjectKind.SR:
        setting += f"|{output.segmentation_enabled}" + ("|3D" if output.report == "comprehensive-3d" else "")
    by_person = f"|{reading.correction.uid}" if reading.correction else ""
    language = f"|{output.language}" if output.language != "en" and kind is not ObjectKind.SEG else ""
    return derived_uid(reading.sop_uid, kind, reading.versions, f"{part}|{setting}{by_person}{language}")


def tracking_uid(reading: Reading, name: str) -> str:
    """What a vertebra or disc is tracked by: of the reading in which it was last drawn or named."""
    drawn_by = reading.correction.drawn_by if reading.correction else ""
    parts = [name, drawn_by] if drawn_by else [name]
    return derived_uid(reading.sop_uid, "TRACKING", reading.versions, "|".join(parts))


def stamp(
    dataset: Dataset, header: Dataset, reading: Reading, kind: ObjectKind, output: OutputSettings
) -> None:
    """Write everything that all our objects share: patient, study, series, equipment, times, UIDs.

    ``SOPClassUID`` and ``Modality`` are the caller's.
    """
    copy_patient_and_study(header, dataset)
    dataset.SOPInstanceUID = object_uid(reading, kind, output)
    dataset.SeriesInstanceUID = object_uid(reading, kind, output, "series")
    dataset.SeriesNumber, dataset.InstanceNumber = series_number(header, kind), 1
    dataset.SeriesDescription = series_description(reading, kind)
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = spinepacs.__version__
    dataset.DeviceSerialNumber = output.device_serial_number
    moment = author.signed_at(header, reading.correction) if reading.correction else made_at(header)
    for name in ("InstanceCreation", "Series", "Content"):
        setattr(dataset, f"{name}Date", f"{moment:%Y%m%d}")
        setattr(dataset, f"{name}Time", f"{moment:%H%M%S}")


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def image_reference(header: Dataset) -> Dataset:
    """The source image as an item of a referenced SOP sequence."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return item


def reference(item: EncodedObject | EarlierObject) -> Dataset:
    """One of our own objects as an item of a referenced SOP sequence."""
    dataset = Dataset()
    dataset.ReferencedSOPClassUID, dataset.ReferencedSOPInstanceUID = item.sop_class_uid, item.sop_uid
    return dataset


def series_item(series_uid: str, *references: Dataset) -> Dataset:
    """Objects of one series as an item of a referenced series sequence."""
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = series_uid, list(references)
    return series


def by_series(header: Dataset, items: Sequence[EarlierObject]) -> Dataset:
    """Earlier objects of the film's study, by series, each of which holds one (PS3.3 C.17.2.1)."""
    study = Dataset()
    study.StudyInstanceUID = header.StudyInstanceUID
    study.ReferencedSeriesSequence = [series_item(item.series_uid, reference(item)) for item in items]
    return study


def encoded(
    kind: ObjectKind,
    source_sop_uid: str,
    dataset: Dataset,
    transfer_syntax: str,
    frames: PackedFrames | None = None,
) -> EncodedObject:
    """Write a finished dataset as a PS3.10 file in memory; ``frames`` become the Pixel Data that it has not yet."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = "SPINEPACS"
    dataset.file_meta = meta
    dataset.preamble = bytes(128)
    buffer = BytesIO()
    dataset.save_as(buffer, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return EncodedObject(
        kind=kind,
        source_sop_uid=source_sop_uid,
        sop_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        series_uid=str(dataset.SeriesInstanceUID),
        transfer_syntax_uid=str(transfer_syntax),
        part10=_with_pixels(buffer.getvalue(), frames) if frames else buffer.getvalue(),
    )


def _with_pixels(head: bytes, frames: PackedFrames) -> memoryview:
    """A file and its last element, in numpy's memory.

    pydicom would copy the frames three times; and bytes cost a page fault each 4 kB, numpy's memory one each 2 MB.
    """
    head += struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OB", frames.size_bytes)
    file = np.zeros(len(head) + frames.size_bytes, np.uint8)
    file[: len(head)] = np.frombuffer(head, np.uint8)
    frames.write(file[len(head) :])
    return file.data.toreadonly()


def _number(value: Any) -> int:
    """Return an IS value as a number that is not negative; 0 where there is none."""
    try:
        return abs(int(value or 0))
    except (TypeError, ValueError):
        return 0
