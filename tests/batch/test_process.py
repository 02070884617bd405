"""``spinepacs process`` as real processes: stopped, killed, resumed, shared, poisoned, and on a disk that is full."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from spinepacs.batch.folder import INNER
from tests import peers
from tests.batch import scripted
from tests.batch.processes import Process, film, many
from tests.films import PATIENT_ID, SECRETS


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    with peers.disk(tmp_path / "disk", "8m") as folder:
        yield folder


def recorded(process: Process) -> int:
    return len(list((process.out / INNER / "films").glob("*.record")))


def test_a_poisoned_film_costs_itself_and_the_others_go_on(process: Process, tmp_path: Path):
    poisons = {
        scripted.SPIN: "TIME_LIMIT", scripted.CRASH: "WORKER_DIED", scripted.EAT: "MEMORY_LIMIT",
        scripted.LEAVE: "WORKER_DIED",
    }  # fmt: skip
    for poison in poisons:
        film(process.films / f"{poison}.dcm", wish=poison)
    good = many(process.films, 6)
    film(process.films / "empty.dcm", wish=scripted.NO_SPINE)
    (tmp_path / "settings.toml").write_text("[work]\ntime_limit_s = 3\nmemory_limit_mb = 600\n")
    code, told, complained = process.run("--config", tmp_path / "settings.toml", "--workers", 2)
    assert code == 1
    assert "6 read, 1 refused, 4 failed, 0 skipped" in told
    states = process.states()
    assert {poison: states[f"{poison}.dcm"] for poison in poisons} == {
        poison: ("failed", reason) for poison, reason in poisons.items()
    }
    assert states["empty.dcm"] == ("refused", "NO_VERTEBRA")
    assert all(states[path.name] == ("read", "") for path in good)
    assert f"{process.films / 'crash.dcm'}: WORKER_DIED: the worker process died, exit code -11" in complained
    listed = {
        Path(item["film"]).name: item for item in json.loads((process.out / "readings.json").read_text())
    }
    assert (listed["spin.dcm"]["state"], listed["spin.dcm"]["refusal"]["code"]) == ("failed", "TIME_LIMIT")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_tables_and_the_next_run_goes_on(process: Process, number: signal.Signals):
    given = many(process.films, 12, scripted.SLOW)
    with process.start("--workers", 2) as running:
        peers.wait_until(lambda: recorded(process) >= 3, 60, "the first films")
        running.send_signal(number)
        told, complained = running.communicate(timeout=60)
    assert running.returncode == 130
    left = int(re.search(r"stopped with (\d+) files left; the tables hold what is done", complained)[1])
    done = recorded(process)
    assert f"{done} read" in told
    assert (done + left, done >= 3, left >= 1) == (12, True, True)
    assert len(process.states()) == done
    code, told, _ = process.run("--workers", 2)
    assert code == 0
    assert f"12 read, 0 refused, 0 failed, 0 skipped; {done} of them by other runs" in told
    process.check_tables(given)
    assert sum(process.reads().values()) <= 12 + 2, (
        "what was in the two workers' hands is read again, and no more"
    )


def test_a_killed_run_loses_and_doubles_nothing(process: Process):
    given = many(process.films, 10, scripted.SLOW)
    for wanted in (2, 5):
        with process.start("--workers", 2) as running:
            peers.wait_until(lambda: recorded(process) >= wanted, 60, "some films")  # noqa: B023 - called at once
            workers = peers.grandchildren(running.pid)
            running.kill()
            running.communicate()
        assert len(workers) == 2
        peers.wait_until(lambda: not any(map(peers.runs, workers)), 20, "the end of its workers")  # noqa: B023
    start_s = time.monotonic()
    code, told, _ = process.run("--workers", 2)
    assert code == 0
    assert "10 read" in told
    assert time.monotonic() - start_s < 50, "the claims of the dead were not taken over at once"
    process.check_tables(given)
    assert not [path.name for path in (process.out / INNER / "parts").iterdir()]


def test_a_killed_worker_costs_one_film(process: Process):
    many(process.films, 8, scripted.SLOW)
    with process.start("--workers", 2) as running:
        peers.wait_until(lambda: recorded(process) >= 2, 60, "the first films")
        os.kill(peers.grandchildren(running.pid)[0], signal.SIGKILL)
        told, _ = running.communicate(timeout=100)
    assert running.returncode == 1
    assert "7 read, 0 refused, 1 failed" in told
    assert sorted(process.states().values()).count(("failed", "WORKER_DIED")) == 1
    code, told, _ = process.run()
    assert (code, "8 read, 0 refused, 0 failed" in told) == (0, True), "what failed is tried again"


def test_two_at_once_share_the_films(process: Process, monkeypatch: pytest.MonkeyPatch):
    given = many(process.films, 20, scripted.SLOW)
    monkeypatch.chdir(process.films.parent)
    relative = {"given": "films", "out": Path("out")}
    with process.start("--workers", 1) as one, process.start("--workers", 1, **relative) as other:
        ends = [each.communicate(timeout=120)[0] for each in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0)
    assert all("20 read" in end for end in ends)
    assert set(process.reads().values()) == {1}
    assert len(process.reads()) == 20
    process.check_tables(given)
    known = [int(re.search(r"(\d+) of them by other", end)[1]) for end in ends]
    assert sum(known) == 20, "each read what the other did not"


def test_the_films_of_a_killed_sharer_are_taken_over(process: Process):
    given = many(process.films, 16, scripted.SLOW)
    with process.start("--workers", 2) as one, process.start("--workers", 1) as other:
        peers.wait_until(lambda: recorded(process) >= 4, 60, "the first films")
        one.kill()
        one.communicate()
        told, _ = other.communicate(timeout=120)
    assert (other.returncode, "16 read" in told) == (0, True)
    process.check_tables(given)
    assert not list((process.out / INNER / "films").glob("*.claim"))


def test_sharers_must_want_the_same(process: Process):
    film(process.films / "a.dcm")
    film(process.films / "b.dcm", wish=scripted.SPIN)  # it does not end while the other one asks
    with process.start("--workers", 1) as running:
        peers.wait_until(lambda: recorded(process) >= 1, 60, "the first film")
        code, _, complained = process.run("--identity")
        running.terminate()
        running.communicate(timeout=60)
    assert running.returncode == 130
    assert code == 2
    assert "another process is writing to it with another model, policy or other options" in complained


def test_again_reads_anew_and_else_only_what_has_changed(process: Process):
    given = many(process.films, 3)
    assert process.run()[0] == 0
    assert "3 of them by other runs" in process.run()[1]
    assert sum(process.reads().values()) == 3
    film(given[0], wish=scripted.NO_SPINE)
    assert (process.out / "film-000.seg.dcm").exists()
    assert "2 read, 1 refused, 0 failed, 0 skipped; 2 of them" in process.run()[1]
    assert not (process.out / "film-000.seg.dcm").exists(), "what is no longer true does not stay"
    assert sum(process.reads().values()) == 4
    assert process.run("--again")[1].startswith("2 read, 1 refused, 0 failed, 0 skipped; /")
    assert sum(process.reads().values()) == 7
    process.check_tables(given)


def test_another_policy_reads_anew(process: Process, tmp_path: Path):
    many(process.films, 2)
    process.run()
    policy = (Path(__file__).parents[2] / "config/grading.toml").read_text()
    (tmp_path / "grading.toml").write_text(f"# mine\n{policy}")
    (tmp_path / "settings.toml").write_text('[model]\npolicy = "grading.toml"\n')
    process.run("--config", tmp_path / "settings.toml")
    assert set(process.reads().values()) == {2}


def test_a_full_disk_is_one_line_and_the_run_can_go_on(process: Process, small_disk: Path):
    given = many(process.films, 6)
    process.out = small_disk / "out"
    assert process.run()[0] == 0
    tables = process.table()
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    more = film(process.films / "one-more.dcm")
    code, _, complained = process.run()
    assert code == 2
    assert f"--out {process.out}: is full; give a folder that this user may write to" in complained
    assert "Traceback" not in complained
    assert process.table() == tables, "the old tables stay whole"
    (small_disk / "filler").unlink()
    assert "7 read, 0 refused, 0 failed, 0 skipped; 6 of them" in process.run()[1]
    process.check_tables([*given, more])


def test_tables_name_nobody_and_pseudonyms_are_stable(process: Process, tmp_path: Path):
    film(process.films / "a.dcm", "a")
    film(process.films / "b.dcm", "b")
    film(process.films / "c.dcm", "c", PatientID="OTHER-1")
    film(process.films / "d.dcm", "d", PatientID=None)
    assert process.run("--page")[0] == 0
    first = {Path(row["film"]).stem: row["pseudonym"] for row in process.table()}
    assert first["a"] == first["b"] != first["c"]
    assert re.fullmatch("P[A-Z2-7]{16}", first["a"])
    assert first["d"].startswith("S")
    for path in process.out.rglob("*"):
        if path.is_file() and not path.name.endswith(".seg.dcm"):
            assert not [secret for secret in SECRETS if secret.encode() in _plain(path)], path
    process.run("--page", "--again")
    assert {Path(row["film"]).stem: row["pseudonym"] for row in process.table("measures")} == first
    other = Process(tmp_path / "other")
    film(other.films / "a.dcm", "a")
    assert other.run()[0] == 0
    assert other.table()[0]["pseudonym"] != first["a"], "another folder has another key"
    assert other.run("--pseudonym-key", process.out / INNER / "pseudonym.key")[0] == 0
    assert other.table()[0]["pseudonym"] == first["a"]
    assert sum(other.reads().values()) == 1, "another key needs no film read anew"


def _plain(path: Path) -> bytes:
    """A file's bytes, those of a record unpacked."""
    from spinepacs.batch.records import Record

    data = path.read_bytes()
    return data + json.dumps(Record.unpack(data).content()).encode() if path.suffix == ".record" else data


def test_identity_is_told_on_request_and_goes_again(process: Process):
    film(process.films / "a.dcm", "a", PatientAge="054Y", PatientSex="F", AccessionNumber="ACC-7")
    (process.films / "no.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 200)
    assert process.run()[0] == 0
    assert "patient_id" not in process.table()[0]
    assert process.run("--identity")[0] == 0
    for name in ("readings", "measures", "findings", "conclusions"):
        row = next(row for row in process.table(name) if row["film"].endswith("a.dcm"))
        assert (row["patient_id"], row["patient_sex"], row["accession_number"]) == (PATIENT_ID, "F", "ACC-7")
        assert float(row["patient_age_years"]) == 54
        assert re.fullmatch(r"\d{8}", row["study_date"])
    assert process.run()[0] == 0
    assert sum(process.reads().values()) == 1
    assert not any(
        PATIENT_ID.encode() in _plain(path)
        for path in process.out.rglob("*") if path.is_file() and path.suffix != ".dcm"
    )  # fmt: skip


def test_skipped_files_are_named_on_request(process: Process):
    film(process.films / "a.dcm")
    (process.films / "notes.txt").write_text("no film")
    code, told, complained = process.run()
    assert (code, "1 read, 0 refused, 0 failed, 1 skipped" in told) == (0, True)
    assert "notes.txt" not in complained
    assert f"{process.films / 'notes.txt'}: NOT_DICOM" in process.run("--skipped")[2]
    assert len(process.table()) == len([row for row in process.table() if row["film"].endswith("a.dcm")])


def test_parquet_has_the_rows_of_the_csv_and_fixed_types(process: Process):
    parquet = pytest.importorskip("pyarrow.parquet")
    many(process.films, 2)
    film(process.films / "empty.dcm", wish=scripted.NO_SPINE)
    assert process.run("--parquet", "--identity")[0] == 0
    for name in ("readings", "measures", "findings", "conclusions"):
        table = parquet.read_table(process.out / f"{name}.parquet")
        rows = process.table(name)
        assert table.column_names == list(rows[0])
        assert table.num_rows == len(rows)
        assert str(table.schema.field("study_date").type) == "date32[day]"
    whole = table.schema
    assert (
        process.run(
            "--parquet", "--identity", given=process.films / "empty.dcm", out=process.out.parent / "o2"
        )[0]
        == 0
    )
    alone = parquet.read_table(process.out.parent / "o2/conclusions.parquet")
    assert (alone.num_rows, alone.schema) == (0, whole)


def test_ctrl_z_is_no_time_that_a_film_took(process: Process, tmp_path: Path):
    many(process.films, 4, scripted.SLOW)
    (tmp_path / "settings.toml").write_text("[work]\ntime_limit_s = 3\n")
    with process.start("--config", tmp_path / "settings.toml", "--workers", 1) as running:
        peers.wait_until(lambda: recorded(process) >= 1, 60, "the first film")
        family = [running.pid, *peers.grandchildren(running.pid)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(4)
        for pid in reversed(family):
            os.kill(pid, signal.SIGCONT)
        told, _ = running.communicate(timeout=60)
    assert "4 read, 0 refused, 0 failed" in told
