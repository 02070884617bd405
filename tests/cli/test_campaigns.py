"""``campaign``: what cannot work is refused at the start, in words, and nobody is named in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spinepacs.cli.main import main
from spinepacs.domain.campaign import CampaignState, ItemState, Kind
from spinepacs.settings.settings import load
from spinepacs.store.ledger import Ledger
from tests import models
from tests.daemons import PHANTOM

COMMANDS = ("start", "list", "status", "pause", "resume", "cancel", "report")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_model(tmp_path_factory.mktemp("model"), PHANTOM)


@pytest.fixture
def config(tmp_path: Path, model: Path) -> Path:
    path = tmp_path / "spinepacs.toml"
    path.write_text(
        f'[storage]\nspool = "spool"\ndatabase_url = "sqlite:///ledger.sqlite"\n[model]\nfolder = "{model}"\n'
    )
    Ledger.open(load(path).storage.database_url).close()
    return path


def campaign(*words: object) -> Result:
    return CliRunner().invoke(main, ["campaign", *map(str, words)])


@pytest.mark.parametrize("command", COMMANDS)
def test_each_explains_itself_and_the_group_gives_examples(command: str) -> None:
    assert campaign(command, "--help").exit_code == 0
    assert f"campaign {command}" in campaign("--help").output or command in campaign("--help").output
    assert "--dicomweb https://" in campaign("--help").output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give one of"),
        (["--from", "/", "--again"], "give one of"),
        (["--dicomweb", "https://u:p@pacs/x", "--since", "2020-01-01"], "no user or password here"),
        (["--dicomweb", "https://pacs/x"], "--since"),
        (["--ae", "pacs:104", "--since", "2020-01-01"], "AE@host:port"),
        (["--again", "--move-to", "X"], "--move-to is for --ae"),
        (["--again", "--credentials", "x"], "--credentials are for --dicomweb"),
        (["--again", "--hours", "25:00-26:00"], "22:00-06:00"),
        (["--again", "--since", "2020-01-02", "--until", "2020-01-01"], "before --since"),
        (["--again", "--deliver"], "needs destinations"),
        (["--from", "/nowhere/at/all"], "is no folder"),
        (["--again", "--model", "/nowhere"], "manifest.toml"),
        (["--again", "--policy", "/nowhere.toml"], "/nowhere.toml"),
    ],
)
def test_what_is_refused_at_the_start(config: Path, words: list[str], says: str) -> None:
    result = campaign("start", "c", "-c", config, *words)
    assert result.exit_code == 2
    assert says in result.output
    with Ledger.open(load(config).storage.database_url) as ledger:
        assert ledger.campaigns.all() == []


def test_a_name_stands_in_logs_and_so_is_plain(config: Path) -> None:
    assert campaign("start", "Müller, Erika", "-c", config, "--again").exit_code == 2


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


@pytest.mark.parametrize(
    ("text", "studies", "accessions"),
    [
        ("Study Instance UID,note\n1.2.3,a\n1.2.3,b\n\n1.2.4,c\n", ("1.2.3", "1.2.4"), ()),
        ("note,AccessionNumber\nx,A 17\nx, B/2 \n", (), ("A 17", "B/2")),
    ],
)
def test_a_table_names_studies_or_accession_numbers(
    config: Path, tmp_path: Path, text: str, studies: tuple[str, ...], accessions: tuple[str, ...]
) -> None:
    words = ("--dicomweb", "https://pacs/dicom-web/", "--csv", table(tmp_path, text), "--per-hour", 30)
    result = campaign("start", "c", "-c", config, *words)
    assert result.exit_code == 0, result.output
    with Ledger.open(load(config).storage.database_url) as ledger:
        found = ledger.campaigns.named("c")
        assert ledger.campaigns.wanted(found) == (studies, accessions)
    assert (found.kind, found.place, found.per_hour) == (Kind.DICOMWEB, "https://pacs/dicom-web", 30)
    assert found.query.modalities == ("CR", "DX", "RF", "XA")
    assert found.versions.model_name == "made-up"


@pytest.mark.parametrize(
    "text", ["name\nErika\n", "AccessionNumber\n\n", "AccessionNumber\nErika*\n", "study_uid\nErika\n", ""]
)
def test_a_table_that_cannot_be_used_is_not_quoted(config: Path, tmp_path: Path, text: str) -> None:
    result = campaign("start", "c", "-c", config, "--again", "--csv", table(tmp_path, text))
    assert result.exit_code == 2
    assert "table.csv" in result.output
    assert "Erika" not in result.output


def test_from_start_to_report(config: Path) -> None:
    assert campaign("start", "c", "-c", config, "--again", "--hours", "22:00-06:00").exit_code == 0
    assert "choose another name" in campaign("start", "c", "-c", config, "--again").output
    with Ledger.open(load(config).storage.database_url) as ledger:
        found = ledger.campaigns.named("c")
        ledger.campaigns.add(found, ["1.2", "1.3"], "", is_last=True, not_found=["A 17"])
        item = ledger.campaigns.next_item(found, found.created_at)
        assert item is not None
        ledger.campaigns.begin(item)
        ledger.campaigns.close(item, ItemState.REFUSED, "NOT_ASKED_FOR", "no film of it")
        ledger.campaigns.say(found, "the archive does not answer")
    assert "the archive does not answer" in campaign("list", "-c", config).output
    status = campaign("status", "c", "-c", config)
    assert status.exit_code == 1
    assert "2 of 3 done; 1 failed, 1 listed, 1 refused" in status.output
    assert "NOT_FOUND" in status.output
    assert "A 17" not in status.output
    assert "there is nothing to compare" in campaign("report", "c", "-c", config).output
    items = campaign("report", "c", "-c", config, "--items").output.splitlines()
    assert items[0].startswith("what,state")
    assert [line.split(",")[:2] for line in items[1:]] == [
        ["1.2", "refused"],
        ["1.3", "listed"],
        ["A 17", "failed"],
    ]
    assert campaign("report", "c", "-c", config, "--csv").output.startswith("study_uid,sop_uid")
    assert campaign("pause", "c", "-c", config).exit_code == 0
    assert campaign("cancel", "c", "-c", config, "--yes").exit_code == 0
    assert campaign("resume", "c", "-c", config).exit_code == 2
    assert "there is no campaign" in campaign("status", "other", "-c", config).output
    with Ledger.open(load(config).storage.database_url) as ledger:
        assert ledger.campaigns.named("c").state is CampaignState.CANCELLED
