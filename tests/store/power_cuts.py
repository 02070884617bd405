"""Cuts the power after the calls that a real receiver made, and starts again on what may be left of the disk.

``python -m tests.store.power_cuts`` cuts after every call (minutes); the tests take a sample of SQLite's writes.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import select, text

from spinepacs.errors import SpinepacsError
from spinepacs.intake.adopt import adopt
from spinepacs.serve.upkeep import Upkeep
from spinepacs.settings.sections import RetentionSettings
from spinepacs.store.files import Want
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.store.tables import arrivals, objects
from tests import films, peers
from tests.store import power
from tests.store.power import Call

IMAGES = 3
_SPOOL, _LEDGER = Path("var", "spool"), Path("var", "db", "ledger.sqlite")


def record(tmp_path: Path) -> tuple[Path, list[Call]]:
    """Folder and calls of a receiver, from its first start on an empty disk to its end, three images later."""
    root, log = tmp_path / "disk", tmp_path / "strace.log"
    root.mkdir()
    sent = [tmp_path / f"{number}.dcm" for number in range(IMAGES)]
    for number, path in enumerate(sent):
        films.write(films.make_dx(np.full((64, 48), number + 1, np.uint16), seed=str(number)), path)
    arguments = [peers.require("strace"), *power.STRACE, "-o", str(log), sys.executable]
    arguments += ["-m", "tests.store.receiver", str(root / _SPOOL), str(root / _LEDGER)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout
        assert receiver.stdin
        port = receiver.stdout.readline().strip()
        subprocess.run(
            [peers.require("storescu"), "-aec", "SPINEPACS", "127.0.0.1", port, *map(str, sent)],
            check=True,
            timeout=60,
        )
        receiver.stdin.close()
        assert receiver.wait(60) == 0
    return root, power.parse(log.read_text())


def cut(root: Path, calls: Sequence[Call], share: float = 1.0) -> tuple[int, str]:
    """Cut the power after the calls, until something is wrong.

    Parameters
    ----------
    share
        Of the writes of SQLite, and of what comes before the first answer, where there is nothing to lose.

    Returns
    -------
    Number of different states of the disk that were started on, and what was wrong.
    """
    # In memory where that is possible: what is started here need not survive.
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        return _cut(root, calls, Path(folder), share)


def _cut(root: Path, calls: Sequence[Call], folder: Path, share: float) -> tuple[int, str]:
    disk, dice = power.Disk(root), random.Random(5)
    acknowledged: list[str] = []
    seen: set[int] = set()
    for call in calls:
        if call.acknowledged:
            acknowledged.append(call.acknowledged)
        elif not disk.play(call) or call.name == "mkdir":
            continue
        if dice.random() > share and (call.name == "pwrite64" or not acknowledged):
            continue
        for name, state in disk.states(dice):
            key = hash((len(acknowledged), tuple(sorted(state.items()))))
            if key in seen:
                continue
            seen.add(key)
            if said := _outcome(folder / "after", state, acknowledged):
                return len(seen), f"{said} ({name})"
    return len(seen), ""


def _outcome(folder: Path, state: power.State, acknowledged: Sequence[str]) -> str:
    """Start on a state of the disk as after a power loss; what is wrong then, or nothing."""
    power.write_state(folder, state)
    try:
        spool = Spool(folder / _SPOOL)
        with Ledger.open(f"sqlite:///{folder / _LEDGER}") as ledger:
            return _wrong(spool, ledger, acknowledged)
    except SpinepacsError as error:
        return f"cannot start: {error}"
    finally:
        shutil.rmtree(folder)


def _wrong(spool: Spool, ledger: Ledger, acknowledged: Sequence[str]) -> str:
    """The first promise that does not hold."""
    if ledger.rows(select(text("integrity_check FROM pragma_integrity_check"))) != [
        {"integrity_check": "ok"}
    ]:
        return "the database is damaged"
    rows = ledger.rows(select(arrivals.c.sop_uid, arrivals.c.sha256))
    if set(acknowledged) - {row["sop_uid"] for row in rows}:
        return "an acknowledged image is not in the ledger"
    for row in rows + ledger.rows(select(objects.c.sop_uid, objects.c.sha256)):
        path = spool.path_of(row["sha256"])
        if not path.exists() or _digest(path) != row["sha256"]:
            return "a row's file is not there, or not whole"
    files = sorted(spool.path_of("0" * 64).parents[1].rglob("*.dcm"))
    if any(_digest(path) != path.stem for path in files):
        return "a final name holds something else than its bytes"
    _look_after(spool, ledger, {path.stem[:2] for path in files})
    if any(path.exists() and ledger.files.want(path.stem) is not Want.WANTED for path in files):
        return "a file that nobody knows is left"
    return ""


def _look_after(spool: Spool, ledger: Ledger, shelves: set[str]) -> None:
    """What the daemon does in the first hours after its start."""
    now_s = itertools.count(0, 3600)
    settings = RetentionSettings()
    upkeep = Upkeep(
        settings, spool, ledger, lambda sha256: adopt(sha256, spool, ledger), clock=lambda: float(next(now_s))
    )
    for shelf in [*shelves, *shelves]:
        upkeep.look(shelf)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = record(Path(folder))
        states, wrong = cut(*made)
        print(
            f"{len(made[1])} calls, {states} states of the disk after a power loss; wrong: {wrong or 'nothing'}"
        )
