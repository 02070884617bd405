"""The demo's study: four films of one synthetic patient. Run `python -m spinepacs.training.films.demo`."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from spinepacs.training.films.anatomy import load_anatomy
from spinepacs.training.films.dicom import StudyLabel, write_dx
from spinepacs.training.films.implants import Metal
from spinepacs.training.films.plans import PLANS, Plan
from spinepacs.training.films.synthesise import draw_film, draw_patient
from spinepacs.training.films.truth import Film, truth_record

SEED = 8
# File name -> kind of film, and its height in pixels (small, so that the four stay below 5 MB).
FILMS = {
    "1-cervical-lateral": (("cervical", True), 1200),
    "2-lumbar-lateral": (("lumbar", True), 1300),
    "3-full-spine-lateral": (("full", True), 1700),
    "4-full-spine-ap": (("full", False), 1700),
}


def _plan(kind: tuple[str, bool], height_px: int) -> Plan:
    plan = next(plan for plan in PLANS if (plan.region, plan.lateral) == kind)
    return replace(plan, height_px=(height_px, height_px + 1))


def draw_study(meshes_dir: Path, seed: int) -> dict[str, Film]:
    """Draw the four films of one patient; only the arms move between them. The keys are the files' names."""
    anatomy = load_anatomy(meshes_dir)
    standing = _plan(("full", True), 1700)
    patient = replace(draw_patient(anatomy, np.random.default_rng([seed, 0]), standing), metal=Metal())
    films = {}
    for number, (name, (kind, height_px)) in enumerate(FILMS.items(), start=1):
        plan = _plan(kind, height_px)
        rng = np.random.default_rng([seed, number])
        own = patient
        if kind[0] == "cervical" or not kind[1]:
            down = replace(patient.tissue, arm_degrees=np.array([4.0, 6.0]), elbow_degrees=np.zeros(2))
            own = replace(patient, tissue=down)
        films[name] = draw_film(own, plan, rng, decorate=False)
    return films


def draw_demo(meshes_dir: Path, out_dir: Path, seed: int = SEED) -> None:
    """Write the demo's DICOM files to out_dir and their truth to out_dir/truth, one JSON file for each."""
    study = StudyLabel(key=f"demo study {seed}")
    truth_dir = out_dir / "truth"
    truth_dir.mkdir(parents=True, exist_ok=True)
    for number, (name, film) in enumerate(draw_study(meshes_dir, seed).items(), start=1):
        write_dx(film, out_dir / f"{name}.dcm", study, number)
        record = json.dumps(truth_record(film, name, seed), separators=(",", ":"))
        (truth_dir / f"{name}.json").write_text(record + "\n", encoding="utf-8")


def main() -> None:
    """Draw the demo's films from the command line."""
    parser = argparse.ArgumentParser(description="Draw the demo's four films of one synthetic patient.")
    parser.add_argument(
        "--meshes", type=Path, required=True, help="folder of BodyParts3D surfaces (index.csv, npz)"
    )
    parser.add_argument("--out", type=Path, default=Path("demo/films"))
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    draw_demo(given.meshes, given.out, given.seed)


if __name__ == "__main__":
    main()
