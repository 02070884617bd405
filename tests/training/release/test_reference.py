"""The answers kept beside a model tell another network, another film or another runtime from the one exported."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinepacs.analysis.seeing.manifest import INT8_KEYS, int8_form
from spinepacs.domain.anatomy import Level
from spinepacs.training.learning.checkpoint import Floats
from spinepacs.training.release.crop_reference import FRAMES, crop_answers, crop_differences, open_network
from spinepacs.training.release.pictures import FORMULAS, picture
from spinepacs.training.release.reference import ReferenceInput, differences, open_onnx, replay
from tests import phantoms
from tests.models import write_model

SHIPPED = sorted(path.parent for path in (Path(__file__).parents[3] / "models").glob("*/manifest.toml"))


@pytest.fixture(params=SHIPPED, ids=lambda path: path.name)
def shipped(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


def test_every_shipped_network_answers_as_its_reference_says(shipped: Path) -> None:
    networks = {path.name for path in shipped.glob("*.onnx")}
    assert set(json.loads((shipped / "reference.json").read_text(encoding="utf-8"))["files"]) == networks
    assert replay(shipped) == []


def test_the_shipped_manifest_names_the_shipped_weights(shipped: Path) -> None:
    manifest = tomllib.loads((shipped / "manifest.toml").read_text(encoding="utf-8"))
    named = {"model.onnx": manifest["sha256"]}
    int8 = manifest.get("int8", {})
    named |= {int8_form(Path(file)).name: int8[key] for file, key in INT8_KEYS.items() if key in int8}
    named |= {f"{kind}.onnx": manifest[kind]["sha256"] for kind in ("reader", "tracer") if kind in manifest}
    weights = {path.name: path.read_bytes() for path in shipped.glob("*.onnx")}
    assert named == {name: hashlib.sha256(content).hexdigest() for name, content in weights.items()}
    assert manifest["classes"] == [level.name for level in sorted(Level)]
    assert max(map(len, weights.values())) < 15e6


@pytest.fixture(scope="module")
def answered() -> dict[str, Any]:
    return json.loads((SHIPPED[0] / "reference.json").read_text(encoding="utf-8"))["files"]["model.onnx"]


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        (("detections", 0, "box_px", 0), 300.0, "lost"),
        (("detections", 0, "score"), 0.9, "lost"),
        (("detections", 0, "level"), "C1", "new"),
        (("highest_by_channel", 7), 0.9, "highest_by_channel"),
        (("prototype_means", 3), 9.0, "prototype_means"),
    ],
)
def test_each_altered_answer_is_told(
    answered: dict[str, Any], where: tuple[str | int, ...], value: Any, told: str
) -> None:
    altered = json.loads(json.dumps(answered))
    part = altered["answers"][0]["pictures"][0]
    for step in where[:-1]:
        part = part[step]
    part[where[-1]] = value
    altered["answers"] = altered["answers"][:1]
    assert any(told in line for line in differences(open_onnx(SHIPPED[0] / "model.onnx"), altered))


@pytest.mark.parametrize(
    ("kind", "answer", "kept"),
    [("reader", np.arange(26) / 10, 26), ("tracer", np.arange(5 * 48 * 48).reshape(5, 48, 48) / 1e4, 10)],
)
def test_a_network_for_crops_that_answers_otherwise_is_told(
    tmp_path: Path, kind: str, answer: Floats, kept: int
) -> None:
    for name, logits in (("a", answer), ("b", answer + 0.1)):
        write_model(tmp_path / name, phantoms.spine(), **{kind: logits})
    ours, other = (open_network(tmp_path / name / f"{kind}.onnx") for name in "ab")
    frame = FRAMES[f"{kind}.onnx"]
    expected = crop_answers(ours, frame)
    assert np.shape(expected["logits"]) == (len(FORMULAS), kept)
    assert crop_differences(ours, frame, expected) == []
    assert crop_differences(other, frame, expected) == ["logits by 0.100"]


def test_pictures_of_a_batch_that_change_places_are_told(answered: dict[str, Any]) -> None:
    run = open_onnx(SHIPPED[0] / "model.onnx")

    def swapped(tensor: Floats) -> tuple[Floats, Floats]:
        heads, prototypes = run(tensor)
        return heads[::-1], prototypes[::-1]

    batch = answered | {"answers": [one for one in answered["answers"] if len(one["kinds"]) > 1]}
    assert differences(run, batch) == []
    assert differences(swapped, batch)


@pytest.mark.parametrize("kind", FORMULAS)
def test_the_network_gets_the_picture_in_three_channels_from_zero_to_one(kind: str) -> None:
    tensor = ReferenceInput((kind,), 96, 64).tensor()
    assert tensor.shape == (1, 3, 96, 64)
    assert tensor.dtype == np.float32
    for channel in tensor[0]:
        np.testing.assert_allclose(channel * 255, picture(kind, 96, 64), atol=1e-4)
