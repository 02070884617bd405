"""The README's first command, run as its reader runs it."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(400)
def test_the_demo_brings_every_result_back():
    result = subprocess.run(
        [sys.executable, "demo/run.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    films = list((ROOT / "demo/films").glob("*.dcm"))
    received = sorted(path.name.split(".")[-2] for path in (ROOT / "demo/out/pacs").iterdir())
    assert received == sorted(["seg", "sr", "overlay"] * len(films))
    assert len(list((ROOT / "demo/out/pictures").glob("*.jpg"))) == len(films)
    with sqlite3.connect(ROOT / "demo/out/ledger.sqlite") as database:
        states = database.execute("SELECT state FROM study_summary").fetchall()
        discs = database.execute("SELECT count(*) FROM disc_findings WHERE middle_mm > 0").fetchone()
    assert states == [("delivered",)]
    assert discs[0] >= 20
    log = (ROOT / "demo/out/daemon.log").read_text()
    assert "ERROR" not in log
    assert "SYN-0001" not in log
    assert "Synthetic" not in log
