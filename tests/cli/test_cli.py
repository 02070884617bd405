import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread

from spinepacs.cli.main import main
from spinepacs.settings.settings import load
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import OutboxState
from tests.films import spine_like
from tests.peers import UNCLOSED_SOCKETS, dcmtk_storescp, free_port
from tests.store import makers

DEMO_FILMS = sorted((Path(__file__).parents[2] / "demo" / "films").glob("*.dcm"))
pytestmark = UNCLOSED_SOCKETS
COMMANDS = (
    "serve", "status", "process", "wrap", "findings", "queue", "retry", "redirect", "withdraw", "check", "synthesise",
    "version",
)  # fmt: skip


def spinepacs(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "spinepacs.toml"
    path.write_text('[storage]\nspool = "spool"\ndatabase_url = "sqlite:///ledger.sqlite"\nreserve_mb = 0\n')
    return path


def make_tables(config: Path) -> None:
    Ledger.open(load(config).storage.database_url).close()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str):
    result = spinepacs(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) >= 4


def without(*modules: str, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that has not got these modules."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({modules!r}))\n"
        f"from spinepacs.cli.main import main; main({command.split()!r}, 'spinepacs')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["train", "evaluate", "export", "synthesise"])
def test_a_training_command_explains_itself_without_its_extra(command: str):
    """Whoever reads what it can do has not yet installed 6 GB."""
    told = without("torch", "ultralytics", "onnx", "scipy", "numba", command=f"{command} --help")
    assert told.returncode == 0, told.stderr
    assert f"usage: spinepacs {command}" in told.stdout.replace("Usage", "usage")


def test_a_training_command_names_the_extra_that_it_needs(tmp_path: Path):
    told = without("torch", command=f"train --out {tmp_path}")
    assert told.returncode == 1
    assert "pip install 'spinepacs[train]'" in told.stderr


def test_folders_that_do_not_exist_are_no_evaluation(tmp_path: Path):
    absent = tmp_path / "absent"
    for option in ("--synthetic", "--ap", "--lateral"):
        told = spinepacs("evaluate", "--model", "models/spine", option, absent)
        assert (told.exit_code, told.output) == (2, f"spinepacs: {absent}: there is no such folder\n")
    told = spinepacs("evaluate", "--model", "models/spine", "--synthetic", tmp_path)
    assert told.exit_code == 2
    assert "no labelled films" in told.output
    told = spinepacs("evaluate", "--model", "models/spine")
    assert (told.exit_code, "give --ap, --lateral or --synthetic" in told.output) == (2, True)


def test_an_unknown_kind_is_told_with_those_that_there_are(config: Path):
    make_tables(config)
    for rows, kind, known in (
        ((), "osteophyte", "osteophytes"),
        (("--rows", "measures"), "osteophytes", "slip"),
        (("--rows", "conclusions"), "lumbal", "lumbar"),
    ):
        told = spinepacs("findings", "--config", config, *rows, "--kind", kind)
        assert told.exit_code == 2
        assert f"{kind!r} is no" in told.output
        assert known in told.output
        assert spinepacs("findings", "--config", config, *rows, "--kind", known).output == "nothing\n"


def test_a_folder_that_cannot_be_written_is_named_without_a_traceback(tmp_path: Path):
    (tmp_path / "file").touch()
    told = spinepacs("process", DEMO_FILMS[0], "--out", tmp_path / "file" / "out")
    assert told.exit_code == 2
    assert str(tmp_path / "file") in told.output
    assert not isinstance(told.exception, OSError)


def test_the_queue_names_the_accession_and_the_destinations_and_no_patient(config: Path, tmp_path: Path):
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        makers.recorded(ledger, destinations=(makers.PACS, makers.VIEWER))
    shown = spinepacs("queue", "--config", config).output
    assert "studies: 1 recorded" in shown
    assert "to pacs: 3 pending" in shown
    assert makers.header().patient_id not in shown
    rows = json.loads(spinepacs("queue", "--config", config, "--format", "json").output)
    assert {row["accession_number"] for row in rows} == {makers.header().accession_number}
    (study,) = [row for row in rows if row["what"] == "study"]
    assert (study["where"], study["images"], study["objects"]) == ("pacs, viewer", 1, 4)
    assert "patient_id" not in study


def test_version_names_the_libraries():
    result = spinepacs("version")
    assert result.exit_code == 0
    assert "onnxruntime" in result.output


def test_bad_usage_is_2(tmp_path: Path):
    assert spinepacs("process", "--out", tmp_path).exit_code == 2
    assert spinepacs("process", tmp_path / "absent", "--out", tmp_path).exit_code == 2
    assert spinepacs("serve", "--config", tmp_path / "absent.toml").exit_code == 2
    broken = tmp_path / "broken.toml"
    broken.write_text("[listener]\nprot = 1\n")
    result = spinepacs("check", "--config", broken)
    assert result.exit_code == 2
    assert "broken.toml:2" in result.output


def test_process_tells_by_its_exit_code(tmp_path: Path):
    good = spinepacs("process", DEMO_FILMS[0], "--out", tmp_path / "good")
    assert good.exit_code == 0, good.output
    assert "1 read, 0 refused, 0 failed" in good.output
    (tmp_path / "bad.dcm").write_bytes(b"not DICOM")
    bad = spinepacs("process", tmp_path / "bad.dcm", "--out", tmp_path / "bad")
    assert bad.exit_code == 1
    assert "NOT_DICOM" in bad.output


def test_wrap_makes_a_dicom_film(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "film.png"), (spine_like() // 16).astype("uint8"))
    result = spinepacs(
        "wrap", tmp_path / "film.png", "--spacing", "0.15", "--body-part", "CSPINE", "--view", "LATERAL"
    )
    assert result.exit_code == 0, result.output
    film = dcmread(tmp_path / "film.dcm")
    assert film.BodyPartExamined == "CSPINE"


def test_a_database_without_tables_is_told_and_not_made_by_asking(config: Path):
    for command in (("findings",), ("queue",), ("retry", "--failed")):
        result = spinepacs(*command, "--config", config)
        assert result.exit_code == 2
        assert "no tables yet" in result.output


def test_findings_and_queue_of_an_empty_database(config: Path):
    make_tables(config)
    for command in ("findings", "queue"):
        result = spinepacs(command, "--config", config)
        assert (result.exit_code, result.output) == (0, "nothing\n"), result.output
        assert json.loads(spinepacs(command, "--config", config, "--format", "json").output) == []
        assert spinepacs(command, "--config", config, "--format", "csv").output.strip() == ""


def test_retry_wants_to_know_what(config: Path):
    make_tables(config)
    assert spinepacs("retry", "--config", config).exit_code == 2
    assert spinepacs("retry", "--config", config, "--failed").output == "0 back in the queue\n"
    assert spinepacs("retry", "--config", config, "1.2.3").exit_code == 1


def test_what_waits_for_a_destination_that_is_gone_is_shown_and_decided(config: Path, tmp_path: Path):
    """It was renamed in the settings: nothing is lost, and nobody has to look into the database."""
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        makers.recorded(ledger, destinations=(makers.PACS, makers.VIEWER))
    with config.open("a") as file:
        file.write('[[destinations]]\nname = "archive"\nae_title = "X"\nhost = "127.0.0.1"\nport = 1\n')
    shown = json.loads(spinepacs("queue", "--config", config, "--format", "json").output)
    reasons = {row["reason"] for row in shown if row["what"] == "object"}
    assert reasons == {"there is no destination of this name in the settings any more"}
    checked = spinepacs("check", "--config", config).output
    assert (
        "3 objects wait, but it is not in the settings: put it back, or spinepacs redirect pacs NEW"
        in checked
    )

    assert spinepacs("redirect", "--config", config, "pacs", "nowhere").exit_code == 2
    moved = spinepacs("redirect", "--config", config, "pacs", "archive")
    assert (moved.exit_code, moved.output) == (0, "3 objects go to archive instead of pacs\n")
    assert spinepacs("withdraw", "--config", config, "viewer").exit_code == 1, "it asks first"
    given_up = spinepacs("withdraw", "--config", config, "viewer", "--yes")
    assert given_up.output == "1 objects are not sent to viewer any more\n"
    shown = json.loads(spinepacs("queue", "--config", config, "--format", "json").output)
    assert [row["where"] for row in shown if row["what"] == "object"] == ["archive"] * 3


def test_retry_hurries_what_only_waits(config: Path, tmp_path: Path):
    """The PACS is repaired: an administrator does not wait for an hour."""
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        makers.recorded(ledger, destinations=(makers.PACS,))
        later = datetime.now(UTC) + timedelta(hours=1)
        ids = [item.outbox_id for item in ledger.due("pacs")]
        ledger.postpone_delivery(ids, later, "not reachable")
        ledger.finish_delivery(ids[0], OutboxState.FAILED, 0xA900, "refused")
        asked = spinepacs("retry", "--config", config, "--destination", "pacs")
        assert asked.output == "3 back in the queue\n"
        assert len(ledger.due("pacs")) == 3
    assert spinepacs("retry", "--config", config, "--failed", "--destination", "pacs").exit_code == 2


def test_check_says_what_is_well_and_what_is_not(config: Path, tmp_path: Path):
    fine = spinepacs("check", "--config", config)
    assert fine.exit_code == 0, fine.output
    assert fine.output.count("ok ") >= 5
    with config.open("a") as file:
        file.write(
            f'[[destinations]]\nname = "away"\nae_title = "X"\nhost = "127.0.0.1"\nport = {free_port()}\n'
        )
    away = spinepacs("check", "--config", config)
    assert away.exit_code == 1
    assert "cannot be reached" in away.output


@pytest.mark.peer
def test_check_asks_a_real_destination(config: Path, tmp_path: Path):
    with dcmtk_storescp(tmp_path) as pacs:
        with config.open("a") as file:
            file.write(f'[[destinations]]\nname = "dcmtk"\nae_title = "{pacs.ae_title}"\n')
            file.write(f'host = "127.0.0.1"\nport = {pacs.port}\n')
        result = spinepacs("check", "--config", config)
    assert result.exit_code == 0, result.output
    assert "accepts SEG, SR, OVERLAY" in result.output
