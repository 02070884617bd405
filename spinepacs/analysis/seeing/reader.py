"""The vertebra reader: a second, small network that looks at one crop for each body and says which level it shows.

The detector finds bodies; what they are called it sees from the shrunken film. The reader sees each one with what lies
around it: dens, ribs, alae, crests. A model folder need not have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spinepacs.analysis.seeing.crops import NAMES, Film, Place, hidden_above, places, to_batch
from spinepacs.analysis.seeing.evidence import Answers, weighed
from spinepacs.analysis.seeing.manifest import Manifest, ReaderFacts
from spinepacs.analysis.seeing.sessions import open_for_crops
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection

FILE = "reader.onnx"
ANSWERS = len(Level) + 1
"""The levels, and that there is no vertebra."""
_LOWEST = 8
"""Of so many places at the foot of the spine it is asked again what they are, with all above them hidden."""

Floats = NDArray[np.float64]


class Reader:
    """One ONNX Runtime session over ``reader.onnx``; not shared between threads or processes."""

    def __init__(self, facts: ReaderFacts, session: ort.InferenceSession) -> None:
        self._facts, self._session = facts, session
        self._input_name: str = session.get_inputs()[0].name

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, threads: int, *, int8: bool = False) -> Self | None:
        """The reader of a model folder, in 8 bits if that is wanted and there; None where the manifest names none.

        Raises
        ------
        BadModel
            If the weights are not those of the manifest, or not those of a reader.
        """
        if manifest.reader is None:
            return None
        facts = manifest.reader
        path, sha256 = manifest.form(folder, FILE, facts.sha256, int8=int8)
        return cls(facts, open_for_crops(path, sha256, threads, NAMES, (ANSWERS,)))

    def read(
        self, display: NDArray[np.uint8], found: Sequence[Detection], towards: Floats
    ) -> tuple[Detection, ...]:
        """Detections with what detector and reader together say of each one's level, in their own order.

        Parameters
        ----------
        display
            (rows, columns) uint8, bright bone on dark ground, square pixels.
        found
            At least one, in px of ``display``.
        towards
            (2,) unit vector along the spine, to the foot.
        """
        order, answers = self.look(display, found, towards)
        said = weighed([found[row].class_scores for row in order], answers, self._facts.weights)
        read = list(found)
        for row, evidence in zip(order, said, strict=True):
            read[row] = replace(read[row], evidence=evidence)
        return tuple(read)

    def look(
        self, display: NDArray[np.uint8], found: Sequence[Detection], towards: Floats
    ) -> tuple[NDArray[np.intp], Answers]:
        """(N,) indices of the detections from head to foot, and the answers there and beyond both ends."""
        centres = np.array([one.outline.centroid for one in found])
        sizes = np.sqrt([one.outline.area_px for one in found])
        order = np.lexsort((centres[:, 0], centres @ towards))
        where = places(centres[order], sizes[order], towards)
        shown = [row for row, place in enumerate(where) if 0 < row <= len(found) or _on(display, place)]
        lowest = [row for row in shown if row > max(0, len(where) - 1 - _LOWEST)]
        film = Film(display)
        crops = [film.cut(where[row]) for row in shown]
        below = [hidden_above(crop) for crop in crops[len(crops) - len(lowest) :]]
        answers = np.full((2, len(where), ANSWERS), np.nan)
        said = self.log_probabilities([*crops, *below])
        answers[0, shown], answers[1, lowest] = said[: len(crops)], said[len(crops) :]
        return order, Answers(*answers)

    def log_probabilities(self, crops: Sequence[NDArray[np.uint8]]) -> Floats:
        """(N, 26) float64: of each level and of no vertebra, for what each crop shows; one batch."""
        logits = self._session.run(None, {self._input_name: to_batch(crops)})[0].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        answer: Floats = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return answer


def _on(display: NDArray[np.uint8], place: Place) -> bool:
    """Whether a place beyond an end of the spine lies on the film."""
    return bool((place.centre >= 0).all() and (place.centre < display.shape[::-1]).all())
