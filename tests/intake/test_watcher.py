"""The watched folder: stillness, damage, pictures, crashes, and what others do to the files meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from sqlalchemy import select

from spinepacs.dicom.reading.header import read_header
from spinepacs.errors import Transient
from spinepacs.intake.listener import Listener
from spinepacs.intake.part10 import dataset_offset, head
from spinepacs.intake.watcher import Watcher
from spinepacs.settings.sections import ListenerSettings, WatchSettings
from spinepacs.store import queue
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.store.tables import arrivals, audit_events, events
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


# -- what is short gets more time --------------------------------------------------------------------------


def picture(path: Path, seed: int = 0) -> Path:
    pixels = (films.spine_like() >> 4).astype("uint8")
    pixels[0, 0] = seed
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def whole_files(folder: Path) -> dict[str, bytes]:
    """A film, a picture of each kind and an archive."""
    folder.mkdir()
    made = [
        films.write(films.make_dx(), folder / "film.dcm"),
        picture(folder / "film.png", 1),
        picture(folder / "film.jpg", 2),
    ]
    with zipfile.ZipFile(folder / "films.zip", "w") as packed:
        packed.write(films.write(films.make_dx(seed="zip"), folder / "packed.dcm"), "packed.dcm")
    return {path.name: path.read_bytes() for path in (*made, folder / "films.zip")}


@pytest.mark.parametrize("pause_s", [20, 60, 290])
@pytest.mark.parametrize("share", [0.0, 0.0001, 0.3, 0.9])
@pytest.mark.parametrize("name", ["film.dcm", "film.png", "film.jpg", "films.zip"])
def test_a_copy_that_pauses_is_waited_for(watcher, clock, folder, ledger, name, share, pause_s):
    whole = whole_files(folder.parent / "whole")[name]
    (folder / name).write_bytes(whole[: int(len(whole) * share)])
    assert look_until_over(watcher, clock, pause_s) == 0
    assert names(folder) == [name]
    (folder / name).write_bytes(whole)
    assert look_until_over(watcher, clock, 20) >= 1
    assert not (folder / "failed").exists()
    assert len(ledger.unregistered(10)) == 1


def test_the_longer_a_copy_has_taken_the_longer_it_is_waited_for(watcher, clock, folder, ledger):
    whole = films.write(films.make_dx(), folder.parent / "whole.dcm").read_bytes()
    for part in range(1, 10):
        (folder / "film.dcm").write_bytes(whole[: len(whole) * part // 10])
        assert look_until_over(watcher, clock, 100) == 0
    assert look_until_over(watcher, clock, 600) == 0, "it has taken 800 s so far"
    (folder / "film.dcm").write_bytes(whole)
    assert look_until_over(watcher, clock, 20) == 1
    assert names(folder) == ["done/film.dcm"]


def test_room_that_was_only_made_for_a_file_is_waited_for(watcher, clock, folder):
    """Some copying programs make a file of full size first, and fill it."""
    whole = films.write(films.make_dx(), folder.parent / "whole.dcm").read_bytes()
    (folder / "film.dcm").write_bytes(bytes(len(whole)))
    assert look_until_over(watcher, clock, 100) == 0
    (folder / "film.dcm").write_bytes(whole)
    assert look_until_over(watcher, clock, 20) == 1
    assert names(folder) == ["done/film.dcm"]


def test_what_is_no_film_at_all_does_not_wait(watcher, clock, folder):
    (folder / "letter.txt").write_text("Dear colleague, " * 20)
    assert look_until_still(watcher, clock) == 1
    assert names(folder) == ["failed/letter.txt", "failed/letter.txt.reason.txt"]


WORDS = {
    b"II*\0": "PICTURE_FORMAT: a TIFF picture, no DICOM file: save it as PNG",
    b"MM\0*": "PICTURE_FORMAT: a TIFF picture",
    b"BM\x36\0\0\0\0\0\0\0": "PICTURE_FORMAT: a BMP picture",
    b"7z\xbc\xaf\x27\x1c": "ARCHIVE: a 7z archive, no DICOM file: unpack it",
    b"\x1f\x8b\x08": "ARCHIVE: a gzip archive",
    b"%PDF-1.7": "NOT_DICOM: a PDF document, no DICOM file: send the original film",
    b"BMI and more": "NOT_DICOM: no DICOM file (PS3.10)",
}


@pytest.mark.parametrize("start", WORDS)
def test_other_files_are_called_what_they_are(watcher, clock, folder, start):
    (folder / "film").write_bytes(start + b"x" * 500)
    assert look_until_still(watcher, clock) == 1
    assert (folder / "failed/film.reason.txt").read_text().startswith(WORDS[start])


def test_a_dicomdir_is_skipped(watcher, clock, folder, ledger):
    shutil.copy(get_testdata_file("DICOMDIR"), folder / "DICOMDIR")
    films.write(films.make_dx(), folder / "IM1")
    assert look_until_still(watcher, clock) == 2
    assert names(folder) == ["done/DICOMDIR", "done/IM1"]
    assert len(ledger.unregistered(10)) == 1


def test_links_are_said_once(watcher, folder, caplog):
    target = films.write(films.make_dx(), folder.parent / "outside.dcm")
    (folder / "Geheim.dcm").symlink_to(target)
    (folder / "a folder").symlink_to(folder.parent, target_is_directory=True)
    for _ in range(3):
        watcher.scan()
    assert caplog.text.count("2 links, pipes or the like") == 1
    (folder / "another.dcm").symlink_to(target)
    watcher.scan()
    assert "1 links, pipes or the like" in caplog.text
    assert "Geheim" not in caplog.text


# -- archives ------------------------------------------------------------------------------------------------


def test_an_archive_is_unpacked_and_its_films_are_taken(watcher, clock, folder, spool, ledger):
    with zipfile.ZipFile(folder / "monday.zip", "w") as packed:
        packed.write(films.write(films.make_dx(), folder.parent / "film.dcm"), "CD/IM1")
        packed.write(picture(folder.parent / "film.png"), "CD/film.png")
        packed.writestr("CD/films.csv", "file,patient_id\nfilm.png,PAT-7\n")
        packed.writestr("CD/readme.txt", "hello")
        packed.writestr("CD/film.tif", b"II*\0" + b"x" * 200)
    look_until_over(watcher, clock, 60)
    place = "monday.zip.unpacked/CD"
    assert names(folder) == [
        "done/monday.zip", f"done/{place}/IM1", f"done/{place}/film.png", f"done/{place}/films.csv",
        f"failed/{place}/film.tif", f"failed/{place}/film.tif.reason.txt",
    ]  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == ["done", "failed"], "no empty folder is left"
    patients = {header_of_arrival(spool, arrival).patient_id for arrival in ledger.unregistered(10)}
    assert "PAT-7" in patients
    assert len(patients) == 2


def header_of_arrival(spool, arrival):
    return read_header(spool.path_of(arrival.sha256))


def test_a_crash_while_an_archive_is_unpacked_is_made_good(
    watcher, clock, folder, spool, ledger, monkeypatch
):
    with zipfile.ZipFile(folder / "a.zip", "w") as packed:
        packed.write(films.write(films.make_dx(), folder.parent / "film.dcm"), "film.dcm")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            look_until_still(watcher, clock)
    again = Watcher(WatchSettings(folder=folder, settle_s=5), spool, ledger, clock)
    look_until_over(again, clock, 60)
    assert names(folder) == ["done/a.zip", "done/a.zip.unpacked/film.dcm"]
    assert len(ledger.unregistered(10)) == 1


def test_an_archive_that_cannot_be_opened_fails_with_its_reason(watcher, clock, folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as packed:
        packed.writestr("../film.dcm", b"x")
    assert look_until_still(watcher, clock) == 1
    assert names(folder) == ["failed/a.zip", "failed/a.zip.reason.txt"]
    assert (folder / "failed/a.zip.reason.txt").read_text().startswith("ARCHIVE_NAMES: ")


# -- tables --------------------------------------------------------------------------------------------------


def said(spool, ledger) -> dict[str, tuple[str, str, str]]:
    """What the films say of themselves, by the file that they came from."""
    found = {}
    for row in ledger.rows(select(arrivals.c.file_name, arrivals.c.sha256)):
        film = dcmread(spool.path_of(row["sha256"]))
        found[row["file_name"]] = (film.PatientID, film.StudyDate, film.ViewPosition)
    return found


def test_a_table_says_whose_pictures_are(watcher, clock, folder, spool, ledger):
    for number, name in enumerate(("a.png", "sub/b.png", "c.png")):
        picture(folder / name, number)
    (folder / "films.csv").write_text(
        "file;patient_id;study_date;view\na.png;PAT-1;2026-11-20;AP\nsub/b.png;PAT-2;;\n",
        encoding="utf-8-sig",
    )
    look_until_over(watcher, clock, 30)
    assert said(spool, ledger) == {
        "a.png": ("PAT-1", "20261120", "AP"), "sub/b.png": ("PAT-2", "", ""), "c.png": ("", "", "")
    }  # fmt: skip
    assert names(folder) == ["done/a.png", "done/c.png", "done/films.csv", "done/sub/b.png"]


def test_pictures_wait_for_a_table_that_is_still_being_written(watcher, clock, folder, spool, ledger):
    picture(folder / "a.png")
    (folder / "films.csv").write_text("file,patient_id\na.png,PA")
    look_until_over(watcher, clock, 3)
    for end in range(20):
        (folder / "films.csv").write_text("file,patient_id\nb.png,PAT-2\n" + "\n" * end)
        assert watcher.scan() == 0
        clock.now_s += 4
    (folder / "films.csv").write_text("file,patient_id\na.png,PAT-1\n")
    look_until_over(watcher, clock, 30)
    assert said(spool, ledger) == {"a.png": ("PAT-1", "", "")}


def test_a_line_that_is_wrong_costs_its_picture_and_no_other(watcher, clock, folder, spool, ledger):
    for number, name in enumerate(("a.png", "b.png")):
        picture(folder / name, number)
    (folder / "films.csv").write_text(
        "file,patient_id,study_date\na.png,PAT-1,20.11.2026\nb.png,PAT-2,20261120\n"
    )
    assert look_until_over(watcher, clock, 200) == 0, "somebody may be putting it right"
    look_until_over(watcher, clock, 600)
    assert said(spool, ledger) == {"b.png": ("PAT-2", "20261120", "")}
    reason = (folder / "failed/a.png.reason.txt").read_text()
    assert reason == "PICTURE_TABLE: line 2: study_date must be a day like 2026-11-20 or 20261120\n"
    assert "line 2" in (folder / "failed/films.csv.reason.txt").read_text()


def test_a_table_that_is_put_right_in_time_costs_nothing(watcher, clock, folder, spool, ledger):
    picture(folder / "a.png")
    (folder / "films.csv").write_text("file,patient_id,study_date\na.png,PAT-1,20.11.2026\n")
    look_until_over(watcher, clock, 100)
    (folder / "films.csv").write_text("file,patient_id,study_date\na.png,PAT-1,2026-11-20\n")
    look_until_over(watcher, clock, 30)
    assert said(spool, ledger) == {"a.png": ("PAT-1", "20261120", "")}
    assert not (folder / "failed").exists()


def test_a_table_that_cannot_be_used_takes_the_pictures_beside_it_along(watcher, clock, folder, ledger):
    picture(folder / "sub/a.png")
    films.write(films.make_dx(), folder / "sub/film.dcm")
    picture(folder / "elsewhere/b.png", 1)
    (folder / "sub/films.csv").write_text("filename,patient\na.png,Geheim\n")
    look_until_over(watcher, clock, 600)
    assert names(folder) == [
        "done/elsewhere/b.png", "done/sub/film.dcm",
        "failed/sub/a.png", "failed/sub/a.png.reason.txt", "failed/sub/films.csv", "failed/sub/films.csv.reason.txt",
    ]  # fmt: skip
    reasons = [path.read_text() for path in folder.rglob("*.reason.txt")]
    assert all("PICTURE_TABLE: " in reason and "line 1: column 1" in reason for reason in reasons)
    assert not any("Geheim" in reason for reason in reasons)


def test_a_line_is_used_once_and_a_table_does_not_wait_for_ever(watcher, clock, folder, spool, ledger):
    """A picture of next week with the same name must not get this week's patient."""
    (folder / "films.csv").write_text("file,patient_id\n1.png,PAT-1\n2.png,PAT-2\n")
    picture(folder / "1.png", 1)
    look_until_over(watcher, clock, 30)
    picture(folder / "1.png", 2)
    look_until_over(watcher, clock, 400)
    reason = (folder / "failed/1.png.reason.txt").read_text()
    assert reason == "PICTURE_TABLE: line 2: another file of this name has had this line\n"
    look_until_over(watcher, clock, 4000)
    assert said(spool, ledger) == {"1.png": ("PAT-1", "", "")}
    reason = (folder / "failed/films.csv.reason.txt").read_text()
    assert reason == "PICTURE_TABLE: the files of 1 of 2 lines did not come beside it: 3\n"


def test_where_a_table_is_required_no_picture_goes_without_its_line(folder, spool, ledger, clock):
    settings = WatchSettings(folder=folder, settle_s=5, table_required=True)
    watcher = Watcher(settings, spool, ledger, clock)
    picture(folder / "a.png", 1)
    picture(folder / "b.png", 2)
    films.write(films.make_dx(), folder / "film.dcm")
    assert look_until_over(watcher, clock, 200) == 1, "the film with a header"
    (folder / "films.csv").write_text("file,patient_id\na.png,PAT-1\n")
    look_until_over(watcher, clock, 400)
    assert names(folder) == [
        "done/a.png", "done/film.dcm", "done/films.csv", "failed/b.png", "failed/b.png.reason.txt"
    ]  # fmt: skip
    assert (folder / "failed/b.png.reason.txt").read_text().startswith("NO_TABLE_ROW: ")


# -- failed/ and the ledger ------------------------------------------------------------------------------------


def test_the_ledger_knows_what_lies_in_failed(watcher, clock, folder, spool, ledger):
    for name in ("Geheim^Erika.txt", "letter.txt"):
        (folder / name).write_text("Dear colleague, " * 20)
    (folder / "film.tif").write_bytes(b"II*\0" + b"x" * 500)
    look_until_still(watcher, clock)
    assert ledger.counts().folder_failed == {"NOT_DICOM": 2, "PICTURE_FORMAT": 1}
    rows = queue.queue(ledger)
    assert {(row["what"], row["state"], row["where"]) for row in rows} == {("folder", "failed", "failed/")}
    assert sorted(row["reason"].partition(",")[0] for row in rows) == [
        "NOT_DICOM: 2 files",
        "PICTURE_FORMAT: 1 files",
    ]
    assert "Geheim" not in str(rows)
    kinds = [row["kind"] for row in ledger.rows(select(events.c.kind))]
    assert kinds == ["not-taken"] * 3
    trail = [row["action"] for row in ledger.rows(select(audit_events.c.action))]
    assert trail == ["not-taken"] * 3

    (folder / "failed/film.tif").unlink()
    after_restart = Watcher(WatchSettings(folder=folder, settle_s=5), spool, ledger, clock)
    after_restart.scan()
    assert ledger.counts().folder_failed == {"NOT_DICOM": 2}
    assert len(ledger.rows(select(events.c.kind))) == 3, "told once"
    shutil.rmtree(folder / "failed")
    after_restart.scan()
    assert ledger.counts().folder_failed == {}


def test_an_empty_mount_point_says_nothing_of_failed(watcher, clock, folder, spool, ledger):
    (folder / "letter.txt").write_text("Dear colleague, " * 20)
    look_until_still(watcher, clock)
    folder.rename(folder.parent / "unmounted")
    watcher.scan()
    folder.mkdir()
    watcher.scan()
    Watcher(WatchSettings(folder=folder, settle_s=5), spool, ledger, clock).scan()
    assert ledger.counts().folder_failed == {"NOT_DICOM": 1}


def test_names_of_files_are_kept(watcher, clock, folder, ledger):
    films.write(films.make_dx(), folder / "monday.dcm")
    picture(folder / "sub/Röntgen 17.png")
    look_until_still(watcher, clock)
    kept = {row["file_name"] for row in ledger.rows(select(arrivals.c.file_name))}
    assert kept == {"monday.dcm", "sub/Röntgen 17.png"}


# -- a share that is not there -----------------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A file system mounted over a folder; only root may do that."""
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mount.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class Running:
    """A watcher that runs, and what it says of its folder."""

    def __init__(self, settings: WatchSettings, spool: Spool, ledger: Ledger) -> None:
        self.states: list[bool] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=Watcher(settings, spool, ledger).run, args=(self._stop, self.states.append)
        )

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()


def quick(folder: Path, **changes: object) -> WatchSettings:
    return WatchSettings(**{"folder": folder, "settle_s": 0.1, "scan_interval_s": 0.1, **changes})


def test_a_folder_that_is_missing_is_said_and_waited_for_and_not_made(tmp_path, spool, ledger, caplog):
    folder = tmp_path / "share" / "films"
    with Running(quick(folder), spool, ledger) as running:
        peers.wait_until(lambda: running.states == [False], what="the word that it is away")
        assert not folder.parent.exists()
        folder.mkdir(parents=True)
        films.write(films.make_dx(), folder / "film.dcm")
        peers.wait_until(lambda: names(folder) == ["done/film.dcm"], what="the film in done/")
        assert running.states == [False, True]
    assert caplog.text.count("is not there: mount its share, correct the setting, or set watch.create") == 1


def test_a_folder_is_made_where_that_is_asked_for(tmp_path, spool, ledger):
    folder = tmp_path / "new" / "films"
    with Running(quick(folder, create=True), spool, ledger) as running:
        peers.wait_until(lambda: running.states == [True], what="the folder")
        assert folder.is_dir()


def test_a_share_that_vanishes_is_said_and_works_again_when_it_is_back(folder, spool, ledger, caplog):
    away = folder.parent / "away"
    with Running(quick(folder), spool, ledger) as running:
        peers.wait_until(lambda: running.states == [True], what="the folder")
        folder.rename(away)
        peers.wait_until(lambda: running.states == [True, False], what="the word that it is away")
        films.write(films.make_dx(), away / "film.dcm")
        away.rename(folder)
        peers.wait_until(lambda: names(folder) == ["done/film.dcm"], what="the film in done/")
        assert running.states == [True, False, True]
    assert "is there again" in caplog.text


def test_a_share_that_is_mounted_over_the_folder_is_watched(tmp_path, spool, ledger, caplog):
    folder = tmp_path / "watched"
    folder.mkdir()
    with Running(quick(folder, settle_s=0.3), spool, ledger) as running:
        peers.wait_until(lambda: running.states == [True], what="the folder")
        with mounted(folder):
            films.write(films.make_dx(), folder / "film.dcm")
            peers.wait_until(lambda: names(folder) == ["done/film.dcm"], what="the film in done/")
            assert "another file system than before" in caplog.text
        peers.wait_until(lambda: len(running.states) == 3, what="the local folder")
        assert names(folder) == []
