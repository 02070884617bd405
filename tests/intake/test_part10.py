"""The meta group that we give every received image: as pydicom would write and read it."""

from __future__ import annotations

import pytest
from pydicom import dcmread
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from spinepacs.intake.part10 import IMPLEMENTATION_CLASS_UID, dataset_offset, head

CLASS, SYNTAX = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.1.2.4.70"


def by_pydicom(*uids: str) -> bytes:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    for tag, value in zip(
        (0x20002, 0x20003, 0x20010, 0x20012), (*uids, IMPLEMENTATION_CLASS_UID), strict=True
    ):
        meta.add(DataElement(tag, "UI", UID(value, IGNORE), validation_mode=IGNORE))
    meta.ImplementationVersionName = "SPINEPACS"
    encoded = DicomBytesIO()
    encoded.is_little_endian, encoded.is_implicit_VR = True, False
    write_file_meta_info(encoded, meta)
    return bytes(128) + b"DICM" + encoded.getvalue()


@pytest.mark.parametrize(
    "sop_uid", ["1.2.3", "1.2.33", "1." * 31 + "12", " 1.2.3 ", "1.2.abc", "1.2.é", "1.2\\3.4", "x" * 200]
)
def test_the_head_is_the_one_that_pydicom_writes(sop_uid, tmp_path):
    made = head(CLASS, sop_uid, SYNTAX)
    assert made == by_pydicom(CLASS, sop_uid, SYNTAX)
    (path := tmp_path / "film.dcm").write_bytes(made)
    assert dcmread(path).file_meta.TransferSyntaxUID == SYNTAX
    with path.open("rb") as file:
        assert dataset_offset(file) is None, "there is no dataset"
    path.write_bytes(made + b"\x08\x00\x05\x00CS\x00\x00")
    with path.open("rb") as file:
        assert dataset_offset(file) == len(made)
