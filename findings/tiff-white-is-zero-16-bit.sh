#!/usr/bin/env bash
# White-is-zero TIFF: turned to black-is-zero at 8 bits, left as it is at 16 bits
#
# Versions   Pillow 13.0.0, opencv-python-headless 5.0.0.93.
# Behaviour  PhotometricInterpretation 0 (WhiteIsZero) is what film digitisers write, and it is as legal at 16 bits as
#            at 8. Both libraries invert an 8-bit image of that kind on reading. At 16 bits Pillow gives the stored
#            values in mode I;16 and does not say so anywhere but in the raw tag; OpenCV gives the stored values with
#            IMREAD_UNCHANGED, and the inverted ones with IMREAD_GRAYSCALE: the flag decides whether bone is white.
# Seen       stored 0, 1000, 65535. 8 bits (0, 3, 255): 255, 252, 0 from both.
#            16 bits: Pillow 0, 1000, 65535; OpenCV unchanged 0, 1000, 65535; OpenCV grey 255, 252, 0.
# Meaning    a reader that trusts the library gets some films as negatives, depending on bit depth and on one flag.
#            Read tag 262 and invert 16-bit images yourself.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 \
    opencv-python-headless==5.0.0.93
"$work/venv/bin/python" - <<'END'
import io
import struct
import sys

import cv2
import numpy as np
from PIL import Image


def tiff(values, bits, photometric):
    """One uncompressed strip, baseline tags only (TIFF 6.0)."""
    data = np.asarray(values, f"<u{bits // 8}").tobytes()
    tags = [(256, 4, len(values)), (257, 4, 1), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
            (273, 4, 8 + 2 + 9 * 12 + 4), (277, 3, 1), (278, 4, 1), (279, 4, len(data))]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + struct.pack("<I", 0) + data


def readers(raw):
    buffer = np.frombuffer(raw, np.uint8)
    return {
        "Pillow": np.asarray(Image.open(io.BytesIO(raw))).ravel().tolist(),
        "OpenCV unchanged": cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED).ravel().tolist(),
        "OpenCV grey": cv2.imdecode(buffer, cv2.IMREAD_GRAYSCALE).ravel().tolist(),
    }


stated = {
    8: {"Pillow": [255, 252, 0], "OpenCV unchanged": [255, 252, 0], "OpenCV grey": [255, 252, 0]},
    16: {"Pillow": [0, 1000, 65535], "OpenCV unchanged": [0, 1000, 65535], "OpenCV grey": [255, 252, 0]},
}
as_stated = True
for bits, values in ((8, [0, 3, 255]), (16, [0, 1000, 65535])):
    print(f"{bits} bits, stored {values}; black is zero: {readers(tiff(values, bits, 1))}")
    seen = readers(tiff(values, bits, 0))
    print(f"{bits} bits, stored {values}; white is zero: {seen}")
    as_stated &= seen == stated[bits]
sys.exit(0 if as_stated else 1)
END
