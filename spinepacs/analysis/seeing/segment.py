"""Find and outline the vertebrae of a film: the detector, a YOLO segmentation network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spinepacs.analysis.seeing.decode import Candidates, decode
from spinepacs.analysis.seeing.gaps import GAP_SCORE, Gap
from spinepacs.analysis.seeing.manifest import Manifest, checked_weights, int8_form
from spinepacs.analysis.seeing.normalise import input_shape, to_input
from spinepacs.analysis.seeing.outline import mask_outline
from spinepacs.analysis.seeing.reader import Reader
from spinepacs.analysis.seeing.sessions import multiplies_int8, open_session
from spinepacs.analysis.seeing.tracer import Tracer
from spinepacs.analysis.seeing.windows import placed, plan_windows
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import SURE_SCORE, Detection
from spinepacs.domain.geometry import Letterbox, Outline
from spinepacs.errors import BadModel

FILE = "model.onnx"
Precision = Literal["auto", "fp32", "int8"]
Step = Callable[[str], AbstractContextManager[None]]
"""Opens a context around a named step, to take its time."""

_MOST_INT8_LOSS = 0.5
_MOST_AT_ONCE = 4
"""Pictures in one batch: more take memory and no less time."""
_LEAST_AREA_PX = 12.0
"""Outlines smaller than this (square input px) are specks, not vertebrae."""


def untimed(_: str) -> AbstractContextManager[None]:
    """A step whose time nobody takes."""
    return nullcontext()


class Segmenter:
    """One ONNX Runtime session on the CPU and what its manifest says.

    It holds the session and turns heads into ``Detection``; names, order and plausibility of vertebrae are for
    ``analysis.naming``. Not shared between threads or processes: each worker opens its own.
    """

    reader: Reader | None = None
    """The network for names; None where the model has none."""
    tracer: Tracer | None = None
    """The network for outlines and corners; None where the model has none."""

    def __init__(
        self,
        manifest: Manifest,
        session: ort.InferenceSession,
        *,
        int8: bool = False,
        reader: Reader | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.manifest, self.reader, self.tracer = manifest, reader, tracer
        self._int8 = int8
        self._session = session
        self._input_name: str = session.get_inputs()[0].name

    @classmethod
    def open(cls, folder: Path, threads: int, precision: Precision = "auto") -> Self:
        """Load a model folder.

        Parameters
        ----------
        folder
            Holds ``model.onnx`` and ``manifest.toml``.
        threads
            Threads of the session within one operator; 0 lets ONNX Runtime take every core.
        precision
            Which form of the folder's networks is run: ``auto`` takes int8 where the processor multiplies int8 four
            at a time (elsewhere it gains less) and if it loses no more than half a point of mAP50-95.

        Raises
        ------
        BadModel
            If the folder is incomplete, the weights are not those of the manifest, or do not fit it.
        """
        manifest = Manifest.load(folder)
        int8 = precision == "int8" or bool(
            precision == "auto" and manifest.int8_loss <= _MOST_INT8_LOSS and multiplies_int8()
        )
        if int8 and FILE not in manifest.int8_sha256:
            raise BadModel(
                f"{int8_form(folder / FILE)}: the manifest names none; let precision be auto or fp32"
            )
        path, sha256 = manifest.form(folder, FILE, manifest.sha256, int8=int8)
        session = open_session(path, checked_weights(path, sha256), threads)
        _check_shapes(folder, manifest, session)
        reader = Reader.open(folder, manifest, threads, int8=int8)
        tracer = Tracer.open(folder, manifest, threads, int8=int8)
        return cls(manifest, session, int8=int8, reader=reader, tracer=tracer)

    @property
    def model_name(self) -> str:
        """Name of the model, as the manifest has it."""
        return self.manifest.name

    @property
    def model_version(self) -> str:
        """Version of the model, as the manifest has it; the int8 model answers a little differently and says so."""
        return f"{self.manifest.version}+int8" if self._int8 else self.manifest.version

    def detect_whole(self, display: NDArray[np.uint8], step: Step = untimed) -> tuple[Detection, ...]:
        """Read one film as a whole.

        Parameters
        ----------
        display
            (rows, columns) uint8, bright bone on dark ground, square pixels.
        step
            Called with ``normalise``, ``infer`` and ``segment``.

        Returns
        -------
        Detections in native px, best first; empty where there is no vertebra.
        """
        rows, columns = display.shape
        shape = input_shape(rows, columns, self.manifest.input_px)
        return self._look([display], shape, step)[0]

    def detect_closer(
        self, display: NDArray[np.uint8], found: Sequence[Detection], step: Step = untimed
    ) -> list[Detection]:
        """Read it again: what windows along ``found`` show, native px; a body may come more than once."""
        manifest = self.manifest
        if not manifest.window_body_px:
            return []
        rows, columns = display.shape
        sure = [one for one in found if one.score >= SURE_SCORE]
        windows, width_px = plan_windows(sure, rows, columns, manifest.input_px, manifest.window_body_px)
        pictures = [window.cut(display, manifest.pad_value) for window in windows]
        shown = self._look(pictures, (manifest.input_px, width_px), step)
        return placed(windows, shown, display.shape, manifest.input_px)

    def detect_missing(
        self, display: NDArray[np.uint8], gaps: Sequence[Gap], step: Step = untimed
    ) -> tuple[Detection, ...]:
        """Look again where a vertebra is missing: what lies in the gaps, even if doubtful; native px."""
        input_px = self.manifest.input_px
        windows = [gap.window(input_px) for gap in gaps]
        pictures = [window.cut(display, self.manifest.pad_value) for window in windows]
        shown = self._look(pictures, (input_px, input_px), step, GAP_SCORE)
        found: list[Detection] = []
        for gap, window, detections in zip(gaps, windows, shown, strict=True):
            seen = placed([window], [detections], display.shape, input_px)
            found += [detection for detection in seen if gap.holds(detection)]
        return tuple(found)

    def _look(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        shape: tuple[int, int],
        step: Step,
        least_score: float | None = None,
    ) -> list[tuple[Detection, ...]]:
        """Normalise, infer and decode pictures of like proportions; the detections are in px of each."""
        found: list[tuple[Detection, ...]] = []
        for first in range(0, len(pictures), _MOST_AT_ONCE):
            part = pictures[first : first + _MOST_AT_ONCE]
            with step("normalise"):
                inputs = [to_input(picture, *shape, self.manifest.pad_value) for picture in part]
            with step("infer"):
                tensors = [tensor for tensor, _ in inputs]
                heads = self.infer(tensors[0] if len(tensors) == 1 else np.concatenate(tensors))
            with step("segment"):
                for picture, (_, letterbox), output0, output1 in zip(part, inputs, *heads, strict=True):
                    rows, columns = picture.shape
                    found.append(self.read_heads(output0, output1, letterbox, rows, columns, least_score))
        return found

    def infer(self, tensor: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network: (n, 3, h, w) float32 → ``output0``, ``output1`` (see ``analysis.seeing.decode``)."""
        output0, output1 = self._session.run(None, {self._input_name: tensor})[:2]
        return output0, output1

    def read_heads(
        self,
        output0: NDArray[np.float32],
        output1: NDArray[np.float32],
        letterbox: Letterbox,
        rows: int,
        columns: int,
        least_score: float | None = None,
    ) -> tuple[Detection, ...]:
        """Heads (without the batch axis) of a picture of rows × columns → detections in its px.

        ``least_score``: instead of the manifest's threshold.
        """
        manifest = self.manifest
        least_score = manifest.score_threshold if least_score is None else least_score
        found = decode(output0, len(manifest.classes), least_score, manifest.iou_threshold)
        film = letterbox.to_input(np.array([[0.0, 0.0], [columns, rows]]))
        boxes = found.boxes_px.astype(np.float64).reshape(-1, 2, 2).clip(film[0], film[1])
        detections = (
            self._detection(found, index, box, output1, letterbox) for index, box in enumerate(boxes)
        )
        return tuple(detection for detection in detections if detection)

    def _detection(
        self,
        found: Candidates,
        index: int,
        box: NDArray[np.float64],
        prototypes: NDArray[np.float32],
        letterbox: Letterbox,
    ) -> Detection | None:
        threshold = self.manifest.mask_threshold
        stride_px = letterbox.input_width_px / prototypes.shape[2]
        logit = float(np.log(threshold / (1 - threshold)))
        points = mask_outline(prototypes, found.coefficients[index], box.ravel(), stride_px, logit)
        if points is None or len(points) < 3 or Outline(points).area_px < _LEAST_AREA_PX:
            return None
        class_scores = np.zeros(len(Level), np.float32)
        class_scores[list(self.manifest.classes)] = found.class_scores[index]
        return Detection(
            class_scores=class_scores,
            score=float(found.scores[index]),
            box_px=letterbox.to_native(box).ravel(),
            outline=Outline(letterbox.to_native(points)),
        )


def scaled(detection: Detection, factor: NDArray[np.float64]) -> Detection:
    """The same detection with x and y multiplied by ``factor`` (2,) float64."""
    if (factor == 1).all():  # a copy would have to work out its area and centre again
        return detection
    return replace(
        detection,
        box_px=detection.box_px * np.tile(factor, 2),
        outline=Outline(detection.outline.points * factor),
    )


def _check_shapes(folder: Path, manifest: Manifest, session: ort.InferenceSession) -> None:
    """Refuse a model whose input and heads are not those that the manifest promises."""
    shapes = [tensor.shape for tensor in (*session.get_inputs()[:1], *session.get_outputs()[:2])]
    if [len(shape) for shape in shapes] != [4, 3, 4] or shapes[0][1] != 3:
        raise BadModel(f"{folder}: input and heads {shapes} are not those of a YOLO segmentation network")
    if any(isinstance(size, int) for size in (shapes[0][0], *shapes[0][2:])):
        raise BadModel(f"{folder}: the input is {shapes[0]}; batch, height and width must be left open")
    channels, masks = shapes[1][1], shapes[2][1]
    if isinstance(channels, int) and isinstance(masks, int) and channels != 4 + len(manifest.classes) + masks:
        raise BadModel(
            f"{folder}: {channels} head channels are not 4 + {len(manifest.classes)} classes + {masks} masks"
        )
