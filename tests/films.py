"""Small DX and CR files for everybody's tests: valid by default (dciodvfy finds no error), faults by name.

    film = make_dx(spine_like(300, 200), ImagerPixelSpacing=None, PatientSex="X")  # None removes an element
    film = make_dx(WindowCenter=b"abc ")                                           # bytes are written as they are
    path = write(film, tmp_path / "film.dcm", RLELossless)
    truncate(path, 0.5)

All patients are invented; UIDs are made from ``seed``, so that two calls give the same study only when asked to.
"""

from __future__ import annotations

import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

PATIENT_NAME = "Geheim^Erika"
PATIENT_ID = "SECRET-4711"
PATIENT_BIRTH_DATE = "19561103"
SECRETS = ("Geheim", "Erika", "SECRET-4711", "19561103")
"""What must never turn up in a log, an exception or a file name."""


def spine_like(rows: int = 300, columns: int = 200, bits: int = 12) -> NDArray[np.uint16]:
    """(rows, columns) uint16: soft-tissue slope with a column of bright blocks, noise, nothing saturated."""
    y, x = np.mgrid[0:rows, 0:columns]
    picture = 0.25 + 0.2 * np.sin(np.pi * x / columns)
    body = (np.abs(x - columns / 2) < columns / 10) & ((y * 16 // rows) % 2 == 0)
    picture = picture + 0.35 * body + np.random.default_rng(1).normal(0, 0.01, picture.shape)
    return (np.clip(picture, 0.02, 0.98) * (2**bits - 1)).astype(np.uint16)


def make_dx(
    pixels: NDArray[Any] | None = None, *, seed: str = "film", study: str = "study", **elements: Any
) -> FileDataset:
    """A DX For Presentation dataset with these pixels (uint8, uint16 or int16; default ``spine_like()``)."""
    film = _general(_pixels(pixels), seed, study)
    film.SOPClassUID = DigitalXRayImageStorageForPresentation
    film.Modality = "DX"
    film.PresentationIntentType = "FOR PRESENTATION"
    film.ImageType = ["ORIGINAL", "PRIMARY"]
    film.PixelIntensityRelationship = "LOG"
    film.PixelIntensityRelationshipSign = -1
    film.RescaleIntercept, film.RescaleSlope, film.RescaleType = 0, 1, "US"
    film.PresentationLUTShape = "IDENTITY"
    film.LossyImageCompression = "00"
    film.BurnedInAnnotation = "NO"
    film.PatientOrientation = ["P", "F"]
    film.ImageLaterality = "U"
    film.DetectorType = film.PositionerType = None
    film.ImagerPixelSpacing = [0.143, 0.143]
    film.AnatomicRegionSequence = [_code("122494005", "SCT", "Cervical spine")]
    film.ViewCodeSequence = [_code("399198007", "SCT", "right lateral")]
    film.ViewCodeSequence[0].ViewModifierCodeSequence = []
    film.AcquisitionContextSequence = []
    return _finish(film, elements)


def make_cr(
    pixels: NDArray[Any] | None = None, *, seed: str = "film", study: str = "study", **elements: Any
) -> FileDataset:
    """A CR dataset with these pixels: no spacing, no PresentationLUTShape, ViewPosition LL."""
    film = _general(_pixels(pixels), seed, study)
    film.SOPClassUID = ComputedRadiographyImageStorage
    film.Modality = "CR"
    film.ImageType = ["ORIGINAL", "PRIMARY"]
    film.PatientOrientation = None
    return _finish(film, elements)


def write(film: Dataset, path: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a Part 10 file: native, RLE, JPEG-LS or JPEG 2000 lossless; broken values are written as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        film.file_meta.MediaStorageSOPInstanceUID = film.get("SOPInstanceUID") or "1.2.3"
        film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        native = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
        if transfer_syntax == ExplicitVRBigEndian:
            film["PixelData"].value = film.pixel_array.byteswap().tobytes()
            film.set_original_encoding(False, False)
        elif transfer_syntax not in (*native, "1.2.840.10008.1.2.1.99"):
            film.compress(transfer_syntax, generate_instance_uid=False)
        film.file_meta.TransferSyntaxUID = transfer_syntax
        with config.disable_value_validation():
            film.save_as(
                path,
                implicit_vr=transfer_syntax == ImplicitVRLittleEndian,
                little_endian=transfer_syntax != ExplicitVRBigEndian,
                enforce_file_format=True,
            )
    return path


def truncate(path: Path, share: float) -> Path:
    """Keep only the first part of a file, as a broken transfer leaves it."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def claim_transfer_syntax(path: Path, transfer_syntax: str) -> Path:
    """Change TransferSyntaxUID in the file meta only: the dataset stays as it was written."""
    import pydicom
    from pydicom.filewriter import write_file_meta_info

    data = path.read_bytes()
    meta = pydicom.filereader.read_file_meta_info(path)
    old = BytesIO()
    write_file_meta_info(old, meta)
    meta.TransferSyntaxUID = transfer_syntax
    new = BytesIO()
    write_file_meta_info(new, meta)
    path.write_bytes(data[:132] + new.getvalue() + data[132 + len(old.getvalue()) :])
    return path


def pydicom_data() -> Path:
    """Folder of PyPI pydicom-data (real films and hostile files); without it skip on a laptop and fail in CI."""
    try:
        import data_store
    except ImportError:
        reason = "needs PyPI pydicom-data"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(data_store.__file__).parent / "data"


def _pixels(pixels: NDArray[Any] | None) -> NDArray[Any]:
    return spine_like() if pixels is None else pixels


def _general(pixels: NDArray[Any], seed: str, study: str) -> FileDataset:
    film = FileDataset("", Dataset(), preamble=b"\0" * 128, file_meta=FileMetaDataset())
    film.SpecificCharacterSet = "ISO_IR 100"
    film.PatientName, film.PatientID = PATIENT_NAME, PATIENT_ID
    film.PatientBirthDate, film.PatientSex = PATIENT_BIRTH_DATE, "F"
    film.StudyInstanceUID = generate_uid(entropy_srcs=[f"study|{study}"])
    film.SeriesInstanceUID = generate_uid(entropy_srcs=[f"series|{study}|{seed}"])
    film.SOPInstanceUID = generate_uid(entropy_srcs=[f"image|{study}|{seed}"])
    film.StudyDate, film.StudyTime, film.StudyID = "20260102", "103000", "S1"
    film.AccessionNumber, film.ReferringPhysicianName = "A1", None
    film.StudyDescription, film.SeriesDescription = "Cervical spine 2 views", "C-spine lateral"
    film.SeriesNumber, film.InstanceNumber = 1, 1
    film.Manufacturer, film.BodyPartExamined, film.ViewPosition = "Acme", "CSPINE", "LL"
    film.AcquisitionDate, film.AcquisitionTime = "20260102", "103100"
    film.ContentDate, film.ContentTime = "20260102", "103100"
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.Rows, film.Columns = pixels.shape[0], pixels.shape[1]
    allocated = pixels.dtype.itemsize * 8
    stored = 12 if pixels.dtype == np.uint16 and pixels.max() < 4096 else allocated
    film.BitsAllocated, film.BitsStored, film.HighBit = allocated, stored, stored - 1
    film.PixelRepresentation = int(pixels.dtype.kind == "i")
    film.WindowCenter = 0 if pixels.dtype.kind == "i" else 2 ** (stored - 1)
    film.WindowWidth = 2**stored
    film.PixelData = pixels.tobytes()
    film["PixelData"].VR = "OB" if allocated == 8 else "OW"
    return film


def _finish(film: FileDataset, elements: dict[str, Any]) -> FileDataset:
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with config.disable_value_validation():
        for keyword, value in elements.items():
            film.pop(keyword, None)
            if isinstance(value, bytes):
                tag = Tag(keyword)
                film[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
            elif value is not None:
                setattr(film, keyword, value)
    return film


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
