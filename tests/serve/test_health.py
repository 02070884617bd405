"""The three paths of the health server, over real HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from spinepacs.errors import Permanent, Transient
from spinepacs.serve.health import Figures, HealthServer
from spinepacs.serve.processes import Life
from spinepacs.settings.sections import HealthSettings
from spinepacs.store.records import FailedFile, OutboxState
from tests.store import makers


@pytest.fixture
def checks():
    return {"database": lambda: "", "listener": lambda: ""}


@pytest.fixture
def server(checks, ledger, spool):
    processes = {"listener": Life(True, 0, 1.0), "worker-1": Life(False, 3)}
    figures = Figures(ledger, spool, 1_000_000, lambda: processes)
    started = HealthServer(HealthSettings(port=0), checks, figures)
    started.start()
    yield started
    started.stop()


def get(server: HealthServer, path: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own URL
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metrics(server: HealthServer) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    families = text_string_to_metric_families(get(server, "/metrics")[1])
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_it_is_alive(server):
    assert get(server, "/healthz") == (200, "ok\n")


def test_it_is_ready_when_every_check_is_well(server, checks):
    assert get(server, "/readyz") == (200, '{"database": "ok", "listener": "ok"}\n')
    checks["listener"] = lambda: "the listener process is not up"
    status, text = get(server, "/readyz")
    assert (status, json.loads(text)["listener"]) == (503, "the listener process is not up")


def test_a_check_that_fails_is_not_ready(server, checks):
    def away() -> str:
        raise Transient("the database cannot do it now")

    checks["database"] = away
    status, text = get(server, "/readyz")
    assert (status, json.loads(text)["database"]) == (503, "the database cannot do it now")


def test_metrics_count_what_the_ledger_holds(server, ledger):
    makers.recorded(ledger, "1.2.1", "1.2.2")
    makers.take_in(ledger, "1.2.3", "1.2.9", refusal=makers.NOT_A_SPINE)
    makers.take_in(ledger, "1.2.4", makers.STUDY, patient_id="PAT-0002")
    found = metrics(server)
    assert found["spinepacs_received_total",] == 4
    assert found["spinepacs_mixed_studies",] == 1
    assert found["spinepacs_refused_films",] == 0
    assert found["spinepacs_studies", "arriving"] == 2
    assert found["spinepacs_arrivals", "selected"] == 3
    assert found["spinepacs_refused_total", "NOT_SELECTED"] == 1
    assert found["spinepacs_outbox", "pacs", "pending"] == 6
    assert found["spinepacs_process_up", "listener"] == 1
    assert found["spinepacs_process_up", "worker-1"] == 0
    assert found["spinepacs_process_restarts_total", "worker-1"] == 3
    assert found["spinepacs_disk_free_bytes",] > 1_000_000
    assert found["spinepacs_disk_reserve_bytes",] == 1_000_000
    assert found["spinepacs_ledger_up",] == 1


def test_no_metric_comes_twice(server):
    names = [family.name for family in text_string_to_metric_families(get(server, "/metrics")[1])]
    assert len(names) > 20
    assert sorted(names) == sorted(set(names))


def test_metrics_count_what_lies_in_failed(server, ledger):
    file = FailedFile("a.txt", "NOT_DICOM", "no DICOM file", datetime.now(UTC))
    ledger.note_failed_files([file, replace(file, file_name="b.txt")])
    assert metrics(server)["spinepacs_folder_failed", "NOT_DICOM"] == 2


def test_metrics_count_what_no_destination_has_promised_to_keep_yet(server, ledger):
    makers.recorded(ledger)
    item, *_ = ledger.due("pacs")
    ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0, commitment_due_at=datetime.now(UTC))
    assert metrics(server)["spinepacs_uncommitted", "pacs"] == 1


def test_metrics_tell_how_long_what_waits_has_waited(server, ledger):
    assert ("spinepacs_last_received_timestamp_seconds",) not in metrics(server), "nothing has come yet"
    assert metrics(server)["spinepacs_oldest_unread_seconds",] == 0
    makers.recorded(ledger)
    found = metrics(server)
    assert found["spinepacs_last_received_timestamp_seconds",] > 0
    assert found["spinepacs_oldest_unread_seconds",] == 0, "all is read"
    assert 0 < found["spinepacs_oldest_pending_seconds", "pacs"] < 60
    assert found["spinepacs_oldest_uncommitted_seconds", "pacs"] == 0
    # An outage: it is put off again and again, and its age grows all the same.
    ids = [item.outbox_id for item in ledger.due("pacs")]
    ledger.postpone_delivery(ids, datetime.now(UTC) + timedelta(hours=1), "not reachable")
    assert metrics(server)["spinepacs_oldest_pending_seconds", "pacs"] > 0
    for number in ids:
        ledger.finish_delivery(number, OutboxState.SENT, 0, commitment_due_at=datetime.now(UTC))
    found = metrics(server)
    assert found["spinepacs_oldest_pending_seconds", "pacs"] == 0
    assert found["spinepacs_oldest_uncommitted_seconds", "pacs"] > 0
    makers.take_in(ledger, "1.2.3", "1.2.9")
    assert metrics(server)["spinepacs_oldest_unread_seconds",] > 0
    assert metrics(server)["spinepacs_start_time_seconds",] > 0
    assert metrics(server)["spinepacs_process_start_time_seconds", "listener"] == 1.0


def test_seconds_of_each_reading_are_counted_once(server, ledger):
    makers.recorded(ledger, "1.2.1", "1.2.2")
    for _ in range(2):
        found = metrics(server)
        assert found["spinepacs_step_seconds_count", "segment"] == 2
        assert found["spinepacs_step_seconds_sum", "segment"] == pytest.approx(0.5)


def test_readings_from_before_the_start_are_not_counted(ledger, spool):
    makers.recorded(ledger, "1.2.1")
    figures = Figures(ledger, spool, 0, dict)
    started = HealthServer(HealthSettings(port=0), {}, figures)
    started.start()
    found = metrics(started)
    started.stop()
    assert ("spinepacs_step_seconds_count", "segment") not in found


def test_metrics_survive_a_database_that_is_away(server, ledger, monkeypatch):
    def away() -> None:
        raise Transient("the database cannot do it now")

    monkeypatch.setattr(ledger, "counts", away)
    found = metrics(server)
    assert found["spinepacs_ledger_up",] == 0
    assert found["spinepacs_process_up", "listener"] == 1
    assert ("spinepacs_received_total",) not in found


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_it_is_read_only(server, method):
    assert get(server, "/healthz", method)[0] == 405


def test_other_paths_are_not_found(server):
    assert get(server, "/etc/passwd")[0] == 404


def test_a_taken_port_is_named(server, checks, ledger, spool):
    with pytest.raises(Permanent, match=f"port {server.port}"):
        HealthServer(HealthSettings(port=server.port), checks, Figures(ledger, spool, 0, dict))
