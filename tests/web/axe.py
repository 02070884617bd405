"""axe-core, which finds faults of accessibility in a page: from npm, once."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

VERSION = "4.14.1"
_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "axe"
_SERIOUS = ("serious", "critical")


def source() -> str:
    """Text of axe.min.js; offline on a laptop the test is skipped, in CI it fails."""
    file = _CACHE / f"axe-core-{VERSION}" / "axe.min.js"
    if not file.exists():
        _fetch(file.parent)
    return file.read_text(encoding="utf-8")


def faults(page: Any, text: str) -> list[str]:
    """Serious and critical faults of what a browser shows: rule, what is wrong, where."""
    page.evaluate(text)
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [
        f"{fault['id']}: {fault['help']}: {node['target']}"
        for fault in found
        if fault["impact"] in _SERIOUS
        for node in fault["nodes"]
    ]


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    try:
        if npm is None:
            raise OSError("npm is not installed")
        _CACHE.mkdir(parents=True, exist_ok=True)
        command = [npm, "pack", "--silent", f"axe-core@{VERSION}"]
        subprocess.run(command, cwd=_CACHE, check=True, timeout=240, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"axe-core cannot be downloaded: {error}")
        pytest.skip(f"axe-core cannot be downloaded: {error}")
    with tarfile.open(_CACHE / f"axe-core-{VERSION}.tgz") as archive:
        archive.extractall(_CACHE / "unpacked", filter="data")
    (_CACHE / "unpacked" / "package").rename(folder)
