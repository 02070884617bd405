"""``spinepacs audit`` as people call it."""

from __future__ import annotations

import csv
import json
import os
import pwd
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from spinepacs.cli.main import main
from spinepacs.store.ledger import Ledger
from tests.store.makers import take_in


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "spinepacs.toml"
    path.write_text('[storage]\ndatabase_url = "sqlite:///ledger.sqlite"\n')
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        ledger.add_event("started", detail='a "quoted", one')
        take_in(ledger)
    return path


def audit(config: Path, *options: str) -> list[str]:
    result = CliRunner().invoke(main, ["audit", "--config", str(config), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_csv_is_the_default_and_names_no_patient(config):
    lines = audit(config)
    rows = list(csv.DictReader(lines))
    assert [row["action"] for row in rows] == ["started", "received", "selected"]
    assert rows[0]["detail"] == 'a "quoted", one'
    assert (rows[1]["calling_ae"], rows[1]["peer"]) == ("MODALITY", "192.0.2.7")
    assert "PAT-0001" not in "".join(lines)
    assert audit(config, "--csv") == lines


def test_json_has_one_object_a_line(config):
    rows = [json.loads(line) for line in audit(config, "--json")]
    assert [row["audit_id"] for row in rows] == [1, 2, 3]
    assert rows[0]["happened_at"].endswith("+00:00")


def test_dicom_has_one_message_a_line_and_the_patient(config):
    messages = [ElementTree.fromstring(line) for line in audit(config, "--dicom")]  # noqa: S314 - our own
    assert [message[0][0].get("csd-code") for message in messages] == ["110100", "110104"]
    assert "PAT-0001" in audit(config, "--dicom")[1]


def test_times_are_utc_and_until_is_excluded(config):
    assert len(audit(config, "--since", "2020-01-01", "--until", "2099-01-01T00:00:00")) == 4
    assert len(audit(config, "--until", "2020-01-01")) == 1
    assert len(audit(config, "--since", "2099-01-01")) == 1


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        (["retry", "--failed"], "retry --failed"),
        (["withdraw", "pacs", "--yes"], "withdraw pacs"),
        (["discard", "1.2.3.9"], "discard 1.2.3.9"),
    ],
)
def test_who_gave_a_command_is_written_down(config, monkeypatch, command, detail):
    monkeypatch.setenv("SUDO_USER", "erika")
    CliRunner().invoke(main, [*command, "--config", str(config)])
    user = pwd.getpwuid(os.getuid()).pw_name
    (row,) = (row for row in csv.DictReader(audit(config)) if row["action"] == "command")
    assert row["detail"] == f"{detail}, by {user} (sudo: erika)"
