"""What the README promises word for word."""

import re
import subprocess
from pathlib import Path

import pytest

from spinepacs.settings.settings import load
from spinepacs.store.ledger import Ledger
from tests.peers import require

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_ten_lines_that_connect_a_pacs_are_valid(tmp_path: Path):
    (toml,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    config = tmp_path / "spinepacs.toml"
    config.write_text(toml)
    settings = load(config)
    assert settings.destinations[0].ae_title == "ORTHANC"
    assert len(toml.splitlines()) <= 11


@pytest.mark.peer
def test_the_query_runs_in_the_sqlite_shell(tmp_path: Path):
    Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}").close()
    (query,) = re.findall(r"^sqlite3 \S+ '(.*)'$", README, re.MULTILINE)
    subprocess.run([require("sqlite3"), str(tmp_path / "ledger.sqlite"), query], check=True)


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
