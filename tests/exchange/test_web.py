"""What an archive may answer that is no answer: each is told in words, and nothing is taken for a film."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from spinepacs.domain.campaign import Query, WantedFilm
from spinepacs.errors import BadInput, BadSettings
from spinepacs.exchange.archive import ArchiveAway, Asked, NotGiven, parse_peer
from spinepacs.exchange.dicomweb import DicomWeb
from spinepacs.exchange.web import PASSWORD, TOKEN, USER, check_url
from tests import peers

FILM = WantedFilm("1.2.3", "1.2", "1.2.9")
PART = b"--xyz\r\nContent-Type: application/dicom\r\n\r\nDICM-bytes"
MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=xyz'}


@contextmanager
def archive(
    status: int, headers: dict[str, str], body: bytes, seen: list[dict[str, str]] | None = None
) -> Iterator[str]:
    """A server that answers the same to everything, and says the length only where the headers do."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if seen is not None:
                seen.append(dict(self.headers))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def client(url: str, credentials: str = "", limit_bytes: int = 1 << 30) -> Iterator[DicomWeb]:
    found = DicomWeb(url, credentials, limit_bytes)
    try:
        yield found
    finally:
        found.close()


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (200, {"Content-Type": "text/html"}, b"<html>Log in</html>", "a page for people"),
        (200, {"Content-Type": "application/json"}, b"not JSON", "is no JSON"),
        (200, {"Content-Type": "application/json"}, b'["x"]', "no list of datasets"),
        (401, {}, b"", "HTTP 401: are the credentials right"),
        (503, {}, b"", "HTTP 503"),
        (302, {"Location": "http://127.0.0.2:9/login"}, b"", "redirects to another host"),
    ],
)
def test_what_is_no_answer_to_a_question(
    status: int, headers: dict[str, str], body: bytes, words: str
) -> None:
    with archive(status, headers, body) as url, client(url) as web, pytest.raises(ArchiveAway, match=words):
        list(web.studies(Asked(), Query()))


def test_nobody_listens() -> None:
    with (
        client(f"http://127.0.0.1:{peers.free_port()}") as web,
        pytest.raises(ArchiveAway, match="does not answer"),
    ):
        web.probe()


def test_a_film_comes_as_the_bytes_that_were_sent() -> None:
    with archive(200, MULTIPART, PART + b"\r\n--xyz--") as url, client(url) as web:
        assert web.fetch(FILM) == b"DICM-bytes"


def test_a_film_that_ends_too_early_is_none() -> None:
    """Without a length nothing tells but the boundary that is missing; the client gives what there is."""
    with (
        archive(200, MULTIPART, PART) as url,
        client(url) as web,
        pytest.raises(ArchiveAway, match="too early"),
    ):
        web.fetch(FILM)


@pytest.mark.parametrize("length", [{}, {"Content-Length": "5000"}])
def test_a_film_that_is_too_large_is_not_taken(length: dict[str, str]) -> None:
    body = PART + bytes(5000) + b"\r\n--xyz--"
    headers = {**MULTIPART, **({"Content-Length": str(len(body))} if length else {})}
    with (
        archive(200, headers, body) as url,
        client(url, limit_bytes=1000) as web,
        pytest.raises(BadInput, match="maximum_object_mb") as error,
    ):
        web.fetch(FILM)
    assert error.value.reason_code == "TOO_LARGE"


def test_a_film_that_is_gone_is_its_own_trouble_and_not_the_archives() -> None:
    with archive(404, {}, b"") as url, client(url) as web, pytest.raises(NotGiven, match="404"):
        web.fetch(FILM)


def test_an_archive_without_pages_is_asked_no_more_than_twice() -> None:
    seen: list[dict[str, str]] = []
    answer = (
        b'[{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}, {"0020000D": {"vr": "UI", "Value": ["../x"]}}]'
    )
    with archive(200, {"Content-Type": "application/dicom+json"}, answer, seen) as url, client(url) as web:
        assert list(web.studies(Asked(), Query())) == [["1.2.3"]]
    assert len(seen) == 2


def test_credentials_come_from_a_file_that_others_may_not_read_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "credentials.toml", list[dict[str, str]]()
    path.write_text('token = "t0ken"')
    path.chmod(0o644)
    with pytest.raises(BadSettings, match="chmod 640"):
        DicomWeb("http://127.0.0.1", str(path))
    path.chmod(0o600)
    with archive(200, {"Content-Type": "application/json"}, b"[]", seen) as url:
        with client(url, str(path)) as web:
            web.probe()
        monkeypatch.setenv(USER, "u")
        monkeypatch.setenv(PASSWORD, "p")
        with client(url) as web:
            web.probe()
        monkeypatch.setenv(TOKEN, "other")
        with client(url) as web:
            web.probe()
    assert [each["Authorization"] for each in seen] == ["Bearer t0ken", "Basic dTpw", "Bearer other"]
    path.write_text('pass = "x"')
    with pytest.raises(BadSettings, match="nothing else"):
        DicomWeb("http://127.0.0.1", str(path))


def test_no_secret_goes_over_the_network_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text('token = "t0ken"')
    path.chmod(0o600)
    for url in ("http://pacs.example.org/rs", "http://10.0.0.5:8042/dicom-web"):
        DicomWeb(url).close()
        with pytest.raises(BadSettings, match="https:// only"):
            DicomWeb(url, str(path))
        monkeypatch.setenv(TOKEN, "t0ken")
        with pytest.raises(BadSettings, match="https:// only"):
            DicomWeb(url)
        monkeypatch.delenv(TOKEN)
    for url in (
        "https://pacs.example.org/rs",
        "http://127.0.0.1:8042/rs",
        "http://localhost/rs",
        "http://[::1]/rs",
    ):
        DicomWeb(url, str(path)).close()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x", "pacs/dicom-web", "https://u:p@pacs/dicom-web", "https://pacs/x?token=y", "https://pacs/x?",
        "https://pacs/x#", "https://[::1/x", "https://pacs:99999/x", "https://pacs:web/x", "https://pacs/a b",
    ],
)  # fmt: skip
def test_a_url_that_would_put_a_secret_into_the_database_or_is_none(url: str) -> None:
    with pytest.raises(BadSettings, match="--dicomweb: "):
        check_url(url)


def test_a_url_is_given_without_a_slash_at_its_end() -> None:
    assert check_url("https://pacs.example.org:8443/dicom-web/") == "https://pacs.example.org:8443/dicom-web"


def test_a_peer_is_named_by_title_host_and_port() -> None:
    assert parse_peer("MY PACS@pacs.example.org:104") == ("MY PACS", "pacs.example.org", 104)
    assert parse_peer("A@[::1]:104") == ("A", "::1", 104)
    for wrong in ("pacs:104", "A@pacs", "A@pacs:0", "A@pacs:99999", "WAYTOOLONGAETITLE@pacs:104"):
        with pytest.raises(BadSettings, match="AE@host:port"):
            parse_peer(wrong)
