"""The detector of ../shared is rebuilt from its int8 weights and compared with OpenVINO's own answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch: Any = pytest.importorskip("torch", reason="the extra 'train' is not installed")
ultralytics: Any = pytest.importorskip("ultralytics", reason="the extra 'train' is not installed")
openvino: Any = pytest.importorskip("openvino", reason="the extra 'train' is not installed")

from spinepacs.training.learning.initialise import (  # noqa: E402
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


def _detector() -> Any:
    from ultralytics.nn.tasks import DetectionModel

    return DetectionModel("yolo11n.yaml", ch=3, nc=80, verbose=False).eval()


def _letterboxed(name: str) -> NDArray[np.float32]:
    """A photograph that comes with Ultralytics, as network input, float32 (1, 3, 640, 640)."""
    image: Any = cv2.imread(str(Path(ultralytics.__file__).parent / "assets" / name))
    scale = 640 / max(image.shape)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((640, 640, 3), 114, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    return np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(
        255
    )


def _openvino(path: Path, image: NDArray[np.float32]) -> Any:
    # In full: on processors with AMX, OpenVINO computes in bfloat16 of its own accord.
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return torch.from_numpy(next(iter(compiled(image).values())).copy())


@pytest.mark.parametrize("name", ["bus.jpg", "zidane.jpg"])
def test_the_rebuilt_detector_finds_what_openvino_finds(coco_weights: Path, name: str) -> None:
    from ultralytics.utils.nms import non_max_suppression

    detector = _detector()
    load_folded(detector, read_openvino(coco_weights))
    image = _letterboxed(name)
    with torch.no_grad():
        (ours,) = non_max_suppression(detector(torch.from_numpy(image))[0], 0.25, 0.5)
    (theirs,) = non_max_suppression(_openvino(next(coco_weights.glob("*.xml")), image), 0.25, 0.5)
    # OpenVINO also quantises what flows between the layers, so that the answers agree, but not to the last digit.
    assert len(ours) >= 3
    assert ours[:, 5].tolist() == theirs[:, 5].tolist()
    assert float((ours[:, :4] - theirs[:, :4]).abs().max()) < 3
    assert float((ours[:, 4] - theirs[:, 4]).abs().max()) < 0.04


# torch announces the end of the tracing on which OpenVINO's converter is built.
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_weights_survive_the_way_through_openvino(tmp_path: Path) -> None:
    """Needs no downloaded weights: a random detector is folded, written by OpenVINO, read back and compared."""
    torch.manual_seed(0)
    detector = _detector().requires_grad_(False)
    for norm in (module for module in detector.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
        norm.bias.normal_(0, 0.1)
    detector.fuse(verbose=False)
    detector.model[-1].export, detector.model[-1].format = True, "openvino"
    image = torch.rand(1, 3, 64, 64)
    detector(image)  # the first call makes the anchors, which the tracer must find ready
    openvino.save_model(openvino.convert_model(detector, example_input=image), tmp_path / "m.xml", False)
    rebuilt = _detector()
    load_folded(rebuilt, read_openvino(tmp_path))
    with torch.no_grad():
        ours = rebuilt(image)[0]
    theirs = _openvino(tmp_path / "m.xml", image.numpy())
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


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
