#!/usr/bin/env bash
# highdicom: reads and applies a table that begins below 0, and refuses to make one
#
# Versions   highdicom 0.28.2, numpy 2.2.6, pydicom 3.0.2.
# Behaviour  the second value of LUT Descriptor is the first pixel value that the table maps; it is signed (VR SS) where the
#            pixels are (PS3.3 C.11.1.1.1, C.11.2.1.1). VOILUT.from_dataset takes such a table and its apply() is right. The
#            constructors of LUT, VOILUT and ModalityLUT raise ValueError for every value below 0.
# Seen       first value -1000: from_dataset maps -1000, 0, 999 to 0, 1000, 1999; the constructors: ValueError: Argument
#            "first_mapped_value" must be non-negative.
# Meaning    a presentation state with a table for a film of signed pixels (CT-like rescaling, subtraction, some CR) cannot be made
#            by its classes: build the item by hand with VR SS, or shift the pixels by a modality rescale first.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check highdicom==0.28.2 numpy==2.2.6 pydicom==3.0.2
"$work/venv/bin/python" - <<'END'
import sys

import highdicom
import numpy as np
from pydicom.dataset import Dataset

TABLE = np.arange(2000, dtype=np.uint16)
item = Dataset()
item.add_new("LUTDescriptor", "SS", [2000, -1000, 16])
item.add_new("LUTData", "OW", TABLE.tobytes())
table = highdicom.VOILUT.from_dataset(item)
mapped = table.apply(np.array([[-1000, 0, 999]], dtype=np.int16)).tolist()
print("from_dataset:", table.first_mapped_value, mapped)
as_stated = table.first_mapped_value == -1000 and mapped == [[0, 1000, 1999]]


def made(kind, first, **more):
    try:
        return kind(first_mapped_value=first, lut_data=TABLE, **more).first_mapped_value
    except ValueError as error:
        return str(error)


for kind, more in ((highdicom.LUT, {}), (highdicom.VOILUT, {}), (highdicom.ModalityLUT, {"lut_type": "US"})):
    zero, negative = made(kind, 0, **more), made(kind, -1000, **more)
    print(f"{kind.__name__}: 0 -> {zero}, -1000 -> {negative}")
    as_stated &= zero == 0 and negative == 'Argument "first_mapped_value" must be non-negative.'
sys.exit(0 if as_stated else 1)
END
