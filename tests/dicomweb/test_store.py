"""STOW-RS: what is answered as stored is durable and in the ledger, what is not is named with its reason."""

from __future__ import annotations

import hashlib
import http.client
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from pydicom.uid import generate_uid

from spinepacs.dicomweb import storing
from spinepacs.errors import Transient
from spinepacs.intake.part10 import head
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests import peers
from tests.daemons import film
from tests.dicomweb.servers import (
    FAILED,
    NAMELESS,
    RELATED,
    SENDER,
    STORED,
    Running,
    basic,
    body,
    listed,
    part10,
    serving,
)
from tests.films import SECRETS


def test_what_is_stored_is_the_file_that_the_listener_would_keep(site: Running) -> None:
    films = [film(number) for number in (1, 2)]
    answer = site.store(body(*map(part10, films)))
    assert answer.status == 200, answer.text
    assert answer.headers.get_content_type() == "application/dicom+json"
    assert listed(answer, STORED) == [(each.SOPInstanceUID, None) for each in films]
    assert listed(answer, FAILED) == []
    rows = site.kept()
    assert {(row["source"], row["calling_ae"], row["peer"]) for row in rows} == {
        ("dicomweb", "ct1", "127.0.0.1")
    }
    for row, each in zip(rows, films, strict=True):
        file = site.spool.path_of(row["sha256"]).read_bytes()
        syntax = each.file_meta.TransferSyntaxUID
        assert file.startswith(head(each.SOPClassUID, each.SOPInstanceUID, syntax))
        assert part10(each).endswith(file[len(head(each.SOPClassUID, each.SOPInstanceUID, syntax)) :])
        assert hashlib.sha256(file).hexdigest() == row["sha256"]
    assert site.store(body(*map(part10, films))).status == 200, "once more is no mistake"
    assert len(site.kept()) == 2


def test_of_good_and_bad_ones_each_has_its_own_word(site: Running) -> None:
    good, ct, squeezed = film(1), film(2), film(3)
    ct.SOPClassUID = ct.file_meta.MediaStorageSOPClassUID = (
        "1.2.840.10008.1.1"  # Verification: nothing to store
    )
    unknown = part10(squeezed).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0", 1)
    answer = site.store(body(part10(good), part10(ct), unknown, b"no DICOM at all" * 20, b""))
    assert answer.status == 202, answer.text
    assert listed(answer, STORED) == [(good.SOPInstanceUID, None)]
    assert listed(answer, FAILED) == [
        (ct.SOPInstanceUID, storing.CLASS_NOT_TAKEN),
        (squeezed.SOPInstanceUID, storing.SYNTAX_NOT_TAKEN),
    ]
    assert listed(answer, NAMELESS) == [("", storing.CANNOT_UNDERSTAND)] * 2
    assert len(site.kept()) == 1
    assert len(site.files()) == 1


def test_nothing_stored_is_a_conflict(site: Running) -> None:
    answer = site.store(body(b"x" * 200))
    assert (answer.status, listed(answer, NAMELESS)) == (409, [("", storing.CANNOT_UNDERSTAND)])
    answer = site.store(body(part10(film(1)), kind="image/jpeg"))
    assert (answer.status, listed(answer, NAMELESS)) == (409, [("", storing.CANNOT_UNDERSTAND)])
    assert site.files() == []


def test_a_study_in_the_path_lets_in_no_other(site: Running) -> None:
    one, other = film(1), film(2)
    answer = site.store(body(part10(one), part10(other)), study=one.StudyInstanceUID)
    assert answer.status == 202
    assert listed(answer, STORED) == [(one.SOPInstanceUID, None)]
    assert listed(answer, FAILED) == [(other.SOPInstanceUID, storing.OTHER_STUDY)]
    for path in ("..%2f..%2fetc", "../../etc/passwd", "1.2.3%00", "a", "1" * 65, "..", "%2e%2e%2f%2e%2e"):
        answer = site.ask(
            "POST", f"/dicom-web/studies/{path}", body(part10(one)), SENDER, {"Content-Type": RELATED}
        )
        assert answer.status in (400, 403, 404), path
    assert len(site.files()) == 1


@pytest.mark.parametrize(
    "kind",
    [
        'multipart/related; type="application/dicom+json"; boundary=edge',
        'multipart/related; type="application/dicom+xml"; boundary=edge',
        "multipart/form-data; boundary=edge",
        "application/dicom",
        "",
    ],
)
def test_other_media_types_are_refused(site: Running, kind: str) -> None:
    assert site.store(body(part10(film(1))), kind=kind).status == 415
    assert site.files() == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no multipart",
        b"--edge--\r\n",
        b"--edge\r\n",
        b"--edge\r\nContent-Type: application/dicom\r\n\r\nhalf of",
        b"--edge\r\n" + b"a: b\r\n" * 100 + b"\r\n--edge--",
        b"--edge\r\n" + b"a" * 100_000,
    ],
)
def test_a_body_that_is_none_is_refused(site: Running, content: bytes) -> None:
    assert site.store(content).status == 400
    assert site.store(content, kind="multipart/related; boundary=" + "x" * 3000).status == 400
    assert site.store(content, kind="multipart/related").status == 400
    assert site.files() == []


def test_what_was_whole_before_the_body_broke_off_is_named(site: Running) -> None:
    whole = body(part10(film(1)), part10(film(2)))
    answer = site.store(whole[:-1000])
    assert answer.status == 400
    assert listed(answer, STORED) == [(film(1).SOPInstanceUID, None)]
    assert len(site.files()) == len(site.kept()) == 1


def test_a_client_that_hangs_up_leaves_nothing_half(site: Running) -> None:
    content = body(part10(film(1)))
    with socket.create_connection(("127.0.0.1", site.port)) as line:
        lines = ["POST /dicom-web/studies HTTP/1.1", "Host: here", f"Authorization: {basic(SENDER)}"]
        lines += [f"Content-Type: {RELATED}", f"Content-Length: {len(content)}", "", ""]
        line.sendall("\r\n".join(lines).encode() + content[:-500])
    peers.wait_until(lambda: site.store(body(part10(film(2)))).status == 200)
    peers.wait_until(lambda: len(site.files()) == 1, 20, "nothing but the other film")


def test_limits(ledger: Ledger, spool: Spool) -> None:
    big = film(1)
    content = body(part10(big), part10(small(2)))
    with serving(ledger, spool, listener={"maximum_object_mb": 1}) as site:
        answer = site.store(content)
        assert answer.status == 202
        assert listed(answer, FAILED) == [(big.SOPInstanceUID, storing.TOO_LARGE)]
        assert site.store(body(part10(big))).status == 413
        assert len(site.files()) == 1
    with serving(ledger, spool, dicomweb={"maximum_request_mb": 1}) as site:
        assert site.store(content).status == 413
        chunked = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        headers = {"Authorization": basic(SENDER), "Content-Type": RELATED, "Transfer-Encoding": "chunked"}
        chunked.request("POST", "/dicom-web/studies", iter([content]), headers, encode_chunked=True)
        assert chunked.getresponse().status == 413
        chunked.close()
        assert len(site.files()) == 1


@pytest.mark.parametrize("limit", ["network_timeout_s", "transfer_timeout_s"])
def test_a_body_that_trickles_is_given_up(ledger: Ledger, spool: Spool, limit: str) -> None:
    content = body(part10(film(1)))
    with (
        serving(ledger, spool, listener={limit: 0.5}) as site,
        socket.create_connection(("127.0.0.1", site.port)) as line,
    ):
        line.settimeout(0.2)
        lines = ["POST /dicom-web/studies HTTP/1.1", "Host: here", f"Authorization: {basic(SENDER)}"]
        lines += [f"Content-Type: {RELATED}", f"Content-Length: {len(content)}", "", ""]
        line.sendall("\r\n".join(lines).encode())
        came, at = b"", 0
        while not came:
            if limit == "transfer_timeout_s":
                line.sendall(content[at : at + 1])
                at += 1
            try:
                came = line.recv(1000)
            except TimeoutError:
                continue
        assert came.startswith(b"HTTP/1.1 408 ")
        assert site.files() == []


def test_what_may_pass_is_to_be_sent_again(site: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise Transient("the database is away")

    with monkeypatch.context() as context:
        context.setattr(type(site.ledger), "add_arrival", away)
        answer = site.store(body(part10(film(1))))
        assert (answer.status, listed(answer, FAILED)) == (
            503,
            [(film(1).SOPInstanceUID, storing.OUT_OF_RESOURCES)],
        )
        assert answer.headers["Retry-After"]
        assert listed(answer, STORED) == []
    with monkeypatch.context() as context:
        context.setattr(type(site.ledger.accounts), "find", away)
        assert site.store(body(part10(film(1)))).status == 503
    with monkeypatch.context() as context:

        def defect(*_: Any) -> Any:
            raise KeyError("SECRET^NAME")

        context.setattr(type(site.ledger), "add_arrival", defect)
        answer = site.store(body(part10(film(1))))
        assert (answer.status, listed(answer, FAILED)) == (
            409,
            [(film(1).SOPInstanceUID, storing.PROCESSING_FAILURE)],
        )
    assert site.store(body(part10(film(1)))).status == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with peers.disk(tmp_path / "disk", "1m") as folder:
        yield folder


def test_a_full_disk_is_said_and_nothing_stays(ledger: Ledger, small_disk: Path) -> None:
    big = film(1)
    with serving(ledger, Spool(small_disk / "spool")) as site:
        answer = site.store(body(part10(big)))
        assert (answer.status, listed(answer, FAILED)) == (
            503,
            [(big.SOPInstanceUID, storing.OUT_OF_RESOURCES)],
        )
        answer = site.store(body(part10(big), part10(small(2))))
        assert (answer.status, listed(answer, STORED)) == (202, [(film(2).SOPInstanceUID, None)])
        assert len(site.files()) == len(site.kept()) == 1


def test_below_the_reserve_nothing_is_taken(ledger: Ledger, tmp_path: Path) -> None:
    with serving(ledger, Spool(tmp_path / "spool", reserve_bytes=1 << 60)) as site:
        answer = site.store(body(part10(film(1))))
        assert (answer.status, listed(answer, FAILED)) == (
            503,
            [(film(1).SOPInstanceUID, storing.OUT_OF_RESOURCES)],
        )
        assert site.files() == []


def small(number: int) -> Any:
    """A film whose pixels are few."""
    dataset = film(number)
    dataset.Rows = dataset.Columns = 16
    dataset.PixelData = bytes(512)
    return dataset


_FILM = part10(small(1))


_EDITS = strategies.lists(
    strategies.tuples(
        strategies.sampled_from([0, 60, 190, 200, 400, 1000, -20]),
        strategies.integers(-40, 200),
        strategies.sampled_from([0, 1, 4, 100]),
        strategies.binary(max_size=60),
    ),
    min_size=1,
    max_size=4,
)
"""Near where, how far from there, how many bytes are taken out, what is put in."""


def damaged(edits: list[tuple[int, int, int, bytes]]) -> bytes:
    content = bytearray(body(_FILM, _FILM))
    for near, by, much, put in edits:
        at = max(0, near % len(content) + by)
        content[at : at + much] = put
    return bytes(content)


def test_whatever_comes_is_answered_and_nothing_half_stays(
    site: Running, caplog: pytest.LogCaptureFixture
) -> None:
    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        content=_EDITS.map(damaged) | strategies.binary(max_size=2000),
        study=strategies.sampled_from(["", "1.2.3"]),
    )
    def fuzz(content: bytes, study: str) -> None:
        answer = site.store(content, study)
        assert answer.status in (200, 202, 400, 409)
        assert len(site.files()) == len({row["sha256"] for row in site.kept()})

    fuzz()
    assert "defect" not in caplog.text
    assert not [secret for secret in SECRETS if secret in caplog.text]


def test_nothing_is_believed_of_a_file_but_its_meta_group(site: Running) -> None:
    """The worker finds out, as with the listener, that the dataset names another object."""
    liar = film(1)
    file = part10(liar)
    named = generate_uid()[: len(liar.SOPInstanceUID)].ljust(len(liar.SOPInstanceUID), "1")
    lying = file.replace(liar.SOPInstanceUID.encode(), named.encode(), 1)
    answer = site.store(body(lying))
    assert listed(answer, STORED) == [(named, None)]


def test_only_so_many_at_a_time(ledger: Ledger, spool: Spool) -> None:
    lines = ["POST /dicom-web/studies HTTP/1.1", "Host: here", f"Authorization: {basic(SENDER)}"]
    lines += [f"Content-Type: {RELATED}", "Content-Length: 100", "", "--edge"]
    with serving(ledger, spool, dicomweb={"maximum_requests": 1}) as site, ExitStack() as stack:

        def begun() -> socket.socket:
            line = stack.enter_context(socket.create_connection(("127.0.0.1", site.port)))
            line.sendall("\r\n".join(lines).encode())
            return line

        line = begun()

        def is_full() -> bool:
            nonlocal line
            if select.select([line], [], [], 0)[0]:  # answered at once: the other request had the place
                line = begun()
            answer = site.store(body(part10(film(1))))
            return answer.status == 503 and bool(answer.headers["Retry-After"])

        peers.wait_until(is_full, 20, "the answer that there is no place")
        line.close()
        peers.wait_until(lambda: site.store(body(part10(film(1)))).status == 200, 20, "a place")


def test_namespace_of_the_listener() -> None:
    """The same numbers as the listener's, where they mean the same."""
    from spinepacs.intake import listener

    ours = SimpleNamespace(**vars(storing))
    for name in ("OUT_OF_RESOURCES", "CANNOT_UNDERSTAND", "TOO_LARGE"):
        assert getattr(ours, name) == getattr(listener, name)
