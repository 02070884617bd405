"""The README's first command, run as its reader runs it."""

import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.web.consoles import Visitor

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


@pytest.mark.timeout(400)
def test_the_demo_stays_until_it_is_told_to_end_and_its_console_lets_the_demo_account_in():
    command = [sys.executable, "-u", "demo/run.py", "--stay"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        try:
            said = ""
            while "Ctrl-C ends it" not in said:
                line = demo.stdout.readline()
                assert line, said
                said += line
            url, password = re.search(r"(http://127.0.0.1:\d+)/studies +\(demo / (\S+)\)", said).groups()
            visitor = Visitor(int(url.rpartition(":")[2]))
            (csrf,) = re.findall(r'name="csrf" value="([^"]+)"', visitor.get("/login").text)
            form = {"csrf": csrf, "name": "demo", "password": password, "next": "/studies"}
            assert visitor.post("/login", form).headers["Location"] == "/studies"
            assert "SYN-0001" in visitor.get("/studies").text
        finally:
            demo.send_signal(signal.SIGINT)
            rest = demo.communicate(timeout=120)[0]
    assert demo.returncode == 0, rest
    assert "received by the PACS" in rest
