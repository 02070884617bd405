"""What only a real object storage shows (OpenStack Swift): it keeps what it took, and looks at keys and checksums."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spinepacs.errors import ToMend, Transient
from spinepacs.store.bucket import BucketSpool
from tests.peers_swift import Swift, is_installed, swift

IMAGE = b"DICM" * 1000

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        not is_installed() and os.environ.get("CI") != "true", reason="the package swift is not installed"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with swift(tmp_path_factory.mktemp("swift")) as running:
        running.make_bucket("films")
        yield running


@pytest.fixture(autouse=True)
def _environment(server: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


@contextmanager
def opened(scratch: Path) -> Iterator[BucketSpool]:
    spool = BucketSpool(scratch, "s3://films/site")
    yield spool
    spool.close()


@contextmanager
def flipping(port: int) -> Iterator[int]:
    """A line on which one bit of a film changes on its way to the storage; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def carry(source: socket.socket, target: socket.socket, flips: bool) -> None:
            try:
                while piece := source.recv(1 << 16):
                    target.sendall(piece.replace(b"DICM", b"DICL", 1) if flips else piece)
            except OSError:
                pass
            finally:
                for one in (source, target):
                    one.close()

        def serve() -> None:
            while True:
                try:
                    client, _ = door.accept()
                except OSError:
                    return
                storage = socket.create_connection(("127.0.0.1", port))
                for ends in ((client, storage, True), (storage, client, False)):
                    threading.Thread(target=carry, args=ends, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield int(door.getsockname()[1])
        door.shutdown(socket.SHUT_RDWR)


def test_what_it_has_taken_is_there_after_all_of_it_was_killed(server: Swift, tmp_path: Path) -> None:
    with opened(tmp_path / "one") as spool:
        kept = spool.add([IMAGE])
        server.kill()
    with opened(tmp_path / "two") as spool:
        assert spool.read(kept.sha256) == IMAGE
        assert kept.sha256 in spool.shelf(kept.sha256[:2])


def test_a_wrong_key_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with opened(tmp_path) as spool, pytest.raises(ToMend, match="does not let us in"):
        spool.add([IMAGE])


def test_a_film_that_was_altered_on_its_way_is_not_taken(
    server: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with flipping(server.port) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with opened(tmp_path / "line") as spool, pytest.raises((Transient, ToMend)) as caught:
            spool.add([IMAGE, b"altered"])
        print(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.environment["AWS_ENDPOINT_URL"])
    with opened(tmp_path / "straight") as spool:
        kept = spool.add([IMAGE, b"altered"])
        assert spool.read(kept.sha256) == IMAGE + b"altered"
