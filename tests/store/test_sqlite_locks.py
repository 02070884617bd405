"""Several processes on one SQLite file: nobody's leaving may take commits of the others with it."""

from __future__ import annotations

import subprocess
import sys
import threading

from spinepacs.store.ledger import Ledger
from tests.store import makers

COUNT = """
import sys
from spinepacs.store.ledger import Ledger
with Ledger.open(sys.argv[1]) as ledger:
    print(ledger.counts().arrivals)
"""


def others_see(url: str) -> str:
    """What a process sees that opens the ledger, and closes it when it leaves."""
    return subprocess.run(
        [sys.executable, "-c", COUNT, url], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_process_that_leaves_does_not_delete_the_log_of_the_others(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with Ledger.open(url) as ledger:
        with ledger._database.read():  # while one connection is in use, another thread opens the second
            second = threading.Thread(target=ledger.counts)
            second.start()
            second.join()
        ledger.add_arrival(makers.arrival("1.2.1"))
        assert others_see(url) == "{'received': 1}"
        ledger.add_arrival(makers.arrival("1.2.2"))
        assert others_see(url) == "{'received': 2}"
