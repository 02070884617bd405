"""What docs/vendors.md and findings/ say of themselves. The findings are not run here: they ask PyPI."""

import ast
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FINDINGS = sorted((ROOT / "findings").glob("*.sh"))
VENDORS = (ROOT / "docs/vendors.md").read_text()
ROWS = [
    line
    for line in VENDORS.splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| sent |"))
]
HELD_BY = sorted(set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", VENDORS)))


@pytest.mark.parametrize("test", HELD_BY)
def test_every_test_of_the_vendors_table_exists(test: str):
    path, name = test.split("::")
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_of_the_vendors_table_has_a_source_and_a_test():
    assert len(ROWS) > 20
    for row in ROWS:
        sent, seen, _, held_by = (cell.strip() for cell in row.strip("|").split(" | "))
        assert re.search(r"\]\(https?://", seen), sent
        assert re.search(r"`tests/[\w/]+\.py::test_\w+`", held_by), sent


@pytest.mark.parametrize("script", FINDINGS, ids=lambda script: script.stem)
def test_a_finding_can_be_run_and_says_what_it_is(script: Path):
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n# ")
    head = text.partition("\nset -euo pipefail")[0]
    for part in ("Versions", "Behaviour", "Seen", "Meaning"):
        assert re.search(rf"^# {part} ", head, re.MULTILINE), part
    assert not re.search(r"^\s*(import|from) spinepacs", text, re.MULTILINE)


def test_the_readme_of_the_findings_lists_each_of_them():
    listed = re.findall(r"^\| `([\w-]+\.sh)` \|", (ROOT / "findings/README.md").read_text(), re.MULTILINE)
    assert listed == [script.name for script in FINDINGS]
