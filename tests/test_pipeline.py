import logging
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread

from spinepacs.dicom import objects as objects_module
from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.findings import ObjectKind
from spinepacs.domain.geometry import SpacingBasis, Turn
from spinepacs.domain.measures import Quantity, Unit
from spinepacs.domain.signs import Area, ForAge, Sign, Statement
from spinepacs.domain.study import View
from spinepacs.errors import Transient
from spinepacs.pipeline import Pipeline
from spinepacs.settings.sections import ModelSettings, OutputSettings
from tests import films, models, phantoms

ROOT = Path(__file__).parents[1]
PHANTOM = phantoms.spine(left_px=[44, 44, 20, 44, 44], right_px=[34, 34, 14, 34, 34])
MM = 0.143
STEPS = {
    "read",
    "normalise",
    "infer",
    "segment",
    "label",
    "measure",
    "grade",
    "segmentation",
    "report",
    "overlay",
}


def _film(picture=None, **elements):
    picture = PHANTOM.picture() if picture is None else picture
    pixels = picture.astype(np.uint16) * 16
    return films.make_dx(pixels, BodyPartExamined="LSPINE", **elements)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = models.write_model(tmp_path_factory.mktemp("model"), PHANTOM)
    return Pipeline.open(ModelSettings(folder=folder), OutputSettings(), threads=1)


@pytest.fixture(scope="module")
def result(pipeline, tmp_path_factory):
    path = films.write(_film(PatientOrientation=["P", "F"]), tmp_path_factory.mktemp("films") / "film.dcm")
    return pipeline.read_film(path)


def test_a_stretched_picture_is_described_in_its_own_pixels_with_wider_errors(tmp_path):
    """The real model on the demo's AP film, exported as data sets do: half as high, without a spacing."""
    shipped = Pipeline.open(ModelSettings(), OutputSettings(), threads=1)
    natural = dcmread(ROOT / "demo" / "films" / "4-full-spine-ap.dcm")
    pixels = cv2.resize(natural.pixel_array, (natural.Columns, natural.Rows // 2))
    header = {"ViewPosition": "AP", "PatientOrientation": ["L", "F"]}
    made = films.make_cr(pixels, BodyPartExamined="SPINE", **header)
    made.PhotometricInterpretation = natural.PhotometricInterpretation
    result = shipped.read_film(films.write(made, tmp_path / "film.dcm"))
    reading = result.reading
    assert "PROPORTIONS_RESTORED" in reading.notes
    assert (reading.rows, reading.columns) == pixels.shape
    outlines = np.concatenate([vertebra.outline.points for vertebra in reading.spine.vertebrae])
    assert outlines.max(axis=0)[1] <= reading.rows
    assert np.ptp(outlines[:, 1]) > 0.6 * reading.rows
    (cobb,) = (each for each in reading.measures if each.quantity is Quantity.COBB_MAIN)
    true = shipped.read_film(ROOT / "demo" / "films" / "4-full-spine-ap.dcm").reading
    (true_cobb,) = (each for each in true.measures if each.quantity is Quantity.COBB_MAIN)
    assert cobb.uncertainty > true_cobb.uncertainty
    assert abs(cobb.value - true_cobb.value) <= cobb.margin + true_cobb.margin
    segmentation = dcmread(BytesIO(next(o.part10 for o in result.objects if o.kind is ObjectKind.SEG)))
    assert (segmentation.Rows, segmentation.Columns) == pixels.shape


def test_a_film_becomes_a_reading_with_everything_in_it(result):
    reading = result.reading
    assert reading.refusal is None
    assert [vertebra.level for vertebra in reading.spine.vertebrae] == list(phantoms.LUMBAR)
    assert (reading.spine.view, reading.spine.anterior_left) == (View.LATERAL, True)
    assert reading.spine.anterior_basis == "header"
    assert (reading.rows, reading.columns) == (1500, 900)
    assert reading.spacing.basis is SpacingBasis.DETECTOR_PLANE
    assert set(reading.seconds) == STEPS
    assert all(seconds >= 0 for seconds in reading.seconds.values())


def test_heights_are_those_of_the_phantom_within_a_tenth_of_a_millimetre(result):
    assert [disc.disc for disc in result.reading.discs] == list(PHANTOM.discs)
    for disc in result.reading.discs:
        truth = PHANTOM.discs[disc.disc]
        assert disc.anterior_mm == pytest.approx(truth.left_px * MM, abs=0.1)
        assert disc.posterior_mm == pytest.approx(truth.right_px * MM, abs=0.1)
        assert disc.middle_mm == pytest.approx(truth.middle_px * MM, abs=0.1)
        assert disc.wedge_deg == pytest.approx(truth.wedge_deg, abs=0.3)


def test_the_low_disc_is_graded_and_the_others_are_not_blamed(result):
    heights = [f for f in result.reading.findings if f.sign is Sign.DISC_HEIGHT_LOSS]
    stages = {finding.disc: finding.published_grade for finding in heights}
    assert stages.pop(DiscLevel(Level.L3, Level.L4)) == 3
    assert set(stages.values()) == {0}


def test_the_regions_are_concluded_and_the_film_is_judged(result):
    said = {conclusion.area: conclusion.statement for conclusion in result.reading.conclusions}
    assert said == {
        Area.LUMBAR: Statement.SLIGHT_SIGNS,
        Area.LUMBOSACRAL: Statement.NO_SIGNS,
        Area.COMBINED: Statement.SLIGHT_SIGNS,
    }
    assert "WHOLE_LUMBAR" in result.reading.notes


def test_the_age_of_the_header_reaches_the_conclusion(pipeline, tmp_path):
    film = _film(PatientOrientation=["P", "F"], PatientAge="030Y")
    image = pipeline.read_film(films.write(film, tmp_path / "film.dcm"))
    assert image.reading.conclusions[0].for_age is ForAge.MORE


def test_segmentation_report_and_picture_are_written(result):
    assert [item.kind for item in result.objects] == [ObjectKind.SEG, ObjectKind.SR, ObjectKind.OVERLAY]
    assert {item.source_sop_uid for item in result.objects} == {result.reading.sop_uid}


def test_the_same_film_gives_the_same_bytes_again(pipeline, result, tmp_path):
    again = pipeline.read_film(films.write(_film(PatientOrientation=["P", "F"]), tmp_path / "film.dcm"))
    assert [item.part10 for item in again.objects] == [item.part10 for item in result.objects]


def test_only_what_is_wanted_is_written(pipeline, tmp_path):
    output = OutputSettings(segmentation_enabled=False, overlay_enabled=False)
    report_only = Pipeline(pipeline.segmenter, pipeline.policy, output)
    image = report_only.read_film(films.write(_film(), tmp_path / "film.dcm"))
    assert [item.kind for item in image.objects] == [ObjectKind.SR]


def test_a_presentation_state_is_made_where_it_is_wanted(pipeline, result, tmp_path):
    output = OutputSettings(presentation_state_enabled=True)
    image = Pipeline(pipeline.segmenter, pipeline.policy, output).read_film(
        films.write(_film(PatientOrientation=["P", "F"]), tmp_path / "film.dcm")
    )
    assert image.objects[3].kind is ObjectKind.GSPS
    assert [item.part10 for item in image.objects[:3]] == [item.part10 for item in result.objects]


def test_a_film_without_any_vertebra_is_refused_and_nothing_is_written(pipeline, tmp_path):
    empty = PHANTOM.without(*phantoms.LUMBAR).picture()
    image = pipeline.read_film(films.write(_film(empty), tmp_path / "film.dcm"))
    assert image.reading.refusal.code == "NO_VERTEBRA_FOUND"
    assert image.reading.sop_uid
    assert image.objects == ()


def test_a_film_with_oblong_pixels_is_measured_in_true_millimetres(pipeline, tmp_path):
    squeezed = PHANTOM.moved(np.array([[1, 0, 0], [0, 0.5, 0]]), 750, 900).picture()
    film = _film(squeezed, ImagerPixelSpacing=[2 * MM, MM])
    reading = pipeline.read_film(films.write(film, tmp_path / "film.dcm")).reading
    assert len(reading.discs) == 5
    for disc in reading.discs:
        assert disc.middle_mm == pytest.approx(PHANTOM.discs[disc.disc].middle_px * MM, abs=0.1)
    assert max(vertebra.outline.points[:, 1].max() for vertebra in reading.spine.vertebrae) < 750


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turn", [Turn.CLOCKWISE, Turn.HALF, Turn.COUNTERCLOCKWISE])
def test_a_film_in_any_position_gives_the_same_results_in_its_own_pixels(pipeline, tmp_path, turn, mirrored):
    upright = PHANTOM.picture()
    orientation = {
        Turn.CLOCKWISE: ["F", "A"], Turn.HALF: ["A", "H"], Turn.COUNTERCLOCKWISE: ["H", "P"],
    }[turn]  # fmt: skip
    if mirrored:  # the made-up model finds the same bodies: what is at their right is the front then
        orientation = [
            "".join({"A": "P", "P": "A"}.get(letter, letter) for letter in way) for way in orientation
        ]
    film = _film(turn.as_filmed(upright), PatientOrientation=orientation)
    straight = _film(upright, PatientOrientation=["A" if mirrored else "P", "F"])
    turned, plain = (
        pipeline.read_film(films.write(one, tmp_path / f"{name}.dcm"))
        for name, one in (("t", film), ("p", straight))
    )

    assert turned.reading.spine.anterior_left is plain.reading.spine.anterior_left is not mirrored
    assert turned.reading.findings == plain.reading.findings
    assert [(m.quantity, m.place) for m in turned.reading.measures] == [
        (m.quantity, m.place) for m in plain.reading.measures
    ]
    for one, other in zip(turned.reading.measures, plain.reading.measures, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-9)
    shape = turned.reading.rows, turned.reading.columns
    assert shape == film.pixel_array.shape
    back = turn.to_upright(*shape)
    for one, other in zip(turned.reading.spine.vertebrae, plain.reading.spine.vertebrae, strict=True):
        np.testing.assert_allclose(back(one.outline.points), other.outline.points, atol=1e-9)
        np.testing.assert_allclose(back(np.array([one.upper.left])), [other.upper.left], atol=1e-9)
    masks, straight_masks = (
        dcmread(BytesIO(image.objects[0].part10)).pixel_array for image in (turned, plain)
    )
    assert masks.shape[1:] == shape
    # A pixel whose centre an outline crosses may fall to either side.
    assert (np.array([turn.upright(mask) for mask in masks]) != straight_masks).mean() < 1e-4
    assert f"TURNED_{turn.name}" in turned.reading.notes


def test_a_turned_film_with_oblong_pixels_is_measured_in_true_millimetres(pipeline, tmp_path):
    squeezed = PHANTOM.moved(np.array([[1, 0, 0], [0, 0.5, 0]]), 750, 900).picture()
    laid = Turn.CLOCKWISE.as_filmed(squeezed)
    film = _film(laid, ImagerPixelSpacing=[MM, 2 * MM], PatientOrientation=["F", "A"])
    reading = pipeline.read_film(films.write(film, tmp_path / "film.dcm")).reading
    assert (reading.spacing.row_mm, reading.spacing.column_mm) == (MM, 2 * MM)
    for disc in reading.discs:
        assert disc.middle_mm == pytest.approx(PHANTOM.discs[disc.disc].middle_px * MM, abs=0.1)


def test_an_impossible_spacing_costs_the_millimetres_and_nothing_else(pipeline, result, tmp_path):
    film = _film(PatientOrientation=["P", "F"], ImagerPixelSpacing=[MM / 10, MM / 10])
    image = pipeline.read_film(films.write(film, tmp_path / "film.dcm"))
    reading, sound = image.reading, result.reading
    assert "SPACING_IMPLAUSIBLE" in reading.notes
    assert reading.spacing is None
    assert {m.unit for m in reading.measures} == {Unit.PX, Unit.RATIO, Unit.DEGREE}
    assert all(disc.middle_mm is None for disc in reading.discs)
    for one, other in zip(reading.findings, sound.findings, strict=True):
        assert (one.sign, one.place, one.published_grade) == (other.sign, other.place, other.published_grade)
    assert b"mm" not in image.objects[1].part10.split(b"Lengths:")[1][:60]


def test_damaged_films_never_cost_the_others(pipeline, tmp_path):
    good = films.write(_film(seed="good"), tmp_path / "good.dcm")
    cut = films.truncate(films.write(_film(seed="cut"), tmp_path / "cut.dcm"), 0.4)
    multi = films.write(_film(seed="multi", NumberOfFrames=2), tmp_path / "multi.dcm")
    rubbish = tmp_path / "rubbish.dcm"
    rubbish.write_bytes(b"not DICOM at all" * 100)

    study = pipeline.read_study("1.2.3", [cut, rubbish, good, multi])

    codes = [image.reading.refusal and image.reading.refusal.code for image in study.images]
    assert codes[2] is None
    assert codes[3] == "MULTI_FRAME"
    assert all(codes[index] for index in (0, 1))
    assert [bool(image.objects) for image in study.images] == [False, False, True, False]
    assert study.study_uid == "1.2.3"
    assert study.images[0].reading.sop_uid == _film(seed="cut").SOPInstanceUID
    assert study.images[1].reading.study_uid == "1.2.3"


def test_a_header_that_defeats_the_encoders_keeps_the_findings_and_names_no_patient(
    pipeline, tmp_path, monkeypatch, caplog
):
    def defeated(*_):
        raise ValueError(f"cannot encode {films.PATIENT_NAME}")

    monkeypatch.setattr(objects_module, "encode_report", defeated)
    path = films.write(_film(), tmp_path / "film.dcm")
    with caplog.at_level(logging.DEBUG):
        image = pipeline.read_study("1.2.3", [path]).images[0]
    assert image.reading.refusal.code == "NOT_ENCODED"
    assert image.reading.discs
    assert image.objects == ()
    assert "ValueError at" in caplog.text
    assert not any(secret in caplog.text + image.reading.refusal.reason for secret in films.SECRETS)


@pytest.mark.parametrize("error", [MemoryError, Transient])
def test_what_may_pass_or_is_beyond_us_is_not_turned_into_a_refusal(pipeline, tmp_path, monkeypatch, error):
    def out(*_):
        raise error("no more")

    monkeypatch.setattr(objects_module, "draw_overlay", out)
    with pytest.raises(error):
        pipeline.read_study("1.2.3", [films.write(_film(), tmp_path / "film.dcm")])


def test_the_versions_name_model_and_policy(pipeline):
    versions = pipeline.versions
    assert (versions.model_name, versions.model_version) == ("made-up", "1")
    assert (versions.policy_name, versions.policy_version) == ("spinepacs-v1", "1.4")
