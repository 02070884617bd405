"""Films laid over: what lies beside the spine of a real film is cut straight, and hides plates but moves no outline."""

import csv
import json

import cv2
import numpy as np
import pytest

from spinepacs.domain.anatomy import Level
from spinepacs.training.data.dataset import read_ap_corners, read_grey
from spinepacs.training.films.overlaid import hidden_centres, main, overlaid, sides

PITCH, HIGH, WIDE = 25, 20, 30  # px of the AP films' bodies: a disc takes a fifth of the way to the next one


@pytest.fixture
def real(tmp_path):
    """Six AP films whose spine leans to the right; bands a body high lie beside it, white edges on the last."""
    folder = tmp_path / "real"
    folder.mkdir()
    levels = [level for level in Level if Level.T1 <= level <= Level.L5]
    with (folder / "films.csv").open("w") as films, (folder / "corners.csv").open("w") as corners:
        film_table, corner_table = csv.writer(films), csv.writer(corners)
        film_table.writerow(("film", "group", "width", "height"))
        corner_table.writerow(
            ("film", "level", *(f"{c}_{a}" for c in ("tl", "tr", "bl", "br") for a in "xy"))
        )
        for number in range(6):
            name, image = f"ap-{number}.png", np.full((460, 420), 100, np.uint8)
            y, x = np.mgrid[:460, :420]
            image[(y // HIGH) % 2 == number % 2] = 160
            image[np.abs(x - (200 + (y - 30) / 10)) < WIDE / 2] = 0
            if number == 5:
                image[(x < 110) | (x > 310)] = 255
            for place, level in enumerate(levels):
                top = 20 + PITCH * place
                left = round(200 + (top + HIGH / 2 - 30) / 10 - WIDE / 2)
                corner_table.writerow(
                    (name, level.name, left, top, left + WIDE, top, left, top + HIGH, left + WIDE, top + HIGH)
                )
            film_table.writerow((name, number, 420, 460))
            cv2.imwrite(str(folder / name), image)
    return folder


def spine(levels=range(Level.C6, Level.T12)):
    """Bodies from head to foot, 20 px high, on a film of 300 × 400 px."""
    return [
        {
            "level": Level(level).name,
            "seen": True,
            "outline_px": [[x, y + down] for x in (140, 170) for down in (0, 20)],
        }
        for level, y in zip(levels, range(30, 400, PITCH), strict=False)
    ]


def drawn(rng):
    """A film with air on its left, flesh elsewhere, and plates as bright lines."""
    film = np.full((400, 300), 90, np.uint8)
    film[:, :60] = 0
    for row in range(30, 380, PITCH):
        film[row - 2 : row, 140:170] = 220
    return film


def test_sides_are_straight_and_bodies_in_them_64_px_high(real):
    film = read_ap_corners(real)[0]
    found = sides(film)
    assert len(found) == 2
    for side in found:
        assert side.shape[0] == pytest.approx((12 * PITCH + HIGH) * 64 / HIGH, abs=6), "T1 to L1"
        assert side.min() > 90, "nothing of the spine, though it leans"
        edges = np.flatnonzero(np.abs(np.diff((side[:, 5] > 130).astype(int))))
        np.testing.assert_allclose(np.diff(edges), 64, atol=2)


def test_sides_with_white_things_or_too_narrow_are_left_out(real):
    films = read_ap_corners(real)
    assert sides(films[5]) == []
    cv2.imwrite(str(films[0].path), read_grey(films[0].path)[:, :260])
    assert len(sides(films[0])) == 1


def test_plates_fade_and_ribs_cross_them_but_the_air_stays(real):
    film, centres = drawn(0), hidden_centres({"view": "lateral", "vertebrae": spine()})
    textures = [side for one in read_ap_corners(real)[:5] for side in sides(one)]
    made = [overlaid(film, centres, textures, np.random.default_rng(seed)) for seed in range(12)]
    again = overlaid(film, centres, textures, np.random.default_rng(3))
    np.testing.assert_array_equal(again, made[3])
    assert len({one.tobytes() for one in made}) == 12
    for one in made:
        assert (one.dtype, one.shape) == (np.uint8, film.shape)
        np.testing.assert_array_equal(one[:, :20], 0)

    def plates(one):
        greys = one.astype(float)
        return np.mean(
            [
                greys[row - 2 : row, 145:165].mean() - greys[row + 8 : row + 12, 145:165].mean()
                for row in range(80, 300, PITCH)
            ]
        )

    def beside(one):
        return float(one[100:250, 220:280].astype(float).std())

    assert np.mean([plates(one) for one in made]) < 0.85 * plates(film)
    assert beside(film) == 0
    assert min(beside(one) for one in made) > 0.5


def test_only_laterals_that_show_the_chest_are_laid_over():
    assert hidden_centres({"view": "ap", "vertebrae": spine()}) is None
    assert hidden_centres({"view": "lateral", "vertebrae": spine(range(Level.T12, Level.S1))}) is None
    hidden = [row | {"seen": row["level"] < "T3"} for row in spine()]
    assert hidden_centres({"view": "lateral", "vertebrae": hidden[:4]}) is None
    centres = hidden_centres({"view": "lateral", "vertebrae": spine()})
    np.testing.assert_allclose(centres[:2], [[155, 40], [155, 65]])
    assert len(centres) == 13


def test_a_folder_is_laid_over_once_and_keeps_labels_and_truth(real, tmp_path):
    given, out = tmp_path / "films", tmp_path / "out"
    for part in ("images", "labels", "truth"):
        (given / part).mkdir(parents=True)
    (given / "data.json").write_text('{"names": []}')
    for name, view in (("a", "lateral"), ("b", "ap")):
        cv2.imwrite(str(given / "images" / f"{name}.png"), drawn(0))
        (given / "labels" / f"{name}.txt").write_text("7 0.1 0.1 0.2 0.1 0.2 0.2")
        (given / "truth" / f"{name}.json").write_text(json.dumps({"view": view, "vertebrae": spine()}))
    arguments = ["--films", str(given), "--ap", str(real), "--out", str(out), "--seed", "4"]
    assert main(arguments) == 0
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == [
        "a.json",
        "a.png",
        "a.txt",
        "data.json",
    ]
    for part in ("labels/a.txt", "truth/a.json"):
        assert (out / part).read_bytes() == (given / part).read_bytes()
    assert (read_grey(out / "images/a.png") != drawn(0)).any()
    before = (out / "images/a.png").stat().st_mtime_ns
    assert main(arguments) == 0
    assert (out / "images/a.png").stat().st_mtime_ns == before
