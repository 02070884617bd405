"""locks/ holds what pyproject.toml asks for, each file with its hashes; `make lock` writes it anew."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[str]] = PROJECT["dependency-groups"]
_NEEDED = [
    *PROJECT["project"]["dependencies"],
    *GROUPS["build"],
    *EXTRAS["postgresql"],
    *EXTRAS["cluster"],
    *EXTRAS["s3"],
]
ASKED = {
    "run": _NEEDED,
    "test": [*_NEEDED, *EXTRAS["parquet"], *GROUPS["test"]],
    "train": [*_NEEDED, *EXTRAS["parquet"], *GROUPS["test"], *EXTRAS["train"]],
}


def locked(name: str) -> dict[str, tuple[str, str]]:
    """Version and hashes by package."""
    text = (ROOT / "locks" / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    entries = [re.fullmatch(r"([\w.-]+)==([^\s;]+)(.*)", line) for line in lines]
    assert all(entries), [line for line, entry in zip(lines, entries, strict=True) if entry is None]
    return {str(canonicalize_name(entry[1])): (entry[2], entry[3]) for entry in entries if entry}


@pytest.mark.parametrize("name", list(ASKED))
def test_every_package_that_is_asked_for_is_locked_in_a_version_that_will_do(name):
    held = locked(name)
    missing = []
    for asked in map(Requirement, ASKED[name]):
        version, _ = held.get(canonicalize_name(asked.name), ("", ""))
        if not version or not asked.specifier.contains(version, prereleases=True):
            missing.append(f"{asked} (locked: {version or 'not at all'})")
    assert missing == [], "run `make lock`"


@pytest.mark.parametrize("name", list(ASKED))
def test_every_package_has_its_hashes(name):
    held = locked(name)
    assert len(held) >= len(ASKED[name])
    assert [
        package for package, (_, rest) in held.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}", rest)
    ] == []


def test_the_locks_agree():
    run, test, train = (
        {package: version for package, (version, _) in locked(name).items()} for name in ASKED
    )
    assert run.items() <= test.items() <= train.items()
