"""Backup and restore of a cluster as docs/scale.md says, under machines that run: shared folder and object storage."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import films, peers
from tests.system.load import small_film
from tests.system.site import Site, site
from tests.system.test_backup import GRACE_S, rows, run, sources
from tests.test_privacy import send

SCALE = Path(__file__).parents[2] / "docs" / "scale.md"
COPIES = "copies"
AWS = """#!{python}
# Stands for "aws s3 sync FROM TO": what is not there yet is copied.
import os, sys
import boto3
assert sys.argv[1:3] == ["s3", "sync"]
(source, prefix), (target, other) = (url.removeprefix("s3://").split("/", 1) for url in sys.argv[3:])
s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
def keys(bucket, prefix):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/")
    return {{item["Key"][len(prefix):] for page in pages for item in page.get("Contents", ())}}
for key in keys(source, prefix) - keys(target, other):
    s3.copy_object(CopySource=dict(Bucket=source, Key=prefix + key), Bucket=target, Key=other + key)
"""

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]


class Keeper:
    """Backs a cluster up and restores it, by the commands of the pages."""

    def __init__(self, there: Site, folder: Path) -> None:
        self._there = there
        self._folder = folder
        self._backup = folder / "backup"
        self._backup.mkdir()
        if there.storage:
            there.storage.make_bucket(COPIES)
            tools = folder / "tools"
            tools.mkdir()
            (tools / "aws").write_text(AWS.format(python=sys.executable))
            (tools / "aws").chmod(0o755)

    def back_up(self) -> None:
        self._run("backup")

    def restore(self) -> None:
        self._run("restore")

    def lose_the_spool(self) -> None:
        if self._there.storage:
            self._there.storage.empty_bucket("films")
        else:
            shutil.rmtree(self._folder / "spool")

    def _run(self, what: str) -> None:
        storage = self._there.storage
        if storage is None:
            run(f"{what}, postgresql", self._folder, self._backup, self._there.url)
            return
        (block,) = re.findall(
            rf"```sh\n# {what}, object storage\n(.*?)```", SCALE.read_text(), flags=re.DOTALL
        )
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        environment = {
            **os.environ,
            **storage.environment,
            "AWS_DEFAULT_REGION": "us-east-1",
            "URL": self._there.url,
            "BACKUP": str(self._backup),
            "SPOOL": "s3://films/site",
            "COPY": f"s3://{COPIES}/site",
            "PATH": ":".join([str(self._folder / "tools"), *map(str, binaries[-1:]), os.environ["PATH"]]),
        }
        command = ["bash", "-euo", "pipefail", "-c", block]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr


@contextmanager
def all_up(there: Site) -> Iterator[None]:
    """Let all machines work, and have them all lost at the end."""
    for machine in there.machines:
        machine.daemon.start()
    for machine in there.machines:
        machine.daemon.wait_ready(300)
    yield
    for machine in there.machines:
        machine.kill()


def delivered(there: Site, studies: int) -> None:
    peers.wait_until(
        lambda: there.machines[0].daemon.states() == {"delivered": studies},
        180,
        f"{studies} studies delivered",
    )


@pytest.mark.parametrize("on_s3", [False, True], ids=["shared folder", "object storage"])
def test_what_was_backed_up_is_there_again(tmp_path: Path, on_s3: bool) -> None:
    roles, retention = {"one": "all", "two": "all"}, {"grace_s": GRACE_S}
    with site(tmp_path, on_s3=on_s3, roles=roles, retention=retention) as there:
        one, two = (machine.daemon for machine in there.machines)
        before, later = (
            films.write(small_film(2 * number), tmp_path / f"{number}.dcm") for number in range(2)
        )
        keeper = Keeper(there, tmp_path)
        with all_up(there):
            assert send(one.port, [before]) == [0]
            delivered(there, 1)
            keeper.back_up()
            found = rows(one)
            assert send(two.port, [later]) == [0]
            delivered(there, 2)
        keeper.restore()  # the database as it was, the spool newer
        assert rows(one) == found
        with all_up(there):
            delivered(there, 2)
            assert sources(one) == {"network", "spool"}
            assert len(there.orthanc.sop_uids()) == 6, "each result under one UID, however often it was sent"
        keeper.lose_the_spool()
        keeper.restore()
        with all_up(there):
            assert one.states() == {"delivered": 1}
            assert send(one.port, [later]) == [0]
            delivered(there, 2)
            assert len(there.orthanc.sop_uids()) == 6
        assert "missing in the spool" not in one.log.read_text() + two.log.read_text()
