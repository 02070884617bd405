"""The spool: durable, private, whole or not there at all."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from spinepacs.errors import Permanent, Transient
from spinepacs.store import spool as spool_module
from spinepacs.store.spool import Spool

IMAGE = b"DICM" * 1000


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool")
    yield opened
    opened.close()


def files_under(folder: Path) -> list[Path]:
    """All files but the locks."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def test_a_file_is_found_by_its_digest(spool: Spool) -> None:
    kept = spool.add([IMAGE[:7], b"", IMAGE[7:]])
    assert kept.sha256 == hashlib.sha256(IMAGE).hexdigest()
    assert kept.size_bytes == len(IMAGE)
    assert kept.path == spool.path_of(kept.sha256)
    assert spool.read(kept.sha256) == kept.path.read_bytes() == IMAGE


def test_only_its_owner_may_look_into_it(spool: Spool, tmp_path: Path) -> None:
    kept = spool.add([IMAGE])
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    folders = [path for path in (tmp_path / "spool").rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "spool", *folders]} == {0o700}


def test_the_same_bytes_are_kept_once(spool: Spool, tmp_path: Path) -> None:
    assert spool.add([IMAGE]) == spool.add([IMAGE])
    assert len(files_under(tmp_path)) == 1


def test_a_file_that_was_cut_is_replaced(spool: Spool) -> None:
    kept = spool.add([IMAGE])
    os.truncate(kept.path, 10)
    assert spool.read(spool.add([IMAGE]).sha256) == IMAGE


def test_many_threads_may_add_the_same_and_other_bytes(spool: Spool, tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        kept = list(pool.map(lambda number: spool.add([IMAGE, bytes([number % 4])]), range(64)))
    assert len({item.sha256 for item in kept}) == 4
    assert len(files_under(tmp_path)) == 4


def test_a_draft_is_a_file_only_when_it_is_finished(spool: Spool, tmp_path: Path) -> None:
    draft = spool.begin()
    draft.write(IMAGE)
    assert files_under(tmp_path / "spool" / "files") == []
    kept = draft.finish()
    draft.abandon()
    assert spool.read(kept.sha256) == IMAGE
    given_up = spool.begin()
    given_up.write(IMAGE, IMAGE)
    given_up.abandon()
    given_up.abandon()
    assert files_under(tmp_path) == [kept.path]


@pytest.mark.parametrize("count", [1, 2, 700, 5000])
def test_pieces_are_written_in_their_order_and_may_change_afterwards(spool: Spool, count: int) -> None:
    room = bytearray(b"".join(bytes([number % 256]) * (number % 7 * 400) for number in range(count)))
    sent, at, pieces = bytes(room), 0, []
    for number in range(count):
        pieces.append(memoryview(room)[at : (at := at + number % 7 * 400)])
    draft = spool.begin()
    draft.write(*pieces)
    room[:] = bytes(len(room))
    kept = draft.finish()
    assert spool.read(kept.sha256) == sent
    assert kept.sha256 == hashlib.sha256(sent).hexdigest()


def test_a_kernel_that_takes_pieces_in_parts_gets_the_rest(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda to, pieces: real(to, [pieces[0], pieces[1][:3]]))
    draft = spool.begin()
    draft.write(b"one", b"", b"two")
    draft.write(b"three", b"fourth", b"five")
    assert spool.read(draft.finish().sha256) == b"onetwothreefourthfive"


@pytest.mark.parametrize("name", ["", "ab", "../" * 21 + "a", "G" * 64, "A" * 64, "a" * 64 + "\n"])
def test_no_path_comes_from_outside(spool: Spool, name: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        spool.path_of(name)


def test_a_missing_file_is_permanent(spool: Spool) -> None:
    with pytest.raises(Permanent, match="no file"):
        spool.read("0" * 64)


def test_a_source_that_breaks_off_leaves_nothing(spool: Spool, tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield IMAGE
        raise ConnectionError("the sender is gone")

    with pytest.raises(ConnectionError):
        spool.add(chunks())
    assert files_under(tmp_path) == []


def test_below_the_reserve_nothing_is_taken(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", reserve_bytes=10**18)
    with pytest.raises(Transient, match="reserve"):
        spool.add([IMAGE])
    assert spool.free_bytes() > 0
    assert files_under(tmp_path) == []


def test_a_root_that_is_no_folder_is_transient(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(Transient, match="is a file where a folder has to be"):
        Spool(tmp_path / "spool")


# -- what survives a power loss ----------------------------------------------------------------------------


class Calls:
    """Writes down the calls to the system that matter for durability, and lets them through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, str]] = []
        for name in ("write", "pwrite", "ftruncate", "fsync", "replace", "mkdir"):
            monkeypatch.setattr(os, name, self._recorded(name, getattr(os, name)))

    def _recorded(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: int | str, *rest: Any, **options: Any) -> Any:
            target = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
            result = real(first, *rest, **options)
            self.seen.append((name, str(rest[0]) if name == "replace" else target))
            return result

        return call

    def of(self, *names: str) -> list[tuple[str, str]]:
        """Calls of these names, in order."""
        return [call for call in self.seen if call[0] in names]


def test_the_folders_are_durable_before_the_first_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    spool = Spool(tmp_path / "spool")
    monkeypatch.undo()
    files = tmp_path / "spool" / "files"
    last_folder = calls.seen.index(("mkdir", str(files / "ff")))
    for folder in (files, files.parent, tmp_path):
        assert ("fsync", str(folder)) in calls.seen[last_folder:]
    spool.close()


def test_the_order_that_survives_a_power_loss(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    kept = spool.add([IMAGE, IMAGE])
    monkeypatch.undo()
    tmp = calls.seen[0][1]
    assert calls.seen == [
        ("write", tmp),
        ("write", tmp),
        ("fsync", tmp),  # the bytes, after the last write and before the final name
        ("replace", str(kept.path)),
        ("fsync", str(kept.path.parent)),  # the final name
    ]


def test_bytes_that_are_there_already_are_made_durable_again(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that renamed the file may not have come to its fsync of the folder yet."""
    kept = spool.add([IMAGE])
    calls = Calls(monkeypatch)
    spool.add([IMAGE])
    monkeypatch.undo()
    assert calls.of("replace") == []
    assert calls.seen[-1] == ("fsync", str(kept.path.parent))


def test_files_that_belong_together_get_their_names_when_all_their_bytes_are_durable(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = spool.add([b"there already"])
    calls = Calls(monkeypatch)
    kept = spool.add_together([IMAGE, b"there already", IMAGE * 20])
    monkeypatch.undo()
    assert [file.path.read_bytes() for file in kept] == [IMAGE, b"there already", IMAGE * 20]
    assert kept[1] == old
    order = [name for name, _ in calls.seen]
    written = {target for name, target in calls.seen[: order.index("fsync")] if name == "pwrite"}
    synced = calls.of("fsync")
    assert {target for _, target in synced[:2]} < written
    assert calls.of("replace") == [("replace", str(kept[n].path)) for n in (0, 2)]
    assert order.index("replace") > [at for at, name in enumerate(order) if name == "fsync"][1]
    last = len(order) - order[::-1].index("replace")
    assert {target for _, target in calls.seen[last:]} == {str(file.path.parent) for file in kept}
    assert {name for name, _ in calls.seen[last:]} == {"fsync"}


def test_blocks_of_zeros_take_no_disk_and_are_read_as_they_were(spool: Spool) -> None:
    empty, tail, small = bytes(3_000_001), bytes(2_000_000) + b"end", b"\0" * 70_000 + b"x" + b"\0" * 200_000
    kept = spool.add_together([memoryview(empty), tail, small])
    for file, data in zip(kept, (empty, tail, small), strict=True):
        assert file.sha256 == hashlib.sha256(data).hexdigest()
        assert file.size_bytes == len(data)
        assert file.path.read_bytes() == data
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert sum(file.path.stat().st_blocks for file in kept) * 512 <= 4 * (1 << 16)


def test_of_files_that_belong_together_all_are_kept_or_none(tmp_path: Path, tiny_disk: Path) -> None:
    spool = Spool(tiny_disk / "spool")
    with pytest.raises(Transient, match="disk is full"):
        spool.add_together([b"y" * 300_000, b"x" * 900_000])
    assert files_under(tiny_disk) == []
    assert len(spool.add_together([b"y" * 300_000, b"x" * 300_000])) == 2
    spool.close()
    careful = Spool(tmp_path / "spool", reserve_bytes=1 << 60)
    with pytest.raises(Transient, match="reserve"):
        careful.add_together([IMAGE])
    careful.close()


def test_nothing_is_named_when_one_of_them_cannot_be_made_durable(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, real: Callable[[Path], None] = spool_module.sync_file) -> None:
        if path.stat().st_size == 4:
            raise OSError(5, "Input/output error")
        real(path)

    monkeypatch.setattr(spool_module, "sync_file", broken)
    with pytest.raises(Transient, match="Input/output error"):
        spool.add_together([IMAGE, b"four", IMAGE * 2])
    assert files_under(tmp_path) == []


def test_no_success_without_fsync(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(Transient, match="Input/output error"):
        spool.add([IMAGE])
    assert files_under(tmp_path) == []


# -- what survives a kill ----------------------------------------------------------------------------------

WRITER = """
import sys, time
from pathlib import Path
from spinepacs.store.spool import Spool

def chunks():
    yield b"DICM" * 100_000
    print("half", flush=True)
    time.sleep(60)

Spool(Path(sys.argv[1])).add(chunks())
"""


@pytest.fixture
def half_way(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has written half a file into the spool."""
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "spool")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        yield process
        process.kill()


def test_a_killed_writer_leaves_no_half_file_under_a_final_name(
    half_way: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    half_way.send_signal(signal.SIGKILL)
    half_way.wait()
    assert files_under(tmp_path / "spool" / "files") == []
    assert len(files_under(tmp_path / "spool" / "tmp")) == 1
    Spool(tmp_path / "spool").close()
    assert files_under(tmp_path / "spool") == [], "its leftovers go when the spool is opened again"


def test_what_a_living_process_is_writing_is_left_alone(
    half_way: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    Spool(tmp_path / "spool").close()
    assert len(files_under(tmp_path / "spool" / "tmp")) == 1
    assert half_way.poll() is None


# -- a full disk -------------------------------------------------------------------------------------------

LIMITED = f"""
import resource, signal, sys
from pathlib import Path
from spinepacs.errors import Transient
from spinepacs.store.spool import Spool

spool = Spool(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))
try:
    spool.add([b"x" * 60_000] * 3)
except Transient as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, ({resource.RLIM_INFINITY},) * 2)
print(spool.add([b"x" * 60_000] * 3).size_bytes)
"""


def test_a_full_disk_is_transient_and_leaves_nothing(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", LIMITED, str(tmp_path / "spool")]
    said = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.splitlines()
    assert "disk is full" in said[0]
    assert said[1] == "180000", "and it goes on when there is room"
    assert [path.stat().st_size for path in files_under(tmp_path / "spool")] == [180_000]


def test_a_disk_that_fills_up_resumes_when_there_is_room(tiny_disk: Path) -> None:
    spool = Spool(tiny_disk / "spool")
    first = spool.add([bytes(600_000)])
    with pytest.raises(Transient, match="disk is full"):
        spool.add([b"x" * 600_000])
    assert [path.stat().st_size for path in files_under(tiny_disk)] == [600_000]
    first.path.unlink()
    assert spool.add([b"x" * 600_000]).size_bytes == 600_000
    spool.close()
