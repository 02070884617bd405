import csv
import json
import re
from pathlib import Path
from typing import Any

import cv2
from pydicom import dcmread
from pydicom.uid import BasicTextSRStorage

from spinepacs.batch.films import find_films
from spinepacs.batch.folder import try_out
from spinepacs.batch.records import Head
from spinepacs.batch.run import Batch, Summary
from spinepacs.batch.task import Task
from tests.films import SECRETS, make_dx, truncate, write

DEMO_FILMS = sorted((Path(__file__).parents[2] / "demo" / "films").glob("*.dcm"))


Problems = list[tuple[str, str, str]]


def run(paths: list[Path], out: Path, **wanted: Any) -> tuple[Summary, Problems]:
    """Process with one worker; gives file, code and reason of what was refused or failed, too."""
    problems: Problems = []

    def on_film(path: Path, head: Head) -> None:
        if head.outcome in ("refused", "failed"):
            problems.append((str(path), head.code, head.reason))

    try_out(out)
    task = Task(out, key=b"not much of a secret", **wanted)
    return Batch(task, workers=1).run(find_films(paths, out), on_film), problems


def test_a_film_becomes_objects_pictures_and_tables(tmp_path: Path):
    film = DEMO_FILMS[0]
    summary, _ = run([film], tmp_path / "out")
    assert (summary.read, summary.exit_code) == (1, 0)
    assert dcmread(tmp_path / f"out/{film.stem}.seg.dcm").Modality == "SEG"
    assert dcmread(tmp_path / f"out/{film.stem}.sr.dcm").Modality == "SR"
    assert cv2.imread(str(tmp_path / f"out/{film.stem}.overlay.jpg")) is not None
    (reading,) = json.loads((tmp_path / "out/readings.json").read_text())
    assert reading["state"] == "read"
    assert len(reading["vertebrae"]) >= 3
    with (tmp_path / "out/readings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "grade" not in rows[0], "one name everywhere: published_grade"
    stages = {row["name"]: row["published_grade"] for row in rows if row["published_grade"]}
    lost = {finding["place"]: finding["published_grade"] for finding in reading["findings"]
            if finding["sign"] == "disc_height_loss" and finding["published_grade"] is not None}  # fmt: skip
    assert stages == {place: str(grade) for place, grade in lost.items()}
    assert {row["item"] for row in rows} == {"vertebra", "disc"}
    assert all(row["spacing_basis"] for row in rows if row["middle_mm"])
    for name in ("measures", "findings", "conclusions"):
        with (tmp_path / f"out/{name}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == len(reading[name])
    assert all(measure["basis"] for measure in reading["measures"] if measure["unit"] == "mm")
    assert {finding["sign"] for finding in reading["findings"]} >= {"disc_height_loss"}


def test_what_a_file_is_is_told_by_its_content(tmp_path: Path):
    (tmp_path / "film.jpg").write_bytes(DEMO_FILMS[0].read_bytes())
    (tmp_path / "letter.png").write_text("Dear colleague")
    summary, _ = run([tmp_path], tmp_path / "out")
    assert (summary.read, summary.skipped, summary.failed) == (1, 1, 0)


def test_a_picture_is_read_without_millimetres(tmp_path: Path):
    pixels = dcmread(DEMO_FILMS[0]).pixel_array
    cv2.imwrite(
        str(tmp_path / "film.png"), cv2.normalize(pixels, None, 0, 255, cv2.NORM_MINMAX).astype("uint8")
    )
    summary, _ = run([tmp_path / "film.png"], tmp_path / "out")
    assert summary.read == 1
    (reading,) = json.loads((tmp_path / "out/readings.json").read_text())
    assert reading["spacing"] is None
    assert all(disc["middle_mm"] is None and disc["middle_px"] is not None for disc in reading["discs"])


def test_one_broken_file_costs_only_itself(tmp_path: Path):
    folder = tmp_path / "films"
    folder.mkdir()
    truncate(write(make_dx(), folder / "broken.dcm"), 0.6)
    (folder / "notes.txt").write_text("not a film")
    (folder / "good.dcm").write_bytes(DEMO_FILMS[0].read_bytes())
    summary, problems = run([folder], tmp_path / "out")
    assert (summary.read, summary.refused, summary.skipped, summary.exit_code) == (1, 1, 1, 0)
    ((path, code, reason),) = problems
    assert path.endswith("broken.dcm")
    assert code
    readings = json.loads((tmp_path / "out/readings.json").read_text())
    assert {Path(row["film"]).name: row["state"] for row in readings} == {
        "broken.dcm": "refused",
        "good.dcm": "read",
    }
    assert not any(secret in reason for secret in SECRETS)


def test_a_named_file_that_is_no_film_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("not a film")
    assert run([tmp_path / "notes.txt"], tmp_path / "out")[0].refused == 1


def test_what_is_no_fault_of_the_file_fails(tmp_path: Path):
    film = DEMO_FILMS[0]
    (tmp_path / "out" / f"{film.stem}.seg.dcm").mkdir(parents=True)
    summary, problems = run([film], tmp_path / "out")
    assert (summary.failed, summary.exit_code) == (1, 1)
    assert problems[0][1] == "CANNOT_READ_OR_WRITE"


def test_what_lies_beside_the_films_of_a_study_is_refused(tmp_path: Path):
    report = make_dx(SOPClassUID=BasicTextSRStorage, PixelData=None)
    report.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    _, problems = run([write(report, tmp_path / "report.dcm")], tmp_path / "out")
    assert problems[0][1] == "NO_RADIOGRAPH"


def test_selection_rules_apply_on_request_only(tmp_path: Path):
    words = {"StudyDescription": "Chest", "SeriesDescription": "Chest PA", "AnatomicRegionSequence": None}
    chest = make_dx(BodyPartExamined="CHEST", **words)
    film = write(chest, tmp_path / "chest.dcm")
    summary, problems = run([film], tmp_path / "out1", selects=True)
    assert problems[0][1] == "NOT_SELECTED"
    assert not summary.exit_code
    with (tmp_path / "out1/readings.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["state"], row["reason_code"]) == ("refused", "NOT_SELECTED")
    _, problems = run([film], tmp_path / "out2")
    assert all(code != "NOT_SELECTED" for _, code, _ in problems)


def test_films_of_one_name_do_not_overwrite_each_other(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "film.dcm").write_bytes(DEMO_FILMS[0].read_bytes())
    run([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").glob("*.seg.dcm")}
    assert len(written) == 2
    assert all(re.fullmatch(r"film-[0-9a-f]{16}\.seg\.dcm", name) for name in written)
    listed = json.loads((tmp_path / "out/readings.json").read_text())
    assert {f"{reading['results']}.seg.dcm" for reading in listed} == written


def test_our_own_results_are_not_read_again(tmp_path: Path):
    run([DEMO_FILMS[0]], tmp_path / "out")
    _, again = run([tmp_path / f"out/{DEMO_FILMS[0].stem}.overlay.dcm"], tmp_path / "out2")
    assert again[0][1] == "OWN_RESULT"


def test_films_of_other_formats_are_not_passed_over_in_silence(tmp_path: Path):
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "film.tif").write_bytes(b"II*\0" + b"x" * 200)
    (folder / "films.zip").write_bytes(b"PK\x03\x04" + b"x" * 200)
    (folder / "notes.txt").write_text("not a film")
    summary, problems = run([folder], tmp_path / "out")
    assert (summary.refused, summary.failed, summary.skipped) == (2, 0, 1)
    assert [code for _, code, _ in problems] == ["PICTURE_FORMAT", "ARCHIVE"]


def test_a_film_becomes_a_fhir_bundle_where_one_is_wanted(tmp_path: Path):
    film = DEMO_FILMS[1]
    run([film], tmp_path / "out", fhir=True)
    bundle = json.loads((tmp_path / f"out/{film.stem}.fhir.json").read_text())
    (reading,) = json.loads((tmp_path / "out/readings.json").read_text())
    told = [entry["resource"] for entry in bundle["entry"]]
    measured = [each for each in told if "valueQuantity" in each]
    assert len(measured) == len([measure for measure in reading["measures"] if not measure["reason"]])
    assert told[0]["resourceType"] == "DiagnosticReport"
    run([film], tmp_path / "out")
    assert not (tmp_path / f"out/{film.stem}.fhir.json").exists(), "another task: the file would be stale"
