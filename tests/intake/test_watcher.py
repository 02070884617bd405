"""The watched folder: stillness, damage, pictures, crashes, and what others do to the files meanwhile."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import cv2
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from spinepacs.errors import Transient
from spinepacs.intake.listener import Listener
from spinepacs.intake.part10 import dataset_offset, head
from spinepacs.intake.watcher import Watcher
from spinepacs.settings.sections import ListenerSettings, WatchSettings
from spinepacs.store.spool import Spool
from tests import films, peers


class Clock:
    """Monotonic seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "watched"
    made.mkdir()
    return made


@pytest.fixture
def watcher(folder, spool, ledger, clock):
    return Watcher(WatchSettings(folder=folder, settle_s=5), spool, ledger, clock)


def look_until_still(watcher: Watcher, clock: Clock) -> int:
    """Scan twice with the settling time between."""
    first = watcher.scan()
    clock.now_s += 5
    return first + watcher.scan()


def look_until_over(watcher: Watcher, clock: Clock, passed_s: float = 310) -> int:
    """Scan every five seconds until every file's time is over."""
    taken = 0
    for _ in range(int(passed_s // 5)):
        taken += watcher.scan()
        clock.now_s += 5
    return taken


def after_meta(path: Path) -> bytes:
    """A file's bytes after its meta group."""
    with path.open("rb") as file:
        offset = dataset_offset(file)
        assert offset
    return path.read_bytes()[offset:]


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_still_file_is_taken_and_moved_to_done(watcher, clock, folder, spool, ledger):
    path = films.write(films.make_dx(), folder / "film.dcm")
    sent, dataset = dcmread(path), after_meta(path)

    assert watcher.scan() == 0
    clock.now_s += 4.9
    assert watcher.scan() == 0
    clock.now_s += 0.1
    assert watcher.scan() == 1

    (arrival,) = ledger.unregistered(10)
    kept = dcmread(spool.path_of(arrival.sha256))
    assert kept == sent
    assert kept.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    assert after_meta(spool.path_of(arrival.sha256)) == dataset, "byte for byte"
    assert (arrival.source, arrival.sop_uid) == ("folder", films.make_dx().SOPInstanceUID)
    assert names(folder) == ["done/film.dcm"]


def test_a_file_that_grows_is_waited_for(watcher, clock, folder, ledger):
    whole = films.write(films.make_dx(), folder.parent / "whole.dcm").read_bytes()
    path = folder / "film.dcm"
    for end in range(10_000, len(whole), 40_000):
        path.write_bytes(whole[:end])
        assert watcher.scan() == 0
        clock.now_s += 4.9
    path.write_bytes(whole)
    assert look_until_still(watcher, clock) == 1
    assert len(ledger.unregistered(10)) == 1
    assert names(folder) == ["done/film.dcm"]


def test_a_file_rewritten_at_the_same_size_is_waited_for(watcher, clock, folder):
    path = films.write(films.make_dx(), folder / "film.dcm")
    watcher.scan()
    clock.now_s += 5
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert watcher.scan() == 0


def test_folders_keep_their_shape(watcher, clock, folder, ledger):
    for number in range(3):
        place = folder / "monday" / f"study {number}"
        place.mkdir(parents=True)
        films.write(films.make_dx(seed=str(number)), place / "film.dcm")
    assert look_until_still(watcher, clock) == 3
    assert names(folder) == [f"done/monday/study {number}/film.dcm" for number in range(3)]
    assert len(ledger.unregistered(10)) == 3


def test_hidden_files_links_done_and_failed_are_left_alone(watcher, clock, folder, ledger):
    film = films.write(films.make_dx(), folder.parent / "outside.dcm").read_bytes()
    for name in (".hidden.dcm", ".partial/film.dcm", "done/old.dcm", "failed/old.dcm"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(film)
    (folder / "link.dcm").symlink_to(folder.parent / "outside.dcm")
    os.mkfifo(folder / "pipe")
    before = names(folder)
    assert look_until_still(watcher, clock) == 0
    assert names(folder) == before
    assert ledger.unregistered(10) == []


DAMAGE = {
    "not DICOM": lambda path: path.write_bytes(b"hello, I am a text file\n" * 20),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: films.truncate(films.write(films.make_dx(), path), 0.5),
    "no SOP Instance UID": lambda path: films.write(films.make_dx(SOPInstanceUID=None), path),
    "not a picture after all": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_files_go_to_failed_with_the_reason(watcher, clock, folder, ledger, damage):
    damage(folder / "film.dcm")
    bytes_before = (folder / "film.dcm").read_bytes()

    assert look_until_over(watcher, clock) == 1

    assert names(folder) == ["failed/film.dcm", "failed/film.dcm.reason.txt"]
    assert (folder / "failed/film.dcm").read_bytes() == bytes_before
    code, _, sentence = (folder / "failed/film.dcm.reason.txt").read_text().partition(": ")
    assert code.isupper()
    assert len(sentence) > 10
    assert ledger.unregistered(10) == []


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures_are_wrapped_without_spacing(watcher, clock, folder, spool, ledger, suffix):
    assert cv2.imwrite(str(folder / f"film{suffix}"), (films.spine_like() >> 4).astype("uint8"))
    assert look_until_still(watcher, clock) == 1
    (arrival,) = ledger.unregistered(10)
    made = dcmread(spool.path_of(arrival.sha256))
    assert made.Modality == "CR"
    assert made.BodyPartExamined == "SPINE"
    assert not made.get("PixelSpacing")
    assert names(folder) == [f"done/film{suffix}"]


def test_names_never_collide(watcher, clock, folder):
    for number in range(3):
        films.write(films.make_dx(seed=str(number)), folder / "film.dcm")
        assert look_until_still(watcher, clock) == 1
    assert names(folder) == ["done/film-2.dcm", "done/film-3.dcm", "done/film.dcm"]
    for _ in range(2):
        (folder / "x.txt").write_text("no " * 50)
        look_until_still(watcher, clock)
    assert names(folder / "failed") == ["x-2.txt", "x-2.txt.reason.txt", "x.txt", "x.txt.reason.txt"]


def test_the_same_image_again_is_done_and_other_bytes_fail(watcher, clock, folder, ledger):
    for name, film in (
        ("first.dcm", films.make_dx()),
        ("again.dcm", films.make_dx()),
        ("other.dcm", films.make_dx(SeriesDescription="another")),
    ):
        films.write(film, folder / name)
        look_until_still(watcher, clock)
    assert names(folder) == [
        "done/again.dcm",
        "done/first.dcm",
        "failed/other.dcm",
        "failed/other.dcm.reason.txt",
    ]
    assert (folder / "failed/other.dcm.reason.txt").read_text().startswith("CONFLICT: ")
    assert ledger.counts().arrivals == {"received": 1, "conflict": 1}


@pytest.mark.peer
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"]
)
def test_the_same_image_by_network_and_by_folder_is_one(watcher, clock, folder, spool, ledger, syntax):
    """The meta group is the file's, not the image's."""
    film = films.make_dx()
    path = films.write(film, folder.parent / "film.dcm", syntax)
    listener = Listener(ListenerSettings(port=0), spool, ledger)
    port = listener.start()
    options = ["-xi"] if syntax == ImplicitVRLittleEndian else []
    sending = [peers.require("storescu"), *options, "-aec", "SPINEPACS", "127.0.0.1", str(port), path]
    subprocess.run(sending, check=True, timeout=30)
    listener.stop()
    path.rename(folder / "film.dcm")

    look_until_still(watcher, clock)

    assert names(folder) == ["done/film.dcm"]
    assert ledger.counts().arrivals == {"received": 1}


def test_meta_groups_of_all_kinds_are_skipped(tmp_path):
    """Long VRs, private elements, a wrong group length, none at all."""
    ours = head("1.2.840.10008.5.1.4.1.1.1.1", "1.2.3", ExplicitVRLittleEndian)
    private = b"\x02\x00\x02\x01OB\x00\x00\x04\x00\x00\x00abcd"
    dataset = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
    for meta in (
        ours,
        ours + private,
        ours[:132] + ours[144:],
        ours[:140] + b"\xff\xff\xff\xff" + ours[144:],
    ):
        path = tmp_path / "film.dcm"
        path.write_bytes(meta + dataset)
        assert after_meta(path) == dataset
    path.write_bytes(dataset)
    with path.open("rb") as file:
        assert dataset_offset(file) is None


@pytest.mark.parametrize("uid", ["1.2.03.04", "1..2", "1" * 64])
def test_odd_uids_are_taken_as_they_are(uid):
    assert uid.encode() in head("1.2.840.10008.5.1.4.1.1.1.1", uid, ExplicitVRLittleEndian)


def test_a_crash_between_ledger_and_move_is_made_good(watcher, clock, folder, spool, ledger, monkeypatch):
    films.write(films.make_dx(), folder / "film.dcm")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            look_until_still(watcher, clock)
    assert names(folder) == ["film.dcm"]

    after_restart = Watcher(WatchSettings(folder=folder, settle_s=5), spool, ledger, clock)
    assert look_until_still(after_restart, clock) == 1

    assert names(folder) == ["done/film.dcm"]
    assert ledger.counts().arrivals == {"received": 1}


def test_a_full_disk_leaves_the_file_until_there_is_room(folder, tmp_path, ledger, clock):
    class FullOnce(Spool):
        failures = 1

        def add(self, chunks):
            if self.failures:
                self.failures -= 1
                raise Transient("the disk is full")
            return super().add(chunks)

    watcher = Watcher(WatchSettings(folder=folder, settle_s=5), FullOnce(tmp_path / "spool"), ledger, clock)
    films.write(films.make_dx(), folder / "film.dcm")
    assert look_until_still(watcher, clock) == 0
    assert names(folder) == ["film.dcm"]
    assert watcher.scan() == 1
    assert names(folder) == ["done/film.dcm"]


class BrokenSpool(Spool):
    """A defect of ours, which one file meets."""

    def add(self, chunks):
        if b"DEFECT" in (content := b"".join(chunks)):
            raise RuntimeError("a defect")
        return super().add([content])


def test_a_defect_of_ours_costs_one_file_and_not_those_after_it(folder, tmp_path, ledger, clock):
    watcher = Watcher(
        WatchSettings(folder=folder, settle_s=5), BrokenSpool(tmp_path / "spool"), ledger, clock
    )
    films.write(films.make_dx(StationName="DEFECT"), folder / "a.dcm")
    films.write(films.make_dx(seed="good"), folder / "b.dcm")
    assert look_until_still(watcher, clock) == 2
    assert (folder / "done" / "b.dcm").exists()
    assert "DEFECT: RuntimeError" in (folder / "failed" / "a.dcm.reason.txt").read_text()
    assert len(ledger.unregistered(10)) == 1


def test_a_file_that_vanishes_is_forgotten(watcher, clock, folder, monkeypatch):
    path = films.write(films.make_dx(), folder / "film.dcm")
    watcher.scan()
    path.unlink()
    clock.now_s += 5
    assert watcher.scan() == 0

    films.write(films.make_dx(), path)
    take = watcher._take
    monkeypatch.setattr(watcher, "_take", lambda taken, found: (taken.unlink(), take(taken, found))[1])
    assert look_until_still(watcher, clock) == 0
    assert names(folder) == []


def test_a_file_that_changes_while_it_is_read_is_taken_later(folder, tmp_path, ledger, clock):
    path = films.write(films.make_dx(), folder / "film.dcm")

    class Meddler(Spool):
        def add(self, chunks):
            stored = super().add(chunks)
            if not ledger.unregistered(1) and path.stat().st_mtime_ns != 1:
                os.utime(path, ns=(1, 1))
            return stored

    watcher = Watcher(WatchSettings(folder=folder, settle_s=5), Meddler(tmp_path / "spool"), ledger, clock)
    assert look_until_still(watcher, clock) == 0
    assert ledger.unregistered(10) == []
    assert look_until_still(watcher, clock) == 1


def test_a_file_that_cannot_be_moved_is_left_alone_for_a_while(
    watcher, clock, folder, ledger, caplog, monkeypatch
):
    films.write(films.make_dx(), folder / "Geheim^Erika.dcm")
    with monkeypatch.context() as patch:
        patch.setattr(
            Path, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
        )
        assert look_until_still(watcher, clock) == 0
        assert [look_until_still(watcher, clock) for _ in range(3)] == [0, 0, 0]
    assert caplog.text.count("cannot be taken: Permission denied") == 1
    assert "Geheim" not in caplog.text
    clock.now_s += 60
    assert look_until_still(watcher, clock) == 1
    assert names(folder) == ["done/Geheim^Erika.dcm"]
    assert ledger.counts().arrivals == {"received": 1}


def test_a_folder_that_goes_away_and_comes_back_is_survived(watcher, clock, folder):
    folder.rename(folder.parent / "unplugged")
    assert look_until_still(watcher, clock) == 0
    (folder.parent / "unplugged").rename(folder)
    films.write(films.make_dx(), folder / "film.dcm")
    assert look_until_still(watcher, clock) == 1


@pytest.mark.parametrize("events", [True, False], ids=["with events", "without events"])
def test_it_runs_by_itself_and_stops_when_told(folder, spool, ledger, monkeypatch, events):
    if not events:
        broken = lambda *_, **__: (_ for _ in ()).throw(OSError(28, "inotify watch limit reached"))  # noqa: E731
        monkeypatch.setattr("spinepacs.intake.wake.Observer.schedule", broken)
    scan_interval_s = 60 if events else 0.1
    settings = WatchSettings(folder=folder, settle_s=0.2, scan_interval_s=scan_interval_s)
    stop = threading.Event()
    thread = threading.Thread(target=Watcher(settings, spool, ledger).run, args=(stop,))
    thread.start()
    try:
        stop.wait(0.2)  # past the first scan
        whole = films.write(films.make_dx(), folder.parent / "whole.dcm").read_bytes()
        with (folder / "film.dcm").open("wb") as slow:
            for start in range(0, len(whole), 30_000):
                slow.write(whole[start : start + 30_000])
                slow.flush()
                stop.wait(0.1)
                assert names(folder) == ["film.dcm"]
        peers.wait_until(lambda: names(folder) == ["done/film.dcm"], what="the file in done/")
    finally:
        stop.set()
        thread.join(timeout=5)
    assert not thread.is_alive()
    assert len(ledger.unregistered(10)) == 1
