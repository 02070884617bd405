"""Commands that ask or decide, import what they need and no more: people and scripts type them again and again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spinepacs.settings.settings import load
from spinepacs.store.ledger import Ledger

HEAVY = (
    "PIL", "alembic", "cv2", "highdicom", "httpx", "importlib_resources", "numpy", "obstore", "onnxruntime",
    "procrastinate", "psycopg", "pydicom", "pynetdicom", "scipy", "sqlalchemy.dialects.postgresql", "starlette",
    "uvicorn", "spinepacs.store.campaigns", "spinepacs.store.recording",
)  # fmt: skip
LIGHT = (
    "queue",
    "status",
    "findings",
    "findings --json",
    "audit",
    "retry --failed",
    "seen --all",
    "account list",
)
SAID = """
import sys
from spinepacs.cli.main import main
try:
    main(sys.argv[1:], "spinepacs")
except SystemExit as end:
    print(end.code, file=sys.stderr)
print(*(name for name in HEAVY if name in sys.modules), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("light") / "spinepacs.toml"
    path.write_text(
        '[storage]\nspool = "spool"\ndatabase_url = "sqlite:///ledger.sqlite"\n[health]\nport = 1\n'
    )
    Ledger.open(load(path).storage.database_url).close()
    return path


@pytest.mark.parametrize("command", LIGHT)
def test_a_light_command_imports_nothing_heavy(command: str, config: Path) -> None:
    program = f"HEAVY = {HEAVY!r}\n{SAID}"
    told = subprocess.run(
        [sys.executable, "-c", program, *command.split(), "--config", str(config)],
        capture_output=True,
        text=True,
        check=True,
    )
    code, loaded = told.stderr.splitlines()[-2:]
    assert loaded == "", f"{command} (exit {code}) imports {loaded}"


def test_help_imports_no_database_and_no_settings() -> None:
    program = f"HEAVY = {('sqlalchemy', 'pydantic', *HEAVY)!r}\n{SAID}"
    told = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True
    )
    assert told.stderr.split() == ["0"]
