"""The reader network: opened only as the manifest names it, and its answers kept beside the right bodies."""

import hashlib

import numpy as np
import pytest

from spinepacs.analysis.seeing.crops import PAD_VALUE
from spinepacs.analysis.seeing.evidence import Answers, weighed
from spinepacs.analysis.seeing.reader import ANSWERS, Reader
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection
from spinepacs.domain.geometry import Outline
from spinepacs.errors import BadModel
from tests import models, phantoms

PHANTOM = phantoms.spine()
DOWN = np.array([0.0, 1.0])


@pytest.fixture
def folder(tmp_path):
    return models.write_model(tmp_path / "m", PHANTOM, reader=np.arange(ANSWERS))


def test_a_model_without_a_reader_has_none(tmp_path):
    assert Segmenter.open(models.write_model(tmp_path / "m", PHANTOM), threads=1).reader is None


def test_every_body_gets_what_both_networks_say_by_their_weights(folder):
    segmenter = Segmenter.open(folder, threads=1)
    found = segmenter.detect_whole(PHANTOM.picture())
    read = segmenter.reader.read(PHANTOM.picture(), found, DOWN)
    assert len(read) == len(PHANTOM.bodies)
    answer = np.arange(ANSWERS) - np.log(np.exp(np.arange(ANSWERS)).sum())
    lined_up = sorted(zip(read, found, strict=True), key=lambda pair: pair[1].outline.centroid[1])
    scores = [before.class_scores for _, before in lined_up]
    whole = np.tile(answer, (len(read) + 2, 1))
    said = weighed(scores, Answers(whole, whole), models.READER_WEIGHTS)
    for (one, before), evidence in list(zip(lined_up, said, strict=True))[1:-1]:
        assert one.outline is before.outline
        np.testing.assert_allclose(one.evidence, evidence, atol=1e-5)


class _Painted(Reader):
    """Answers with the grey in the middle of each crop, negative where what lies above is hidden."""

    def __init__(self):
        self.asked = []

    def log_probabilities(self, crops):
        beyond = [(crop == PAD_VALUE).all(axis=1) for crop in crops]
        hidden = [rows[60] and not rows[72] for rows in beyond]
        middles = [
            float(crop[80, 64]) * (-1 if above else 1) for crop, above in zip(crops, hidden, strict=True)
        ]
        self.asked.append(middles)
        return np.array([np.full(ANSWERS, middle) for middle in middles])


def _striped(rows):
    """A film whose grey is a tenth of the height."""
    return np.tile((np.arange(rows)[:, None] // 10 + 10).astype(np.uint8), (1, 200))


@pytest.mark.parametrize(
    ("rows", "asked"), [(450, [10, 20, 30, 40, 50]), (390, [10, 20, 30, 40]), (310, [10, 20, 30, 40])]
)
def test_places_beyond_the_ends_are_looked_at_where_the_film_goes_on(rows, asked):
    reader = _Painted()
    found = [_detection(y) for y in (300, 100, 200)]
    order, answers = reader.look(_striped(rows), found, DOWN)
    assert reader.asked == [[*asked, *(-grey for grey in asked[1:])]]
    assert order.tolist() == [1, 2, 0]
    np.testing.assert_array_equal(answers.whole[:4, 0], [10, 20, 30, 40])
    np.testing.assert_array_equal(answers.below[1:4, 0], [-20, -30, -40])
    assert np.isnan(answers.below[0]).all(), "nothing lies above the first"
    assert np.isnan(answers.whole[4]).all() == np.isnan(answers.below[4]).all() == (len(asked) == 4)


def test_only_the_lowest_are_looked_at_without_what_lies_above():
    reader = _Painted()
    found = [_detection(y) for y in range(100, 1300, 100)]
    _, answers = reader.look(_striped(1500), found, DOWN)
    assert np.isfinite(answers.below[:, 0]).nonzero()[0].tolist() == list(range(6, 14))
    assert np.isfinite(answers.whole).all()


def _detection(y):
    square = np.array([[80.0, y - 15], [120, y - 15], [120, y + 15], [80, y + 15]])
    box = np.concatenate([square.min(axis=0), square.max(axis=0)])
    return Detection(phantoms.scores_of(Level.L3), 0.9, box, Outline(square))


def test_an_altered_reader_is_never_run(folder):
    (folder / "reader.onnx").write_bytes((folder / "reader.onnx").read_bytes() + b"x")
    with pytest.raises(BadModel, match=r"reader\.onnx: sha256"):
        Segmenter.open(folder, threads=1)


def test_a_reader_that_is_missing_is_named(folder):
    (folder / "reader.onnx").unlink()
    with pytest.raises(BadModel, match=r"reader\.onnx: cannot be read"):
        Segmenter.open(folder, threads=1)


def test_another_network_is_no_reader(tmp_path):
    folder = models.write_model(tmp_path / "m", PHANTOM, reader=np.arange(3))
    with pytest.raises(BadModel, match="not those of a reader"):
        Segmenter.open(folder, threads=1)


def test_what_is_no_network_is_refused(folder):
    before = hashlib.sha256((folder / "reader.onnx").read_bytes()).hexdigest()
    (folder / "reader.onnx").write_bytes(b"rubbish")
    manifest = (folder / "manifest.toml").read_text().replace(before, hashlib.sha256(b"rubbish").hexdigest())
    (folder / "manifest.toml").write_text(manifest)
    with pytest.raises(BadModel, match=r"reader\.onnx: ONNX Runtime cannot load"):
        Segmenter.open(folder, threads=1)
