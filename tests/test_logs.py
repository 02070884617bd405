"""What logs show, and what they withhold; tests/test_privacy.py looks at whole processes."""

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from spinepacs.errors import Transient
from spinepacs.logs import configure

SECRET = "Geheim^Erika"  # noqa: S105 - a patient's name


def test_json_lines_carry_the_study(capsys: pytest.CaptureFixture[str]):
    configure("INFO", "json")
    logging.getLogger("spinepacs.test").info("stored", extra={"sop_uid": "1.2.3", "PatientName": SECRET})
    entry = json.loads(capsys.readouterr().err)
    assert entry["message"] == "stored"
    assert entry["sop_uid"] == "1.2.3"
    assert SECRET not in str(entry)


def test_text_lines_carry_the_study_and_the_words_of_our_own_errors(capsys: pytest.CaptureFixture[str]):
    configure("INFO", "text")
    try:
        raise Transient("the disk is full")
    except Transient:
        logging.getLogger("spinepacs.test").exception("failed", extra={"study_uid": "1.2"})
    text = capsys.readouterr().err
    assert "failed study_uid=1.2" in text
    assert "Transient: the disk is full" in text
    assert f"at {__file__}" in text


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_words_of_other_exceptions_are_withheld_wherever_they_hang(style, capsys):
    configure("DEBUG", style)
    try:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise Transient("not now") from error
    except Transient:
        logging.getLogger("spinepacs.test").exception("failed")
    text = capsys.readouterr().err
    assert "Transient: not now" in text
    assert "ValueError: (withheld" in text
    assert SECRET not in text


def test_an_error_of_the_system_is_told_without_its_path(capsys: pytest.CaptureFixture[str]):
    configure("DEBUG", "text")
    try:
        Path(f"/no/{SECRET}").read_bytes()
    except OSError:
        logging.getLogger("spinepacs.test").exception("failed")
    text = capsys.readouterr().err
    assert "FileNotFoundError: No such file or directory" in text
    assert SECRET not in text


def test_libraries_tell_nothing_below_error_and_there_only_where(capsys: pytest.CaptureFixture[str]):
    configure("DEBUG", "text")
    for name in (
        "pydicom",
        "pynetdicom.dul",
        "PIL.TiffImagePlugin",
        "watchdog.observers",
        "sqlalchemy.engine",
    ):
        logging.getLogger(name).warning("value %s is invalid", SECRET)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"Invalid value: {SECRET}", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == ""
    logging.getLogger("pynetdicom.assoc").error("value %s is invalid", SECRET)
    text = capsys.readouterr().err
    assert "written by pynetdicom.assoc at test_logs.py:" in text
    assert SECRET not in text


def test_one_record_is_one_line_and_a_made_up_uid_is_not_shown(capsys: pytest.CaptureFixture[str]):
    configure("INFO", "text")
    logging.getLogger("spinepacs.test").info("got %s", "a\nb", extra={"sop_uid": SECRET, "study_uid": ""})
    (line,) = capsys.readouterr().err.splitlines()
    assert "got a?b study_uid= sop_uid=(not a UID)" in line
    assert SECRET not in line


def test_a_record_that_cannot_be_formatted_is_not_quoted(capsys: pytest.CaptureFixture[str]):
    configure("INFO", "text")
    logging.getLogger("spinepacs.test").info("%d images", SECRET)
    text = capsys.readouterr().err
    assert "a log record is lost: spinepacs.test at test_logs.py:" in text
    assert SECRET not in text


UNCAUGHT = f"""
import sys, threading
from spinepacs.logs import configure
configure("INFO", "text")
def fail(): raise ValueError({SECRET!r})
class Broken:
    def __del__(self): fail()
Broken()
thread = threading.Thread(target=fail); thread.start(); thread.join()
fail()
"""


def test_what_nobody_catches_is_told_without_its_words():
    ended = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("CRITICAL spinepacs.logs uncaught") == 3
    assert ended.stderr.count("ValueError: (withheld") == 3
    assert SECRET not in ended.stderr


def test_core_dumps_are_off_and_would_hold_no_memory():
    report = (
        "import resource; from spinepacs.logs import configure; configure('INFO', 'text');"
        "print(resource.getrlimit(resource.RLIMIT_CORE), open('/proc/self/coredump_filter').read())"
    )
    told = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["(0,", "0)", "00000000"]
