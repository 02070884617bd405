"""Corrected films as a data set that training reads."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from spinepacs.domain.corrections import Accept, Reject, Shift
from spinepacs.errors import BadSettings
from spinepacs.review.export import export
from tests import films
from tests.daemons import film
from tests.review.conftest import House


def test_films_of_persons_are_read_by_training_under_the_corrected_names(
    house: House, sop_uid: str, tmp_path: Path
) -> None:
    data = pytest.importorskip("spinepacs.training.data.sources")
    from spinepacs.training.data.classmap import ClassMap
    from spinepacs.training.data.raw import Source

    second = house.read(film(2, PatientOrientation=["P", "F"]))
    third, fourth = house.read(film(3)), house.read(film(4))
    house.correct(sop_uid, Shift(-1))
    house.correct(second, Accept())
    house.correct(third, Reject("blurred"))
    out = tmp_path / "films"
    assert list(export(house.settings, house.ledger, out)) == [None, None]
    assert house.current(fourth).author == ""

    text = "".join(path.name for path in out.rglob("*")) + (out / "data.yaml").read_text()
    assert not [secret for secret in (*films.SECRETS, sop_uid) if secret in text]
    assert "iTXt" not in "".join(path.read_bytes().decode("latin-1") for path in out.rglob("*.png"))
    source = Source(name="corrected", kind="yolo-seg", path=out)
    read = [one for one, _ in data.read_source(source, ClassMap()).films]
    assert len(read) == 2
    names = sorted([body.class_id for body in one.bodies] for one in read)
    assert names == [[18, 19, 20, 21, 22, 23], [19, 20, 21, 22, 23, 24]]
    (shifted,) = [one for one in read if one.bodies[0].class_id == 18]
    spine = house.current(sop_uid).reading.spine
    assert spine is not None
    for body, vertebra in zip(shifted.bodies, spine.vertebrae, strict=True):
        assert np.abs(body.outline_px + 0.5 - vertebra.outline.points).max() < 0.01
    pixels = cv2.imread(str(shifted.path), cv2.IMREAD_UNCHANGED)
    assert pixels.shape == (house.current(sop_uid).reading.rows, house.current(sop_uid).reading.columns)


def test_a_folder_that_holds_something_is_left_alone(house: House, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadSettings, match="not empty"):
        list(export(house.settings, house.ledger, tmp_path))
