"""Images read past pynetdicom: every way to cut a dataset into fragments and reads gives the same bytes."""

from __future__ import annotations

import random
import struct
import threading
import time
from io import BytesIO

import pytest
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from spinepacs.intake import upper
from spinepacs.intake.bulk import BUFFER_BYTES, DatasetReader, ending
from spinepacs.intake.part10 import dataset_offset
from tests import films, peers
from tests.intake.doors import associate, listening

pytestmark = peers.UNCLOSED_SOCKETS

CONTEXT, OTHER_CONTEXT = 5, 7
DATA, LAST, COMMAND = 0x00, 0x02, 0x01
RELEASE = struct.pack(">BBL4x", 5, 0, 4)


def fragment(control: int, data: bytes, context: int = CONTEXT) -> bytes:
    """A presentation data value (PS3.8 9.3.5.1, E.2)."""
    return struct.pack(">LBB", len(data) + 2, context, control) + data


def pdu(*fragments: bytes, kind: int = 4) -> bytes:
    body = b"".join(fragments)
    return struct.pack(">BBL", kind, 0, len(body)) + body


class Wire:
    """A connection that gives what was sent in reads of these sizes."""

    is_called_away = False

    def __init__(self, sent: bytes, reads: random.Random | None = None) -> None:
        self.left, self._reads, self.longest = sent, reads, 1 << 21

    def receive_into(self, room: memoryview) -> int:
        count = min(len(room), len(self.left), self._reads.randint(1, 70_000) if self._reads else 1 << 30)
        room[:count], self.left = self.left[:count], self.left[count:]
        return count

    def check_length(self, count_bytes: int) -> None:
        if count_bytes > self.longest:
            raise ConnectionAbortedError("too long")

    def put_back(self, rest: bytes) -> None:
        self.left = rest + self.left


class Kept:
    """What a dataset took."""

    def __init__(self) -> None:
        self.data = b""

    def take(self, pieces: list[memoryview]) -> None:
        self.data += b"".join(pieces)


def read(wire: Wire) -> tuple[bool, bytes]:
    kept = Kept()
    return DatasetReader(wire, bytearray(BUFFER_BYTES), CONTEXT, kept).read(), kept.data


@pytest.mark.parametrize("seed", range(30))
def test_any_cut_gives_the_same_bytes(seed):
    chance = random.Random(seed)
    data, cuts = chance.randbytes(chance.choice((1, 1000, 700_000, 1_500_000))), [b""]
    longest = (
        chance.choice((1, 16_378, 131_054, 1 << 20)) if len(data) < 2000 else chance.choice((16_378, 1 << 19))
    )
    at = 0
    while at < len(data):
        cuts.append(data[at : at + chance.randint(1, longest)])
        at += len(cuts[-1])
    fragments = [fragment(DATA, cut) for cut in cuts[:-1]] + [fragment(LAST, cuts[-1])]
    sent = b""
    while fragments:
        several = chance.randint(1, 4)
        sent, fragments = sent + pdu(*fragments[:several]), fragments[several:]
    wire = Wire(sent + RELEASE, chance)
    assert read(wire) == (True, data)
    assert wire.left == RELEASE, "what follows is pynetdicom's"


@pytest.mark.parametrize(
    ("more", "left"),
    [
        (RELEASE, RELEASE),
        (pdu(fragment(COMMAND, b"xy")), pdu(fragment(COMMAND, b"xy"))),
        (pdu(fragment(DATA, b"xy", OTHER_CONTEXT)), pdu(fragment(DATA, b"xy", OTHER_CONTEXT))),
        (pdu(fragment(DATA, b"c"), fragment(COMMAND, b"xy")), pdu(fragment(COMMAND, b"xy"))),
        (pdu(b"\x00\x00\x00\x01\x05\x00"), pdu(b"\x00\x00\x00\x01\x05\x00")),
        (pdu(fragment(DATA, b"")[:3] + b"\xff\x05\x00"), pdu(fragment(DATA, b"")[:3] + b"\xff\x05\x00")),
        (pdu(b"\x00\x00"), pdu(b"\x00\x00")),
    ],
    ids=[
        "release",
        "command",
        "other context",
        "command in the same PDU",
        "no control byte",
        "beyond its PDU",
        "short",
    ],
)
def test_what_is_no_fragment_of_the_dataset_is_left_for_pynetdicom(more, left):
    wire = Wire(pdu(fragment(DATA, b"ab")) + more)
    is_whole, data = read(wire)
    assert not is_whole
    assert data.startswith(b"ab")
    assert wire.left == left


def test_the_next_message_in_the_same_pdu_is_left():
    wire = Wire(pdu(fragment(LAST, b"end"), fragment(COMMAND, b"next")) + RELEASE)
    assert read(wire) == (True, b"end")
    assert wire.left == pdu(fragment(COMMAND, b"next")) + RELEASE


def test_an_object_that_ends_too_early_is_an_error():
    for sent in (
        pdu(fragment(DATA, b"ab")),
        pdu(fragment(DATA, b"ab"))[:-1],
        pdu(fragment(DATA, b"ab")) + b"\x04",
    ):
        with pytest.raises(ConnectionAbortedError):
            read(Wire(sent))


def test_a_pdu_longer_than_agreed_is_not_read():
    wire = Wire(struct.pack(">BBL", 4, 0, 1 << 22) + bytes(100))
    with pytest.raises(ConnectionAbortedError, match="too long"):
        read(wire)


@pytest.mark.parametrize("kind", ["another context", "a command", "another PDU", "a length that lies"])
def test_what_is_unusual_among_many_small_pdus_is_found(kind):
    usual = [pdu(fragment(DATA, bytes([n]) * 1000)) for n in range(100)]
    unusual = {
        "another context": pdu(fragment(DATA, b"xy", OTHER_CONTEXT)),
        "a command": pdu(fragment(COMMAND, b"xy")),
        "another PDU": RELEASE,
        "a length that lies": pdu(fragment(DATA, b"")[:3] + b"\xff\x05\x00"),
    }[kind]
    rest = unusual + pdu(fragment(LAST, b"end"))
    wire = Wire(b"".join(usual) + rest)
    is_whole, data = read(wire)
    assert not is_whole
    assert data == b"".join(bytes([n]) * 1000 for n in range(100))
    assert wire.left == rest


def test_a_pdu_longer_than_agreed_is_not_taken_where_it_lies_whole_in_the_buffer():
    wire = Wire(pdu(fragment(DATA, b"ab")) + pdu(fragment(DATA, bytes(5000))) + pdu(fragment(LAST, b"end")))
    wire.longest = 1000
    with pytest.raises(ConnectionAbortedError, match="too long"):
        read(wire)


def test_who_is_called_away_stops_between_two_pdus():
    wire = Wire(pdu(fragment(DATA, b"ab")) + pdu(fragment(LAST, b"cd")))
    wire.is_called_away = True
    assert read(wire) == (False, b"")
    assert len(wire.left) == 28


def test_an_empty_last_fragment_is_the_end():
    wire = Wire(ending(CONTEXT))
    assert read(wire) == (True, b"")


# -- in the listener -------------------------------------------------------------------------------------------


def request(film) -> tuple[bytes, bytes]:
    """Command set of a C-STORE and the dataset, as they go over the wire."""
    message, primitive = C_STORE_RQ(), C_STORE()
    primitive.MessageID, primitive.Priority, primitive.DataSet = 1, 2, BytesIO(encode(film, False, True))
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = film.SOPClassUID, film.SOPInstanceUID
    message.primitive_to_message(primitive)
    command = next(iter(message.encode_msg(1, 16384))).presentation_data_value_list[0][1][1:]
    return command, primitive.DataSet.getvalue()


def cut(data: bytes, length: int) -> list[bytes]:
    pieces = [data[at : at + length] for at in range(0, len(data), length)]
    return [fragment(DATA, piece, 1) for piece in pieces[:-1]] + [fragment(LAST, pieces[-1], 1)]


def kept_dataset(spool, ledger) -> bytes:
    (arrival,) = ledger.unregistered(10)
    with spool.path_of(arrival.sha256).open("rb") as file:
        file.seek(dataset_offset(file))
        return file.read()


@pytest.mark.peer
@pytest.mark.parametrize("length", [999, 16_378, 500_001, 10_000_000])
@pytest.mark.parametrize("together", [False, True], ids=["apart", "command and data in one PDU"])
def test_the_file_holds_what_was_sent(spool, ledger, length, together):
    film = films.make_dx(films.spine_like(1000, 800))
    command, data = request(film)
    fragments = [fragment(COMMAND | LAST, command, 1), *cut(data, length)]
    start = [pdu(*fragments[:2])] if together else [pdu(fragments[0]), pdu(fragments[1])]
    with listening(spool, ledger, maximum_pdu_bytes=0) as (listener, _):
        association = associate(listener.port, film)
        association._reactor_checkpoint.clear()
        association.dul.socket.socket.sendall(b"".join([*start, *map(pdu, fragments[2:])]))
        assert association.dimse.get_msg(block=True)[1].Status == 0x0000
        association._reactor_checkpoint.set()
        association.release()
    assert kept_dataset(spool, ledger) == data


@pytest.mark.peer
def test_pynetdicom_never_sees_the_pixels(spool, ledger, tmp_path, monkeypatch):
    """Fails when its inner classes change so that the way past them is not taken any more."""
    seen: list[int] = []
    decode = DIMSEMessage.decode_msg

    def counted(self, primitive, association=None):
        if association is not None and association.is_acceptor:
            seen.extend(len(data) for _, data in primitive.presentation_data_value_list)
        return decode(self, primitive, association)

    monkeypatch.setattr(DIMSEMessage, "decode_msg", counted)
    film = films.make_dx(films.spine_like(1000, 800))
    with listening(spool, ledger) as (listener, _):
        association = associate(listener.port, film)
        for _ in range(3):
            assert association.send_c_store(film).Status == 0x0000
        association.release()
    assert len(seen) == 6, "a command set and an empty last fragment for each"
    assert sum(seen) < 2000
    assert len(kept_dataset(spool, ledger)) > 1_000_000


@pytest.mark.peer
def test_who_waits_does_not_look_a_thousand_times_a_second(spool, ledger, monkeypatch):
    rounds: list[str] = []
    wait = upper._Bell.wait
    monkeypatch.setattr(upper._Bell, "wait", lambda *a: rounds.append("serves") or wait(*a))
    is_event = upper.OrderlyUpperLayer._is_transport_event
    monkeypatch.setattr(
        upper.OrderlyUpperLayer, "_is_transport_event", lambda self: rounds.append("reads") or is_event(self)
    )
    with listening(spool, ledger) as (listener, _):
        association = associate(listener.port, films.make_dx())
        peers.wait_until(lambda: rounds.count("serves") > 0, what="the association")
        rounds.clear()
        time.sleep(1)
        assert 1 <= rounds.count("serves") <= 10
        assert 1 <= rounds.count("reads") <= 40
        association.release()


@pytest.mark.peer
def test_a_listener_that_stops_aborts_who_is_sending_and_keeps_nothing(spool, ledger, tmp_path):
    film = films.make_dx()
    command, _ = request(film)
    with listening(spool, ledger) as (listener, _):
        association = associate(listener.port, film)
        connection = association.dul.socket.socket
        connection.sendall(pdu(fragment(COMMAND | LAST, command, 1)))
        ended = threading.Event()

        def send() -> None:
            try:
                while True:
                    connection.sendall(pdu(fragment(DATA, bytes(1000), 1)))
                    time.sleep(0.01)
            except OSError:
                ended.set()

        threading.Thread(target=send, daemon=True).start()
        peers.wait_until(lambda: any((tmp_path / "spool" / "tmp").glob("*/*")), what="the object's beginning")
        listener.stop(grace_s=0.1)
        assert ended.wait(5)
        peers.wait_until(lambda: not any((tmp_path / "spool" / "tmp").glob("*/*")), what="a clean spool")
    assert association.is_aborted
    assert ledger.unregistered(10) == []
