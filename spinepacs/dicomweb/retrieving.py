"""WADO-RS (PS3.18 10.4): objects as they are stored, their headers, their frames, and pictures for people."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEGBaseline8Bit
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from spinepacs.dicom.reading.parse import number, parse
from spinepacs.dicomweb.answers import DICOM_JSON
from spinepacs.dicomweb.calls import Call
from spinepacs.errors import BadInput, Permanent
from spinepacs.store.holdings import Holding, holdings
from spinepacs.store.spool import Spool

_PIECE_BYTES = 1 << 18
_MOST_FRAMES = 1000
_WHOLE_IN_MEMORY = threading.Semaphore(2)
"""Frames are cut out of a file that is held in memory."""
_MEDIA_TYPES = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
"""Of frames in these transfer syntaxes (PS3.18 table 8.7.3-5)."""
_PLAIN, _DICOM = "application/octet-stream", "application/dicom"


def objects(call: Call) -> Response:
    """A study, a series or an instance as Part 10 files, each in the transfer syntax that it is stored in."""
    held, spool = _held(call), call.server.spool
    for kind, part, syntax in _accepted(call):
        if not _fits(syntax, held):
            continue
        if kind in ("multipart/related", "multipart/*", "*/*") and part in ("", _DICOM):
            call.server.viewed(call.account, call.peer, held[0].study_uid)
            boundary = secrets.token_hex(16)
            return StreamingResponse(_files(spool, held, boundary), media_type=_related(boundary, _DICOM))
        if kind == _DICOM and call.uid("instance"):
            call.server.viewed(call.account, call.peer, held[0].study_uid)
            return StreamingResponse(_pieces(spool, held[0]), media_type=_DICOM)
    raise HTTPException(
        406, f'there is multipart/related; type="{_DICOM}"; transfer-syntax=*: objects as they are stored'
    )


def metadata(call: Call) -> Response:
    """Headers of a study, a series or an instance, without bulk data."""
    held = _held(call)
    kinds = {kind for kind, _, _ in _accepted(call)}
    if not kinds & {"*/*", "application/*", "application/json", DICOM_JSON}:
        raise HTTPException(406, f"there is {DICOM_JSON}")
    texts = [text for each in held if (text := _text(call, each))]
    call.server.viewed(call.account, call.peer, held[0].study_uid)
    return Response(b"[" + b",".join(texts) + b"]", media_type=DICOM_JSON)


def frames(call: Call) -> Response:
    """Frames of an instance, as they are stored: plain pixels, or each with its compression."""
    (each,) = _held(call)
    wanted = _frame_numbers(str(call.request.path_params["frames"]))
    syntax = each.transfer_syntax_uid
    kind = _MEDIA_TYPES.get(syntax, _PLAIN)
    sent_as = syntax if UID(syntax).is_encapsulated else str(ExplicitVRLittleEndian)
    if syntax == ExplicitVRBigEndian or not _takes_frames(_accepted(call), kind, ("", "*", syntax, sent_as)):
        raise HTTPException(406, f'there is multipart/related; type="{kind}"; transfer-syntax={sent_as}')
    with _WHOLE_IN_MEMORY:
        cut = _cut(call, each, wanted)
    boundary = secrets.token_hex(16)
    call.server.viewed(call.account, call.peer, each.study_uid)
    parts = _parts(cut, boundary, f"{kind}; transfer-syntax={sent_as}")
    return Response(parts, media_type=_related(boundary, kind))


def _takes_frames(accepted: Sequence[Accepted], kind: str, syntaxes: Sequence[str]) -> bool:
    wholes, parts = ("multipart/related", "multipart/*", "*/*"), ("", "*/*", kind, _PLAIN)
    return any(whole in wholes and part in parts and syntax in syntaxes for whole, part, syntax in accepted)


def rendered(call: Call) -> Response:
    """A film in the window of its header, or our picture of it with what was found, as JPEG."""
    (each,) = _held(call)
    if not {kind for kind, _, _ in _accepted(call)} & {"*/*", "image/*", "image/jpeg"}:
        raise HTTPException(406, "there is image/jpeg")
    if "frames" in call.request.path_params and _frame_numbers(str(call.request.path_params["frames"])) != [
        1
    ]:
        raise HTTPException(404, "it has one frame")
    if not each.kind:
        picture = call.server.darkroom.picture(each.sha256)
    elif each.transfer_syntax_uid == JPEGBaseline8Bit:
        picture = _cut(call, each, [1])[0].rstrip(b"\0")
    else:
        raise HTTPException(406, "of such an object there is no picture")
    call.server.viewed(call.account, call.peer, each.study_uid)
    return Response(picture, media_type="image/jpeg")


def _held(call: Call) -> list[Holding]:
    """What the path names and the spool holds."""
    names = call.uid("study"), call.uid("series"), call.uid("instance")
    found = holdings(call.server.ledger, *names)
    there = [each for each in found if call.server.spool.path_of(each.sha256).exists()]
    if not there:
        raise HTTPException(404, "there is no such object, or its file is not kept any more")
    return there


def _text(call: Call, each: Holding) -> bytes:
    try:
        return call.server.headers.text(each.sha256)
    except Permanent:
        if call.uid("instance"):
            raise
        return b""  # one damaged header costs no study


Accepted = tuple[str, str, str]
"""Media type, its ``type`` and its ``transfer-syntax``; empty: not said."""


def _accepted(call: Call) -> list[Accepted]:
    """What the client takes: the header, or the query's ``accept`` (PS3.18 8.3.3.1)."""
    header = call.request.query_params.get("accept") or call.request.headers.get("accept", "*/*")
    found = []
    for choice in header.encode("latin-1", "replace").split(b","):
        kind, options = parse_options_header(choice.strip())
        part, syntax = (
            options.get(name, b"").decode("latin-1").lower() for name in (b"type", b"transfer-syntax")
        )
        found.append((kind.decode("latin-1").lower(), part, syntax))
    return found


def _fits(asked: str, held: Sequence[Holding]) -> bool:
    """Whether the transfer syntax that is asked for is the one that all are stored in; not said: as they are."""
    return asked in ("", "*") or all(each.transfer_syntax_uid == asked for each in held)


def _related(boundary: str, kind: str) -> str:
    return f'multipart/related; type="{kind}"; boundary={boundary}'


def _files(spool: Spool, held: Sequence[Holding], boundary: str) -> Iterator[bytes]:
    """The files as parts; one that goes meanwhile breaks the answer off, so that nobody takes it for whole."""
    for each in held:
        kind = f"application/dicom; transfer-syntax={each.transfer_syntax_uid}"
        yield f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode()
        yield from _pieces(spool, each)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _pieces(spool: Spool, each: Holding) -> Iterator[bytes]:
    with spool.path_of(each.sha256).open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _parts(cut: Iterable[bytes], boundary: str, kind: str) -> bytes:
    head = f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode()
    return b"".join([*(head + frame + b"\r\n" for frame in cut), f"--{boundary}--\r\n".encode()])


def _frame_numbers(asked: str) -> list[int]:
    if not re.fullmatch(r"[1-9]\d{0,5}(,[1-9]\d{0,5})*", asked, re.ASCII):
        raise HTTPException(400, "frames are numbers from 1 on, with commas between them")
    numbers = [int(number) for number in asked.split(",")]
    if len(numbers) > _MOST_FRAMES:
        raise HTTPException(400, f"{_MOST_FRAMES} frames at a time at most")
    return numbers


def _cut(call: Call, each: Holding, wanted: Sequence[int]) -> list[bytes]:
    dataset = parse(call.server.spool.path_of(each.sha256), with_pixels=True)
    count = max(1, int(number(dataset, "NumberOfFrames", 1)))
    if max(wanted) > count:
        raise HTTPException(404, f"it has {count} frames")
    pixels = dataset.get_item("PixelData")
    content = bytes(getattr(pixels, "value", None) or b"")
    if not content:
        raise HTTPException(404, "it has no pixels")
    if UID(each.transfer_syntax_uid).is_encapsulated:
        try:
            every = list(generate_frames(content, number_of_frames=count))
        except Exception as error:  # pydicom raises what it likes on damaged items
            raise BadInput(
                "DAMAGED_PIXELS", f"its frames cannot be told apart ({type(error).__name__})"
            ) from None
        if len(every) < max(wanted):
            raise HTTPException(404, f"it has {len(every)} frames")
        return [every[index - 1] for index in wanted]
    length = _frame_bytes(dataset)
    if len(content) < max(wanted) * length:
        raise BadInput("TRUNCATED", "its pixels end inside that frame")
    return [content[(index - 1) * length : index * length] for index in wanted]


def _frame_bytes(dataset: Dataset) -> int:
    sizes = [
        int(number(dataset, keyword, 1))
        for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    ]
    rows, columns, samples, bits = sizes
    frame_bits = rows * columns * samples * bits
    if frame_bits % 8 or frame_bits <= 0:
        raise HTTPException(406, "its frames do not begin at bytes: fetch the instance")
    return frame_bits // 8
