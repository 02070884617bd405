"""The detector of ../shared is rebuilt from its int8 weights and compared with OpenVINO's own answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("ultralytics", reason="the extra 'train' is not installed")

from spinepacs.training.initialise import (  # noqa: E402  (needs torch)
    WeightsError,
    build_network,
    calibrate_batch_norm,
    load_folded,
    read_openvino,
)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"one \.xml expected, 0 found"):
        read_openvino(tmp_path)


def test_every_convolution_of_the_detector_finds_its_place(coco_weights: Path) -> None:
    convolutions = read_openvino(coco_weights)
    network = build_network(25)
    assert len(convolutions) == 88
    assert set(convolutions) - set(load_folded(network, convolutions)) == {"model.23.dfl.conv"}


def test_the_rebuilt_detector_answers_as_openvino_does(coco_weights: Path) -> None:
    openvino: Any = pytest.importorskip("openvino", reason="the extra 'train' is not installed")
    from ultralytics.nn.tasks import DetectionModel

    detector: Any = DetectionModel("yolo11n.yaml", ch=3, nc=80, verbose=False)
    load_folded(detector, read_openvino(coco_weights))
    image = _blocks()
    compiled = openvino.Core().compile_model(str(next(coco_weights.glob("*.xml"))), "CPU")
    theirs = next(iter(compiled(image).values()))
    with torch.no_grad():
        ours = detector.eval()(torch.from_numpy(image))[0].numpy()
    # OpenVINO also quantises what flows between the layers, so the answers agree in general, not to the last digit.
    assert np.corrcoef(ours[0, :4].ravel(), theirs[0, :4].ravel())[0, 1] > 0.99
    assert np.abs(ours[0, 4:] - theirs[0, 4:]).max() < 0.15


def _blocks() -> np.ndarray[Any, np.dtype[np.float32]]:
    rng = np.random.default_rng(0)
    coarse = rng.random((1, 3, 20, 20), np.float32)
    return np.ascontiguousarray(np.kron(coarse, np.ones((1, 1, 32, 32), np.float32)))


def test_calibration_keeps_the_answer_and_makes_train_mode_agree(coco_weights: Path) -> None:
    torch.manual_seed(0)
    network: Any = build_network(25)
    load_folded(network, read_openvino(coco_weights))
    batch = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        before = network.eval()(batch)[0][0]
        calibrate_batch_norm(network, [batch])
        after, raw = network.eval()(batch)
        trained = network.train()(batch)
    assert torch.allclose(before, after[0], atol=0.05)
    assert float((raw["scores"] - trained["scores"]).abs().max()) < 0.02 * float(raw["scores"].abs().max())
