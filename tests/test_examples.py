"""The examples of the documentation run, and print what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
PRINTS = {
    "process_folder.sh": r"4 read, 0 refused, 0 failed.*lumbar.*,disc_height_loss,L3/L4",
    "wrap_picture.sh": r"film\.dcm\n.*1 read, 0 refused, 0 failed",
    "read_segmentation.py": r"^L4 \d{4,} px$",
    "read_report.py": r"^L4/L5 \d+\.\d+ mm$",
    "pipeline.py": r"^levels: .*L4 L5 S1$.*^L4/L5 \d+\.\d ± \d+\.\d mm$.*^disc_height_loss L3/L4 grade 3$",
    "own_policy.sh": r"L3/L4.*,3,3,.*,spinepacs-v1,.*\n.*L3/L4.*,4,4,.*,strict,",
    "daemon.sh": r"^one film read$.*L4/L5.*^study_uid,",
}
"""What each prints, as a regular expression."""


def test_every_example_is_run_and_listed():
    examples = {path.name for path in EXAMPLES.iterdir() if path.suffix != ".md"}
    listed = re.findall(r"^\| \[(\S+)\]", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert examples == set(PRINTS) == set(listed)


@pytest.mark.parametrize("name", PRINTS)
def test_an_example_prints_what_it_says(name: str, tmp_path: Path):
    command = [str(EXAMPLES / name)] if name.endswith(".sh") else [sys.executable, str(EXAMPLES / name)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*command, str(tmp_path / "out")], cwd=ROOT, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(PRINTS[name], done.stdout, re.MULTILINE | re.DOTALL), done.stdout
