"""Good and odd files to start from: every transfer syntax that can be written here, and every small file of pydicom."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pydicom.data
from numpy.typing import NDArray
from pydicom import uid as uids
from pydicom.dataset import Dataset, FileDataset

from tests import films
from tests.daemons import PHANTOM

WRITTEN = (
    uids.ImplicitVRLittleEndian,
    uids.ExplicitVRLittleEndian,
    uids.DeflatedExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
    uids.RLELossless,
    uids.JPEGLSLossless,
    uids.JPEG2000Lossless,
)
_BY_DCMTK = ("+e1", "+el", "+ee", "+eb")
_LARGEST_BYTES = 400_000


@cache
def made() -> tuple[bytes, ...]:
    """Films that are read well, in every transfer syntax, as bytes."""
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(_made(Path(folder)))


@cache
def found() -> tuple[bytes, ...]:
    """Every small file of pydicom and pydicom-data, as bytes."""
    return tuple(_of_pydicom())


@cache
def pictures() -> tuple[bytes, ...]:
    """PNG and JPEG files of the same film."""
    grey = PHANTOM.picture()
    colour = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    deep = grey.astype(np.uint16) * 257
    made = [cv2.imencode(".png", picture)[1].tobytes() for picture in (grey, colour, deep)]
    made += [cv2.imencode(".jpg", picture)[1].tobytes() for picture in (grey, colour)]
    made += [cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()]
    return tuple(made)


@cache
def plain() -> bytes:
    """A film that is read well, in explicit VR little endian."""
    with TemporaryDirectory() as folder:
        return films.write(film(), Path(folder, "film.dcm")).read_bytes()


def film(pixels: NDArray[np.uint16] | None = None, **elements: object) -> FileDataset:
    """A film that is read well, with sequences, lookup tables, private elements and all."""
    made = films.make_dx(
        PHANTOM.picture().astype(np.uint16) * 16 if pixels is None else pixels,
        **{"BodyPartExamined": "LSPINE", **elements},
    )
    request = Dataset()
    request.RequestedProcedureDescription = "Lumbar spine"
    request.ScheduledProtocolCodeSequence = [Dataset()]
    request["ScheduledProtocolCodeSequence"].is_undefined_length = True
    made.RequestAttributesSequence = [request]
    block = made.private_block(0x0009, "ACME", create=True)
    block.add_new(0x01, "LO", "private")
    block.add_new(0x02, "SQ", [request])
    return made


def _made(folder: Path) -> Iterator[bytes]:
    path = folder / "film.dcm"
    for syntax in WRITTEN:
        yield films.write(film(), path, syntax).read_bytes()
        yield films.write(_with_tables(), path, syntax).read_bytes()
        yield films.write(films.make_cr(_small()), path, syntax).read_bytes()
    native = films.write(films.make_cr(_small()), folder / "native.dcm")
    eight = films.write(films.make_cr((_small() >> 4).astype(np.uint8)), folder / "eight.dcm")
    program = shutil.which("dcmcjpeg")
    for option in _BY_DCMTK if program else ():
        made = subprocess.run([program, option, eight if option == "+eb" else native, path], check=False)
        if made.returncode == 0:
            yield path.read_bytes()


def _small() -> NDArray[np.uint16]:
    return np.tile(np.arange(96, dtype=np.uint16) * 42, (80, 1))


def _with_tables() -> FileDataset:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table["LUTDescriptor"].VR = "US"
    table.add_new("LUTData", "OW", np.arange(4096, dtype="<u2").tobytes())
    elements = {
        "PixelPaddingValue": 0,
        "ShutterLeftVerticalEdge": 2,
        "ShutterRightVerticalEdge": 90,
        "ShutterUpperHorizontalEdge": 2,
        "ShutterLowerHorizontalEdge": 70,
        "VOILUTSequence": [table],
    }
    made = film(_small(), **elements)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        del made[keyword]
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table["LUTDescriptor"].VR = "US"
    table.add_new("LUTData", "OW", np.arange(4096, dtype="<u2").tobytes())
    table.ModalityLUTType = "US"
    made.ModalityLUTSequence = [table]
    return made


def _of_pydicom() -> Iterator[bytes]:
    for root in (Path(pydicom.data.__file__).parent, films.pydicom_data()):
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix != ".pyc" and path.stat().st_size < _LARGEST_BYTES:
                data = path.read_bytes()
                if data[128:132] == b"DICM":
                    yield data
