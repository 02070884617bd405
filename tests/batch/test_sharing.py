"""Claims on films: one holder at a time; those of the dead are taken over, at once or by the lease."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spinepacs.batch import sharing
from spinepacs.batch.sharing import Sharer, Terms
from spinepacs.errors import BadSettings

TERMS = Terms("v1", "nobody")
DIES_WITH_CLAIM = """
import os, sys
from pathlib import Path
from spinepacs.batch.sharing import Sharer, Terms
sharer = Sharer(Path(sys.argv[1]), Terms("v1", "nobody")).__enter__()
print(sharer.claim("films/a"), flush=True)
os._exit(1)
"""


def die_with_claim(out: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", DIES_WITH_CLAIM, out], capture_output=True, text=True, check=False
    )
    assert told.stdout == "True\n", told.stderr


def elsewhere(out: Path) -> Path:
    """Make the only sharer one of another machine, whose locks are not seen here."""
    (file,) = (out / ".spinepacs/sharers").glob("[!.]*")
    status = file.stat()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"boot": "another machine"}))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    return file


def test_a_claim_has_one_holder(tmp_path: Path):
    with Sharer(tmp_path, TERMS) as one, Sharer(tmp_path, TERMS) as other:
        assert one.claim("films/a")
        assert not other.claim("films/a")
        other.release("films/a")
        assert not other.claim("films/a"), "nobody lets go of another one's"
        one.release("films/a")
        assert other.claim("films/a")
    with Sharer(tmp_path, TERMS) as third:
        assert third.claim("films/a"), "who goes in order holds nothing any more"
    assert not list((tmp_path / ".spinepacs/sharers").iterdir())


def test_the_dead_of_this_machine_are_known_at_once(tmp_path: Path):
    die_with_claim(tmp_path)
    with Sharer(tmp_path, TERMS) as sharer:
        assert sharer.claim("films/a")


def test_a_claim_that_a_dead_one_left_on_what_is_done_goes_with_the_last(tmp_path: Path):
    with Sharer(tmp_path, TERMS) as one:
        die_with_claim(tmp_path)
        with Sharer(tmp_path, TERMS) as other:
            assert one.claim("films/b")
            assert other.claim("films/c")
        assert sorted(path.stem for path in (tmp_path / ".spinepacs/films").iterdir()) == ["b"]


def test_whose_parts_are_cleared_before_the_others_see_it_judges_none_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with Sharer(tmp_path, TERMS) as one:
        assert one.claim("films/a")
        elsewhere(tmp_path)
        stat = Path.stat

        def cleared(path: Path, **options: bool) -> os.stat_result:
            one._clear_parts()
            return stat(path, **options)

        monkeypatch.setattr(Path, "stat", cleared)
        with Sharer(tmp_path, TERMS) as other:
            monkeypatch.undo()
            assert not other.claim("films/a")


def test_the_dead_of_another_machine_are_known_by_their_silence(tmp_path: Path):
    die_with_claim(tmp_path)
    file = elsewhere(tmp_path)
    with Sharer(tmp_path, TERMS) as sharer:
        assert not sharer.claim("films/a")
        os.utime(file, (time.time() - 59, time.time() - 59))
        assert not sharer.claim("films/a")
        os.utime(file, (time.time() - 61, time.time() - 61))
        assert sharer.claim("films/a")


def test_clocks_of_machines_need_not_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    die_with_claim(tmp_path)
    elsewhere(tmp_path)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    with Sharer(tmp_path, TERMS) as sharer:
        assert not sharer.claim("films/a")


def test_a_sharer_that_beats_is_alive_and_one_thought_dead_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sharing, "BEAT_S", 0.05)
    with Sharer(tmp_path, TERMS, lease_s=1) as one:
        assert one.claim("films/a")
        file = elsewhere(tmp_path)
        time.sleep(1.5)
        with Sharer(tmp_path, TERMS, lease_s=1) as other:
            assert not other.claim("films/a")
            file.unlink()
            time.sleep(0.3)
            assert not other.claim("films/a")


def test_of_many_that_take_over_at_once_one_gets_it(tmp_path: Path):
    for turn in range(5):
        out = tmp_path / str(turn)
        out.mkdir()
        die_with_claim(out)
        context = multiprocessing.get_context("spawn")
        together, won = context.Barrier(4), context.SimpleQueue()
        takers = [context.Process(target=take, args=(out, together, won)) for _ in range(4)]
        for taker in takers:
            taker.start()
        for taker in takers:
            taker.join()
        assert sum(won.get() for _ in takers) == 1


def test_who_died_taking_over_holds_up_the_others_for_a_lease(tmp_path: Path):
    die_with_claim(tmp_path)
    turn = tmp_path / ".spinepacs/films/a.turn"
    turn.touch()
    with Sharer(tmp_path, TERMS) as sharer:
        assert not sharer.claim("films/a")
        os.utime(turn, (time.time() - 61, time.time() - 61))
        assert not sharer.claim("films/a")
        assert not turn.exists()
        assert sharer.claim("films/a")
        assert not turn.exists()


def test_one_that_judged_too_early_does_not_take_the_new_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    die_with_claim(tmp_path)
    with Sharer(tmp_path, TERMS) as slow, Sharer(tmp_path, TERMS) as quick, Sharer(tmp_path, TERMS) as third:
        judged = slow._is_dead

        def meanwhile(name: str, claim: Path) -> bool:
            is_dead = judged(name, claim)
            assert not quick.claim("films/a"), "it is the other one's turn"
            return is_dead

        monkeypatch.setattr(slow, "_is_dead", meanwhile)
        assert slow.claim("films/a")
        assert not quick.claim("films/a")
        assert not third.claim("films/a")


def take(out: Path, together, won) -> None:
    with Sharer(out, TERMS) as sharer:
        together.wait()
        won.put(sharer.claim("films/a"))
        together.wait()


def test_others_on_other_terms_are_told(tmp_path: Path):
    with Sharer(tmp_path, TERMS):
        with pytest.raises(BadSettings, match="with another model, policy or other options"):
            Sharer(tmp_path, Terms("v2", "nobody")).__enter__()
        with Sharer(tmp_path, TERMS):
            pass
    with Sharer(tmp_path, Terms("v2", "nobody")):
        pass


def test_a_round_of_work_begins_with_its_first_sharer(tmp_path: Path):
    with Sharer(tmp_path, TERMS) as one:
        time.sleep(0.05)
        with Sharer(tmp_path, TERMS) as other:
            assert other.since_ns == one.since_ns
    with Sharer(tmp_path, TERMS) as later:
        assert later.since_ns > one.since_ns


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_locks(*arguments: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(sharing.fcntl, "flock", no_locks)
    with Sharer(tmp_path, TERMS) as one, Sharer(tmp_path, TERMS) as other:
        assert one.claim("films/a")
        assert not other.claim("films/a")
