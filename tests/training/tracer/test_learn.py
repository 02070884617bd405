"""A few steps of the tracer's training on made-up films, stopped and resumed; what it learns is what it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from spinepacs.analysis.seeing.segment import Segmenter  # noqa: E402
from spinepacs.analysis.seeing.tracer import MAP  # noqa: E402
from spinepacs.training.data.dataset import read_ap_corners  # noqa: E402
from spinepacs.training.release.reference import replay  # noqa: E402
from spinepacs.training.release.tracer import main as release  # noqa: E402
from spinepacs.training.tracer.learn import judged, loss_of, main, spread  # noqa: E402
from spinepacs.training.tracer.network import TracerNetwork  # noqa: E402
from spinepacs.training.tracer.samples import Sampler, usable  # noqa: E402
from tests import phantoms  # noqa: E402
from tests.models import write_model  # noqa: E402


def test_a_corners_cells_are_likeliest_where_it_lies() -> None:
    near = spread(torch.tensor([[[10.5, 20.5], [3.0, 4.0], [47.9, 0.1], [24.0, 24.5]]]))
    torch.testing.assert_close(near.sum(dim=(2, 3)), torch.ones(1, 4))
    assert divmod(int(near[0, 0].argmax()), MAP[1]) == (20, 10)
    assert near[0, 1, 3, 2] == pytest.approx(near[0, 1, 4, 3].item())


class _Knowing(torch.nn.Module):
    """Answers with the truth of the crops in their order, moved by some cells."""

    def __init__(self, drawn: list[Any], moved: float) -> None:
        super().__init__()
        corners = torch.from_numpy(np.stack([one.corners for one in drawn])) + torch.tensor([moved, 0.0])
        inside = torch.from_numpy(np.stack([one.inside for one in drawn]))
        self._answer = torch.cat([spread(corners).clamp(min=1e-9).log(), (inside[:, None] - 0.5) * 20], dim=1)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self._answer


def test_the_loss_grows_with_the_distance_from_the_truth(ap_folder: Path) -> None:
    sampler, rng = Sampler(usable(read_ap_corners(ap_folder))), np.random.default_rng(1)
    drawn = [sampler.draw(rng) for _ in range(4)]
    losses = [float(loss_of(_Knowing(drawn, moved), drawn)) for moved in (0.0, 0.5, 2.0)]
    assert losses == sorted(losses)
    assert losses[0] < losses[2] - 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own exporter
def test_a_run_leaves_a_checkpoint_goes_on_from_it_and_is_released(
    ap_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], yolo_folder: Path
) -> None:
    quad = [[48.0, 40.0], [112.0, 40.0], [112.0, 60.0], [48.0, 60.0]]
    row = {"level": "L4", "seen": True, "outline_px": quad, "corners_px": quad}
    for path in (yolo_folder / "truth").glob("*.json"):
        path.write_text(json.dumps({"view": "lateral", "vertebrae": [row]}))
    given = ["--ap", str(ap_folder), "--synthetic", str(yolo_folder), "--check", str(yolo_folder)]
    given += ["--batch", "4", "--workers", "0"]
    run = tmp_path / "run"
    assert main([*given, "--out", str(run), "--minutes", "0.001"]) == 0
    first = torch.load(run / "tracer.pt", weights_only=True)
    assert main([*given, "--out", str(run), "--minutes", str(first["used_s"] / 60 + 0.001)]) == 0
    second = torch.load(run / "tracer.pt", weights_only=True)
    assert 0 < first["step"] < second["step"]
    assert "'iou'" in capsys.readouterr().out

    folder = write_model(tmp_path / "m", phantoms.spine())
    (folder / "reference.json").write_text('{"files": {}}')
    assert release(["--tracer", str(run / "tracer.pt"), "--model", str(folder), "--version", "2"]) == 0
    segmenter = Segmenter.open(folder, 1)
    assert segmenter.tracer is not None
    assert segmenter.model_version == "2"
    assert replay(folder) == []

    onwards = [
        "--start",
        str(folder),
        "--out",
        str(tmp_path / "onwards"),
        "--minutes",
        "0.001",
        "--rate",
        "0",
    ]
    assert main([*given, *onwards]) == 0
    begun = torch.load(tmp_path / "onwards" / "tracer.pt", weights_only=True)["network"]
    torch.testing.assert_close(begun["head.2.weight"], second["average"]["head.2.weight"])


def test_an_untrained_network_is_far_off(ap_folder: Path) -> None:
    torch.manual_seed(0)
    told = judged(TracerNetwork().eval(), usable(read_ap_corners(ap_folder)[:1]))
    assert told["median"] > 0.2
