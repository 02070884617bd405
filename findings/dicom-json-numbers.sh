#!/usr/bin/env bash
# DICOM JSON of plain numbers: DCMTK writes text that no JSON parser takes, pydicom refuses an empty value
#
# Versions   DCMTK's dcm2json (Debian's, printed below), pydicom 3.0.2.
# Behaviour  a Decimal String may end in its point ("5."), one value among several may be empty ("1500\"), and an FD
#            may be a NaN. PS3.18 F.2 makes numbers, strings or null of these. dcm2json copies the characters of a DS
#            into the JSON as they stand (it mends a leading "+." but no trailing point) and prints NaN as nan; both
#            are no JSON. pydicom's to_json mends the point, writes NaN (no JSON either), and raises ValueError
#            at the empty value, for DS only: an empty value among code strings is fine, and DCMTK writes null.
# Seen       "5.": dcm2json 5. (refused by json.loads), pydicom 5.0. NaN: nan | NaN. "1500\": [1500, null] |
#            ValueError: could not convert string to float: ''.
# Meaning    one window value or one collimator edge that a console left empty stops the export of the whole header;
#            one "5." makes a file that is only found out by whoever reads it. Parse what you have written, strictly.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
dcm2json --version | sed -n 1p
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2
cd "$work"
"$work/venv/bin/python" - <<'END'
import json
import subprocess
import sys

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid


def strict(text):
    """Is it JSON as RFC 8259 has it? Python's own parser takes NaN unless told not to."""
    def refuse(constant):
        raise ValueError(constant)
    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError:
        return None


def both(name, keyword_or_tag, vr, value):
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    film.add_new(keyword_or_tag, vr, value)
    film.save_as("film.dcm", enforce_file_format=True)
    dcmtk = subprocess.run(["dcm2json", "film.dcm"], capture_output=True, text=True, check=True).stdout
    try:
        python = dcmread("film.dcm").to_json()
    except ValueError as error:
        python = f"ValueError: {error}"
    part = "".join(dcmtk.split(f'"vr": "{vr}"')[-1].split())[1:60]
    print(f"{name:12} dcm2json {'ok ' if strict(dcmtk) else 'BAD'} {part:30} "
          f"pydicom {'ok ' if strict(python) else 'BAD'} {python[-60:]}")
    return strict(dcmtk) is not None, strict(python) is not None


window, width, codes = 0x00281050, 0x00189306, 0x00080008
as_stated = both("DS 5.0", window, "DS", "5.0") == (True, True)
as_stated &= both("DS 5.", window, "DS", "5.") == (False, True)
as_stated &= both("DS 1500\\", window, "DS", "1500\\") == (True, False)
as_stated &= both("CS A\\", codes, "CS", "A\\") == (True, True)
as_stated &= both("FD NaN", width, "FD", float("nan")) == (False, False)
sys.exit(0 if as_stated else 1)
END
