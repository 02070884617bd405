"""The same films in several looks: greys change what is found, and nothing of the model stays changed."""

from pathlib import Path

import numpy as np
import pytest

from spinepacs.training.evaluation import again
from spinepacs.training.evaluation.again import LOOKS, Counts, compared, main
from tests.training.evaluation.test_evaluate import MODEL, PaintedSegmenter, _film


def test_each_look_is_read_and_the_model_stays_as_it_was(tmp_path: Path) -> None:
    films = [_film(tmp_path, "a.png", (250, 240, 230, 220)), _film(tmp_path, "b.png", (250, 240, 230, 120))]
    segmenter = PaintedSegmenter()
    before = segmenter.manifest
    (counts,) = compared([segmenter], films)
    found = dict(zip(LOOKS, counts, strict=True))
    assert found["as it is"] == Counts(found=7, whole=1, right=2, doubted=0)
    assert found["gamma 0.7"] == Counts(found=8, whole=2, right=2, doubted=0), "120 becomes 150"
    assert found["gamma 1.4"].found == 7
    assert segmenter.manifest is before


def test_looks_keep_shape_and_kind_and_differ() -> None:
    film = np.random.default_rng(0).normal(120, 12, (400, 200)).clip(0, 255).astype(np.uint8)
    seen = {name: look.change(film) for name, look in LOOKS.items()}
    assert {(one.shape, one.dtype.name) for one in seen.values()} == {((400, 200), "uint8")}
    changed = [name for name, one in seen.items() if (one != film).any()]
    assert changed == [name for name, look in LOOKS.items() if look.enlarged == 1 and name != "as it is"]
    assert len({seen[name].tobytes() for name in changed}) == len(changed)


def test_the_table_has_a_column_for_each_model_and_a_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    films = [_film(tmp_path, "a.png", (250, 240, 230, 120))]
    monkeypatch.setattr(again, "film_sets", lambda *_: {"lateral": films})
    monkeypatch.setattr(again.Conditions, "open", lambda _: PaintedSegmenter())
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["--model", str(MODEL), "other", "--lateral", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "lateral: 1 films, 4 bodies" in told
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.splitlines() if "│" in line]
    assert [row[0] for row in rows] == [*LOOKS, "mean"]
    assert rows[0] == ["as it is", "3, 0, 1, 0", "3, 0, 1, 0"]
    assert rows[-1][1] == rows[-1][2]
