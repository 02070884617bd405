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
from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import OWN_RESULT
from spinepacs.settings.settings import load
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import OutboxState
from tests.films import spine_like
from tests.peers import UNCLOSED_SOCKETS, dcmtk_storescp, free_port, orthanc
from tests.store import makers

DEMO_FILMS = sorted((Path(__file__).parents[2] / "demo" / "films").glob("*.dcm"))
pytestmark = UNCLOSED_SOCKETS
COMMANDS = (
    "serve", "status", "process", "wrap", "findings", "queue", "retry", "reread", "seen",
    "redirect", "withdraw", "check", "campaign", "synthesise", "version",
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
    assert bad.exit_code == 0, "refused, as in the daemon: trying again changes nothing"
    assert "0 read, 1 refused, 0 failed" in bad.output
    assert "NOT_DICOM" in bad.output
    (tmp_path / "full" / f"{DEMO_FILMS[0].stem}.seg.dcm").mkdir(parents=True)
    full = spinepacs("process", DEMO_FILMS[0], "--out", tmp_path / "full")
    assert full.exit_code == 1
    assert "CANNOT_READ_OR_WRITE" in full.output


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
    assert spinepacs("queue", "--config", config, "--format", "csv").output.strip() == ""
    assert spinepacs("findings", "--config", config, "--csv").output.startswith("study_uid,patient_id,")


def test_retry_wants_to_know_what(config: Path):
    make_tables(config)
    assert spinepacs("retry", "--config", config).exit_code == 2
    assert spinepacs("retry", "--config", config, "--failed").output == "0 back in the queue\n"
    assert spinepacs("retry", "--config", config, "1.2.3").exit_code == 1


def test_reread_wants_to_know_what(config: Path):
    make_tables(config)
    assert spinepacs("reread", "--config", config).exit_code == 2
    assert spinepacs("reread", "--config", config, "--from", "yesterday").exit_code == 2
    assert spinepacs("reread", "--config", config, "1.2.3").exit_code == 1


def test_films_are_read_again_and_the_trail_has_the_command(config: Path, tmp_path: Path):
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        makers.recorded(ledger)
        makers.take_in(ledger, "3.1", "3", refusal=makers.NOT_A_SPINE)
        ledger.mark_ready("3")
        asked = spinepacs("reread", "--config", config, "--model-older", "--from", "2026-11-20")
        said = "films: 1 read again by today's model and policy; 0 held against today's rules\n"
        assert (asked.exit_code, asked.output) == (0, said)
        again = spinepacs("reread", "--config", config, "--refused", "NOT_SELECTED")
        assert "1 held against today's rules" in again.output
        assert ledger.counts().studies == {"ready": 1, "refused": 1}
        assert len(ledger.unregistered(10)) == 1
        trail = spinepacs("audit", "--config", config).output
    assert "reread --model-older --from 2026-11-20, by " in trail
    assert "reread --refused NOT_SELECTED, by " in trail


def test_the_queue_shows_what_was_refused_until_somebody_has_seen_to_it(config: Path, tmp_path: Path):
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        claim = makers.claimed(ledger)
        ledger.record(claim, makers.result_of(claim, makers.NO_VERTEBRA), {}, ())
        makers.take_in(ledger, "3.1", "3", refusal=makers.NOT_A_SPINE)
        makers.take_in(ledger, "3.2", "3", refusal=Refusal(OWN_RESULT, "our own"))
        ledger.mark_ready("3")
    shown = json.loads(spinepacs("queue", "--config", config, "--format", "json").output)
    assert [(row["what"], row["uid"], row["state"]) for row in shown] == [
        ("film", makers.SOP, "refused"),
        ("images", "", "refused"),
    ]
    assert shown[0]["reason"] == "NO_VERTEBRA_FOUND: the model found no vertebra"
    assert shown[1]["reason"] == "NOT_SELECTED: 1 images, its header does not speak of the spine"
    assert spinepacs("seen", "--config", config).exit_code == 2
    assert spinepacs("seen", "--config", config, "9.9").exit_code == 1
    assert spinepacs("seen", "--config", config, makers.STUDY).output == "1 studies seen to\n"
    shown = json.loads(spinepacs("queue", "--config", config, "--format", "json").output)
    assert [row["what"] for row in shown] == ["images"]
    assert "seen 1.2.3, by " in spinepacs("audit", "--config", config).output


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


def test_fhir_writes_a_study_as_a_bundle(config: Path, tmp_path: Path):
    pytest.importorskip("fhir.resources")
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        makers.recorded(ledger)
    for version in ("R5", "R4B"):
        done = spinepacs(
            "fhir", "--config", config, makers.STUDY, "--out", tmp_path / "b.json", "--version", version
        )
        assert done.exit_code == 0, done.output
        told = json.loads((tmp_path / "b.json").read_text())
        assert told["type"] == "transaction"
        assert ("study" in told["entry"][0]["resource"]) == (version == "R5")
    assert json.loads(spinepacs("fhir", "--config", config, makers.STUDY).output)["resourceType"] == "Bundle"
    missing = spinepacs("fhir", "--config", config, "9.9")
    assert missing.exit_code == 2
    assert "no film of that study was read" in missing.output


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


@pytest.mark.peer
def test_check_asks_a_real_dicomweb_server(config: Path, tmp_path: Path):
    web = '[[destinations]]\nname = "{}"\nkind = "dicomweb"\nurl = "{}"\n'
    with orthanc(tmp_path, dicomweb=True) as pacs:
        with config.open("a") as file:
            file.write(web.format("good", f"{pacs.url}/dicom-web"))
            file.write(web.format("wrong", f"{pacs.url}/dicom"))
            file.write(web.format("away", f"http://127.0.0.1:{free_port()}/"))
        result = spinepacs("check", "--config", config)
    assert result.exit_code == 1
    assert "dicom-web answers" in result.output
    assert "is it the url?" in result.output
    assert "connection refused" in result.output


# -- pictures: process and wrap say the same ------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two pictures that hold vertebrae, and a table of them."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = cv2.normalize(dcmread(DEMO_FILMS[0]).pixel_array, None, 0, 255, cv2.NORM_MINMAX).astype("uint8")
    for number, name in enumerate(("a.png", "b.png")):
        pixels[0, 0] = number
        cv2.imwrite(str(folder / name), pixels)
    (folder / "films.csv").write_text(
        "file,patient_id,study_date,spacing_mm\na.png,PAT-1,2026-11-20,0.2\nb.png,,,\n"
    )
    return folder


SAID = (
    "--patient-id",
    "PAT-9",
    "--study-date",
    "20260102",
    "--spacing",
    "0.3",
    "--body-part",
    "LSPINE",
    "--view",
    "LATERAL",
)


def test_wrap_takes_options_and_the_table_and_several_pictures(pictures: Path):
    result = spinepacs(
        "wrap", pictures / "a.png", pictures / "b.png", *SAID, "--table", pictures / "films.csv"
    )
    assert result.exit_code == 0, result.output
    a, b = (dcmread(pictures / name) for name in ("a.dcm", "b.dcm"))
    assert (a.PatientID, a.StudyDate, float(a.PixelSpacing[0]), a.BodyPartExamined) == (
        "PAT-1",
        "20261120",
        0.2,
        "LSPINE",
    )
    assert (b.PatientID, b.StudyDate, float(b.PixelSpacing[0]), b.ViewPosition) == (
        "PAT-9",
        "20260102",
        0.3,
        "LATERAL",
    )


def test_process_takes_the_same(pictures: Path, tmp_path: Path):
    result = spinepacs(
        "process", pictures, *SAID, "--table", pictures / "films.csv", "--out", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    read = {
        Path(film["film"]).name: film for film in json.loads((tmp_path / "out/readings.json").read_text())
    }
    assert [read[name]["spacing"]["row_mm"] for name in ("a.png", "b.png")] == [0.2, 0.3]
    reports = [dcmread(tmp_path / f"out/{name}.sr.dcm") for name in ("a", "b")]
    assert [(report.PatientID, report.StudyDate) for report in reports] == [
        ("PAT-1", "20261120"),
        ("PAT-9", "20260102"),
    ]
    assert "no line names" not in result.output
    assert "no such file" not in result.output


def test_what_a_table_misses_or_names_in_vain_is_said(pictures: Path, tmp_path: Path):
    (pictures / "films.csv").write_text("file,patient_id\na.png,PAT-1\nB.png,PAT-2\n")
    result = spinepacs("process", pictures, "--table", pictures / "films.csv", "--out", tmp_path / "out")
    assert "films.csv: no such file is given: lines 3\n" in result.output
    assert f"no line names {pictures / 'b.png'}\n" in result.output
    refused = spinepacs("wrap", pictures / "b.png", "--table", pictures / "films.csv")
    assert refused.exit_code == 2
    assert "b.png: no line of the table names it" in refused.output
    assert not (pictures / "b.dcm").exists()


@pytest.mark.parametrize("command", ["process", "wrap"])
def test_mistakes_in_a_table_are_told_by_line_before_anything_is_done(
    pictures: Path, tmp_path: Path, command: str
):
    (pictures / "films.csv").write_text("file,study_date,view\na.png,20.11.2026,\nb.png,,side\n")
    out = ("--out", tmp_path / "out") if command == "process" else ()
    result = spinepacs(command, pictures / "a.png", "--table", pictures / "films.csv", *out)
    assert result.exit_code == 2
    assert (
        "films.csv: line 2: study_date must be a day like 2026-11-20 or 20261120; line 3: view must be"
        in result.output
    )
    assert not (tmp_path / "out").exists()
    assert not (pictures / "a.dcm").exists()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--study-date", "20.11.2026", "study_date must be a day"), ("--spacing", "9", "spacing_mm must be")],
)
def test_mistakes_in_options_are_told(pictures: Path, option: str, value: str, said: str):
    result = spinepacs("wrap", pictures / "a.png", option, value)
    assert result.exit_code == 2
    assert said in result.output


def test_wrap_names_the_picture_that_it_cannot_read(pictures: Path):
    (pictures / "b.png").write_bytes((pictures / "b.png").read_bytes()[:5000])
    result = spinepacs("wrap", pictures / "a.png", pictures / "b.png")
    assert result.exit_code == 2
    assert f"{pictures / 'b.png'}: the picture ends before its end: send it again" in result.output
    assert (
        spinepacs("wrap", pictures / "a.png", pictures / "b.png", "--out", pictures / "x.dcm").exit_code == 2
    )


# -- what cannot be written ----------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["a file/out", "/proc/out", "taken"])
def test_an_out_that_cannot_be_written_is_one_line_before_any_film_is_read(tmp_path: Path, out: str):
    (tmp_path / "a file").write_text("")
    (tmp_path / "taken" / "findings.csv").mkdir(parents=True)
    result = spinepacs("process", DEMO_FILMS[0], "--out", tmp_path / out)
    assert result.exit_code == 2
    assert "cannot be written" in result.output
    assert "give a folder that this user may write to" in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert not list((tmp_path / "taken").glob("*.dcm"))


@pytest.mark.parametrize("style", ["csv", "json", "table", "parquet"])
def test_findings_that_cannot_be_written_are_one_line(config: Path, tmp_path: Path, style: str):
    make_tables(config)
    result = spinepacs("findings", "--config", config, "--format", style, "--out", tmp_path / "none" / "x")
    assert result.exit_code == 2
    assert "cannot be written (No such file or directory)" in result.output


def test_findings_in_a_file_replace_an_older_one_only_when_they_are_whole(config: Path, tmp_path: Path):
    make_tables(config)
    (tmp_path / "x.csv").write_text("older")
    wrong = spinepacs("findings", "--config", config, "--csv", "--out", tmp_path / "x.csv", "--level", "Q9")
    assert wrong.exit_code == 2
    assert (tmp_path / "x.csv").read_text() == "older"
    assert spinepacs("findings", "--config", config, "--csv", "--out", tmp_path / "x.csv").exit_code == 0
    assert (tmp_path / "x.csv").read_text().startswith("study_uid,")
    assert not list(tmp_path.glob(".*.part"))


def test_a_cut_on_the_screen_is_said_and_a_file_is_whole(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("spinepacs.cli.questions.ON_SCREEN", 3)
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        makers.recorded(ledger, "1.2.1", "1.2.2", "1.2.3")
    shown = spinepacs("findings", "--config", config, "--rows", "discs")
    assert "only the first 3 are shown: give --limit for more" in shown.stderr
    assert "only the first" not in spinepacs("findings", "--config", config).stderr, "three films just fit"
    written = spinepacs("findings", "--config", config, "--csv")
    assert (len(written.stdout.splitlines()), written.stderr) == (7, "")
    limited = spinepacs("findings", "--config", config, "--csv", "--limit", "2")
    assert len(limited.stdout.splitlines()) == 3
    assert "only the first 2 are shown" in limited.stderr
    pytest.importorskip("pyarrow")
    assert (
        spinepacs("findings", "--config", config, "--parquet", "--out", tmp_path / "x.parquet").exit_code == 0
    )


@pytest.mark.parametrize(("create", "well"), [("false", False), ("true", True)])
def test_check_looks_for_the_watched_folder(config: Path, tmp_path: Path, create: str, well: bool):
    with config.open("a") as file:
        file.write(f'[watch]\nfolder = "share"\ncreate = {create}\n')
    said = spinepacs("check", "--config", config)
    assert (said.exit_code == 0) is well
    assert "watched folder: " in said.output
    assert not (tmp_path / "share").exists()
    (tmp_path / "share").mkdir()
    assert spinepacs("check", "--config", config).exit_code == 0


def test_accounts_are_made_and_ended_and_no_password_is_an_argument(config: Path, tmp_path: Path):
    make_tables(config)
    file = tmp_path / "password"
    file.write_text("a long enough password\n")
    add = ("account", "add", "anna", "--config", config, "--password-file", file)
    assert spinepacs(*add, "--role", "reader").output == "anna may log in as reader\n"
    again = spinepacs(*add)
    assert again.exit_code == 2
    assert "there is an account anna already" in again.output
    assert "anna: reader, since" in spinepacs("account", "list", "--config", config).output
    file.write_text("short\n")
    assert (
        "12 characters at least"
        in spinepacs("account", "passwd", "anna", "--config", config, "--password-file", file).output
    )
    file.write_text("a long enough password\n")
    typed = CliRunner().invoke(
        main,
        ["account", "passwd", "anna", "--config", str(config)],
        input="another long one\nanother long one\n",
    )
    assert typed.exit_code == 0
    assert "another long one" not in typed.output
    assert spinepacs("account", "disable", "anna", "--config", config).exit_code == 0
    assert ", disabled 20" in spinepacs("account", "list", "--config", config).output
    for command in (("passwd", "otto", "--password-file", file), ("disable", "otto")):
        assert "there is no account otto" in spinepacs("account", *command, "--config", config).output
    assert spinepacs("account", "add", "<b>", "--config", config, "--password-file", file).exit_code == 2
    with Ledger.open(load(config).storage.database_url) as ledger:
        hashes = [account.password_hash for account in ledger.accounts.all()]
    assert all(each.startswith("$argon2id$") for each in hashes)
    trail = spinepacs("audit", "--config", config).output
    assert "account add anna as reader, by" in trail
