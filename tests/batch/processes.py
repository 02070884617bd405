"""``spinepacs process`` with a scripted pipeline, run as a user runs it: films, commands, and what came of them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spinepacs.batch import run as batch
from spinepacs.cli.main import main
from tests import films
from tests.batch import scripted

ROOT = Path(__file__).parents[2]
PIXELS = films.spine_like(64, 48)
TABLES = ("readings", "measures", "findings", "conclusions")


def film(path: Path, seed: str | None = None, wish: str = "", **elements: Any) -> Path:
    """A small film that asks the pipeline for something; its UIDs and patient come from its name, or from ``seed``."""
    seed = seed or path.stem
    made = films.make_dx(PIXELS, seed=seed, study=seed, ImageComments=wish or None, **elements)
    path.parent.mkdir(parents=True, exist_ok=True)
    return films.write(made, path)


def many(folder: Path, number: int, wish: str = "") -> list[Path]:
    """So many films."""
    return [film(folder / f"film-{n:03}.dcm", wish=wish) for n in range(number)]


class Process:
    """Commands on one ``--out``."""

    def __init__(self, tmp_path: Path) -> None:
        self.films, self.out, self._reads = tmp_path / "films", tmp_path / "out", tmp_path / scripted.READS
        tmp_path.mkdir(exist_ok=True)
        self._reads.touch()

    def start(self, *options: object, **where: Any) -> subprocess.Popen[str]:
        """Start it on the folder of films, as a process of its own: for who wants to stop or to kill it."""
        command = [sys.executable, "-m", "tests.batch.scripted", *self._words(*options, **where)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *options: object, **where: Any) -> tuple[int, str, str]:
        """Run it to its end: exit status, standard output and error.

        The command is run in this process, the workers in processes of their own as ever: what all of them import is
        imported once for all tests.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch, "work", scripted.work)
            done = CliRunner().invoke(main, self._words(*options, **where), catch_exceptions=False)
        return done.exit_code, done.stdout, done.stderr

    def _words(self, *options: object, out: Path | None = None, given: object = None) -> list[str]:
        return ["process", str(given or self.films), "--out", str(out or self.out), *map(str, options)]

    def reads(self) -> Counter[str]:
        """How often each film was read."""
        return Counter(self._reads.read_text().split())

    def table(self, name: str = "readings") -> list[dict[str, str]]:
        """Rows of a table."""
        with (self.out / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def states(self) -> dict[str, tuple[str, str]]:
        """State and code of each film by its file's name."""
        return {Path(row["film"]).name: (row["state"], row["reason_code"]) for row in self.table()}

    def check_tables(self, expected: list[Path]) -> None:
        """Each film is in each table once, and no table is torn."""
        listed = json.loads((self.out / "readings.json").read_text())
        assert sorted(Path(item["film"]).name for item in listed) == sorted(path.name for path in expected)
        by_film = Counter(row["film"] for row in self.table())
        assert len(by_film) == len(expected)
        for name in TABLES[1:]:
            rows = self.table(name)
            assert rows
            assert all(None not in row.values() for row in rows)
            keys = [tuple(row.values()) for row in rows]
            assert len(set(keys)) == len(keys), "a row twice"
