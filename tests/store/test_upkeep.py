"""Retention and reconciliation: what may go goes, nothing else does, and what nobody knows is taken in."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import Source
from spinepacs.intake.adopt import adopt
from spinepacs.intake.part10 import IMPLEMENTATION_CLASS_UID
from spinepacs.serve.upkeep import Upkeep
from spinepacs.settings.sections import RetentionSettings
from spinepacs.store.files import GivenUp
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalOutcome, OutboxState
from spinepacs.store.spool import Spool
from tests import films, peers
from tests.store.conftest import Ask
from tests.store.makers import (
    NEWER,
    NO_VERTEBRA,
    PACS,
    SOP,
    STUDY,
    VERSIONS,
    VIEWER,
    arrival,
    claimed,
    digest,
    header,
    recorded,
    result_of,
    stored,
    take_in,
)

A_DAY = RetentionSettings(days=1)
TOMORROW = datetime.now(UTC) + timedelta(days=1, hours=6)


def send_all(ledger: Ledger, *destinations: str) -> None:
    for destination in destinations:
        for item in ledger.due(destination):
            ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0)


# -- what may be given up ----------------------------------------------------------------------------------


def test_what_was_delivered_goes_when_it_is_old_enough_and_its_rows_stay(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    send_all(ledger, "pacs")
    assert ledger.files.expire(A_DAY) == GivenUp()
    gone = ledger.files.expire(A_DAY, TOMORROW)
    assert (gone.originals, gone.results) == (1, 3)
    assert ledger.files.expire(A_DAY, TOMORROW) == GivenUp()
    assert ledger.files.wanted("") == {}
    assert len(ask("readings", "sop_uid")) == 1
    assert len(ask("objects", "sop_uid")) == 3
    assert ask("studies", "state") == ["delivered"]


@pytest.mark.parametrize("keep_days", [0, 3])
def test_nothing_goes_without_a_setting_or_before_its_time(ledger: Ledger, keep_days: int) -> None:
    recorded(ledger)
    send_all(ledger, "pacs")
    assert ledger.files.expire(RetentionSettings(days=keep_days), TOMORROW) == GivenUp()


def test_nothing_goes_that_one_destination_has_not_got(ledger: Ledger) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    send_all(ledger, "pacs")
    assert ledger.files.expire(A_DAY, TOMORROW) == GivenUp()
    send_all(ledger, "viewer")
    assert ledger.files.expire(A_DAY, TOMORROW).results == 3


def test_results_that_are_nowhere_else_stay(ledger: Ledger) -> None:
    recorded(ledger, destinations=())
    gone = ledger.files.expire(A_DAY, TOMORROW)
    assert (gone.originals, gone.results) == (1, 0)


def test_only_what_the_settings_name_goes(ledger: Ledger) -> None:
    recorded(ledger)
    send_all(ledger, "pacs")
    only_results = RetentionSettings(days=1, delete=("results",))
    gone = ledger.files.expire(only_results, TOMORROW)
    assert (gone.originals, gone.results) == (0, 3)


def waiting(ledger: Ledger) -> None:
    take_in(ledger)


def in_work(ledger: Ledger) -> None:
    claimed(ledger)


def undelivered(ledger: Ledger) -> None:
    recorded(ledger)


def failed(ledger: Ledger) -> None:
    ledger.fail(claimed(ledger), "TIME_LIMIT", "too slow", transient=False)


def unreadable(ledger: Ledger) -> None:
    ledger.add_arrival(arrival())
    [item] = ledger.unregistered(1)
    ledger.mark_unreadable(item.arrival_id, Refusal("NOT_DICOM", "no preamble"))


def reopened(ledger: Ledger) -> None:
    recorded(ledger)
    take_in(ledger, f"{SOP}.2")


@pytest.mark.parametrize("state", [waiting, in_work, undelivered, failed, unreadable, reopened])
def test_nothing_goes_that_is_not_done(ledger: Ledger, state: Callable[[Ledger], None]) -> None:
    state(ledger)
    everything = RetentionSettings(days=1, maximum_gb=1e-9, refused=True)
    assert ledger.files.expire(everything, TOMORROW) == GivenUp()


def test_a_conflict_stays_beside_a_delivered_study(ledger: Ledger) -> None:
    recorded(ledger)
    ledger.add_arrival(arrival(content="other"))
    send_all(ledger, "pacs")
    ledger.files.expire(RetentionSettings(days=1, refused=True), TOMORROW)
    assert ledger.files.wanted("") == {digest("other"): SOP}


def test_refused_films_wait_for_a_person_or_for_the_setting(ledger: Ledger) -> None:
    claim = claimed(ledger)
    assert ledger.record(claim, result_of(claim, NO_VERTEBRA), {}, (PACS,))
    assert ledger.files.expire(A_DAY, TOMORROW) == GivenUp()
    assert ledger.files.expire(RetentionSettings(days=1, refused=True), TOMORROW).originals == 1


def test_above_the_size_the_oldest_go_until_it_is_kept(ledger: Ledger) -> None:
    for study in ("1.1", "1.2", "1.3"):
        take_in(ledger, f"{study}.1", study)
        ledger.mark_ready(study)
        claim = ledger.claim(VERSIONS, 3)
        assert claim
        result = result_of(claim)
        ledger.record(claim, result, stored(result), (PACS,))
    send_all(ledger, "pacs")
    size_gb = ledger.files.total_bytes() / 1e9  # three originals of 12 MB, and results of a few bytes
    assert ledger.files.expire(RetentionSettings(maximum_gb=size_gb), TOMORROW) == GivenUp()
    gone = ledger.files.expire(RetentionSettings(maximum_gb=size_gb - 0.020), TOMORROW)
    assert gone.originals == 2
    assert {uid for uid in ledger.files.wanted("").values() if uid.endswith(".1")} == {"1.3.1"}


def test_a_file_that_was_deleted_is_not_asked_for_by_a_newer_model(ledger: Ledger) -> None:
    recorded(ledger)
    send_all(ledger, "pacs")
    ledger.files.expire(A_DAY, TOMORROW)
    take_in(ledger, f"{SOP}.2")
    ledger.mark_ready(STUDY)
    claim = ledger.claim(NEWER, 3)
    assert claim
    assert [item.sop_uid for item in claim.arrivals] == [f"{SOP}.2"]


def test_an_image_that_comes_again_is_wanted_again(ledger: Ledger) -> None:
    recorded(ledger)
    send_all(ledger, "pacs")
    ledger.files.expire(A_DAY, TOMORROW)
    assert ledger.add_arrival(arrival()) is ArrivalOutcome.DUPLICATE
    assert ledger.files.wanted("") == {digest(SOP): SOP}


def test_an_image_whose_file_was_missing_is_read_when_it_comes_again(ledger: Ledger) -> None:
    ledger.add_arrival(arrival())
    [item] = ledger.unregistered(1)
    ledger.mark_unreadable(item.arrival_id, Refusal("FILE_MISSING", "send the image again"))
    ledger.add_arrival(arrival())
    assert [waiting.sop_uid for waiting in ledger.unregistered(10)] == [SOP]


# -- decisions of a person ---------------------------------------------------------------------------------


def test_a_person_gives_up_what_cannot_be_processed(ledger: Ledger, ask: Ask) -> None:
    failed(ledger)
    assert ledger.files.discard(STUDY) == 1
    assert ask("studies", "state") == ["refused"]
    assert ask("studies", "reason_code") == ["DISCARDED"]
    assert ledger.files.wanted("") == {}
    assert ledger.retry() == 0


def test_a_person_gives_up_a_conflict_and_keeps_the_first(ledger: Ledger) -> None:
    recorded(ledger, destinations=())
    ledger.add_arrival(arrival(content="other"))
    assert ledger.files.discard(SOP) == 1
    assert digest("other") not in ledger.files.wanted("")
    assert digest(SOP) in ledger.files.wanted("")


@pytest.mark.parametrize("state", [waiting, in_work, undelivered])
def test_nobody_gives_up_what_is_on_its_way(ledger: Ledger, state: Callable[[Ledger], None]) -> None:
    state(ledger)
    assert ledger.files.discard(STUDY) == 0
    assert ledger.files.discard("9.9.9") == 0
    assert digest(SOP) in ledger.files.wanted("")


# -- the spool ---------------------------------------------------------------------------------------------


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def upkeep(spool: Spool, ledger: Ledger, clock: Clock) -> Upkeep:
    settings = RetentionSettings(days=1, grace_s=60)
    return Upkeep(
        settings, spool, ledger, lambda sha256: adopt(sha256, spool, ledger), clock=clock, wall=clock
    )


def round_off(upkeep: Upkeep) -> None:
    """Look at every folder of the spool."""
    for number in range(256):
        upkeep.look(f"{number:02x}")


def keep(spool: Spool, tmp_path: Path, **elements: object) -> str:
    """A film in the spool that no row knows; its digest."""
    path = films.write(films.make_dx(**elements), tmp_path / "film.dcm")
    return spool.add([path.read_bytes()]).sha256


def test_an_image_that_the_database_does_not_know_is_taken_in_after_the_grace_time(
    upkeep: Upkeep, spool: Spool, ledger: Ledger, clock: Clock, tmp_path: Path
) -> None:
    sha256 = keep(spool, tmp_path)
    round_off(upkeep)
    clock.now_s += 59
    round_off(upkeep)
    assert ledger.unregistered(10) == []
    clock.now_s += 1
    round_off(upkeep)
    [taken] = ledger.unregistered(10)
    assert (taken.sha256, taken.source, taken.sop_uid) == (
        sha256,
        Source.SPOOL,
        films.make_dx().SOPInstanceUID,
    )
    assert spool.path_of(sha256).exists()


def test_a_result_that_was_never_recorded_is_removed(
    upkeep: Upkeep, spool: Spool, ledger: Ledger, clock: Clock, tmp_path: Path
) -> None:
    sha256 = keep(spool, tmp_path, Manufacturer="spinepacs", ManufacturerModelName="spinepacs")
    round_off(upkeep)
    clock.now_s += 60
    round_off(upkeep)
    assert not spool.path_of(sha256).exists()
    assert ledger.unregistered(10) == []


def test_what_nobody_can_read_is_kept_and_said_once(
    upkeep: Upkeep, spool: Spool, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    sha256 = spool.add([b"no image at all"]).sha256
    for _ in range(4):
        round_off(upkeep)
        clock.now_s += 60
    assert spool.path_of(sha256).exists()
    assert caplog.text.count(sha256) == 1


def test_a_file_on_its_way_to_the_ledger_is_left_alone(
    upkeep: Upkeep, spool: Spool, ledger: Ledger, clock: Clock
) -> None:
    """A sender sends again what retention has just given up: it must not lose the file that it was answered for."""
    new = spool.add([b"an image"])
    ledger.add_arrival(replace(arrival(), sha256=new.sha256))
    [item] = ledger.unregistered(1)
    ledger.mark_unreadable(item.arrival_id, Refusal("NOT_DICOM", "no preamble"))
    assert ledger.files.discard(SOP) == 1
    round_off(upkeep)
    clock.now_s += 59
    os.utime(new.path, (1, 1))  # so that the second coming shows in any file system's clock
    assert spool.add([b"an image"]) == new
    clock.now_s += 1
    round_off(upkeep)
    assert new.path.exists()
    ledger.add_arrival(replace(arrival(), sha256=new.sha256))
    clock.now_s += 3600
    round_off(upkeep)
    assert new.path.exists(), "wanted again"
    [item] = ledger.unregistered(1)  # and its header is read anew
    ledger.mark_unreadable(item.arrival_id, Refusal("NOT_DICOM", "no preamble"))
    assert ledger.files.discard(SOP) == 1
    for _ in range(2):
        round_off(upkeep)
        clock.now_s += 60
    round_off(upkeep)
    assert not new.path.exists()


def test_a_missing_file_is_said_once(
    upkeep: Upkeep, ledger: Ledger, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.add_arrival(arrival())
    for _ in range(3):
        round_off(upkeep)
    assert caplog.text.count("is missing in the spool") == 1
    assert ask("events", "detail", kind="file-missing") == [digest(SOP)]


def test_retention_waits_where_the_clock_has_jumped(
    spool: Spool, ledger: Ledger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    recorded(ledger)
    send_all(ledger, "pacs")
    wall = Clock()
    settings = RetentionSettings(maximum_gb=1e-9)
    upkeep = Upkeep(settings, spool, ledger, lambda _: False, clock=clock, wall=wall)
    wall.now_s += 365 * 86400
    assert upkeep.expire() == GivenUp()
    assert "the clock has jumped" in caplog.text
    clock.now_s += 365 * 86400
    assert upkeep.expire().originals == 1, "a year that has really passed"


def test_a_disk_below_its_reserve_is_said_once_and_so_is_its_end(
    tiny_disk: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    spool = Spool(tiny_disk / "spool")
    upkeep = Upkeep(RetentionSettings(), spool, ledger, lambda _: False, 300_000)
    upkeep.watch_disk()
    assert caplog.text == ""
    (tiny_disk / "filler").write_bytes(bytes(800_000))
    upkeep.watch_disk()
    upkeep.watch_disk()
    assert caplog.text.count("below its reserve") == 1
    (tiny_disk / "filler").unlink()
    upkeep.watch_disk()
    assert caplog.text.count("room again") == 1
    spool.close()


def test_it_runs_by_itself_and_deletes_nothing_in_its_first_round(spool: Spool, ledger: Ledger) -> None:
    recorded(ledger)
    send_all(ledger, "pacs")
    stop = threading.Event()
    upkeep = Upkeep(RetentionSettings(maximum_gb=1e-9, grace_s=2), spool, ledger, lambda _: False)
    thread = threading.Thread(target=upkeep.run, args=(stop,))
    thread.start()
    try:
        stop.wait(1)
        assert digest(SOP) in ledger.files.wanted("")
        peers.wait_until(lambda: ledger.files.wanted("") == {}, 60, "the second round")
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("wrong", [{"days": -1}, {"maximum_gb": -1}, {"delete": ["rows"]}, {"grace_s": 0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RetentionSettings.model_validate(wrong)


def test_the_listener_marks_what_it_writes(tmp_path: Path, spool: Spool, ledger: Ledger) -> None:
    """Of a received file not even a broken dataset is read for this."""
    film = films.make_dx()
    film.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    path = films.truncate(films.write(film, tmp_path / "film.dcm"), 0.5)
    sha256 = spool.add([path.read_bytes()]).sha256
    assert adopt(sha256, spool, ledger)
    assert ledger.unregistered(1)[0].sop_uid == film.SOPInstanceUID


def test_a_film_without_its_sender_may_be_refused_and_is_read_when_the_sender_comes_again(
    ledger: Ledger,
) -> None:
    ledger.add_arrival(replace(arrival(), source=Source.SPOOL, calling_ae=""))
    [item] = ledger.unregistered(1)
    ledger.register(item.arrival_id, header(), Refusal("NOT_SELECTED", "not from a sender that is read"))
    assert ledger.add_arrival(arrival()) is ArrivalOutcome.DUPLICATE
    [again] = ledger.unregistered(1)
    assert (again.calling_ae, again.source) == ("MODALITY", Source.NETWORK)
