"""A training that begins with a released network's weights: the same answers, from its ONNX file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from spinepacs.analysis.seeing.crops import EDGES, NAMES, Frame  # noqa: E402
from spinepacs.training.learning.initialise import WeightsError  # noqa: E402
from spinepacs.training.reader.network import ReaderNetwork  # noqa: E402
from spinepacs.training.reader.starting import start_from  # noqa: E402
from spinepacs.training.release.crop_reference import open_network  # noqa: E402
from spinepacs.training.tracer.network import SpursNetwork, TracerNetwork  # noqa: E402

SHIPPED = next(path.parent for path in sorted((Path(__file__).parents[3] / "models").glob("*/manifest.toml")))


def _crops(frame: Frame) -> Any:
    return torch.randn(16, 1, *frame.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("made", "file", "frame"),
    [
        (ReaderNetwork, "reader.onnx", NAMES),
        (TracerNetwork, "tracer.onnx", EDGES),
        (SpursNetwork, "tracer.onnx", EDGES),
    ],
)
def test_it_answers_as_the_released_one_and_its_batch_norms_know_what_they_see(
    made: Any, file: str, frame: Frame
) -> None:
    network, crops = made(), _crops(frame)
    start_from(network, SHIPPED / file, crops)
    with torch.no_grad():
        answer = network.eval()(crops).numpy()
    released = open_network(SHIPPED / file)(crops.numpy())
    np.testing.assert_allclose(answer, released[:, : answer.shape[1]], atol=1e-3)
    entering: list[Any] = []
    norm = next(module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))
    norm.register_forward_hook(lambda _, inputs, __: entering.append(inputs[0]))
    with torch.no_grad():
        network(crops)
    torch.testing.assert_close(norm.running_mean, entering[0].mean((0, 2, 3)), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(norm.running_var, entering[0].var((0, 2, 3)), atol=1e-3, rtol=1e-2)


def test_another_network_is_told_from_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"reader\.onnx: its layers are not those of a TracerNetwork"):
        start_from(TracerNetwork(), SHIPPED / "reader.onnx", _crops(EDGES))
    with pytest.raises(WeightsError, match=r"tracer-int8\.onnx: its layers are not those"):
        start_from(TracerNetwork(), SHIPPED / "tracer-int8.onnx", _crops(EDGES))
    with pytest.raises(WeightsError, match="cannot be read as ONNX"):
        start_from(TracerNetwork(), tmp_path / "tracer.onnx", _crops(EDGES))
