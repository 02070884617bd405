"""OpenStack Swift with its S3 layer for tests: a real object storage, on disk, with signatures and checksums checked.

One proxy and one server each for accounts, containers and objects, one copy of each object, on 127.0.0.1. Needs the
package ``swift`` and a folder on a file system with extended attributes (ext4, xfs). What it does not prove: several
copies, Amazon's own answers, and speed.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from tests.peers import free_port, listens, stop, wait_until

INNER = ("account", "container", "object")
ACCESS_KEY, SECRET_KEY, REGION = "test:tester", "testing", "us-east-1"

_HASHES = """[swift-hash]
swift_hash_path_prefix = a
swift_hash_path_suffix = b
[storage-policy:0]
name = one
default = yes
"""
_SERVER = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = root
swift_dir = {folder}
devices = {folder}/disks
mount_check = false
disable_fallocate = true
log_level = ERROR
"""
_INNER = """[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
_PROXY = """[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
""" + "".join(
    f"[filter:{name}]\nuse = egg:swift#{name}\n"
    for name in ("catch_errors", "gatekeeper", "listing_formats", "copy", "slo")
)


def is_installed() -> bool:
    """Whether Swift is there."""
    return importlib.util.find_spec("swift") is not None


@dataclass
class Swift:
    """A running Swift."""

    folder: Path
    port: int
    processes: list[subprocess.Popen[bytes]]

    @property
    def environment(self) -> Mapping[str, str]:
        """What tells a client where it is."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
        }

    def make_bucket(self, name: str) -> str:
        """Make a bucket; its URL."""
        client = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
        )
        client.create_bucket(Bucket=name)
        client.close()
        return f"s3://{name}"

    def kill(self) -> None:
        """End all of it without a word, and start it again on the same disks."""
        for process in self.processes:
            process.kill()
            process.wait(10)
        self.processes[:] = [_start(self.folder, kind) for kind in (*INNER, "proxy")]
        wait_until(lambda: listens(self.port), 60, "Swift again")

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let it answer nobody, and keep what it holds."""
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in self.processes:
                process.send_signal(signal.SIGCONT)


@contextmanager
def swift(folder: Path) -> Iterator[Swift]:
    """Start one on an empty folder; skip where its file system keeps no extended attributes (some tmpfs)."""
    from swift.common.ring import RingBuilder

    try:
        os.setxattr(folder, "user.spinepacs", b"1")
    except OSError as error:
        pytest.skip(f"Swift needs extended attributes: {error.strerror}")

    (folder / "disks" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(_HASHES)
    ports = {kind: free_port() for kind in (*INNER, "proxy")}
    for kind, port in ports.items():
        rest = _PROXY if kind == "proxy" else _INNER.format(kind=kind)
        (folder / f"{kind}.conf").write_text(_SERVER.format(port=port, folder=folder) + rest)
    for kind in INNER:
        ring = RingBuilder(3, 1, 0)  # eight parts, one copy, moved at any time
        where = {
            "ip": "127.0.0.1",
            "port": ports[kind],
            "device": "d1",
            "region": 1,
            "zone": 1,
            "weight": 1.0,
        }
        ring.add_dev({"id": 0, **where, "replication_ip": "127.0.0.1", "replication_port": ports[kind]})
        ring.rebalance()
        ring.get_ring().save(str(folder / f"{kind}.ring.gz"))
    with ExitStack() as stack:
        running = Swift(folder, ports["proxy"], [_start(folder, kind) for kind in ports])
        stack.callback(lambda: [stop(process) for process in running.processes])
        for port in ports.values():
            wait_until(lambda port=port: listens(port), 60, f"Swift; see {folder}/*.log")  # type: ignore[misc]
        yield running


def _start(folder: Path, kind: str) -> subprocess.Popen[bytes]:
    with (folder / f"{kind}.log").open("ab") as log:
        words = [sys.executable, "-m", "tests.swift_server", kind, str(folder)]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
