"""A trained reader joins a model folder: the product opens it, and its answers are kept beside it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from spinepacs.analysis.seeing.manifest import Manifest  # noqa: E402
from spinepacs.analysis.seeing.segment import Segmenter  # noqa: E402
from spinepacs.errors import BadModel  # noqa: E402
from spinepacs.training.reader.network import ReaderNetwork  # noqa: E402
from spinepacs.training.release.reader import add_reader, main, reader_table  # noqa: E402
from spinepacs.training.release.reference import replay  # noqa: E402
from spinepacs.training.release.tables import with_table, without_table  # noqa: E402
from tests import phantoms  # noqa: E402
from tests.models import READER_WEIGHTS, write_model  # noqa: E402

WEIGHTS = READER_WEIGHTS
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own exporter


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save({"average": ReaderNetwork().state_dict()}, tmp_path / "reader.pt")
    return tmp_path / "reader.pt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write_model(tmp_path / "m", phantoms.spine())
    (made / "reference.json").write_text(json.dumps({"files": {}}))
    return made


def test_the_product_opens_what_was_put_in(checkpoint: Path, folder: Path) -> None:
    weights = checkpoint.with_name("weights.toml")
    weights.write_text("".join(f"{name} = {value}\n" for name, value in asdict(WEIGHTS).items()))
    arguments = ["--reader", str(checkpoint), "--model", str(folder), "--version", "1.1.0"]
    assert main([*arguments, "--weights", str(weights)]) == 0
    segmenter = Segmenter.open(folder, 1)
    assert segmenter.model_version == "1.1.0"
    assert segmenter.manifest.reader is not None
    assert segmenter.manifest.reader.weights == WEIGHTS
    assert segmenter.reader is not None
    assert replay(folder) == []
    answered = json.loads((folder / "reference.json").read_text())["files"]["reader.onnx"]
    assert np.shape(answered["logits"]) == (2, 26)


def test_a_reader_takes_the_place_of_an_older_one(checkpoint: Path, folder: Path) -> None:
    for version in ("1.1.0", "1.2.0"):
        add_reader(checkpoint, folder, WEIGHTS, version)
    assert Manifest.load(folder).version == "1.2.0"
    assert (folder / "manifest.toml").read_text().count("[reader") == 2


def test_a_folder_without_a_model_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"manifest\.toml"):
        add_reader(checkpoint, tmp_path, WEIGHTS, "1")


@pytest.mark.parametrize(
    "tables",
    [
        "",
        "\n[int8]\nsha256 = 'x'\n",
        "\n[reader]\nsha256 = 'old'\n# of [all]\n[reader.weights]\nends = 1\n\n[int8]\na = [1]\n",
    ],
)
def test_other_keys_and_tables_stay(tables: str) -> None:
    text = 'name = "m"\nversion = "1.0.0"\nclasses = ["C1"]\n' + tables
    before = tomllib.loads(text)
    after = tomllib.loads(with_table(text, "reader", reader_table("abc", WEIGHTS), "1.1.0"))
    assert after.pop("reader") == {"sha256": "abc", "weights": asdict(WEIGHTS)}
    before.pop("reader", None)
    assert after == before | {"version": "1.1.0"}


def test_a_table_goes_and_what_is_said_of_the_next_one_stays() -> None:
    rest = "# Of the endplates.\n[localisation.AP]\ndoubt = 1\n"
    text = f"[int8]\nsha256 = 'x'\n# Measured.\nloss = 1\n\nmore = 2\n\n{rest}"
    assert without_table(text, "int8") == rest
