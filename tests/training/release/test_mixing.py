"""Two trainings' weights of one network, mixed: either end is either network, and the folder knows what it holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from spinepacs.analysis.seeing.crops import EDGES  # noqa: E402
from spinepacs.analysis.seeing.manifest import Manifest, int8_form  # noqa: E402
from spinepacs.analysis.seeing.segment import Segmenter  # noqa: E402
from spinepacs.training.release.crop_reference import computed_crops, open_network  # noqa: E402
from spinepacs.training.release.export import ExportError  # noqa: E402
from spinepacs.training.release.mixing import main, mix  # noqa: E402
from spinepacs.training.release.reference import REPLAYED, open_onnx, replay  # noqa: E402
from spinepacs.training.release.tracer import add_tracer  # noqa: E402
from spinepacs.training.tracer.network import SpursNetwork, TracerNetwork  # noqa: E402

SHIPPED = next(path.parent for path in sorted((Path(__file__).parents[3] / "models").glob("*/manifest.toml")))
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own exporter


def _folder(path: Path, seed: int, network: Any) -> Path:
    """The shipped model with a random tracer."""
    torch.manual_seed(seed)
    folder = Path(shutil.copytree(SHIPPED, path))
    torch.save({"average": network().state_dict()}, path.with_suffix(".pt"))
    add_tracer(path.with_suffix(".pt"), folder, "7")
    return folder


def test_either_end_is_either_network_and_the_folder_knows(tmp_path: Path) -> None:
    first, second = _folder(tmp_path / "a", 1, TracerNetwork), _folder(tmp_path / "b", 2, SpursNetwork)
    crops = computed_crops(EDGES)
    answers = [open_network(folder / "tracer.onnx")(crops)[:, :5] for folder in (first, second)]
    halfway = tmp_path / "half.onnx"
    mix(first / "tracer.onnx", second / "tracer.onnx", 0.5, halfway)
    assert np.abs(open_network(halfway)(crops) - answers[0]).max() > 1e-3
    for share, expected in ((0, answers[0]), (1, answers[1])):
        given = ["--model", str(first), "--with", str(second), "--file", "tracer.onnx"]
        assert main([*given, "--share", str(share), "--version", "8"]) == 0
        np.testing.assert_allclose(open_network(first / "tracer.onnx")(crops), expected, atol=1e-4)
        assert Segmenter.open(first, 1, "fp32").model_version == "8"  # which compares the digests
        assert replay(first) == []


def test_a_mixed_detector_takes_the_8_bit_forms_of_the_folder_away(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "m"))
    tensor = REPLAYED[0].tensor()
    before = open_onnx(folder / "model.onnx")(tensor)
    given = ["--model", str(folder), "--with", str(SHIPPED), "--file", "model.onnx", "--version", "8"]
    assert main([*given, "--share", "0.3"]) == 0
    after = open_onnx(folder / "model.onnx")(tensor)
    for left, right in zip(before, after, strict=True):
        np.testing.assert_allclose(left, right, atol=0.01)
    assert not Manifest.load(folder).int8_sha256
    assert not list(folder.glob("*-int8.onnx"))
    assert not any("int8" in name for name in json.loads((folder / "reference.json").read_text())["files"])
    assert int8_form(folder / "model.onnx").name == "model-int8.onnx"
    assert replay(folder) == []


def test_different_networks_are_not_mixed(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="not the same network"):
        mix(SHIPPED / "tracer.onnx", SHIPPED / "reader.onnx", 0.5, tmp_path / "mixed.onnx")
