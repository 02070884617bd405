"""What highdicom is to read ahead: in processes of their own, since it reads once only."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import json, {preload}
def refuse(*_): raise AssertionError("highdicom reads a table now")
json.loads = refuse
import highdicom
from highdicom.base import is_attribute_in_iod
assert is_attribute_in_iod("ContentDate", "1.2.840.10008.5.1.4.1.1.66.4")
"""
_EQUAL = """
import json, pkgutil
from spinepacs.dicom import standard
from highdicom import _standard_utils
standard.load()
table = json.loads(pkgutil.get_data("highdicom", "_standard/module_attribute_map.json"))
assert _standard_utils.get_module_attribute_map() == table
"""


@pytest.mark.parametrize("preload", ["spinepacs.serve.preload", "spinepacs.batch.preload"])
def test_workers_find_the_tables_read(preload: str) -> None:
    subprocess.run([sys.executable, "-c", _PROGRAM.format(preload=preload)], check=True)


def test_the_lean_table_says_what_highdicoms_own_says() -> None:
    subprocess.run([sys.executable, "-c", _EQUAL], check=True)
