"""How a film's stored pixels become its picture, in the words of a presentation state (PS3.3 C.11).

A presentation state replaces whatever the image says of modality LUT, window and polarity (PS3.4 N.2.1), so it must say
all of it, also where the header's own is missing or shows nothing and the picture was made otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from spinepacs.dicom.reading.bits import Table
from spinepacs.dicom.reading.parse import items, number, numbers, text


@dataclass(frozen=True, eq=False)
class Shown:
    """Stored pixels → picture: rescale, then window or table, then polarity.

    Parameters
    ----------
    slope, intercept
        Rescale of stored values.
    window
        The header's own centre and width, linear (PS3.3 C.11.2.1.2); None: ``shades`` say it.
    shades
        (N,) float64: grey (0 black, 1 white, before ``inverted``) of each rescaled value from 0 on.
    inverted
        Whether high values are dark: Presentation LUT Shape INVERSE.
    """

    slope: float
    intercept: float
    window: tuple[float, float] | None
    shades: NDArray[np.float64]
    inverted: bool

    def table(self) -> NDArray[np.uint16]:
        """``shades`` as entries of a VOI LUT of 16 bits."""
        return np.rint(self.shades * 65535).astype(np.uint16)


def is_stated(header: Dataset) -> bool:
    """Whether a linear window on rescaled values is all that the header asks for.

    Other functions come as tables: DCMTK 3.6.7 draws SIGMOID and LINEAR_EXACT of a presentation state as LINEAR.
    """
    has_table = items(header, "ModalityLUTSequence") or items(header, "VOILUTSequence")
    return not has_table and text(header, "VOILUTFunction").upper() in ("", "LINEAR")


def stated(header: Dataset, inverted: bool) -> Shown:
    """Say what the header says: its first window on its rescaled values."""
    window = numbers(header, "WindowCenter")[0], numbers(header, "WindowWidth")[0]
    slope, intercept = number(header, "RescaleSlope", 1.0), number(header, "RescaleIntercept", 0.0)
    return Shown(slope, intercept, window, np.empty(0), inverted)


def tabulated(pixel: Table, shade: Table, padding: NDArray[np.bool_], inverted: bool) -> Shown:
    """Say by a table what becomes of each stored value, whatever was done to them.

    Parameters
    ----------
    pixel, shade, padding
        By code: pixel value, grey before polarity, and whether it means no pixel, which is black.
    """
    grey = np.where(padding, float(inverted), shade)
    return Shown(1.0, -float(pixel.min()), None, grey[np.argsort(pixel)], inverted)
