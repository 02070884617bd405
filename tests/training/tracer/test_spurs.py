"""A few steps of learning spurs on made-up films: the tracer beneath stays as it is, and both are released as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from spinepacs.analysis.seeing.segment import Segmenter  # noqa: E402
from spinepacs.analysis.seeing.tracer import MAP, MAPS, values_at  # noqa: E402
from spinepacs.training.data.dataset import read_yolo_seg  # noqa: E402
from spinepacs.training.release.reference import replay  # noqa: E402
from spinepacs.training.release.tracer import main as release  # noqa: E402
from spinepacs.training.tracer.network import SpursNetwork, TracerNetwork  # noqa: E402
from spinepacs.training.tracer.samples import Sampler, usable  # noqa: E402
from spinepacs.training.tracer.spurs import area_under_roc, at_corners, judged, loss_of, main  # noqa: E402
from tests import phantoms  # noqa: E402
from tests.models import write_model  # noqa: E402


@pytest.fixture
def spurred(yolo_folder: Path) -> Path:
    """Films of one body, that of the first with a spur."""
    quad = [[48.0, 40.0], [112.0, 40.0], [112.0, 60.0], [48.0, 60.0]]
    for number, path in enumerate(sorted((yolo_folder / "truth").glob("*.json"))):
        spurs = {
            "upper": {"anterior": 9.0 * (number == 0), "posterior": 0.0},
            "lower": {"anterior": 0.0, "posterior": 0.0},
        }
        row = {"level": "L4", "seen": True, "outline_px": quad, "corners_px": quad, "osteophytes_mm": spurs}
        record = {"view": "lateral", "facing": "left", "spacing_mm": 1.0, "magnification": 1.0}
        path.write_text(json.dumps({**record, "vertebrae": [row]}))
    return yolo_folder


def test_a_map_is_read_between_the_middles_of_its_cells() -> None:
    row, column = np.indices(MAP) + 0.5
    map_ = (3 * column - row).astype(np.float32)
    places = np.array([[[10.25, 20.75], [0.5, 0.5], [47.5, 47.5], [33.0, 7.5]]])
    expected = [[3 * x - y for x, y in places[0]]]
    np.testing.assert_allclose(values_at(map_[None], places), expected, rtol=1e-5)
    told = at_corners(torch.from_numpy(map_)[None, None], torch.from_numpy(places).float())
    np.testing.assert_allclose(told.numpy(), expected, rtol=1e-4)
    beyond = np.array([[[-3.0, 10.5], [60.0, 10.5], [10.5, -3.0], [10.5, 60.0]]])
    at_the_border = np.array([[[0.5, 10.5], [47.5, 10.5], [10.5, 0.5], [10.5, 47.5]]])
    np.testing.assert_allclose(values_at(map_[None], beyond), values_at(map_[None], at_the_border))


def test_the_area_counts_pairs_in_the_right_order() -> None:
    told, there = np.array([0.1, 0.4, 0.4, 0.9], np.float32), np.array([False, True, False, True])
    assert area_under_roc(told, there) == pytest.approx(3.5 / 4)
    assert np.isnan(area_under_roc(told, np.ones(4, bool)))


def test_only_known_spurs_are_learnt(spurred: Path) -> None:
    sampler, rng = Sampler(usable(read_yolo_seg(spurred)[:1])), np.random.default_rng(1)
    drawn = [sampler.draw(rng) for _ in range(3)]

    class Answer(torch.nn.Module):
        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(crops), MAPS + 1, *MAP)

    known = float(loss_of(Answer(), drawn))
    assert known > 0
    unknown = [one._replace(spurs=np.full(4, np.nan, np.float32)) for one in drawn]
    assert float(loss_of(Answer(), unknown)) == 0
    one_known = [one._replace(spurs=np.where(one.spurs > 0, one.spurs, np.nan)) for one in drawn]
    assert float(loss_of(Answer(), one_known)) > known


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own exporter
def test_a_run_goes_on_leaves_the_tracer_alone_and_is_released(
    spurred: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    tracer = TracerNetwork().eval()
    torch.save({"average": tracer.state_dict()}, tmp_path / "tracer.pt")
    given = ["--tracer", str(tmp_path / "tracer.pt"), "--synthetic", str(spurred), "--check", str(spurred)]
    given += ["--batch", "4", "--workers", "0", "--out", str(tmp_path / "run")]
    assert main([*given, "--minutes", "0.001"]) == 0
    first = torch.load(tmp_path / "run/spurs.pt", weights_only=True)
    assert main([*given, "--minutes", str(first["used_s"] / 60 + 0.001)]) == 0
    second = torch.load(tmp_path / "run/spurs.pt", weights_only=True)
    assert 0 < first["step"] < second["step"]
    assert "'grade 1'" in capsys.readouterr().out
    learnt = SpursNetwork()
    learnt.load_state_dict(second["network"])
    for name, value in tracer.state_dict().items():
        torch.testing.assert_close(learnt.tracer.state_dict()[name], value, rtol=0, atol=0)
    crops = torch.rand(2, 1, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(learnt.eval()(crops)[:, :MAPS], tracer(crops), rtol=1e-4, atol=1e-4)

    folder = write_model(tmp_path / "m", phantoms.spine())
    (folder / "reference.json").write_text('{"files": {}}')
    assert (
        release(["--tracer", str(tmp_path / "run/spurs.pt"), "--model", str(folder), "--version", "2"]) == 0
    )
    told = Segmenter.open(folder, 1).tracer
    assert told is not None
    assert told.maps([np.zeros((96, 96), np.uint8)]).shape == (1, MAPS + 1, *MAP)
    assert replay(folder) == []


def test_what_is_said_of_films_is_counted_over_all_known_rims(spurred: Path) -> None:
    found = judged(SpursNetwork().eval(), usable(read_yolo_seg(spurred)))
    assert found["rims"] == 4 * len(read_yolo_seg(spurred))
    assert set(found) == {"grade 1", "grade 2", "grade 3", "rims"}
