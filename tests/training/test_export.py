"""A model folder is written and read back; the shipped model answers as its reference says."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinepacs.analysis.decode import decode
from spinepacs.analysis.manifest import Manifest
from spinepacs.anatomy import Level
from spinepacs.training.dataset import CLASS_NAMES
from spinepacs.training.export import REFERENCE_FORMULAS, ModelFacts, open_onnx, reference_square, to_tensor

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / "models" / "spine-v0"


@pytest.mark.parametrize("kind", REFERENCE_FORMULAS)
def test_the_shipped_model_answers_as_its_reference_says(kind: str) -> None:
    reference = json.loads((SHIPPED / "reference.json").read_text(encoding="utf-8"))
    answer = next(answer for answer in reference["answers"] if answer["input"] == kind)
    limits, manifest = reference["tolerance"], Manifest.load(SHIPPED)
    square = reference_square(kind)
    assert int(square.sum()) == answer["grey_sum"]
    heads, prototypes = open_onnx(SHIPPED / "model.onnx")(to_tensor(square))
    np.testing.assert_allclose(
        heads[0].max(axis=1), answer["highest_by_channel"], atol=limits["highest_by_channel"]
    )
    np.testing.assert_allclose(
        prototypes[0].mean(axis=(1, 2)), answer["prototype_means"], atol=limits["prototype_means"]
    )
    found = decode(heads, len(CLASS_NAMES), reference["score_threshold"], manifest.iou_threshold)
    assert [CLASS_NAMES[int(row.argmax())] for row in found.class_scores] == [
        d["level"] for d in answer["detections"]
    ]
    for box, score, expected in zip(found.boxes_px, found.scores, answer["detections"], strict=True):
        np.testing.assert_allclose(box, expected["box_px"], atol=limits["box_px"])
        assert float(score) == pytest.approx(expected["score"], abs=limits["score"])


def test_the_shipped_manifest_names_the_shipped_weights() -> None:
    manifest = tomllib.loads((SHIPPED / "manifest.toml").read_text(encoding="utf-8"))
    weights = (SHIPPED / "model.onnx").read_bytes()
    assert manifest["sha256"] == hashlib.sha256(weights).hexdigest()
    assert manifest["classes"] == [level.name for level in sorted(Level)]
    assert len(weights) < 15e6


@pytest.mark.filterwarnings("ignore")  # torch's, about tracing and the exporter that Ultralytics chooses
def test_an_untrained_network_makes_the_round_trip(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra 'train' is not installed")
    ultralytics: Any = pytest.importorskip("ultralytics", reason="the extra 'train' is not installed")
    pytest.importorskip("onnx", reason="the extra 'train' is not installed")
    from spinepacs.training.export import export
    from spinepacs.training.initialise import build_network
    from spinepacs.training.network import write_checkpoint

    write_checkpoint(tmp_path / "network.pt", build_network(25))
    folder = tmp_path / "tiny"
    worst = export(tmp_path / "network.pt", folder, ModelFacts("tiny", "1", "nothing"))
    assert worst["output0"] < 0.05
    assert Manifest.load(folder).classes == tuple(Level)
    assert (
        json.loads((folder / "reference.json").read_text(encoding="utf-8"))["answers"][0]["input"] == "ladder"
    )
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "manifest.toml", "reference.json"}
    square = np.repeat(reference_square("ladder")[:, :, None], 3, axis=2)
    model = ultralytics.YOLO(str(folder / "model.onnx"), task="segment")
    assert (
        model.predict(square, retina_masks=True, imgsz=640, verbose=False, device="cpu")[0].names[24] == "S1"
    )
