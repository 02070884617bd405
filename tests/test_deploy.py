"""What is shipped for running it: the unit's sandbox is tight and lets it work; nothing names what is not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import films, peers
from tests.daemons import daemon, film
from tests.sandbox import allowed_calls, settings_of
from tests.test_privacy import send

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "spinepacs.service"
MOST_EXPOSURE = 20
"""In tenths: issue 5 asks for 2.0."""

pytestmark = pytest.mark.peer


def test_the_unit_is_sandboxed():
    judge = [peers.require("systemd-analyze"), "security", "--offline=true", "--no-pager"]
    judged = subprocess.run(
        [*judge, f"--threshold={MOST_EXPOSURE}", str(UNIT)], capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stdout
    assert "Overall exposure level" in judged.stdout


def test_no_call_of_the_privileged_is_let_through():
    peers.require("systemd-analyze")
    calls = allowed_calls(UNIT.read_text())
    assert {"read", "openat", "accept4", "clone3", "fsync", "prlimit64"} <= calls
    assert (
        not {"mount", "ptrace", "bpf", "setuid", "chroot", "reboot", "init_module", "swapon", "chown"} & calls
    )


def test_the_daemon_works_in_the_units_sandbox(tmp_path: Path):
    """System calls and memory rule as in the unit, with a model that onnxruntime runs; then every alert's metric."""
    python = _python_with_seccomp()
    assert settings_of(UNIT.read_text(), "MemoryDenyWriteExecute") == ["yes"]
    sent = films.write(film(1), tmp_path / "film.dcm")
    with daemon(tmp_path) as running:
        command = [python, str(ROOT / "tests" / "sandbox.py"), str(UNIT), sys.executable, "-m", "spinepacs"]
        with running.log.open("ab") as log:
            running.processes.append(
                subprocess.Popen([*command, "serve", "--config", str(running.config)], stdout=log, stderr=log)
            )
        running.wait_ready(120)
        assert send(running.port, [sent]) == [0]
        peers.wait_until(lambda: running.states() == {"delivered": 1}, 60, f"a study read; see {running.log}")
        metrics = running.http("/metrics")[1]
        assert running.terminate() == 0
        log_text = running.log.read_text()
        assert "no PR_SET_MDWE" not in log_text
        assert "not permitted" not in log_text.lower()
    asked = set(re.findall(r"\bspinepacs_[a-z_]+", (DEPLOY / "alerts.yaml").read_text()))
    known = set(re.findall(r"^# TYPE (\w+)", metrics, flags=re.MULTILINE))
    assert len(asked) > 4
    assert asked <= known


def test_the_alerts_fire_when_they_should_and_are_quiet_in_a_busy_archive_that_keeps_up():
    promtool = peers.require("promtool")
    for verb, rules in (("check", DEPLOY / "alerts.yaml"), ("test", ROOT / "tests" / "alerts_test.yaml")):
        judged = subprocess.run([promtool, verb, "rules", rules], capture_output=True, text=True, check=False)
        assert judged.returncode == 0, judged.stdout + judged.stderr


def _python_with_seccomp() -> str:
    peers.require("systemd-analyze")
    python = "/usr/bin/python3"  # Debian's: the package python3-seccomp is for no other
    found = subprocess.run([python, "-c", "import seccomp"], capture_output=True, check=False)
    if found.returncode:
        reason = "the package python3-seccomp is not installed"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return python


def test_the_image_is_built_from_what_is_there_and_runs_as_a_user_of_its_own():
    text = (DEPLOY / "Dockerfile").read_text()
    sources = [
        name for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE) for name in line.split()[:-1]
    ]
    assert sources
    assert not [name for name in sources if not (ROOT / name).exists()]
    users = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")
    assert text.rindex("\nUSER ") < text.index("\nENTRYPOINT")


def test_the_containers_show_metrics_to_their_host_only_and_keep_few_logs():
    text = (DEPLOY / "compose.yaml").read_text()
    assert '- "127.0.0.1:11180:11180"' in text
    assert re.search(r'max-size: 10m\n\s+max-file: "\d+"', text)
    services = text[text.index("services:\n") : text.index("\nnetworks:\n")]
    assert services.count("logging: *logging") == services.count("restart: unless-stopped") == 2


def test_the_installation_page_speaks_of_what_unit_and_image_name():
    page, unit = (ROOT / "docs" / "install.md").read_text(), UNIT.read_text()
    command = settings_of(unit, "ExecStart")[0].split()
    for word in (
        command[0].partition("/.venv")[0],
        command[-1],
        settings_of(unit, "EnvironmentFile")[0].lstrip("-"),
    ):
        assert word in page, word
    assert f"useradd --system --home-dir /var/lib/{settings_of(unit, 'StateDirectory')[0]} " in page
    uid = re.findall(r"--uid (\d+)", (DEPLOY / "Dockerfile").read_text())[0]
    assert f"install -d -o {uid} -g {uid}" in page
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page):
        assert (ROOT / "docs" / target).exists(), target


def test_the_containers_are_as_tight_as_the_unit():
    text = (DEPLOY / "compose.yaml").read_text()
    service = text[text.index("  spinepacs:\n") : text.index("\nvolumes:")]
    for line in ("read_only: true", "cap_drop: [ALL]", "no-new-privileges:true", "core: 0", "tmpfs:"):
        assert line in service, line
