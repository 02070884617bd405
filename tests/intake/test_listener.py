"""The listener against DCMTK's senders, scripted senders, and rubbish."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from pynetdicom import AE

from spinepacs.errors import Permanent, Transient
from spinepacs.intake.listener import Listener
from spinepacs.intake.port import open_port
from spinepacs.settings.sections import ListenerSettings
from spinepacs.store.spool import Spool
from tests import films, peers

pytestmark = [pytest.mark.peer, *peers.UNCLOSED_SOCKETS]


@pytest.fixture
def listener(spool, ledger):
    started = Listener(ListenerSettings(port=0, network_timeout_s=5), spool, ledger)
    started.start()
    yield started
    started.stop(grace_s=0.5)


def store(
    listener: Listener, *options: str | Path, sender: str = "storescu"
) -> subprocess.CompletedProcess[str]:
    arguments = [
        peers.require(sender),
        "-v",
        "-aet",
        "MODALITY",
        "-aec",
        "SPINEPACS",
        "127.0.0.1",
        listener.port,
    ]
    return subprocess.run(
        [str(part) for part in (*arguments, *options)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def association_with(listener: Listener, film):
    ae = AE("SCRIPT")
    ae.add_requested_context(film.SOPClassUID, film.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", listener.port, ae_title="SPINEPACS")
    assert association.is_established
    return association


def test_echo_is_answered(listener):
    echo = [peers.require("echoscu"), "-aec", "SPINEPACS", "127.0.0.1", str(listener.port)]
    assert subprocess.run(echo, timeout=10, check=False).returncode == 0


def test_what_is_stored_is_the_dataset_as_sent(listener, spool, ledger, tmp_path):
    sent = films.write(films.make_dx(), tmp_path / "film.dcm")

    result = store(listener, sent)

    assert result.returncode == 0, result.stderr
    (arrival,) = ledger.unregistered(10)
    kept = dcmread(spool.path_of(arrival.sha256))
    assert kept == dcmread(sent)
    assert kept.file_meta.TransferSyntaxUID == dcmread(sent).file_meta.TransferSyntaxUID
    assert (arrival.calling_ae, arrival.source) == ("MODALITY", "network")
    assert arrival.sop_uid == kept.SOPInstanceUID
    assert arrival.size_bytes == spool.path_of(arrival.sha256).stat().st_size


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.name)
def test_compressed_images_stay_compressed(listener, spool, ledger, tmp_path, syntax):
    sent = films.write(films.make_dx(), tmp_path / "film.dcm", syntax)

    result = store(listener, "--decompress-never", sent, sender="dcmsend")

    assert result.returncode == 0, result.stdout + result.stderr
    (arrival,) = ledger.unregistered(10)
    assert arrival.transfer_syntax_uid == syntax
    assert dcmread(spool.path_of(arrival.sha256)).PixelData == dcmread(sent).PixelData


def test_jpeg_lossless_of_dcmtk_is_taken(listener, ledger, tmp_path):
    native = films.write(films.make_dx(), tmp_path / "native.dcm")
    lossless = tmp_path / "lossless.dcm"
    subprocess.run([peers.require("dcmcjpeg"), native, lossless], check=True)

    assert store(listener, "-xs", lossless).returncode == 0

    assert ledger.unregistered(1)[0].transfer_syntax_uid == "1.2.840.10008.1.2.4.70"


def test_a_second_send_of_the_same_image_is_success_and_one_arrival(listener, ledger, tmp_path):
    sent = films.write(films.make_dx(), tmp_path / "film.dcm")
    assert store(listener, sent).returncode == 0
    assert store(listener, sent).returncode == 0
    assert len(ledger.unregistered(10)) == 1
    assert ledger.counts().arrivals == {"received": 1}


def test_the_same_uid_with_other_bytes_is_kept_beside_the_first(listener, spool, ledger, tmp_path):
    assert store(listener, films.write(films.make_dx(), tmp_path / "a.dcm")).returncode == 0
    changed = films.make_dx(SeriesDescription="C-spine lateral, corrected")
    assert store(listener, films.write(changed, tmp_path / "b.dcm")).returncode == 0
    assert ledger.counts().arrivals == {"received": 1, "conflict": 1}


def test_two_senders_at_once_lose_nothing(listener, ledger, tmp_path):
    folders = []
    for sender in range(2):
        folder = tmp_path / f"sender-{sender}"
        folder.mkdir()
        for number in range(5):
            films.write(films.make_dx(seed=f"{sender}-{number}"), folder / f"{number}.dcm")
        folders.append(folder)
    results = []
    threads = [
        threading.Thread(target=lambda f=folder: results.append(store(listener, "+sd", f)))
        for folder in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [result.returncode for result in results] == [0, 0]
    assert len({arrival.sop_uid for arrival in ledger.unregistered(100)}) == 10


def test_damaged_datasets_are_kept_as_they_are(listener, spool, ledger):
    """The handler decodes nothing: judging is for the worker, and nothing that was sent is lost."""
    film = films.make_dx()
    association = association_with(listener, film)
    del film.StudyInstanceUID
    film.PixelData = film.PixelData[:100]
    assert association.send_c_store(film).Status == 0x0000
    association.release()
    assert ledger.unregistered(1)[0].sop_uid == film.SOPInstanceUID


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # pydicom's, which the daemon does not log
@pytest.mark.parametrize("uid", ["1." + "2" * 62, "2.16.840.01.007", "1.2.3..4"])
def test_odd_uids_are_taken(listener, ledger, tmp_path, uid):
    sent = films.write(films.make_dx(), tmp_path / "film.dcm")
    subprocess.run([peers.require("dcmodify"), "-nb", "-m", f"SOPInstanceUID={uid}", sent], check=True)
    result = store(listener, sent)
    assert result.returncode == 0, result.stdout + result.stderr
    assert ledger.unregistered(1)[0].sop_uid == uid


class FullSpool(Spool):
    """A disk that is full for the first image."""

    def __init__(self, root):
        super().__init__(root)
        self.failures = [Transient("the disk is full"), RuntimeError("a defect")]

    def begin(self):
        if self.failures:
            raise self.failures.pop(0)
        return super().begin()


def test_trouble_is_answered_with_a700_and_the_association_goes_on(tmp_path, ledger):
    listener = Listener(ListenerSettings(port=0), FullSpool(tmp_path / "spool"), ledger)
    listener.start()
    film = films.make_dx()
    association = association_with(listener, film)
    assert [association.send_c_store(film).Status for _ in range(3)] == [0xA700, 0xA700, 0x0000]
    association.release()
    listener.stop()
    assert len(ledger.unregistered(10)) == 1


def test_a_full_disk_is_answered_with_a700(tmp_path, ledger):
    spool = Spool(tmp_path / "spool", reserve_bytes=1 << 60)
    listener = Listener(ListenerSettings(port=0), spool, ledger)
    listener.start()
    result = store(listener, films.write(films.make_dx(), tmp_path / "film.dcm"))
    listener.stop()
    assert "Refused: OutOfResources" in result.stderr
    assert ledger.unregistered(10) == []


def test_a_database_that_is_away_is_answered_with_a700(listener, ledger, tmp_path):
    (tmp_path / "ledger.sqlite").rename(tmp_path / "away")
    (tmp_path / "ledger.sqlite").mkdir()
    ledger.close()
    film = films.make_dx()
    association = association_with(listener, film)
    assert association.send_c_store(film).Status == 0xA700
    (tmp_path / "ledger.sqlite").rmdir()
    (tmp_path / "away").rename(tmp_path / "ledger.sqlite")
    assert association.send_c_store(film).Status == 0x0000
    association.release()


RUBBISH = {
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "zeros": b"\x00" * 100,
    "huge PDU": struct.pack(">BBL", 4, 0, 0xFFFFFFFF) + b"x" * 1000,
    "broken request": struct.pack(">BBL", 1, 0, 20) + b"\xff" * 20,
    "nothing": b"",
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish_on_the_port_harms_nobody(listener, ledger, tmp_path, rubbish):
    with socket.create_connection(("127.0.0.1", listener.port), timeout=5) as connection:
        connection.sendall(rubbish)
        assert store(listener, films.write(films.make_dx(), tmp_path / "film.dcm")).returncode == 0
    assert len(ledger.unregistered(10)) == 1


def test_a_peer_that_stops_inside_a_pdu_is_dropped(spool, ledger):
    listener = Listener(
        ListenerSettings(port=0, network_timeout_s=0.3, acse_timeout_s=0.6, maximum_associations=1),
        spool,
        ledger,
    )
    listener.start()
    with socket.create_connection(("127.0.0.1", listener.port), timeout=5) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, 1000) + b"\x00\x01")
        assert connection.recv(10) == b""
    peers.wait_until(lambda: not listener.associations, what="the end of the association")
    association_with(listener, films.make_dx()).release()
    listener.stop()


def test_a_sender_that_dies_in_the_middle_leaves_nothing(listener, ledger, tmp_path):
    """Not even in the spool, where the image was being written already."""
    big = films.make_dx(
        films.spine_like(4500, 4500)
    )  # not through before it is killed, however busy the machine
    sent = films.write(big, tmp_path / "big.dcm")
    sender = subprocess.Popen(
        [
            peers.require("storescu"),
            "--max-send-pdu",
            "4096",
            "-aec",
            "SPINEPACS",
            "127.0.0.1",
            str(listener.port),
            str(sent),
        ]
    )
    peers.wait_until(lambda: bool(listener.associations), what="an association")
    sender.kill()
    sender.wait()
    peers.wait_until(lambda: not listener.associations, what="its end")
    peers.wait_until(lambda: files_of(tmp_path / "spool") == [], what="a clean spool")
    assert ledger.unregistered(10) == []


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]


def test_listeners_share_a_door_and_what_is_too_much_waits_in_line(spool, ledger):
    """As the listener processes of the daemon do."""
    settings = ListenerSettings(maximum_associations=2)
    with open_port("127.0.0.1", 0) as door:
        port = door.getsockname()[1]
        pair = [Listener(settings, spool, ledger, door.dup(), sharers=2) for _ in range(2)]
        for one in pair:
            one.start()
        film = films.make_dx()
        first, second = association_with(pair[0], film), association_with(pair[0], film)
        assert [len(one.associations) for one in pair] == [1, 1]

        echo = [peers.require("echoscu"), "-aec", "SPINEPACS", "127.0.0.1", str(port)]
        waiting = subprocess.Popen(echo)
        time.sleep(0.3)
        assert waiting.poll() is None
        first.release()
        assert waiting.wait(10) == 0

        assert second.send_c_store(film).Status == 0x0000
        second.release()
        for one in pair:
            one.stop()
    assert not peers.listens(port)


def test_restart_takes_the_same_port_again(spool, ledger, tmp_path):
    port = peers.free_port()
    for number in range(2):
        listener = Listener(ListenerSettings(port=port), spool, ledger)
        assert listener.start() == port
        sent = films.write(films.make_dx(seed=str(number)), tmp_path / f"{number}.dcm")
        assert store(listener, sent).returncode == 0
        listener.stop()
        assert not peers.listens(port)
    assert len(ledger.unregistered(10)) == 2


def test_stop_lets_a_running_association_finish(listener, ledger):
    film = films.make_dx()
    association = association_with(listener, film)
    port = listener.port
    stopping = threading.Thread(target=listener.stop, kwargs={"grace_s": 5})
    stopping.start()
    peers.wait_until(lambda: not peers.listens(port), what="the closed port")
    assert association.send_c_store(film).Status == 0x0000
    association.release()
    started = time.monotonic()
    stopping.join()
    assert time.monotonic() - started < 4
    assert len(ledger.unregistered(10)) == 1


def test_a_taken_port_is_named(listener, spool, ledger):
    with pytest.raises(Permanent, match=f"port {listener.port}"):
        Listener(ListenerSettings(port=listener.port), spool, ledger).start()


def test_logs_name_the_sender_and_never_the_patient(listener, tmp_path, caplog):
    caplog.set_level("DEBUG")
    film = films.make_dx()
    assert store(listener, films.write(film, tmp_path / "film.dcm")).returncode == 0
    (record,) = [record for record in caplog.records if record.getMessage() == "received"]
    assert (record.calling_ae, record.sop_uid) == ("MODALITY", film.SOPInstanceUID)
    assert not [secret for secret in films.SECRETS if secret in caplog.text]
