"""A few steps of the reader's training on made-up films, stopped and resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="the extra 'train' is not installed")

import numpy as np  # noqa: E402

from spinepacs.domain.anatomy import Level  # noqa: E402
from spinepacs.training.data.dataset import read_ap_corners  # noqa: E402
from spinepacs.training.reader.agreement import agreement, best_shift  # noqa: E402
from spinepacs.training.reader.learn import main, targets  # noqa: E402
from spinepacs.training.reader.samples import NOTHING, usable  # noqa: E402


def test_targets_spread_a_little_over_the_neighbours() -> None:
    rows = targets([Level.C1, Level.T4, NOTHING])
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(3))
    assert rows[0].nonzero().ravel().tolist() == [Level.C1, Level.C2]
    assert rows[1].nonzero().ravel().tolist() == [Level.T3, Level.T4, Level.T5]
    assert rows[2, NOTHING] == 1


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_the_best_shift_is_the_one_that_the_answers_show(shift: int) -> None:
    levels = np.arange(Level.L1, Level.L5 + 1)
    found = np.log(np.full((5, NOTHING + 1), 0.01))
    found[np.arange(5), levels + shift] = 0
    assert best_shift(found, levels) == shift


class _KnowsTheSacrum(torch.nn.Module):  # type: ignore[misc]  # torch is Any here
    """Says L5, or else S1, of crops whose upper part is hidden, and that there is no vertebra of all others."""

    def forward(self, crops: Any) -> Any:
        hidden = (crops[:, 0, :64] == crops[:, 0, :1, :1]).all(dim=2).all(dim=1)
        logits = torch.zeros(len(crops), NOTHING + 1)
        logits[hidden, Level.L5] = logits[~hidden, NOTHING] = 9.0
        logits[hidden, Level.S1] = 5.0
        return logits


def test_what_is_told_without_the_ribs_is_judged_by_itself(ap_folder: Path) -> None:
    spine = usable(read_ap_corners(ap_folder))[0]
    only = replace(spine, places=spine.places[-3:], classes=spine.classes[-3:], often=spine.often[-3:])
    told = agreement(_KnowsTheSacrum(), [only])
    assert told["sacrum"] == 1
    assert told["crops"] == 0
    neck = replace(spine, places=spine.places[:5], classes=spine.classes[:5], often=spine.often[:5])
    assert np.isnan(agreement(_KnowsTheSacrum(), [neck])["sacrum"])


def test_a_run_leaves_a_checkpoint_and_goes_on_from_it(
    ap_folder: Path, yolo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = {"lumbar_vertebrae": 5, "rib_pairs": 12, "transitional": False}
    for path in (yolo_folder / "truth").glob("*.json"):
        path.write_text(json.dumps({"view": "lateral", "patient": usual}))
    levels = tmp_path / "levels.csv"
    levels.write_text("film,offset,note\n" + "".join(f"ap-{n}.png,{n % 2},\n" for n in range(6)))
    given = [
        "--ap",
        str(ap_folder),
        "--levels",
        str(levels),
        "--synthetic",
        str(yolo_folder),
        "--batch",
        "4",
        "--workers",
        "0",
    ]
    run = tmp_path / "run"
    assert main([*given, "--out", str(run), "--minutes", "0.001"]) == 0
    first = torch.load(run / "reader.pt", weights_only=True)
    assert main([*given, "--out", str(run), "--minutes", str(first["used_s"] / 60 + 0.001)]) == 0
    second = torch.load(run / "reader.pt", weights_only=True)
    assert 0 < first["step"] < second["step"]
    assert "training" in capsys.readouterr().out
