"""OHIF in a browser over Orthanc's DICOMweb: the viewer's files from npm, a small server, Chromium.

OHIF and DICOMweb must have one origin, so this server hands out OHIF's built files and passes ``/dicom-web`` on to
Orthanc.
"""

from __future__ import annotations

import json
import mimetypes
import os
import shutil
import subprocess
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

VERSION = "3.12.0"
_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "ohif"
_ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


def ohif_files() -> Path:
    """Folder of OHIF's built files, downloaded once with npm; offline on a laptop the test is skipped."""
    folder = _CACHE / f"ohif-{VERSION}" / "dist"
    if folder.exists():
        return folder
    npm = shutil.which("npm")
    try:
        if npm is None:
            raise OSError("npm is not installed")
        _CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [npm, "pack", "--silent", f"@ohif/app@{VERSION}"], cwd=_CACHE, check=True, timeout=240,
            capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"OHIF cannot be downloaded: {error}")
        pytest.skip(f"OHIF cannot be downloaded: {error}")
    with tarfile.open(_CACHE / f"ohif-app-{VERSION}.tgz") as archive:
        archive.extractall(_CACHE / "unpacked", filter="data")
    (_CACHE / "unpacked" / "package").rename(folder.parent)
    return folder


@contextmanager
def ohif(orthanc_url: str, **headers: str) -> Iterator[str]:
    """Serve OHIF with Orthanc (or another archive) behind it on a free port of 127.0.0.1; yields the address.

    ``headers`` go with each request to the archive.
    """
    handler = partial(_Handler, files=ohif_files(), orthanc_url=orthanc_url, own_headers=headers)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, files: Path, orthanc_url: str, own_headers: dict[str, str]) -> None:
        self._files, self._orthanc_url, self._own_headers = files, orthanc_url, own_headers
        super().__init__(*args)

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/dicom-web"):
            self._pass_on()
        elif path == "/app-config.js":
            self._answer(200, "text/javascript", _CONFIGURATION.encode())
        else:
            file = self._files / path.lstrip("/")
            file = file if file.is_file() else self._files / "index.html"
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            self._answer(200, kind, file.read_bytes())

    def _pass_on(self) -> None:
        headers = {"Accept": self.headers.get("Accept", "*/*"), **self._own_headers}
        request = urllib.request.Request(self._orthanc_url + self.path, headers=headers)  # noqa: S310 - our own URL
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own URL
                self._answer(answer.status, answer.headers["Content-Type"], answer.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, "text/plain", error.read())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **_ISOLATION}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "orthanc",
    "configuration": {
        "friendlyName": "Orthanc",
        "name": "orthanc",
        "qidoRoot": "/dicom-web",
        "wadoRoot": "/dicom-web",
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "bulkDataURI": {"enabled": True},
        "omitQuotationForMultipartRequest": True,
    },
}
_CONFIGURATION = "window.config = " + json.dumps(
    {
        "routerBasename": None,
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "maxNumberOfWebWorkers": 2,
        "investigationalUseDialog": {"option": "never"},
        "dataSources": [_SOURCE],
        "defaultDataSourceName": "orthanc",
    }
)
