"""Strangers' tools that judge what we write: dicom3tools and dcmqi."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.peers import require


def dciodvfy_complaints(path: Path) -> list[str]:
    """Lines of dciodvfy, its note of the IOD and its warnings about our private coding scheme left out.

    It knows the defined terms of public schemes only, so every private code gives a warning.
    """
    done = subprocess.run([require("dciodvfy"), str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    known = ("SCImage", "Segmentation", "ComprehensiveSR", "Comprehensive3DSR")
    return [line for line in lines if line not in known and "99SPINEPACS" not in line]


def dciodvfy_errors(path: Path) -> list[str]:
    """Only what dciodvfy calls an error."""
    return [line for line in dciodvfy_complaints(path) if line.startswith("Error")]


def dcentvfy_errors(*paths: Path) -> list[str]:
    """Lines in which dcentvfy finds objects of one study at odds with one another."""
    done = subprocess.run(
        [require("dcentvfy"), *map(str, paths)], capture_output=True, text=True, check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    # dicom3tools counts AccessionNumber of a SEG to another entity than elsewhere; its value is the same.
    return [line for line in lines if "<AccessionNumber>" not in line]


def dcmqi_label_map(path: Path, folder: Path) -> NDArray[np.int64]:
    """(rows, columns) label map as dcmqi's segimage2itkimage reads a SEG."""
    program = Path(sys.executable).parent / "segimage2itkimage"
    if not program.exists() and os.environ.get("CI") != "true":
        pytest.skip("dcmqi (PyPI) is not installed")
    folder.mkdir()
    subprocess.run(
        [program, "--inputDICOM", path, "--outputDirectory", folder, "-t", "nrrd", "--mergeSegments"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (file,) = folder.glob("*.nrrd")
    return _read_nrrd(file)


def _read_nrrd(path: Path) -> NDArray[np.int64]:
    """Read the few kinds of NRRD that dcmqi writes."""
    head, _, data = path.read_bytes().partition(b"\n\n")
    fields: dict[str, Any] = dict(
        line.split(": ", 1) for line in head.decode().splitlines() if ": " in line and line[0] != "#"
    )
    columns, rows, slices = map(int, fields["sizes"].split())
    assert slices == 1
    kind = {"short": "<i2", "unsigned char": "u1", "unsigned short": "<u2"}[fields["type"]]
    raw = gzip.decompress(data) if fields["encoding"] == "gzip" else data
    return np.frombuffer(raw, kind).reshape(rows, columns).astype(np.int64)
