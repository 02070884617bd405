"""A checkpoint is a pickle: one that asks for more than a network's classes is not loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("ultralytics", reason="needs the training extra")

from spinepacs.errors import BadModel  # noqa: E402
from spinepacs.training.learning.network import read_checkpoint  # noqa: E402

pytestmark = pytest.mark.train


class Hostile:
    """Unpickling it calls a function."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_what_a_checkpoint_hides_is_not_run(tmp_path: Path):
    torch.save({"ema": Hostile(tmp_path / "was-here")}, tmp_path / "hostile.pt")
    with pytest.raises(BadModel, match=r"asks for posix\.mkdir"):
        read_checkpoint(tmp_path / "hostile.pt")
    assert not (tmp_path / "was-here").exists()
    torch.load(tmp_path / "hostile.pt", weights_only=False)
    assert (tmp_path / "was-here").exists(), "the file would have done nothing anyway"
