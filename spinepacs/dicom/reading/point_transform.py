"""JPEG lossless images without their low bits: libjpeg 2.5.0 starts them at a wrong value, so they are shifted here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame

from spinepacs.dicom.reading.codestream import lossless_scan


@dataclass(frozen=True)
class PointTransform:
    """Low bits that the encoder left out (ISO 10918-1 A.4), and the bits of a sample with them."""

    shift: int
    precision: int

    def applied(self, decoded: NDArray[Any]) -> NDArray[Any]:
        """Give samples that were decoded as if nothing had been left out their right values.

        The first sample is predicted from 2^(precision − shift − 1), not from 2^(precision − 1) as without a point
        transform (H.1.2.1), and every predictor hands a constant on: all samples are too large by the difference.
        """
        bits = 8 * decoded.itemsize
        too_much = (1 << self.precision - 1) - (1 << self.precision - self.shift - 1)
        words = decoded.view(f"u{decoded.itemsize}").copy()
        words -= words.dtype.type(too_much % (1 << bits))
        words <<= self.shift
        return words.view(decoded.dtype)


def set_aside(dataset: Dataset) -> PointTransform | None:
    """Have a JPEG lossless image say that no bits were left out, and return what it said before."""
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    precision, at = lossless_scan(frame)
    shift = frame[at] & 0x0F
    if not 0 < shift < precision:
        return None
    dataset.PixelData = encapsulate([frame[:at] + bytes([frame[at] & 0xF0]) + frame[at + 1 :]])
    return PointTransform(shift, precision)
