"""What every kind of spool promises: a folder, a folder that machines share, object storage (moto's server, Swift)."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from spinepacs.errors import Permanent, ToMend, Transient
from spinepacs.settings.sections import StorageSettings
from spinepacs.store.bucket import BucketSpool
from spinepacs.store.spool import Spool
from spinepacs.store.spools import identity, open_spool
from tests.peers_s3 import S3, s3
from tests.peers_swift import Swift, is_installed, swift

IMAGE = b"DICM" * 1000
needs_swift = pytest.mark.skipif(
    not is_installed() and os.environ.get("CI") != "true", reason="the package swift is not installed"
)
KINDS = [
    "folder",
    "shared",
    pytest.param("bucket", marks=pytest.mark.peer),
    pytest.param("bucket of swift", marks=[pytest.mark.peer, needs_swift]),
]
Open = Callable[..., Spool]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(scope="module")
def swift_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def storage(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> StorageSettings:
    if not kind.startswith("bucket"):
        return StorageSettings(spool=tmp_path / "spool", reserve_mb=0)
    running = request.getfixturevalue("swift_server" if kind.endswith("swift") else "server")
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    url = running.make_bucket(f"films-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}")
    return StorageSettings(spool=f"{url}/site", scratch=tmp_path / "scratch", reserve_mb=0)


@pytest.fixture
def make(kind: str, storage: StorageSettings) -> Iterator[Open]:
    made: list[Spool] = []

    def opened(**changes: object) -> Spool:
        keeps_reserve = "reserve_mb" in changes
        settings = storage.model_copy(update=changes)
        made.append(open_spool(settings, machines=kind != "folder", keeps_reserve=keeps_reserve))
        return made[-1]

    yield opened
    for spool in made:
        spool.close()


def test_a_file_is_found_by_its_digest_by_this_process_and_by_others(make: Open) -> None:
    kept = make().add([IMAGE[:7], b"", IMAGE[7:]])
    assert (kept.sha256, kept.size_bytes) == (hashlib.sha256(IMAGE).hexdigest(), len(IMAGE))
    assert make().read(kept.sha256) == IMAGE
    assert make().path_of(kept.sha256).read_bytes() == IMAGE


def test_the_same_bytes_are_kept_once_and_say_that_they_came_again(make: Open) -> None:
    spool = make()
    digest = spool.add([IMAGE]).sha256
    first_ns = spool.shelf(digest[:2])[digest]
    time.sleep(1.1)  # object storage says whole seconds
    assert spool.add([IMAGE]).sha256 == digest
    assert list(spool.shelf(digest[:2])) == [digest]
    assert spool.shelf(digest[:2])[digest] > first_ns


def test_a_file_that_has_come_again_is_not_removed(make: Open) -> None:
    spool = make()
    digest = spool.add([IMAGE]).sha256
    seen_ns = spool.shelf(digest[:2])[digest]
    time.sleep(1.1)
    make().add([IMAGE])
    assert not spool.remove(digest, seen_ns)
    assert make().read(digest) == IMAGE


def test_what_is_removed_again_and_again_is_gone(make: Open) -> None:
    """Object storage puts it aside first: what comes in that very moment must be found."""
    spool = make()
    digest = spool.add([IMAGE]).sha256
    looks = 0
    while digest in (shelf := spool.shelf(digest[:2])):
        assert spool.remove(digest, shelf[digest])
        looks += 1
    assert looks == (2 if isinstance(spool, BucketSpool) else 1)
    with pytest.raises(Permanent, match="no file"):
        make().read(digest)
    assert not spool.remove(digest, 1)


def test_what_was_put_aside_is_still_given(make: Open) -> None:
    spool = make()
    if not isinstance(spool, BucketSpool):
        pytest.skip("a folder has locks")
    digest = spool.add([IMAGE]).sha256
    assert spool.remove(digest, spool.shelf(digest[:2])[digest])
    assert make().read(digest) == IMAGE


def test_a_missing_file_is_permanent_and_its_path_is_empty(make: Open) -> None:
    spool = make()
    assert not spool.path_of("0" * 64).exists()
    assert spool.path_of("0" * 64).parent.is_dir()
    with pytest.raises(Permanent, match="no file"):
        spool.read("0" * 64)


def test_no_path_comes_from_outside(make: Open) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        make().path_of("../" * 21 + "a")


def test_a_source_that_breaks_off_leaves_nothing(make: Open) -> None:
    def chunks() -> Iterator[bytes]:
        yield IMAGE
        raise ConnectionError("the sender is gone")

    spool = make()
    with pytest.raises(ConnectionError):
        spool.add(chunks())
    assert not any(spool.shelf(f"{number:02x}") for number in range(256))


def test_below_the_reserve_nothing_is_taken(make: Open) -> None:
    spool = make(reserve_mb=10**12)
    with pytest.raises(Transient, match="reserve"):
        spool.add([IMAGE])


def test_many_threads_may_add_and_fetch_the_same_and_other_bytes(make: Open) -> None:
    spool, other = make(), make()

    def way(number: int) -> tuple[str, bytes]:
        digest = spool.add([IMAGE, bytes([number % 4])]).sha256
        return digest, other.read(digest)

    with ThreadPoolExecutor(8) as pool:
        done = set(pool.map(way, range(32)))
    assert len(done) == 4
    assert all(hashlib.sha256(content).hexdigest() == digest for digest, content in done)


def test_a_spool_has_one_identity_for_all_who_open_it(make: Open, storage: StorageSettings) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: identity(make(), storage), range(4)))
    assert len(found) == 1
    assert len(found.pop()) == 32


def test_a_spool_that_was_restored_keeps_the_identity_that_its_database_knows(
    make: Open, storage: StorageSettings
) -> None:
    spool = make()
    spool.add([IMAGE])
    assert identity(spool, storage, "known") == "known"
    assert identity(spool, storage, "other") == "known"


def test_an_empty_spool_is_another_one(make: Open, storage: StorageSettings) -> None:
    assert identity(make(), storage, "known") != "known"


def test_a_killed_writer_leaves_no_half_file(make: Open, storage: StorageSettings, kind: str) -> None:
    """Killed while it stores, again and again: what can be seen is whole."""
    script = (
        "import sys; from spinepacs.settings.sections import StorageSettings\n"
        "from spinepacs.store.spools import open_spool\n"
        "spool = open_spool(StorageSettings.model_validate_json(sys.argv[1]), machines=sys.argv[2] != 'folder')\n"
        "print('ready', flush=True)\n"
        "for number in range(10**6): spool.add([number.to_bytes(4, 'big') * 200_000])\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script, storage.model_dump_json(), kind], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    spool = make()
    while not any(spool.shelf(f"{number:02x}") for number in range(256)):
        time.sleep(0.05)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    digests = [digest for number in range(256) for digest in spool.shelf(f"{number:02x}")]
    assert digests
    for digest in digests:
        assert hashlib.sha256(spool.read(digest)).hexdigest() == digest


# -- what only object storage may do -----------------------------------------------------------------------


@pytest.fixture
def bucket(server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketSpool]:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    url = server.make_bucket(f"own-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}")
    spool = BucketSpool(tmp_path / "scratch", url)
    yield spool
    spool.close()


@pytest.mark.peer
def test_a_storage_that_is_away_is_transient_and_goes_on_by_itself(
    bucket: BucketSpool, server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = bucket.add([IMAGE]).sha256
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens there
    cut_off = BucketSpool(tmp_path / "other", "s3://nowhere")
    for call in (
        lambda: cut_off.add([IMAGE]),
        lambda: cut_off.read(digest),
        lambda: cut_off.path_of(digest),
        lambda: cut_off.shelf("ab"),
        lambda: cut_off.remove(digest, 1),
        cut_off.check,
        cut_off.identity,
    ):
        with pytest.raises(Transient, match="object storage"):
            call()
    cut_off.close()
    bucket.check()


@pytest.mark.peer
def test_a_bucket_that_is_not_there_is_said(
    server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    spool = BucketSpool(tmp_path / "scratch", "s3://never-made")
    with pytest.raises(ToMend, match="no such bucket"):
        spool.add([IMAGE])
    spool.close()


@pytest.mark.peer
def test_what_was_fetched_long_ago_makes_room(bucket: BucketSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [bucket.add([IMAGE, bytes([number])]).sha256 for number in range(3)]
    monkeypatch.setattr("spinepacs.store.bucket._KEPT_BYTES", len(IMAGE) + 1)
    monkeypatch.setattr("spinepacs.store.bucket._KEPT_S", 0.0)
    paths = [bucket.path_of(digest) for digest in digests]
    assert [path.exists() for path in paths] == [False, False, True]
    assert bucket.read(digests[0]) == IMAGE + b"\0"


@pytest.mark.peer
def test_what_somebody_has_just_asked_for_stays(bucket: BucketSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long ago it was fetched: it is about to be opened."""
    old, other, new = (bucket.add([IMAGE, bytes([number])]).sha256 for number in range(3))
    now_s = [0.0]
    monkeypatch.setattr("spinepacs.store.bucket.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    monkeypatch.setattr("spinepacs.store.bucket._KEPT_BYTES", len(IMAGE) + 1)
    path, others_path = bucket.path_of(old), bucket.path_of(other)
    now_s[0] = 1000.0
    assert bucket.path_of(old) == path
    bucket.path_of(new)
    assert (path.exists(), others_path.exists()) == (True, False)
