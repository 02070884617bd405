"""What the processes of the darkroom need, imported once by the process that they are forked from."""

from __future__ import annotations

import gc

import cv2

import spinepacs.dicom.reading.film
import spinepacs.dicom.reading.grounds
import spinepacs.intake.selection
import spinepacs.web.darkroom  # noqa: F401 - imported to be there

cv2.setNumThreads(1)
gc.freeze()  # the children's collectors leave it all alone: to look at an object is to write to its page
