"""The same image in the same bytes, by whatever way it came: Part 10 files with a meta group of our own (PS3.10 7.1).

Over the network an image has no meta group, in a file it has that of the program that wrote it. Both get ours, so that
the spool, which knows files by their digest, finds that they are one.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

IMPLEMENTATION_CLASS_UID = UID("2.25.302043790172249692526321623266752743501")
"""In the meta group of all received files: that of a library would give the same image other bytes after an upgrade."""

_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
"""VRs whose length takes four bytes, after two reserved ones (PS3.5 7.1.2)."""


def head(sop_class_uid: str, sop_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and meta group of a received object: the same for the same object, always."""
    uids = {
        "MediaStorageSOPClassUID": sop_class_uid,
        "MediaStorageSOPInstanceUID": sop_uid,
        "TransferSyntaxUID": transfer_syntax_uid,
        "ImplementationClassUID": IMPLEMENTATION_CLASS_UID,
    }
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    for keyword, value in uids.items():  # odd ones too, without a word: real senders make them
        meta.add(DataElement(keyword, "UI", UID(value, IGNORE), validation_mode=IGNORE))
    meta.ImplementationVersionName = "SPINEPACS"
    encoded = DicomBytesIO()
    encoded.is_little_endian, encoded.is_implicit_VR = True, False
    write_file_meta_info(encoded, meta)
    return b"\x00" * 128 + b"DICM" + encoded.getvalue()


def dataset_offset(file: BinaryIO) -> int | None:
    """Bytes before the dataset of a Part 10 file: preamble, prefix and the elements of group 2; None if it is none."""
    file.seek(0)
    offset = len(start := file.read(132))
    if start[128:] != b"DICM":
        return None
    while len(element := file.read(12)) >= 8:
        group, _, vr, length = struct.unpack("<HH2sH", element[:8])
        if group != 2:
            return offset
        if vr in _LONG:
            length = 4 + int.from_bytes(element[8:12], "little")
        offset += 8 + length
        file.seek(offset)
    return None
