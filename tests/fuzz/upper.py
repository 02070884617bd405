"""Sessions of liars: PDUs of the DICOM upper layer (PS3.8 9.3) and messages (PS3.7) made bad by rules, from a seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from tests import films

ASSOCIATE_RQ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 1, 4, 5, 6, 7
CR = "1.2.840.10008.5.1.4.1.1.1"
_VERIFICATION, _EXPLICIT, _IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
_APPLICATION = "1.2.840.10008.3.1.1.1"
_C_STORE_RQ, _C_ECHO_RQ, _NO_DATASET, _WITH_DATASET = 0x0001, 0x0030, 0x0101, 0x0001
_LENGTHS = (0, 1, 2, 3, 5, 7, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_UIDS = (b"", b"1", b"1.2.3\0", b"." * 64, b"1." * 500, b"../../etc/passwd", b"\xff" * 8, b"1.2\n3 ", b"'; DROP TABLE",
         CR.encode(), b"\0" * 6, b"1.2\\3.4 ")  # fmt: skip


@dataclass(frozen=True)
class Step:
    """Bytes that are sent, and what is done after them."""

    data: bytes
    pause_s: float = 0.0
    waits: bool = False
    """Whether an answer is awaited."""


@dataclass(frozen=True)
class Session:
    """One connection: its name, its steps and its end."""

    name: str
    steps: tuple[Step, ...]
    ends_with_reset: bool = False
    holds: bool = False
    """Whether the peer keeps the connection open until the listener closes it."""


def session(seed: int | str, number: int) -> Session:
    """Make the session of this number; the same seed and number give the same bytes."""
    chance = random.Random(f"{seed}|{number}")
    rule = chance.choice(_RULES)
    steps = [step if isinstance(step, Step) else Step(step) for step in rule(chance)]
    if chance.random() < 0.9:
        steps = [replace(step, waits=step.data[:1] == b"\x01") for step in steps]
    if chance.random() < 0.15:
        steps = _harm_bytes(steps, chance)
    if chance.random() < 0.15:
        steps = [Step(piece, 0.002) for step in steps for piece in _pieces(step.data, chance)]
    return Session(rule.__name__.strip("_"), tuple(steps), chance.random() < 0.3, chance.random() < 0.05)


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """A PDU; its stated length may be a lie."""
    return struct.pack(">BBL", kind, 0, len(body) if length is None else length) + body


def item(kind: int, content: bytes, length: int | None = None) -> bytes:
    """An item of an association request."""
    return struct.pack(">BBH", kind, 0, (len(content) if length is None else length) & 0xFFFF) + content


def context(number: int, abstract: str = CR, *syntaxes: str) -> bytes:
    """A presentation context of a request."""
    transfers = b"".join(item(0x40, syntax.encode()) for syntax in syntaxes or (_EXPLICIT,))
    return item(0x20, bytes((number, 0, 0, 0)) + item(0x30, abstract.encode()) + transfers)


def request(
    *contexts: bytes,
    called: bytes = b"SPINEPACS",
    calling: bytes = b"LIAR",
    version: int = 1,
    application: bytes = item(0x10, _APPLICATION.encode()),
    user: bytes | None = None,
) -> bytes:
    """An association request; by default for CR (context 1) and verification (context 3)."""
    contexts = contexts or (context(1), context(3, _VERIFICATION, _IMPLICIT))
    if user is None:
        user = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3")
    titles = called.ljust(16)[:16] + calling.ljust(16)[:16] + bytes(32)
    head = struct.pack(">HH", version, 0) + titles
    return pdu(ASSOCIATE_RQ, head + application + b"".join(contexts) + item(0x50, user))


def value(context_id: int, control: int, data: bytes, length: int | None = None) -> bytes:
    """A presentation data value; control 1: command, 2: last."""
    return struct.pack(">LBB", len(data) + 2 if length is None else length, context_id, control) + data


def command(**elements: int | bytes | None) -> bytes:
    """A command set, implicit VR little endian, of C-STORE unless told otherwise; None leaves an element out."""
    values: dict[str, int | bytes | None] = {
        "SOPClass": CR.encode() + b"\0", "Field": _C_STORE_RQ, "MessageID": 1, "Priority": 0,
        "DataSetType": _WITH_DATASET, "SOPInstance": b"1.2.3.4\0", **elements,
    }  # fmt: skip
    tags = {"SOPClass": 0x02, "Field": 0x100, "MessageID": 0x110, "Priority": 0x700, "DataSetType": 0x800,
            "SOPInstance": 0x1000}  # fmt: skip
    body = b""
    for name, tag in tags.items():
        content = values[name]
        if content is not None:
            data = struct.pack("<H", content & 0xFFFF) if isinstance(content, int) else content
            body += struct.pack("<HHL", 0, tag, len(data)) + data
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def echo(message: int = 1) -> bytes:
    """The command set of a C-ECHO."""
    return command(
        SOPClass=_VERIFICATION.encode() + b"\0", Field=_C_ECHO_RQ, MessageID=message, Priority=None,
        DataSetType=_NO_DATASET, SOPInstance=None,
    )  # fmt: skip


@cache
def dataset() -> bytes:
    """A small film, explicit VR little endian, without file meta."""
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = False, True
    write_dataset(file, Dataset(films.make_cr(films.spine_like(80, 70))))
    return file.getvalue()


def store(sop: bytes = b"1.2.3.4\0", data: bytes | None = None) -> bytes:
    """A whole C-STORE as one PDU."""
    data = dataset() if data is None else data
    return pdu(P_DATA, value(1, 3, command(SOPInstance=sop)) + value(1, 2, data))


RELEASE = pdu(RELEASE_RQ, bytes(4))
Steps = Iterator[bytes | Step]


def _sound(chance: random.Random) -> Steps:
    """What is made bad by the byte rules alone."""
    yield request()
    yield store(b"1.2.826.%d\0" % chance.randrange(10**6))
    yield pdu(P_DATA, value(3, 3, echo(2)))
    yield RELEASE


def _bad_request(chance: random.Random) -> Steps:
    yield chance.choice((
        request(version=0), request(called=b""), request(calling=b"\xff" * 16), request(calling=b"\0" * 16),
        request(application=b""), request(application=item(0x10, b"1.2.3")), request(user=b""),
        request(user=item(0x51, b"\0\0\0\0")), request(user=item(0x51, struct.pack(">L", 7))),
        request(user=item(0x51, b"\0")), request(user=item(0x58, b"\1\1\0\4user\0\0") * 3),
        request(user=item(0x53, bytes(4)) + item(0x54, b"\0\7" + CR.encode()[:7] + b"\1\1")),
        request(user=item(0x55, b"x" * 60_000)), request(user=item(0x59, bytes(9))),
        request(context(2)), request(context(0)), request(*[context(1)] * 5),
        request(*[context(number * 2 + 1 & 0xFF) for number in range(300)]),
        request(context(1, "")), request(context(1, "1" * 3000)), request(context(1, CR, *["1.2.3"] * 2000)),
        request(context(1, CR, "")), request(item(0x20, b"")), request(item(0x20, b"\1\0\0\0")),
        request(item(0x20, b"\1\0\0\0" + item(0x30, b"x", 500))), request(item(0x99, b"x" * 9)),
        pdu(ASSOCIATE_RQ, b""), pdu(ASSOCIATE_RQ, bytes(68)), pdu(ASSOCIATE_RQ, b"\xff" * 200),
    ))  # fmt: skip
    yield store()
    yield RELEASE


def _lying_lengths(chance: random.Random) -> Steps:
    yield request()
    body = value(1, 3, command()) + value(1, 2, dataset()[:2000])
    lie = chance.choice(_LENGTHS)
    yield chance.choice((
        pdu(P_DATA, body, lie), pdu(P_DATA, value(1, 3, command(), lie)), pdu(P_DATA, b""),
        pdu(P_DATA, value(1, 3, command()) + value(1, 2, b"x" * 50, lie)), pdu(P_DATA, body[: chance.randrange(60)]),
        pdu(RELEASE_RQ, b"", lie), pdu(P_DATA, value(1, 3, b"")), pdu(P_DATA, struct.pack(">L", lie)),
    ))  # fmt: skip
    yield RELEASE


def _fragments(chance: random.Random) -> Steps:
    """Cut where nobody cuts, mixed up, of several contexts, without end."""
    yield request(context(1), context(3, _VERIFICATION, _IMPLICIT), context(5, CR, _IMPLICIT))
    body, data = command(SOPInstance=b"1.2.9.%d\0" % chance.randrange(999)), dataset()
    cut, middle = chance.randrange(len(body)), chance.randrange(len(data))
    parts = [
        value(1, 1, body[:cut]),
        value(1, 3, body[cut:]),
        value(1, 0, data[:middle]),
        value(1, 2, data[middle:]),
    ]
    kind = chance.randrange(6)
    if kind == 0:
        chance.shuffle(parts)
    elif kind == 1:
        parts[chance.randrange(4)] = value(chance.choice((2, 5, 7, 255)), chance.randrange(4), data[:50])
    elif kind == 2:
        parts = [parts[0]] + [value(1, chance.choice((0, 1)), b"")] * 2000 + parts[1:]
    elif kind == 3:
        parts.pop(chance.randrange(4))
    elif kind == 4:
        parts.insert(chance.randrange(4), value(1, chance.choice((4, 0x83, 0xFF)), data[:9]))
    for part in parts:
        yield pdu(P_DATA, part)
    yield RELEASE


def _bad_command(chance: random.Random) -> Steps:
    yield request()
    name = chance.choice(("SOPClass", "Field", "MessageID", "Priority", "DataSetType", "SOPInstance"))
    pool: tuple[int | bytes | None, ...] = (
        (None, *_UIDS)
        if name.startswith("SOP")
        else (None, 0, 2, 0x0021, 0x0100, 0x8001, 0x0FFF, 0x0101, 0xFFFF, b"", b"\1")
    )
    bad = command(**{name: chance.choice(pool)})
    if chance.random() < 0.2:
        bad += struct.pack("<HHL", 0, 0x1030, 4) + b"WHO " + struct.pack("<HHL", 0x10, 0x10, 9) + b"x" * 9
    yield pdu(P_DATA, value(1, 3, bad) + value(1, 2, dataset()))
    yield pdu(P_DATA, value(3, 3, echo(7)))
    yield RELEASE


def _other_messages(chance: random.Random) -> Steps:
    """Messages that nobody asked for: C-FIND, C-MOVE, C-CANCEL, N-ACTION, responses."""
    yield request()
    for _ in range(chance.choice((1, 3))):
        field = chance.choice(
            (0x20, 0x21, 0x10, 0x0FFF, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x8001, 0x8030)
        )
        kind = chance.choice((_NO_DATASET, _WITH_DATASET))
        yield pdu(P_DATA, value(chance.choice((1, 3)), 3, command(Field=field, DataSetType=kind)))
        if kind == _WITH_DATASET and chance.random() < 0.7:
            yield pdu(P_DATA, value(1, 2, dataset()[: chance.randrange(300)]))
    yield RELEASE


def _data_before_command(chance: random.Random) -> Steps:
    yield request()
    for _ in range(chance.choice((1, 3, 200))):
        yield pdu(P_DATA, value(chance.choice((1, 3)), chance.choice((0, 2)), dataset()[:500]))
    yield store()
    yield RELEASE


def _endless_command(chance: random.Random) -> Steps:
    yield request()
    for _ in range(chance.choice((5, 60))):
        yield pdu(P_DATA, value(1, 1, b"\0" * 16_000))


def _wrong_order(chance: random.Random) -> Steps:
    """PDUs that do not belong into this state."""
    good = [request(), store(), RELEASE, pdu(ABORT, bytes(4))]
    odd = [pdu(kind, bytes(chance.choice((0, 4, 68)))) for kind in (0, 2, 3, RELEASE_RP, 8, 0x42, 0xFF)]
    for _ in range(chance.choice((1, 2, 5))):
        yield chance.choice(good + odd)
    if chance.random() < 0.5:
        yield request()
        yield chance.choice(odd)


def _release_collision(chance: random.Random) -> Steps:
    yield request()
    yield RELEASE * chance.choice((1, 2, 5)) + chance.choice(
        (b"", store(), pdu(RELEASE_RP, bytes(4)), pdu(ABORT, bytes(4)))
    )
    yield pdu(RELEASE_RP, bytes(4))


def _abort(chance: random.Random) -> Steps:
    """Aborts in the middle of everything."""
    yield request()
    data = store(b"1.2.7.%d\0" % chance.randrange(999))
    yield data[: chance.randrange(len(data))] if chance.random() < 0.5 else data
    yield pdu(ABORT, bytes((0, 0, chance.randrange(4), chance.randrange(9)))) * chance.choice((1, 50))


def _silence(chance: random.Random) -> Steps:
    """Stops talking somewhere."""
    whole = request() + store()
    yield Step(whole[: chance.choice((0, 1, 5, 6, 60, 300, len(whole) - 1))], chance.choice((0.0, 0.2, 1.0)))


def _many_messages(chance: random.Random) -> Steps:
    """Asks on and on without reading an answer."""
    yield request()
    yield pdu(P_DATA, value(3, 3, echo())) * chance.choice((20, 200))
    yield store(b"1.2.8\0") * chance.choice((1, 10))


def _noise(chance: random.Random) -> Steps:
    if chance.random() < 0.5:
        yield request()
    yield chance.randbytes(chance.choice((1, 6, 100, 5000)))


def _harm_bytes(steps: list[Step], chance: random.Random) -> list[Step]:
    keep = chance.choice((0, 1))  # the request stays whole, so that what follows is looked at
    data = bytearray(b"".join(step.data for step in steps[keep:]))
    for _ in range(chance.choice((1, 3, 20)) if data else 0):
        place = chance.randrange(min(len(data), chance.choice((100, 500, 100_000))))
        data[place] = chance.randrange(256)
    if chance.random() < 0.2:
        del data[chance.randrange(len(data) + 1) :]
    return [*steps[:keep], Step(bytes(data))]


def _pieces(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """A few cuts at odd places."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((1, 3, 12))))
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        yield data[start:end]


_RULES: tuple[Callable[[random.Random], Steps], ...] = (
    _sound, _sound, _bad_request, _lying_lengths, _fragments, _bad_command, _other_messages, _data_before_command,
    _endless_command, _wrong_order, _release_collision, _abort, _silence, _many_messages, _noise,
)  # fmt: skip
