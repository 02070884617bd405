#!/usr/bin/env bash
# OpenCV takes 64-bit integer arrays from NumPy, and cuts them to 32 bits without a word
#
# Versions   opencv-python-headless 4.12.0.88 and 5.0.0.93.
# Behaviour  int64 is NumPy's default integer. cv2.flip, cv2.resize, cv2.add ... accept int64 and uint64, convert them to
#            int32 by dropping the upper half, and return int32: no error, no warning. OpenCV 5 has depths of its own
#            for them (cv2.CV_64S, cv2.CV_64U), and the Python binding does the same as before.
# Seen       [2**40 + 7, 2**31] flipped: int32 [-2147483648, 7] from both, for int64 and for uint64.
# Meaning    labels packed into one number, identifiers and sums of 16-bit films come back as other numbers, of
#            another type. Narrow the type yourself, before the call.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip=("$work/venv/bin/pip" install --quiet --disable-pip-version-check)
"${pip[@]}" numpy==2.2.6
"${pip[@]}" --no-deps --target "$work/four" opencv-python-headless==4.12.0.88
"${pip[@]}" --no-deps --target "$work/five" opencv-python-headless==5.0.0.93
cat > "$work/try.py" <<'END'
import sys

import cv2
import numpy as np

as_stated = True
for kind in (np.int64, np.uint64):
    seen = cv2.flip(np.array([[2**40 + 7, 2**31]], kind), 1)
    print(cv2.__version__, kind.__name__, "->", seen.dtype, seen.ravel().tolist(), "| CV_64S:", hasattr(cv2, "CV_64S"))
    as_stated &= seen.dtype == np.int32 and seen.ravel().tolist() == [-(2**31), 7]
sys.exit(0 if as_stated else 1)
END
PYTHONPATH="$work/four" "$work/venv/bin/python" "$work/try.py"
PYTHONPATH="$work/five" "$work/venv/bin/python" "$work/try.py"
