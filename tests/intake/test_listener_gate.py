"""Who may come in: each limit against real sockets and real senders, and that nobody else suffers from it."""

from __future__ import annotations

import os
import resource
import socket
import struct
import subprocess
import threading
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from pydantic import ValidationError
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from spinepacs.check.checks import run_checks
from spinepacs.intake.gate import Gate, why_open
from spinepacs.intake.visitors import REMEMBERED, Turned, VisitorsBook
from spinepacs.settings.sections import ListenerSettings, StorageSettings
from spinepacs.settings.settings import Settings
from tests import films, peers
from tests.intake.doors import REJECTED_FOR_NOW, answer, associate, counted, listening, request

pytestmark = [pytest.mark.peer, *peers.UNCLOSED_SOCKETS]

LIMIT_EXCEEDED, CONGESTION = REJECTED_FOR_NOW + b"\x02", REJECTED_FOR_NOW + b"\x01"


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))


def storescu(port: int, *options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [peers.require("storescu"), "-v", "127.0.0.1", str(port), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def trickle(connection: socket.socket, data: bytes, gone: threading.Event) -> None:
    """Send a byte now and then until the listener has enough of it."""
    try:
        for byte in data:
            connection.send(bytes([byte]))
            time.sleep(0.05)
    except OSError:
        gone.set()


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]


def test_dcmtk_is_told_that_it_calls_somebody_else(spool, ledger, tmp_path):
    film = films.write(films.make_dx(), tmp_path / "film.dcm")
    with listening(spool, ledger) as (listener, book):
        refused = storescu(listener.port, "-aec", "SOMEBODY", film)
        taken = storescu(listener.port, "-aec", "SPINEPACS", film)
    assert "Called AE Title Not Recognized" in refused.stderr
    assert taken.returncode == 0
    assert counted(book) == {"called_ae": 1}
    assert book.let_in() == 1


def test_any_called_title_will_do_where_it_is_not_checked(spool, ledger, tmp_path):
    film = films.write(films.make_dx(), tmp_path / "film.dcm")
    with listening(spool, ledger, check_called_ae=False) as (listener, book):
        assert storescu(listener.port, "-aec", "SOMEBODY", film).returncode == 0
    assert counted(book) == {}


def test_only_senders_of_the_list_get_an_association(spool, ledger, tmp_path):
    film = films.write(films.make_dx(), tmp_path / "film.dcm")
    with listening(spool, ledger, calling_ae_titles=("ROOM 1", "ROOM2")) as (listener, book):
        refused = storescu(listener.port, "-aec", "SPINEPACS", "-aet", "STRANGER", film)
        taken = [
            storescu(listener.port, "-aec", "SPINEPACS", "-aet", room, film) for room in ("ROOM 1", "ROOM2")
        ]
    assert "Calling AE Title Not Recognized" in refused.stderr
    assert [result.returncode for result in taken] == [0, 0]
    assert counted(book) == {"calling_ae": 1}


def test_other_networks_are_cut_off_before_any_pdu(spool, ledger):
    with listening(spool, ledger, networks=("127.0.0.1", "127.9.0.0/16", "::1")) as (listener, book):
        with connect(listener.port, "127.0.0.2") as stranger:
            assert answer(stranger) == b""
        for known in ("127.0.0.1", "127.9.1.2"):
            with connect(listener.port, known) as friend:
                friend.sendall(request())
                assert answer(friend)[:1] == b"\x02"
    assert counted(book) == {"network": 1}


@pytest.mark.parametrize(
    ("address", "networks", "reason"),
    [
        ("::ffff:10.1.2.3", ("10.1.0.0/16",), None),  # as a socket for IPv4 and IPv6 gives it
        ("::ffff:10.2.2.3", ("10.1.0.0/16",), Turned.NETWORK),
        ("fe80::1%eth0", ("fe80::/64",), None),
        ("2001:db8::1", ("10.1.0.0/16", "2001:db8:1::/48"), Turned.NETWORK),
        ("2001:db8::1", (), None),
    ],
)
def test_addresses_of_both_kinds_are_known(address, networks, reason):
    assert Gate(ListenerSettings(networks=networks), VisitorsBook().page(0)).judge(address) is reason


@pytest.mark.parametrize("wrong", ["10.1.0.0/33", "10.1.0.1/16", "hospital", ""])
def test_networks_that_are_none_are_refused(wrong):
    with pytest.raises(ValidationError, match="network"):
        ListenerSettings(networks=(wrong,))


def test_one_address_cannot_take_every_place(spool, ledger):
    film = films.make_dx()
    with listening(
        spool, ledger, maximum_associations=4, maximum_associations_per_peer=2, acse_timeout_s=60
    ) as (
        listener,
        book,
    ):
        silent = [connect(listener.port) for _ in range(2)]
        with connect(listener.port) as third:
            third.sendall(request())
            assert answer(third) == LIMIT_EXCEEDED
        neighbour = associate(listener.port, film, source="127.0.0.2")
        assert neighbour.send_c_store(film).Status == 0x0000
        neighbour.release()
        for connection in silent:
            connection.close()
        peers.wait_until(lambda: book.inside() == 0, what="free places")
        again = associate(listener.port, film)
        assert again.is_established
        again.release()
    assert counted(book) == {"association_limit": 1}


def test_who_comes_too_often_waits_a_minute(spool, ledger):
    film = films.make_dx()
    with listening(spool, ledger, associations_per_minute=3) as (listener, book):
        for _ in range(3):
            associate(listener.port, film).release()
        with connect(listener.port) as fourth:
            fourth.sendall(request())
            assert answer(fourth) == CONGESTION
        neighbour = associate(listener.port, film, source="127.0.0.2")
        assert neighbour.is_established
        neighbour.release()
    assert counted(book) == {"rate_limit": 1}


def test_a_flood_of_connections_costs_nobody_a_place(spool, ledger):
    """200 silent connections from one address; another sender is served at once."""
    film = films.make_dx()
    with listening(spool, ledger, maximum_associations_per_peer=4, acse_timeout_s=60) as (listener, book):
        flood = [connect(listener.port) for _ in range(200)]
        threads = threading.active_count()
        neighbour = associate(listener.port, film, source="127.0.0.2")
        assert neighbour.send_c_store(film).Status == 0x0000
        neighbour.release()
        peers.wait_until(lambda: counted(book).get("association_limit") == 196, what="196 turned away")
        assert threads < 60
        for connection in flood:
            connection.close()


def test_without_file_descriptors_connections_wait_in_line(spool, ledger, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    with listening(spool, ledger) as (listener, _), socket.socket() as waiting:
        waiting.settimeout(10)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno() + 8, hard))
            with suppress(OSError):
                while True:
                    taken.append(os.dup(waiting.fileno()))
            waiting.connect(("127.0.0.1", listener.port))
            waiting.sendall(request())
            peers.wait_until(lambda: "Too many open files" in caplog.text, what="the warning")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in taken:
                os.close(descriptor)
        assert answer(waiting)[:1] == b"\x02"


def test_pages_of_all_processes_count_together():
    book = VisitorsBook(2)
    first, second = book.page(0), book.page(1)
    first.seat(["10.0.0.1", "10.0.0.2"])
    second.seat(["::ffff:10.0.0.1", "fe80::1%eth0"])
    assert first.seats_of("10.0.0.1") == second.seats_of("10.0.0.1") == 2
    assert book.inside() == 4
    for page in (first, second):
        page.visit("10.0.0.1")
        page.count(Turned.TLS)
    assert (first.visits_of("10.0.0.1"), first.visits_of("10.0.0.2")) == (2, 0)
    assert book.turned_away()["tls"] == 2

    book.page(1)  # its process died, and its successor opens the page
    assert book.inside() == 2
    assert book.turned_away()["tls"] == 2
    for _ in range(REMEMBERED):
        first.visit("10.0.0.3")
    assert first.visits_of("10.0.0.3") == REMEMBERED
    assert first.visits_of("10.0.0.1") == 1


@pytest.mark.parametrize("last", ["10.0.0.0", "10.0.0.1", "fe80::", "fe80::1:0:0"])
def test_an_address_that_ends_in_zeros_has_a_seat_as_any_other(last):
    book = VisitorsBook(2)
    page, other = book.page(0), book.page(1)
    page.seat([last, "192.0.2.1", last])
    assert book.inside() == other.fewest_elsewhere() == 3
    assert (other.seats_of(last), other.seats_of("192.0.2.1")) == (2, 1)
    page.seat(["192.0.2.1"])
    assert (other.seats_of(last), book.inside()) == (0, 1)
    assert book.traffic() == {"192.0.2.1": (1, 0)}


def test_a_process_knows_whether_another_one_has_fewer_associations():
    book = VisitorsBook(3)
    pages = [book.page(number) for number in range(3)]
    for page, inside in zip(pages, (3, 1, 2), strict=True):
        page.seat(["192.0.2.1"] * inside)
    assert [page.fewest_elsewhere() for page in pages] == [1, 2, 1]
    assert VisitorsBook(1).page(0).fewest_elsewhere() is None


def test_what_other_machines_count_counts_here_and_is_not_told_again():
    book, elsewhere = VisitorsBook(2), VisitorsBook(1)
    page, there = book.page(0), elsewhere.page(0)
    page.seat(["10.0.0.1"])
    page.visit("10.0.0.1")
    there.seat(["10.0.0.1", "10.0.0.1", "fe80::1%eth0"])
    there.visit("10.0.0.1")
    there.visit("10.0.0.2")
    assert elsewhere.traffic() == {"10.0.0.1": (2, 1), "10.0.0.2": (0, 1), "fe80::1": (1, 0)}
    book.hear([elsewhere.traffic(), {"10.0.0.1": [1, 5]}])
    assert (page.seats_of("10.0.0.1"), page.visits_of("10.0.0.1")) == (4, 7)
    assert (page.seats_of("fe80::1"), page.visits_of("10.0.0.2")) == (1, 1)
    assert (page.seats_of("10.0.0.9"), book.inside(), book.traffic()) == (0, 1, {"10.0.0.1": (1, 1)})
    settings = ListenerSettings(maximum_associations_per_peer=4)
    assert Gate(settings, page).judge("10.0.0.1") is Turned.ASSOCIATION_LIMIT
    book.hear([])
    assert Gate(settings, page).judge("10.0.0.1") is None
    book.hear([{f"10.1.{number // 256}.{number % 256}": [1, 1] for number in range(3000)}])
    assert sum(page.seats_of(f"10.1.{number // 256}.{number % 256}") for number in range(0, 3000, 50)) > 0


def test_the_book_is_shared_with_listeners_on_one_door(spool, ledger):
    """As the daemon's processes do; here with two listeners of one process."""
    from spinepacs.intake.listener import Listener
    from spinepacs.intake.port import open_port

    book, settings = VisitorsBook(2), ListenerSettings(maximum_associations_per_peer=2)
    with open_port("127.0.0.1", 0) as door:
        pair = [Listener(settings, spool, ledger, door.dup(), 2, book.page(number)) for number in range(2)]
        port = door.getsockname()[1]
        for listener in pair:
            listener.start()
        seated = [connect(port) for _ in range(2)]
        peers.wait_until(lambda: book.inside() == 2, what="both places")
        with connect(port) as third:
            third.sendall(request())
            assert answer(third) == LIMIT_EXCEEDED
        for connection in seated:
            connection.close()
        for listener in pair:
            listener.stop(grace_s=0.5)


# -- slow peers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", request()[:40]], ids=["nothing", "half a request"])
def test_a_peer_that_stops_before_its_request_is_whole_loses_its_place(spool, ledger, said):
    with listening(spool, ledger, acse_timeout_s=0.4) as (listener, book):
        with connect(listener.port) as slow:
            slow.sendall(said)
            assert answer(slow) == b""
        peers.wait_until(lambda: book.inside() == 0, what="the free place")
    assert counted(book) == {"time": 1}


def test_a_request_that_trickles_in_loses_its_place(spool, ledger):
    """A byte now and then is no progress; others are served meanwhile."""
    film, gone = films.make_dx(), threading.Event()
    with listening(spool, ledger, acse_timeout_s=0.6, network_timeout_s=30) as (listener, book):
        with connect(listener.port) as slow:
            threading.Thread(target=trickle, args=(slow, request(), gone), daemon=True).start()
            neighbour = associate(listener.port, film)
            assert neighbour.send_c_store(film).Status == 0x0000
            neighbour.release()
            assert gone.wait(5)
        peers.wait_until(lambda: book.inside() == 0, what="the free place")
    assert counted(book) == {"time": 1}


@pytest.mark.parametrize("how", ["stalls", "trickles"])
def test_a_peer_that_is_slow_inside_a_pdu_loses_its_place_and_others_do_not(spool, ledger, how):
    film, gone = films.make_dx(), threading.Event()
    limits = {"network_timeout_s": 0.4} if how == "stalls" else {"transfer_timeout_s": 0.6}
    with listening(spool, ledger, **limits) as (listener, book):
        with connect(listener.port) as slow:
            slow.sendall(request())
            assert answer(slow)[:1] == b"\x02"
            data = struct.pack(">BBI", 4, 0, 1000) + bytes(900)
            if how == "stalls":
                slow.sendall(data)
            else:
                threading.Thread(target=trickle, args=(slow, data, gone), daemon=True).start()
            neighbour = associate(listener.port, film)
            assert neighbour.send_c_store(film).Status == 0x0000
            neighbour.release()
            if how == "stalls":
                while slow.recv(4096):
                    pass
            else:
                assert gone.wait(5)
        peers.wait_until(lambda: book.inside() == 0, what="the free place")
    assert counted(book) == {"time": 1}


def test_an_object_in_many_small_pdus_must_end_in_time(spool, ledger, tmp_path):
    """Each PDU comes quickly, the object never ends: nothing of it stays."""
    film = films.make_dx()
    with listening(spool, ledger, transfer_timeout_s=0.6) as (listener, book):
        association = associate(listener.port, film)
        connection = association.dul.socket.socket
        command = b"\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00"
        connection.sendall(pdata(1, 0x01, command))
        trickle_pdus(connection, b"\x00", pause_s=0.02)
        peers.wait_until(lambda: book.inside() == 0, what="the free place")
    assert counted(book) == {"time": 1}
    assert files_of(tmp_path / "spool") == []


def trickle_pdus(connection: socket.socket, fragment: bytes, pause_s: float) -> None:
    """Send parts of one command set until the listener has enough of it."""
    with suppress(OSError):
        while True:
            time.sleep(pause_s)
            connection.sendall(pdata(1, 0x01, fragment))
    connection.close()


def pdata(context_id: int, control: int, fragment: bytes) -> bytes:
    """A P-DATA-TF with one fragment (PS3.8 9.3.5)."""
    value = struct.pack(">IBB", len(fragment) + 2, context_id, control) + fragment
    return struct.pack(">BBI", 4, 0, len(value)) + value


def test_an_idle_association_is_ended(spool, ledger):
    with listening(spool, ledger, network_timeout_s=0.4) as (listener, book):
        association = associate(listener.port, films.make_dx())
        peers.wait_until(lambda: association.is_aborted, what="the abort")
        peers.wait_until(lambda: book.inside() == 0, what="the free place")
    assert counted(book) == {"time": 1}


# -- large things ----------------------------------------------------------------------------------------------


def test_too_large_an_object_is_refused_and_the_association_goes_on(spool, ledger, tmp_path):
    large, small = films.make_dx(films.spine_like(1000, 800)), films.make_dx()
    with listening(spool, ledger, maximum_object_mb=1) as (listener, book):
        association = associate(listener.port, large)
        refused = association.send_c_store(large)
        assert (refused.Status, refused.ErrorComment) == (0xC001, "larger than listener.maximum_object_mb")
        assert files_of(tmp_path / "spool") == []
        assert association.send_c_store(small).Status == 0x0000
        association.release()
    assert counted(book) == {"too_large": 1}
    assert [arrival.sop_uid for arrival in ledger.unregistered(10)] == [small.SOPInstanceUID]


def test_dcmtk_is_told_that_an_object_is_too_large(spool, ledger, tmp_path):
    large = films.write(films.make_dx(films.spine_like(1000, 800)), tmp_path / "large.dcm")
    with listening(spool, ledger, maximum_object_mb=1) as (listener, _):
        refused = storescu(listener.port, "-aec", "SPINEPACS", large)
    assert "CannotUnderstand" in refused.stderr
    assert ledger.unregistered(10) == []


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (struct.pack(">BBI", 1, 0, 0xFFFFFFFF) + bytes(1000), "protocol"),
        (b"GET / HTTP/1.1\r\n\r\n", "protocol"),
        (request() + struct.pack(">BBI", 4, 0, 0xFFFFFFF0) + bytes(1000), "protocol"),
    ],
    ids=["request of 4 GB", "not DICOM", "P-DATA of 4 GB"],
)
def test_what_is_absurdly_long_is_not_waited_for(spool, ledger, sent, reason):
    with listening(spool, ledger) as (listener, book):
        with connect(listener.port) as liar:
            liar.sendall(sent)
            answer(liar, 10_000)  # returns when the listener has closed
        peers.wait_until(lambda: book.inside() == 0, what="the free place")
    assert counted(book) == {reason: 1}


def test_an_endless_command_set_ends_the_association(spool, ledger):
    with listening(spool, ledger) as (listener, book):
        association = associate(listener.port, films.make_dx())
        connection = association.dul.socket.socket
        trickle_pdus(connection, bytes(8000), pause_s=0.0)
        peers.wait_until(lambda: book.inside() == 0, what="the free place")


def test_a_dataset_without_command_ends_the_association_and_leaves_nothing(spool, ledger, tmp_path):
    with listening(spool, ledger) as (listener, book):
        association = associate(listener.port, films.make_dx())
        association.dul.socket.socket.sendall(pdata(1, 0x00, bytes(1000)))
        peers.wait_until(lambda: association.is_aborted, what="the abort")
        peers.wait_until(lambda: book.inside() == 0, what="the free place")
    assert files_of(tmp_path / "spool") == []


@pytest.mark.parametrize(
    "end",
    [b"", b"\x02" + bytes(9), b"\x09" + bytes(9), struct.pack(">BBI", 4, 0, 0xFFFFFFFF)],
    ids=["closed", "an answer where none belongs", "no PDU", "P-DATA of 4 GB"],
)
def test_an_object_that_breaks_off_leaves_no_file_and_no_thread(spool, ledger, tmp_path, end):
    film = films.make_dx()
    message = C_STORE_RQ()
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority, primitive.DataSet = 1, 2, BytesIO(bytes(1000))
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = film.SOPClassUID, film.SOPInstanceUID
    message.primitive_to_message(primitive)
    (command, *_) = (p.presentation_data_value_list[0][1] for p in message.encode_msg(1, 16384))
    with listening(spool, ledger) as (listener, book):
        association = associate(listener.port, film)
        connection = association.dul.socket.socket
        connection.sendall(pdata(1, command[0], command[1:]) + pdata(1, 0x00, bytes(1000)))
        peers.wait_until(lambda: len(files_of(tmp_path / "spool")) == 1, what="the object's beginning")
        if end:
            connection.sendall(end)
        else:
            connection.shutdown(socket.SHUT_RDWR)
        peers.wait_until(lambda: files_of(tmp_path / "spool") == [], what="a clean spool")
        peers.wait_until(lambda: book.inside() == 0, what="the free place")
        connection.close()
    assert ledger.unregistered(10) == []


def test_a_sender_that_does_not_wait_for_answers_is_made_to(spool, ledger):
    """20 requests at once: read one by one, all kept, all answered."""
    many = [films.make_dx(seed=str(number)) for number in range(20)]
    with listening(spool, ledger) as (listener, _):
        association = associate(listener.port, many[0])
        association._reactor_checkpoint.clear()  # the answers are for us, not for pynetdicom's reactor
        for number, film in enumerate(many, start=1):
            message = C_STORE()
            message.MessageID, message.Priority = number, 2
            message.AffectedSOPClassUID, message.AffectedSOPInstanceUID = (
                film.SOPClassUID,
                film.SOPInstanceUID,
            )
            message.DataSet = BytesIO(encode(film, False, True))
            association.dimse.send_msg(message, association.accepted_contexts[0].context_id)
        answers = [association.dimse.get_msg(block=True)[1] for _ in many]
        association._reactor_checkpoint.set()
        association.release()
    assert [(a.Status, a.MessageIDBeingRespondedTo) for a in answers] == [(0, n) for n in range(1, 21)]
    assert len(ledger.unregistered(100)) == 20


# -- defaults --------------------------------------------------------------------------------------------------


def test_by_default_nobody_outside_reaches_it_and_that_is_no_reason_to_warn():
    assert ListenerSettings().bind == "127.0.0.1"
    assert why_open(ListenerSettings()) == ""


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.1", "pacs.example"])  # noqa: S104 - that is the test
def test_an_open_listener_is_warned_of_until_it_asks_who_comes(bind, tmp_path):
    assert "anyone" in why_open(ListenerSettings(bind=bind))
    assert why_open(ListenerSettings(bind=bind, networks=("10.0.0.0/8",))) == ""
    assert why_open(ListenerSettings(bind=bind, calling_ae_titles=("ROOM1",))) == ""
    files = {"tls_certificate": tmp_path / "c", "tls_ca": tmp_path / "ca"}
    assert why_open(ListenerSettings(bind=bind, tls=True, **files)) == ""
    assert "anyone" in why_open(ListenerSettings(bind=bind, tls=True, tls_client="none", **files))


def test_check_tells_of_an_open_listener_and_of_a_certificate_that_is_not_there(tmp_path):
    def detail(**listener: object) -> tuple[bool, str]:
        storage = StorageSettings(spool=tmp_path / "spool", database_url=f"sqlite:///{tmp_path / 'l.sqlite'}")
        settings = Settings(storage=storage, listener=ListenerSettings(**listener))
        (found,) = (check for check in run_checks(settings) if check.name == "listener")
        return found.ok, found.detail

    assert detail() == (True, "127.0.0.1, no TLS")
    assert "anyone" in detail(bind="192.0.2.1")[1]
    ok, why = detail(tls=True, tls_certificate=tmp_path / "absent.pem", tls_client="none")
    assert not ok
    assert "absent.pem" in why
