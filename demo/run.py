"""``make demo``: the whole way of a study on this machine, from a sending PACS to a receiving one.

Starts the daemon on SQLite, sends it the synthetic films of demo/films over C-STORE, waits until every result has
come back by C-STORE to a small receiving PACS (a pynetdicom storage SCP in this process), and prints the findings from
the database. Everything binds to 127.0.0.1 and lies in demo/out. With ``--stay`` the daemon
runs on until Ctrl-C, and its console can be seen with an account that is made for it.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import (
    ComprehensiveSRStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE, evt
from pynetdicom.events import Event
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

HERE = Path(__file__).resolve().parent
FILMS = HERE / "films"
OUT = HERE / "out"
KINDS = {SegmentationStorage: "SEG", ComprehensiveSRStorage: "SR", SecondaryCaptureImageStorage: "OVERLAY"}
TIME_LIMIT_S = 300
console = Console()


class ReceivingPacs:
    """A storage SCP that keeps what it is sent under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.received: dict[str, str] = {}
        folder.mkdir(parents=True)
        entity = AE(ae_title="DEMOPACS")
        syntaxes = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.50"]
        for sop_class in KINDS:
            entity.add_supported_context(sop_class, syntaxes)
        self._server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        self.port: int = self._server.server_address[1]

    def _store(self, event: Event) -> int:
        request = event.request
        kind = KINDS.get(request.AffectedSOPClassUID, "OTHER")
        name = f"{request.AffectedSOPInstanceUID}.{kind.lower()}.dcm"
        (self.folder / name).write_bytes(event.encoded_dataset())
        self.received[request.AffectedSOPInstanceUID] = kind
        return 0x0000

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_settings(pacs_port: int) -> tuple[Path, int, int, int]:
    """Settings of the demo: file, ports of the listener, of the health pages and of the console."""
    listener_port, health_port, web_port = free_port(), free_port(), free_port()
    path = OUT / "spinepacs.toml"
    path.write_text(
        f"""[storage]
spool = "spool"
database_url = "sqlite:///ledger.sqlite"
reserve_mb = 100
[listener]
port = {listener_port}
[assembly]
quiet_period_s = 2.0
[health]
port = {health_port}
[web]
port = {web_port}
[[destinations]]
name = "demo-pacs"
ae_title = "DEMOPACS"
host = "127.0.0.1"
port = {pacs_port}
"""
    )
    return path, listener_port, health_port, web_port


def wait_until_ready(daemon: subprocess.Popen[bytes], health_port: int) -> None:
    """Wait for /readyz."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if daemon.poll() is not None:
            raise SystemExit(f"the daemon ended with {daemon.returncode}: see {OUT / 'daemon.log'}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{health_port}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"the daemon did not become ready: see {OUT / 'daemon.log'}")


def send(films: list[Path], port: int) -> None:
    """Send the films over one association, as a PACS does."""
    datasets = [dcmread(film) for film in films]
    entity = AE(ae_title="DEMOMODALITY")
    for sop_class, syntax in {(d.SOPClassUID, d.file_meta.TransferSyntaxUID) for d in datasets}:
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate("127.0.0.1", port, ae_title="SPINEPACS")
    if not association.is_established:
        raise SystemExit("the daemon did not accept the association")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        for dataset in progress.track(datasets, description="sending films by C-STORE"):
            status = association.send_c_store(dataset)
            if getattr(status, "Status", None) != 0x0000:
                raise SystemExit(f"C-STORE was answered with {status}")
    association.release()


def wait_for_results(pacs: ReceivingPacs, expected: int, daemon: subprocess.Popen[bytes]) -> None:
    """Wait until every film has come back as SEG, SR and picture, or the daemon says that no more will come."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    end = time.monotonic() + TIME_LIMIT_S
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("waiting for SEG, SR and pictures", total=expected)
        while len(pacs.received) < expected and study_state() not in ("delivered", "refused", "failed"):
            if daemon.poll() is not None or time.monotonic() > end:
                raise SystemExit(
                    f"only {len(pacs.received)} of {expected} results came: see {OUT / 'daemon.log'}"
                )
            progress.update(task, completed=len(pacs.received))
            time.sleep(0.2)
        progress.update(task, completed=len(pacs.received))
    while study_state() == "recorded" and time.monotonic() < end:
        time.sleep(0.1)  # the last answer of the PACS is still being written down


def study_state() -> str:
    """State of the one study in the database."""
    with closing(sqlite3.connect(f"file:{OUT / 'ledger.sqlite'}?mode=ro", uri=True)) as database:
        row = database.execute("SELECT state FROM study_summary").fetchone()
    return str(row[0]) if row else ""


def write_pictures(pacs: ReceivingPacs) -> list[Path]:
    """Take the JPEG out of each overlay that the PACS received."""
    folder = OUT / "pictures"
    folder.mkdir()
    pictures = []
    for path in sorted(pacs.folder.glob("*.overlay.dcm")):
        dataset = dcmread(path)
        number = dataset.get("InstanceNumber", 1)
        picture = folder / f"{dataset.get('BodyPartExamined', 'SPINE')}-{len(pictures) + 1}-{number}.jpg"
        picture.write_bytes(next(generate_frames(dataset.PixelData, number_of_frames=1)))
        pictures.append(picture)
    return pictures


def stay(spinepacs: str, config: Path, web_port: int) -> None:
    """Say where the console is, and with which account, until Ctrl-C."""
    password = secrets.token_urlsafe(12)
    file = OUT / "password.txt"
    file.touch(mode=0o600)
    file.write_text(password)
    account = [spinepacs, "account", "add", "demo", "--role", "administrator", "--password-file", str(file)]
    subprocess.run([*account, "--config", str(config)], check=True, stdout=subprocess.DEVNULL)
    console.print(
        f"\nconsole:               http://127.0.0.1:{web_port}/studies  (demo / {password})", soft_wrap=True
    )
    console.print("                       Ctrl-C ends it")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        signal.pause()


def main() -> None:
    """Run the demo."""
    films = sorted(FILMS.glob("*.dcm"))
    if not films:
        raise SystemExit(f"no films in {FILMS}")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    spinepacs = str(Path(sys.executable).with_name("spinepacs"))
    pacs = ReceivingPacs(OUT / "pacs")
    config, listener_port, health_port, web_port = write_settings(pacs.port)
    console.print(f"daemon: spinepacs serve --config {config.relative_to(HERE.parent)}")
    with (OUT / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen([spinepacs, "serve", "--config", str(config)], stderr=log, stdout=log)
        try:
            wait_until_ready(daemon, health_port)
            send(films, listener_port)
            wait_for_results(pacs, expected=len(films) * len(KINDS), daemon=daemon)
            if "--stay" in sys.argv[1:]:
                stay(spinepacs, config, web_port)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=60)
            pacs.stop()
    console.print("\n[bold]spinepacs findings --config demo/out/spinepacs.toml[/bold]")
    subprocess.run([spinepacs, "findings", "--config", str(config)], check=True)
    console.print(
        f"\nreceived by the PACS:  {pacs.folder.relative_to(HERE.parent)}/  ({len(pacs.received)} objects)"
    )
    for picture in write_pictures(pacs):
        console.print(f"overlay:               {picture.relative_to(HERE.parent)}")
    console.print("database:              demo/out/ledger.sqlite  (ten example queries: docs/sql.md)")
    if len(pacs.received) != len(films) * len(KINDS):
        raise SystemExit(f"only {len(pacs.received)} of {len(films) * len(KINDS)} results came back")
    if daemon.returncode != 0:
        raise SystemExit(f"the daemon ended with {daemon.returncode}")


if __name__ == "__main__":
    main()
