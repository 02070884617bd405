"""The int8 network beside the fp32 one: what stays in fp32, what it is calibrated with, what it answers."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.training.release.reference import ReferenceInput, open_onnx, picture, replay

onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")

from spinepacs.analysis.naming.spine import detect  # noqa: E402
from spinepacs.training.release.quantise import (  # noqa: E402
    accuracy,
    add_int8,
    calibration_inputs,
    fp32_nodes,
    labelled_films,
)
from spinepacs.training.release.tables import without_table  # noqa: E402

SHIPPED = next(path.parent for path in sorted((Path(__file__).parents[3] / "models").glob("*/manifest.toml")))


@pytest.fixture(scope="module")
def fp32_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model as ``export`` leaves it before it is quantised."""
    folder = tmp_path_factory.mktemp("models") / "fp32"
    folder.mkdir()
    for name in ("model.onnx", "reader.onnx", "tracer.onnx"):
        shutil.copyfile(SHIPPED / name, folder / name)
    manifest = (SHIPPED / "manifest.toml").read_text(encoding="utf-8")
    (folder / "manifest.toml").write_text(without_table(manifest, "int8"), encoding="utf-8")
    (folder / "reference.json").write_text('{"files": {}}', encoding="utf-8")
    return folder


@pytest.fixture
def folder(fp32_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fp32_folder, tmp_path / "model"))


def test_the_decoding_and_what_feeds_it_stay_in_fp32() -> None:
    graph = onnx.load(str(SHIPPED / "model.onnx")).graph
    nodes, kept = graph.node, set(fp32_nodes(graph))
    convolutions = {node.name for node in nodes if node.op_type == "Conv" and node.name in kept}
    # Two branches at three strides, the levels' branch, the sum over the distribution, and the first stages.
    decoding = {name for name in convolutions if name.startswith("/model.23/") and "/cv3." not in name}
    assert len(decoding) == 7
    assert all(re.search(r"\.2/Conv$|/dfl/", name) for name in decoding)
    outside = [name for name in kept if not name.startswith("/model.23/")]
    assert {name.split("/")[1] for name in outside} == {f"model.{stage}" for stage in (0, 1, 2, 10)}
    last = next(node.name for node in nodes if "output0" in node.output)
    assert last in kept
    assert not any("/proto/" in name for name in kept)


def test_calibration_shows_what_the_product_shows(fp32_folder: Path, yolo_folder: Path) -> None:
    shown: list[Any] = []

    class Watched(Segmenter):
        def infer(self, tensor: Any) -> Any:
            shown.extend(tensor[:, None])
            return super().infer(tensor)

    watched = Watched.open(fp32_folder, 1)
    film = labelled_films(yolo_folder, training=True)[0]
    detect(watched, np.asarray(cv2.imread(str(film.path), cv2.IMREAD_GRAYSCALE), np.uint8))
    inputs = calibration_inputs(fp32_folder, [yolo_folder], count=2)["model.onnx"]
    np.testing.assert_array_equal(inputs[0][0], shown[0][0])


def test_each_data_set_gives_as_many_films(fp32_folder: Path, yolo_folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(yolo_folder, tmp_path / "other"))
    for image in (other / "images").iterdir():
        cv2.imwrite(str(image), np.full((160, 200), 90, np.uint8))
    inputs = calibration_inputs(fp32_folder, [yolo_folder, other], count=4)["model.onnx"]
    assert [tensor.shape for tensor in inputs] == [(1, 3, 640, 512), (1, 3, 512, 640)]


def test_films_held_back_are_not_calibrated_with(ap_folder: Path) -> None:
    pytest.importorskip("torch", reason="the extra 'train' is not installed")
    training, held_back = (labelled_films(ap_folder, training=part) for part in (True, False))
    assert training
    assert not {film.group for film in training} & {film.group for film in held_back}


def test_an_int8_network_is_added_measured_and_answers(folder: Path, yolo_folder: Path) -> None:
    shutil.rmtree(yolo_folder / "truth")  # these films' truth tells no more than their labels
    given = ReferenceInput(("ladder", "waves", "ladder"), 640, 320)
    for image, kind in zip(sorted((yolo_folder / "images").iterdir()), given.kinds, strict=True):
        cv2.imwrite(str(image), picture(kind, 640, 320))
    figures = add_int8(folder, [yolo_folder], [yolo_folder])

    manifest = tomllib.loads((folder / "manifest.toml").read_text(encoding="utf-8"))
    assert figures["films"] == 3
    assert manifest["int8"]["loss_map50_95"] == pytest.approx(figures["fp32"] - figures["int8"], abs=0.005)
    Segmenter.open(folder, 1, "int8")  # which compares the digest
    assert Manifest.load(folder).int8_sha256
    assert replay(folder) == []

    network = onnx.load(str(folder / "model-int8.onnx"))
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in network.graph.initializer}
    kernels = [w for w in weights.values() if w.ndim == 4]
    eight_bits = [w for w in kernels if w.dtype == np.int8]
    assert len(eight_bits) > 60
    assert max(int(np.abs(w.astype(int)).max()) for w in eight_bits) == 127
    assert sum(w.nbytes for w in kernels if w.dtype == np.float32) < 0.2 * sum(w.nbytes for w in kernels)
    exact, rounded = (open_onnx(folder / name)(given.tensor()) for name in ("model.onnx", "model-int8.onnx"))
    assert [part.shape for part in rounded] == [part.shape for part in exact]
    assert np.corrcoef(exact[1].ravel(), rounded[1].ravel())[0, 1] > 0.9
    assert np.corrcoef(exact[0].ravel(), rounded[0].ravel())[0, 1] > 0.9


def test_without_films_there_is_nothing_to_measure(fp32_folder: Path) -> None:
    assert accuracy(fp32_folder, []) == {}
