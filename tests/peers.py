"""Real peers for tests: DCMTK and Orthanc, each on a free port of this machine, stopped by process id."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from spinepacs.errors import BadSettings
from spinepacs.show.page.pdf import load_weasyprint

UNCLOSED_SOCKETS = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.usefixtures("collected_sockets"),
]
"""For tests in which connections are refused: pynetdicom leaves such a socket to the garbage collector."""

_SYSTEM_PATH = "/usr/bin:/usr/sbin:/bin:/sbin:/usr/local/bin:/usr/lib/postgresql/bin"
_ORTHANC_PLUGINS = Path("/usr/share/orthanc/plugins")


def runs(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Process ids of the children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def grandchildren(pid: int) -> list[int]:
    """Of a process that has a fork server: what was forked from it."""
    return [each for child in children(pid) for each in children(child)]


def require(program: str) -> str:
    """Path of a peer's program; without it skip on a laptop and fail in CI.

    Only system folders are searched: pynetdicom puts a ``storescu`` of its own into the virtual environment.
    """
    found = shutil.which(program, path=_SYSTEM_PATH)
    if found is None:
        reason = f"{program} is not installed (see docs: packages for the tests with real peers)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0, what: str = "condition") -> None:
    """Poll until the condition holds; fail the test with ``what`` when it does not in time."""
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"waited {timeout_s} s in vain for: {what}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether someone accepts connections on the port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that the test started: politely, then for sure."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)


@contextmanager
def running(arguments: Sequence[str], log: Path, patient: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program with its output in ``log`` and stop it at the end; without ``patient`` by SIGKILL."""
    with log.open("ab") as output:
        process = _start(arguments, output)
        try:
            yield process
        finally:
            if not patient:  # Orthanc takes 3.5 s to say goodbye
                process.kill()
            stop(process)
            process.wait(timeout=5)


def _start(arguments: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


@contextmanager
def bad_line(to_port: int, limit_bytes: int, *, stall: bool) -> Iterator[int]:
    """A line to a peer that carries so many bytes of each connection, and then stalls or breaks; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        released = threading.Event()

        def carry(near: socket.socket) -> None:
            with near, socket.create_connection(("127.0.0.1", to_port)) as far:
                threading.Thread(target=_pump, args=(far, near, 1 << 60), daemon=True).start()
                _pump(near, far, limit_bytes)
                if stall:
                    released.wait()
                for end in (near, far):  # closing alone would not wake the thread that reads it
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=carry, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield int(server.getsockname()[1])
        finally:
            released.set()
            server.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, sink: socket.socket, limit_bytes: int) -> None:
    with suppress(OSError):
        while limit_bytes > 0 and (data := source.recv(min(limit_bytes, 1 << 16))):
            sink.sendall(data)
            limit_bytes -= len(data)


@dataclass(frozen=True)
class StoreScp:
    """DCMTK's ``storescp``: what it has received lies in ``folder`` as files."""

    ae_title: str
    port: int
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]

    def received(self) -> list[Path]:
        """Files that have arrived so far."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())


@contextmanager
def dcmtk_storescp(
    tmp_path: Path, *options: str, ae_title: str = "DCMTK", port: int | None = None
) -> Iterator[StoreScp]:
    """Run ``storescp`` (every transfer syntax accepted unless options say otherwise)."""
    program = require("storescp")
    port = port or free_port()
    folder, log = tmp_path / f"storescp-{port}", tmp_path / f"storescp-{port}.log"
    folder.mkdir(parents=True, exist_ok=True)
    syntaxes = [] if any(option.startswith("+x") for option in options) else ["+xa"]
    arguments = [program, "-aet", ae_title, "-od", str(folder), *syntaxes, *options, str(port)]
    with running(arguments, log) as process:
        wait_until(lambda: listens(port), what=f"storescp on port {port}")
        yield StoreScp(ae_title, port, folder, log, process)


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc with its REST API on ``url`` and its DICOM server on ``dicom_port``."""

    ae_title: str
    url: str
    http_port: int
    dicom_port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        """GET a REST path and parse its JSON."""
        return self._call("GET", path, None)

    def post(self, path: str, body: object) -> Any:
        """POST bytes as they are, anything else as JSON, and parse the JSON answer."""
        return self._call("POST", path, body)

    def put(self, path: str, body: object) -> Any:
        """PUT bytes as they are, anything else as JSON, and parse the JSON answer."""
        return self._call("PUT", path, body)

    def delete(self, path: str) -> None:
        """DELETE a REST path, for instance ``/instances/ID``: what is there is gone."""
        self._call("DELETE", path, None)

    def download(self, path: str) -> bytes:
        """GET a REST path as bytes, for instance ``/instances/ID/file``."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310 - our own URL
            return bytes(answer.read())

    def sop_uids(self) -> set[str]:
        """SOP Instance UIDs of everything it holds."""
        entries = self.get("/instances?expand")
        return {entry["MainDicomTags"]["SOPInstanceUID"] for entry in entries}

    def add_modality(self, name: str, ae_title: str, port: int) -> None:
        """Make a DICOM peer on 127.0.0.1 known, as an administrator would."""
        self.put(f"/modalities/{name}", {"AET": ae_title, "Host": "127.0.0.1", "Port": port})

    def _call(self, method: str, path: str, body: object) -> Any:
        data = body if isinstance(body, bytes | memoryview | None) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)  # noqa: S310 - our own URL
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own URL
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def orthanc(
    tmp_path: Path,
    *,
    ae_title: str = "ORTHANC",
    dicomweb: bool = False,
    http_port: int = 0,
    **settings: object,
) -> Iterator[Orthanc]:
    """Run Debian's Orthanc on an empty storage; further ``settings`` go into its configuration.

    It listens on 0.0.0.0 whatever it is told, hence ``RemoteAccessAllowed`` false.
    """
    program = require("Orthanc")
    http_port, dicom_port = http_port or free_port(), free_port()
    folder = tmp_path / f"orthanc-{http_port}"
    folder.mkdir(parents=True)
    configuration = folder / "orthanc.json"
    configuration.write_text(
        json.dumps(_orthanc_settings(folder, ae_title, http_port, dicom_port, dicomweb) | settings)
    )
    url = f"http://127.0.0.1:{http_port}"
    with running([program, str(configuration)], folder / "orthanc.log", patient=False) as process:
        wait_until(lambda: _answers(f"{url}/system"), 20, f"Orthanc; see {folder / 'orthanc.log'}")
        wait_until(lambda: listens(dicom_port), what="Orthanc's DICOM port")
        yield Orthanc(ae_title, url, http_port, dicom_port, folder, process)


def _orthanc_settings(
    folder: Path, ae_title: str, http_port: int, dicom_port: int, dicomweb: bool
) -> dict[str, object]:
    plugin = _ORTHANC_PLUGINS / "libOrthancDicomWeb.so"
    if dicomweb and not plugin.exists():
        pytest.skip("the package orthanc-dicomweb is not installed")
    return {
        "Name": "spinepacs-tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(plugin)] if dicomweb else [],
        "DicomWeb": {"Enable": dicomweb, "Root": "/dicom-web/"},
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": ae_title,
        "DicomPort": dicom_port,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomCheckModalityHost": False,
        "SaveJobs": False,
        "StableAge": 1,
    }


def _answers(url: str) -> bool:
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own; only root may mount one: others skip, CI does not."""
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    if mount.returncode:
        reason = f"cannot mount a tmpfs: {mount.stderr.decode().strip()}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    yield folder
    # Lazily: what a test has left open must not leave the mount behind.
    subprocess.run(["umount", "--lazy", folder], check=True)


def needs_weasyprint() -> None:
    """Skip where it cannot be used; loaded by our own code, which takes back what its import does to Pillow."""
    try:
        load_weasyprint()
    except BadSettings as error:
        pytest.skip(str(error))
