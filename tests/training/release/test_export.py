"""A model folder is written from a checkpoint and read by the product; the exported network answers as torch does."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinepacs.analysis.naming.spine import detect
from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.domain.anatomy import Level
from spinepacs.training.release.reference import ReferenceInput, open_onnx, picture, replay

torch: Any = pytest.importorskip("torch", reason="the extra 'train' is not installed")
ultralytics: Any = pytest.importorskip("ultralytics", reason="the extra 'train' is not installed")
onnx: Any = pytest.importorskip("onnx", reason="the extra 'train' is not installed")
pytest.importorskip("onnxslim", reason="the extra 'train' is not installed")

from spinepacs.training.learning.checkpoint import ModelFacts  # noqa: E402
from spinepacs.training.learning.initialise import build_network  # noqa: E402
from spinepacs.training.learning.network import write_checkpoint  # noqa: E402
from spinepacs.training.release import export as exporting  # noqa: E402  (it needs the extra)
from spinepacs.training.release.export import ExportError, check_same, export, main  # noqa: E402

SHIPPED = Path(__file__).parents[3] / "models" / "spine"

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore"),  # torch's, about tracing and the exporter that Ultralytics chooses
]


def _checkpoint(folder: Path) -> Path:
    torch.manual_seed(7)
    write_checkpoint(folder / "network.pt", build_network(25))
    return folder / "network.pt"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def folder(checkpoint: Path) -> Path:
    out = checkpoint.parent / "tiny"
    export(checkpoint, out, ModelFacts("tiny", "1", 'what "nobody" knows'))
    return out


def test_the_folder_holds_what_the_product_reads(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "manifest.toml", "reference.json"}
    manifest = Manifest.load(folder)
    assert (manifest.name, manifest.classes, manifest.input_px) == ("tiny", tuple(Level), 640)
    assert not manifest.int8_sha256
    assert (
        tomllib.loads((folder / "manifest.toml").read_text(encoding="utf-8"))["training_data"]
        == 'what "nobody" knows'
    )
    detect(Segmenter.open(folder, threads=1), picture("ladder", 900, 300))


def test_batch_height_and_width_are_open(folder: Path) -> None:
    heads, prototypes = open_onnx(folder / "model.onnx")(ReferenceInput(("waves",) * 2, 96, 64).tensor())
    assert heads.shape == (2, 61, 12 * 8 + 6 * 4 + 3 * 2)
    assert prototypes.shape == (2, 32, 24, 16)


def test_the_answers_are_replayed(folder: Path) -> None:
    assert replay(folder) == []


def test_the_file_holds_nothing_that_changes_from_one_export_to_the_next(folder: Path) -> None:
    network = onnx.load(str(folder / "model.onnx"))
    assert "date" not in {entry.key for entry in network.metadata_props}
    assert not network.graph.value_info


def test_other_weights_are_refused_and_the_folder_stays_as_it_was(
    folder: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(8)
    write_checkpoint(tmp_path / "other.pt", build_network(25))
    with pytest.raises(ExportError, match="differ by"):
        check_same(tmp_path / "other.pt", folder / "model.onnx")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    # An exporter that writes other weights than it was given.
    monkeypatch.setattr(
        exporting,
        "onnx_from_checkpoint",
        lambda _, target, static: target.write_bytes(before["model.onnx"]),
    )
    with pytest.raises(ExportError, match="differ by"):
        export(tmp_path / "other.pt", folder, ModelFacts("tiny", "2", ""))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_reader_and_tracer_of_a_folder_stay_and_8_bit_forms_go(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "spine"
    shutil.copytree(SHIPPED, out)
    before = Manifest.load(out)
    assert main(["--model", str(checkpoint), "--out", str(out), "--version", "9.9.9"]) == 0
    assert "reader.onnx, tracer.onnx stay as they were" in capsys.readouterr().out
    after = Manifest.load(out)
    assert (after.version, after.int8_sha256) == ("9.9.9", {})
    assert (after.reader, after.tracer_sha256) == (before.reader, before.tracer_sha256)
    assert after.localisation == before.localisation
    assert after.sha256 != before.sha256
    assert not list(out.glob("*-int8.onnx"))
    assert replay(out) == []
    text = (out / "manifest.toml").read_text(encoding="utf-8")
    assert "# AP: 91 films" in text
    assert {path.name for path in out.iterdir()} == {
        "README.md", "manifest.toml", "model.onnx", "reader.onnx", "reference.json", "split.csv", "tracer.onnx",
    }  # fmt: skip
    Segmenter.open(out, threads=1)


def test_ultralytics_reads_the_file(folder: Path) -> None:
    square = np.repeat(picture("ladder", 640, 640)[:, :, None], 3, axis=2)
    model = ultralytics.YOLO(str(folder / "model.onnx"), task="segment")
    found = model.predict(square, retina_masks=True, imgsz=640, verbose=False, device="cpu")[0]
    assert found.names[24] == "S1"


def test_a_static_model_has_one_shape(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "static"
    assert main(["--model", str(checkpoint), "--out", str(out), "--version", "3", "--static"]) == 0
    assert "'output0': " in capsys.readouterr().out
    with pytest.raises(Exception, match="Got invalid dimensions"):
        open_onnx(out / "model.onnx")(ReferenceInput(("waves",), 96, 64).tensor())
    assert replay(out) == []
    answered = json.loads((out / "reference.json").read_text(encoding="utf-8"))["files"]["model.onnx"][
        "answers"
    ]
    assert {(answer["height_px"], answer["width_px"]) for answer in answered} == {(640, 640)}


def test_static_and_calibration_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(
            ["--model", "a.pt", "--out", str(tmp_path), "--version", "1", "--static", "--calibrate", "films"]
        )
