"""Headers of files in the spool as datasets in the DICOM JSON model (PS3.18 F), without bulk data.

Files are named by their content, so what was read of one is true for ever, and kept in memory as long as there is room.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from spinepacs.dicom.reading.parse import parse, quiet
from spinepacs.errors import BadInput, Permanent
from spinepacs.store.spool import Spool

Json = dict[str, Any]
_KEPT_BYTES = 48_000_000
_MOST_BINARY_BYTES = 1024
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


class Headers:
    """Reads headers; any thread may ask.

    Parameters
    ----------
    spool
        Where the files lie.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0

    def text(self, sha256: str) -> bytes:
        """A header as JSON text.

        Raises
        ------
        BadInput
            If the file cannot be read.
        Permanent
            If it is gone.
        Transient
            If the disk fails.
        """
        with self._lock:
            if kept := self._kept.get(sha256):
                self._kept.move_to_end(sha256)
                return kept
        made = json.dumps(_header(self._spool, sha256)).encode()
        with self._lock:
            if sha256 not in self._kept:
                self._kept_bytes += len(made)
            self._kept[sha256] = made
            while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return made

    def of(self, sha256: str) -> Json:
        """A header; raises as :meth:`text`."""
        header: Json = json.loads(self.text(sha256))
        return header


def _header(spool: Spool, sha256: str) -> Json:
    path = spool.path_of(sha256)
    if not path.exists():
        raise Permanent("its file is not kept any more")
    dataset = parse(path, with_pixels=False)
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    try:
        with quiet():
            _strip(dataset)
            found: Json = dataset.to_json_dict(suppress_invalid_tags=True)
    except (BadInput, MemoryError):
        raise
    except Exception as error:  # pydicom raises whatever its converters raise on damaged values
        raise BadInput(
            "DAMAGED_DATASET", f"its header cannot be given as JSON ({type(error).__name__})"
        ) from None
    found["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}  # JSON text is UTF-8
    found["00083002"] = {"vr": "UI", "Value": [syntax]}  # AvailableTransferSyntaxUID
    return found


def _strip(dataset: Dataset) -> None:
    """Take out what is bulk data, in sequences too."""
    for tag in list(dataset.keys()):
        element = dataset[tag]
        if element.VR == "SQ":
            for item in element.value:
                _strip(item)
        elif element.VR in _BINARY and len(element.value or b"") > _MOST_BINARY_BYTES:
            del dataset[tag]


def element(keyword: str) -> str:
    """Tag of a keyword as JSON names it."""
    return f"{int(Tag(keyword)):08X}"
