"""The manifest of a model folder: what ``model.onnx`` expects and answers, checked before it is run.

A model is a folder ``<name>/`` with ``model.onnx``, ``manifest.toml``, ``README.md`` (card) and ``reference.json``. The
keys of the manifest that are read here::

    name, version, licence      identify the model; name and version are part of every output UID
    classes                     the level names in the order of the class scores
    input_px, pad_value         longer side of the input
    score_threshold, iou_threshold, mask_threshold
    sha256                      of model.onnx, hexadecimal
    int8                        table, if there is a model-int8.onnx: its sha256
    reader                      table, if there is a reader.onnx: its sha256
    reader.weights              table beside it (``analysis.seeing.evidence``)
    localisation.LATERAL, .AP   tables, if known: the error of the endplates (``analysis.uncertainty.Localisation``)

Any other key (training data, metrics) is for people.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Self

from spinepacs.analysis.seeing.evidence import Weights
from spinepacs.analysis.seeing.localisation import Localisation
from spinepacs.analysis.seeing.normalise import STRIDE_PX
from spinepacs.domain.anatomy import Level
from spinepacs.domain.study import View
from spinepacs.errors import BadModel
from spinepacs.toml import read_toml, usable_keys

INT8_KEYS = {"model.onnx": "sha256", "reader.onnx": "reader_sha256", "tracer.onnx": "tracer_sha256"}
"""Of the manifest's table ``int8``, by the network whose 8-bit form they name."""


@dataclass(frozen=True)
class ReaderFacts:
    """What is known of a ``reader.onnx``.

    Parameters
    ----------
    sha256
        Of the file, lower-case hexadecimal.
    weights
        Of its answers and of the detector's.
    """

    sha256: str
    weights: Weights

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """The manifest's table ``reader``."""
        return cls(str(table["sha256"]).lower(), Weights.from_table(table["weights"]))


@dataclass(frozen=True)
class Manifest:
    """What a model is called and how its heads are to be read.

    Parameters
    ----------
    name, version
        Identity of the model; part of every output UID.
    classes
        Level of each class score, in the network's order.
    input_px
        Longer side of the input, a multiple of 32; the shorter one is as long as the picture needs.
    pad_value
        Grey (0–255) beside the letterboxed film.
    score_threshold
        Least confidence that something is a vertebra, 0–1 (noisy-OR over the classes).
    iou_threshold
        Two boxes that overlap by more are one vertebra.
    mask_threshold
        Probability at which the outline runs, 0–1.
    window_body_px
        Height of a body in the input at the second, closer look (``analysis.seeing.windows``); 0: no second look.
    sha256
        Of ``model.onnx``, lower-case hexadecimal.
    int8_sha256
        Of the networks' 8-bit forms, ``model-int8.onnx`` and beside it perhaps ``reader-int8.onnx`` and
        ``tracer-int8.onnx``, by the file names of the fp32 ones; empty where the model has none.
    int8_loss
        What they lose beside the fp32 ones: points (of 100) of the outlines' mAP50-95; infinite where not measured.
    reader
        None where the model has no ``reader.onnx`` (``analysis.seeing.reader``).
    tracer_sha256
        Of ``tracer.onnx`` (``analysis.seeing.tracer``); empty where the model has none.
    localisation
        Error of the endplates by view; measures on other views have no uncertainty.
    """

    name: str
    version: str
    licence: str
    classes: tuple[Level, ...]
    input_px: int
    pad_value: int
    score_threshold: float
    iou_threshold: float
    mask_threshold: float
    sha256: str
    window_body_px: float = 0.0
    int8_sha256: Mapping[str, str] = field(default_factory=dict)
    int8_loss: float = math.inf
    reader: ReaderFacts | None = None
    tracer_sha256: str = ""
    localisation: Mapping[View, Localisation] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read ``manifest.toml`` of a model folder.

        Raises
        ------
        BadModel
            If it is missing, not TOML, lacks a key or holds a value that cannot be meant.
        """
        path = folder / "manifest.toml"
        data = read_toml(path, BadModel, "is model.folder right?")
        with usable_keys(path, BadModel):
            manifest = cls._from(data)
        manifest._check(path)
        return manifest

    @classmethod
    def _from(cls, data: dict[str, Any]) -> Manifest:
        return cls(
            name=str(data["name"]),
            version=str(data["version"]),
            licence=str(data["licence"]),
            classes=tuple(Level[name] for name in data["classes"]),
            input_px=int(data["input_px"]),
            pad_value=int(data["pad_value"]),
            score_threshold=float(data["score_threshold"]),
            iou_threshold=float(data["iou_threshold"]),
            mask_threshold=float(data["mask_threshold"]),
            sha256=str(data["sha256"]).lower(),
            window_body_px=float(data.get("window_body_px", 0)),
            int8_sha256={
                file: str(data["int8"][key]).lower()
                for file, key in INT8_KEYS.items()
                if key in data.get("int8", {})
            },
            int8_loss=float(data.get("int8", {}).get("loss_map50_95", math.inf)),
            reader=ReaderFacts.from_table(data["reader"]) if "reader" in data else None,
            tracer_sha256=str(data.get("tracer", {}).get("sha256", "")).lower(),
            localisation={
                View(view): Localisation.from_table(table)
                for view, table in data.get("localisation", {}).items()
            },
        )

    def _check(self, path: Path) -> None:
        thresholds = (self.score_threshold, self.iou_threshold, self.mask_threshold)
        sound = {
            "classes (each level once)": 0 < len(self.classes) == len(set(self.classes)),
            "input_px (a multiple of 32)": self.input_px > 0 and self.input_px % STRIDE_PX == 0,
            "thresholds (between 0 and 1)": all(0 < threshold < 1 for threshold in thresholds),
            "window_body_px (0, or 8 and more)": self.window_body_px == 0 or self.window_body_px >= 8,
            "reader weights (not negative)": self.reader is None or min(astuple(self.reader.weights)) >= 0,
            "pad_value (0 to 255)": 0 <= self.pad_value <= 255,
            "name and version (not empty)": bool(self.name and self.version),
        }
        if wrong := [what for what, right in sound.items() if not right]:
            raise BadModel(f"{path}: unusable: {', '.join(wrong)}")

    def form(self, folder: Path, file: str, sha256: str, *, int8: bool) -> tuple[Path, str]:
        """Where a network of this folder is, and its SHA-256: the 8-bit form, if that is wanted and there."""
        if int8 and file in self.int8_sha256:
            return int8_form(folder / file), self.int8_sha256[file]
        return folder / file, sha256


def int8_form(path: Path) -> Path:
    """Where the 8-bit form of a network lies: beside it."""
    return path.with_stem(f"{path.stem}-int8")


def checked_weights(path: Path, named: str) -> bytes:
    """Bytes of a network's file, only if they are the ones that the manifest names by their SHA-256.

    Raises
    ------
    BadModel
        If the file is missing or its SHA-256 differs.
    """
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise BadModel(f"{path}: cannot be read ({error.strerror})") from error
    found = hashlib.sha256(weights).hexdigest()
    if found != named:
        raise BadModel(f"{path}: sha256 is {found}, the manifest says {named}: altered or half-copied")
    return weights
