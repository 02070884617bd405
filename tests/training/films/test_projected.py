"""Films projected from a CT: a phantom with bodies of known size, whose marks must lie where the film shows them."""

import json

import cv2
import nibabel
import numpy as np
import pytest

from spinepacs.errors import BadSettings
from spinepacs.training.data.dataset import read_yolo_seg
from spinepacs.training.films import develop, projected, thorax
from spinepacs.training.films.anatomy import LEVELS

STEP = np.array([2.0, 2.0, 2.5])  # mm, x y z
SHAPE = (90, 110, 100)
CENTRE = np.array([45, 40])  # voxels of the bodies' middle: right to left, back to front
HALF = np.array([15.0, 12.0])  # mm
HEIGHT, PITCH = 8, 10  # slices of a body, and from one to the next
FIRST = 8  # slice of the lowest body
LABELS = range(31, 37)  # L1 … T8, from below


def _volumes():
    """HU and labels, right, front, up: water, bodies of bone with a canal behind them, and a cord in it."""
    x, y, z = np.indices(SHAPE)
    ct = np.full(SHAPE, -1000.0)
    ct[((x - 45) / 38) ** 2 + ((y - 52) / 46) ** 2 < 1] = 20
    mask = np.zeros(SHAPE, np.uint8)
    near_x, near_y = np.abs(x - CENTRE[0]) * STEP[0] <= HALF[0], np.abs(y - CENTRE[1]) * STEP[1] <= HALF[1]
    for number, label in enumerate(LABELS):
        bottom = FIRST + PITCH * number
        body = near_x & near_y & (z >= bottom) & (z < bottom + HEIGHT)
        arch = near_x & (y >= 16) & (y < 26) & (z >= bottom) & (z < bottom + HEIGHT)
        ct[body] = 300
        mask[body | arch] = label
    mask[(np.abs(x - 45) < 3) & (np.abs(y - 29) < 3)] = thorax._CORD
    return ct, mask


def _write(folder, ct, mask):
    affine = np.diag([*STEP, 1.0])
    nibabel.save(nibabel.Nifti1Image(ct.astype(np.int16), affine), folder / "ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(mask, affine), folder / "mask.nii.gz")
    return folder / "ct.nii.gz", folder / "mask.nii.gz"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("ct"), *_volumes())


@pytest.fixture(scope="module")
def chest(files):
    return thorax.read_thorax(*files)


def test_bodies_are_told_from_their_arches(chest):
    assert [body.level for body in chest.bodies] == ["T8", "T9", "T10", "T11", "T12", "L1"]
    middles = np.array([body.outlines["lateral"].mean(axis=0) for body in chest.bodies])
    np.testing.assert_allclose(np.diff(middles, axis=0), np.tile([0, 0, -PITCH * STEP[2]], (5, 1)), atol=0.5)
    np.testing.assert_allclose(middles.mean(axis=0), 0, atol=1.0)
    for body in chest.bodies:
        for view, across, half in (("lateral", 1, HALF[1]), ("ap", 0, HALF[0])):
            size = np.ptp(body.outlines[view], axis=0)
            assert size[across] == pytest.approx(2 * half, abs=2.5)
            assert size[2] == pytest.approx(HEIGHT * STEP[2], abs=2.5)
            corners = body.corners[view][:, [across, 2]] - body.corners[view][:, [across, 2]].mean(axis=0)
            np.testing.assert_array_equal(np.sign(corners), [[-1, 1], [1, 1], [1, -1], [-1, -1]])
            np.testing.assert_allclose(np.ptp(corners, axis=0), [2 * half, HEIGHT * STEP[2]], atol=2.5)


def test_a_table_is_no_part_of_the_patient(tmp_path):
    ct, mask = _volumes()
    ct[5:80, 1:3] = 200
    table = thorax.read_thorax(*_write(tmp_path, ct, mask))
    np.testing.assert_array_equal(table.soft[:, -4:], 0)  # the room's y runs to the back


@pytest.mark.parametrize("seed", range(3))
def test_the_marks_lie_on_the_bodies_that_the_film_shows(chest, seed, monkeypatch):
    # Without noise, clothes and the changes of other consoles, bone is what is bright.
    monkeypatch.setattr(develop, "roughen", lambda value, chance, rng: value)
    monkeypatch.setattr(develop, "clutter", lambda shape, spacing, rng: np.zeros(shape, np.float32))
    monkeypatch.setattr(develop, "collimate", lambda value, rng: value)
    monkeypatch.setattr(develop, "stamp", lambda pixels, rng, lateral: None)
    monkeypatch.setattr(projected, "_arms", lambda top, camera, rng: np.zeros(camera.shape_px, np.float32))
    film = projected.draw(chest, np.random.default_rng([5, seed]))
    assert {truth.level for truth in film.truths} >= {"T9", "T10", "T11"}
    smooth = cv2.GaussianBlur(film.value, (0, 0), 2)
    middles = {truth.level: truth.outline_px.mean(axis=0) for truth in film.truths}
    for upper, lower in (("T9", "T10"), ("T10", "T11")):
        between = (middles[upper] + middles[lower]) / 2

        def seen(point):
            return float(smooth[int(point[1]), int(point[0])])

        assert seen(middles[upper]) > seen(between) + 0.01
        assert seen(middles[lower]) > seen(between) + 0.01
    for truth in film.truths:
        left, right = truth.corners_px[[0, 3]].mean(axis=0), truth.corners_px[[1, 2]].mean(axis=0)
        top, bottom = truth.corners_px[:2].mean(axis=0), truth.corners_px[2:].mean(axis=0)
        assert left[0] < right[0]
        assert top[1] < bottom[1]


def test_a_run_goes_on_where_it_stopped_and_repeats_itself(files, tmp_path):
    def run(folder, count):
        told = ["--ct", files[0], "--mask", files[1], "--out", folder, "--count", count, "--seed", 3]
        assert projected.main([str(word) for word in told]) == 0

    run(tmp_path / "a", 1)
    first = (tmp_path / "a/images/ct-0003-000000.png").read_bytes()
    before = (tmp_path / "a/images/ct-0003-000000.png").stat().st_mtime_ns
    run(tmp_path / "a", 2)
    assert (tmp_path / "a/images/ct-0003-000000.png").stat().st_mtime_ns == before
    run(tmp_path / "b", 1)
    assert (tmp_path / "b/images/ct-0003-000000.png").read_bytes() == first
    films = read_yolo_seg(tmp_path / "a")
    assert len(films) == 2
    assert {film.view for film in films} <= {"lateral", "ap"}
    for film in films:
        names = {LEVELS[body.class_id] for body in film.bodies}
        truth = json.loads((tmp_path / "a/truth" / f"{film.path.stem}.json").read_text())
        assert names <= {row["level"] for row in truth["vertebrae"]}
        assert len(names) >= 4


def test_what_cannot_be_projected_is_refused_by_its_file(files, tmp_path):
    ct, mask = files
    (tmp_path / "damaged.nii.gz").write_bytes(b"no picture")
    with pytest.raises(BadSettings, match=r"damaged\.nii\.gz: cannot be read as NIfTI"):
        thorax.read_thorax(tmp_path / "damaged.nii.gz", mask)
    with pytest.raises(BadSettings, match=r"missing\.nii: cannot be read"):
        thorax.read_thorax(tmp_path / "missing.nii", mask)
    values, labels = _volumes()
    smaller, _ = _write(tmp_path, values[:-1], labels)
    with pytest.raises(BadSettings, match="its grid is not that of"):
        thorax.read_thorax(smaller, mask)
    bare = labels.copy()
    bare[bare == thorax._CORD] = 0
    _, without = _write(tmp_path, values, bare)
    with pytest.raises(BadSettings, match="no spinal cord"):
        thorax.read_thorax(ct, without)
    few = np.where(np.isin(labels, [31, 32, thorax._CORD]), labels, 0).astype(np.uint8)
    _, two = _write(tmp_path, values, few)
    with pytest.raises(BadSettings, match="fewer than three whole vertebrae"):
        thorax.read_thorax(ct, two)
