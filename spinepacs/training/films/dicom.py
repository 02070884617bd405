"""Synthetic films as DICOM: Digital X-Ray Image Storage - For Presentation (PS3.3 A.26).

Everything in a file follows from the film and its study, UIDs included, so the same call writes the same bytes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

from spinepacs.training.films.truth import Film, truth_record

BITS = 12
# Region of a film -> BodyPartExamined (PS3.16 annex L) and its SNOMED CT code (CID 4009).
BODY_PARTS = {
    "full": ("SPINE", "421060004", "Spine"),
    "cervical": ("CSPINE", "122494005", "Cervical spine"),
    "thoracic": ("TSPINE", "122495006", "Thoracic spine"),
    "lumbar": ("LSPINE", "122496007", "Lumbar spine"),
}
# View of a film -> ViewPosition (PS3.3 C.8.11.5) and its SNOMED CT code (CID 4010).
VIEWS = {
    "lateral": ("LL", "399173006", "left lateral"),
    "ap": ("AP", "399348003", "antero-posterior"),
    "oblique": ("", "399182000", "oblique"),  # from either side, so that no defined term fits
}
# Side the patient faces -> direction of rows and columns.
ORIENTATIONS = {"right": ["A", "F"], "left": ["P", "F"], "front": ["L", "F"]}


@dataclass(frozen=True)
class StudyLabel:
    """What the films of one study share; `key` makes its UIDs. date: YYYYMMDD, time: HHMMSS."""

    key: str
    patient_name: str = "Synthetic^Spine"
    patient_id: str = "SYN-0001"
    description: str = "WHOLE SPINE"
    date: str = "20261123"
    time: str = "080000"


def stable_uid(*entropy: str) -> str:
    """Return a UID under pydicom's root that depends on the given strings alone."""
    return str(generate_uid(entropy_srcs=["spinepacs synthetic film", *entropy]))


def _code(value: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return Sequence([item])


def _add_study(ds: Dataset, study: StudyLabel, film: Film, number: int) -> None:
    """Add patient, study, series, equipment and instance."""
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.StudyInstanceUID = stable_uid(study.key, "study")
    ds.SeriesInstanceUID = stable_uid(study.key, "series", str(number))
    ds.SOPInstanceUID = stable_uid(study.key, "image", str(number))
    ds.PatientName, ds.PatientID = study.patient_name, study.patient_id
    ds.PatientBirthDate, ds.PatientSex = "19700101", film.patient.get("sex", "O")
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = study.date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = study.time
    ds.ReferringPhysicianName, ds.AccessionNumber, ds.StudyID = "", f"{study.patient_id}-A", "1"
    ds.StudyDescription = study.description
    ds.Modality, ds.PresentationIntentType = "DX", "FOR PRESENTATION"
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = number, 1, number
    ds.SeriesDescription = f"{BODY_PARTS[film.region][2]} {film.view}".upper()
    ds.Manufacturer, ds.ManufacturerModelName = "spinepacs", "synthetic films"
    ds.SoftwareVersions, ds.DeviceSerialNumber = "1", "0"
    ds.ImageComments = "Synthetic, from BodyParts3D (c) DBCLS, CC BY-SA 2.1 Japan. Not a patient."


def _add_geometry(ds: Dataset, film: Film) -> None:
    """Add anatomy, positioning and detector."""
    part, code, meaning = BODY_PARTS[film.region]
    ds.BodyPartExamined, ds.AnatomicRegionSequence = part, _code(code, meaning)
    ds.ImageLaterality = "U"
    view, code, meaning = VIEWS[film.view]
    if view:
        ds.ViewPosition = view
    ds.ViewCodeSequence = _code(code, meaning)
    ds.PatientOrientation = ORIENTATIONS[film.facing]
    ds.PositionerType = "NONE"
    camera = film.camera
    ds.DistanceSourceToDetector = f"{camera.source_mm:.1f}"
    ds.DistanceSourceToPatient = f"{camera.source_mm - camera.object_mm:.1f}"
    ds.EstimatedRadiographicMagnificationFactor = f"{camera.magnification:.5f}"
    ds.ImagerPixelSpacing = [f"{camera.spacing_mm:.4f}"] * 2
    ds.DetectorType, ds.DetectorID = "SCINTILLATOR", "SYN"


def _add_pixels(ds: Dataset, film: Film) -> None:
    """Add the image pixel, modality, display and VOI attributes; the display value 0..1 becomes 12 bits."""
    top = (1 << BITS) - 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = film.value.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, BITS, BITS - 1, 0
    # A higher value stands for fewer photons, and the look has already bent the scale for the eye.
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape = "IDENTITY"
    ds.WindowCenter, ds.WindowWidth = str((top + 1) // 2), str(top + 1)
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    ds.AcquisitionContextSequence = Sequence([])
    pixels = np.round(np.clip(film.value, 0, 1) * top).astype("<u2")
    ds.PixelData = pixels.tobytes()


def to_dx(film: Film, study: StudyLabel, number: int) -> Dataset:
    """Return a film as an uncompressed DX data set with file meta; number: of its series in the study, from 1.

    Raises KeyError for a region, view or facing that this module knows no code for.
    """
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    _add_study(ds, study, film, number)
    _add_geometry(ds, film)
    _add_pixels(ds, film)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def write_dx(film: Film, path: Path, study: StudyLabel, number: int = 1) -> None:
    """Write a film as a DX file, JPEG 2000 lossless (needs pylibjpeg-openjpeg)."""
    ds = to_dx(film, study, number)
    ds.compress(JPEG2000Lossless, generate_instance_uid=False, encoding_plugin="pylibjpeg")
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


def write_study(film: Film, folder: Path, name: str, seed: int) -> None:
    """Write a film as a study of its own, folder/NAME.dcm, with its truth beside it, folder/NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    study = StudyLabel(
        key=name, patient_id=name.removeprefix("syn-"), description=f"{film.region} spine".upper()
    )
    record = json.dumps(truth_record(film, name, seed), separators=(",", ":"))
    (folder / f"{name}.json").write_text(record + "\n", encoding="utf-8")
    part = folder / f".{name}.dcm.part"
    write_dx(film, part, study)
    os.replace(part, folder / f"{name}.dcm")
