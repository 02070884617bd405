"""Find films that are in training and in validation: also flipped, turned, resized, re-windowed or inverted.

A perceptual hash (ImageHash's pHash of 256 bits, on an equalised square thumbnail) proposes pairs: in one of the eight
turns and flips, or its inverse, at most 34 % of the bits may differ.  Full-spine films of different patients come
that close too, so OpenCV's ECC alignment decides: local contrast must correlate by 0.80 after the best affine fit,
which also forgives a cropped margin.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spinepacs.training.data.dataset import Film, LabelsError
from spinepacs.training.data.merge import DataSet

log = logging.getLogger(__name__)

MOST_DIFFERING_BITS = 0.34
LEAST_CORRELATION = 0.80
_HASH_SIDE = 16
_SIDE_PX = 96
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Leak:
    """Two films that show the same: one to train on, one to validate with.

    ``correlation`` of local contrast after alignment, 0 … 1.
    """

    training: Film
    validation: Film
    correlation: float

    def __str__(self) -> str:
        return f"{self.training.path} shows the same as {self.validation.path} ({self.correlation:.2f})"


def without_leaks(data: DataSet, path: Path) -> DataSet:
    """Leave training films out that show the same as a validation film.

    ``path`` is a CSV of the pairs: written when it is missing, else believed, so that a resumed run need not look
    again.
    """
    if not path.is_file():
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("training", "validation", "correlation"))
            for leak in find_leaks(data.training, data.validation):
                writer.writerow((leak.training.path, leak.validation.path, round(leak.correlation, 3)))
                log.warning("left out of training: %s", leak)
    with path.open(newline="", encoding="utf-8") as file:
        leaking = {row["training"] for row in csv.DictReader(file)}
    return replace(data, training=tuple(film for film in data.training if str(film.path) not in leaking))


def find_leaks(training: Sequence[Film], validation: Sequence[Film]) -> list[Leak]:
    """Compare every training film with every validation film, likeliest pair first.

    Raises
    ------
    LabelsError
        A film cannot be decoded; the message names it.
    """
    if not training or not validation:
        return []
    thumbnails = [thumbnail(film) for film in validation]
    turned = [
        (turn(image, number), index, number) for index, image in enumerate(thumbnails) for number in range(8)
    ]
    signs = np.stack([_bits(image) for image, _, _ in turned])
    leaks = []
    for film in training:
        image = thumbnail(film)
        agreement = signs @ _bits(image) / _HASH_SIDE**2
        best: dict[int, float] = {}
        for row in np.flatnonzero((1 - np.abs(agreement)) / 2 <= MOST_DIFFERING_BITS):
            other, index, _ = turned[row]
            correlation = aligned_correlation(image, other, float(np.sign(agreement[row])))
            best[index] = max(correlation, best.get(index, 0.0))
        leaks += [Leak(film, validation[k], r) for k, r in best.items() if r >= LEAST_CORRELATION]
    return sorted(leaks, key=lambda leak: -leak.correlation)


def turn(image: Grey, number: int) -> Grey:
    """One of the eight turns and flips of a square image; 0 leaves it as it is."""
    rotated = np.rot90(image, number % 4)
    return np.ascontiguousarray(np.fliplr(rotated) if number >= 4 else rotated)


def thumbnail(film: Film) -> Grey:
    """The whole film squeezed into 96 × 96 pixels, equalised; uint8."""
    try:
        with Image.open(film.path) as opened:
            values = np.asarray(opened if opened.mode.startswith("I") else opened.convert("L"))
    except (OSError, SyntaxError) as error:
        raise LabelsError(
            f"{film.path}: cannot be decoded ({error}); replace it, or remove image and label"
        ) from error
    small = cv2.resize(values.astype(np.float32), (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    low, high = float(small.min()), float(small.max())
    grey = ((small - low) * np.float32(255 / max(high - low, 1e-6))).astype(np.uint8)
    return np.asarray(cv2.equalizeHist(grey), np.uint8)


def _bits(image: Grey) -> NDArray[np.float32]:
    """Hash as +1 and −1, float32 (256,): the product of two counts agreement, and inversion changes its sign."""
    import imagehash  # type: ignore[import-not-found]  # comes with the training extra

    bits = imagehash.phash(Image.fromarray(image), hash_size=_HASH_SIDE).hash.ravel()
    return np.where(bits, np.float32(1), np.float32(-1))


def aligned_correlation(first: Grey, second: Grey, sign: float) -> float:
    """Correlation of the local contrast of two thumbnails after the best affine fit; ``sign`` −1 inverts one.

    Returns 0 where no fit converges.  Source: Evangelidis & Psarakis 2008, enhanced correlation coefficient.
    """
    fit = np.eye(2, 3, dtype=np.float32)
    film, other = _local_contrast(first), np.float32(sign) * _local_contrast(second)
    everywhere = np.full(first.shape, 255, np.uint8)
    try:
        correlation, _ = cv2.findTransformECC(film, other, fit, cv2.MOTION_AFFINE, _STEPS, everywhere, 5)
    except cv2.error:  # the fit diverges for images that have nothing in common
        return 0.0
    return float(correlation)


def _local_contrast(image: Grey) -> NDArray[np.float32]:
    values = image.astype(np.float32)
    return np.asarray(values - cv2.GaussianBlur(values, (0, 0), 6), np.float32)
