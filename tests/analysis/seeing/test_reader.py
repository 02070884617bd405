"""The reader network: opened only as the manifest names it, and its answers kept beside the right bodies."""

import hashlib

import numpy as np
import pytest

from spinepacs.analysis.seeing.evidence import weighed
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
    said = weighed(scores, np.tile(answer, (len(read) + 2, 1)), models.READER_WEIGHTS)
    for (one, before), evidence in list(zip(lined_up, said, strict=True))[1:-1]:
        assert one.outline is before.outline
        np.testing.assert_allclose(one.evidence, evidence, atol=1e-5)


class _Painted(Reader):
    """Answers with the height of each place; where the film is shown beyond an end it says so."""

    def __init__(self):
        self.asked = []

    def log_probabilities(self, display, where):
        self.asked.append([float(place.centre[1]) for place in where])
        return np.array([np.full(ANSWERS, place.centre[1]) for place in where])


@pytest.mark.parametrize(
    ("rows", "asked"), [(450, [0, 100, 200, 300, 400]), (390, [0, 100, 200, 300]), (310, [0, 100, 200, 300])]
)
def test_places_beyond_the_ends_are_looked_at_where_the_film_goes_on(rows, asked):
    reader = _Painted()
    found = [_detection(y) for y in (300, 100, 200)]
    order, answers = reader.look(np.zeros((rows, 200), np.uint8), found, DOWN)
    assert reader.asked == [asked]
    assert order.tolist() == [1, 2, 0]
    np.testing.assert_array_equal(answers[:4, 0], [0, 100, 200, 300])
    assert np.isnan(answers[4]).all() == (len(asked) == 4)


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
