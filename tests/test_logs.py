import json
import logging

import pytest

from spinepacs.logs import configure


@pytest.fixture(autouse=True)
def _restore_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_json_lines_carry_the_study(capsys: pytest.CaptureFixture[str]):
    configure("INFO", "json")
    logging.getLogger("spinepacs.test").info("stored", extra={"sop_uid": "1.2.3", "PatientName": "Doe"})
    entry = json.loads(capsys.readouterr().err)
    assert entry["message"] == "stored"
    assert entry["sop_uid"] == "1.2.3"
    assert "Doe" not in str(entry)


def test_text_lines_carry_the_study_and_the_traceback(capsys: pytest.CaptureFixture[str]):
    configure("INFO", "text")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("spinepacs.test").exception("failed", extra={"study_uid": "1.2"})
    text = capsys.readouterr().err
    assert "failed study_uid=1.2" in text
    assert "ValueError: broken" in text


def test_libraries_that_quote_elements_are_silenced(capsys: pytest.CaptureFixture[str]):
    configure("DEBUG", "text")
    for name in ("pydicom", "pynetdicom.dul"):
        logging.getLogger(name).warning("value 'Doe^Jane' is invalid")
    assert capsys.readouterr().err == ""
