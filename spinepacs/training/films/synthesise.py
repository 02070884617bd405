"""Draw synthetic spine radiographs, with their truth, from the surfaces of a donor (others' from L1 down).

Every film is a function of (seed, index) alone, so a run that was cut off goes on where it stopped, and any number
of processes can share one.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from spinepacs.errors import BadSettings
from spinepacs.training.films.anatomy import LEVELS, Anatomy
from spinepacs.training.films.body import build_body, metal_solids, sign_solids, vessels
from spinepacs.training.films.build import Build, draw_build, with_lumbar
from spinepacs.training.films.develop import developed
from spinepacs.training.films.dicom import write_study
from spinepacs.training.films.flesh import Tissue, draw_tissue
from spinepacs.training.films.implants import USUAL, Metal, implants
from spinepacs.training.films.look import draw_look
from spinepacs.training.films.measures import body_signs, patient_record, slips
from spinepacs.training.films.mesh import Floats, Image
from spinepacs.training.films.plans import PLANS, Plan, choose_plan
from spinepacs.training.films.pose import Pose, draw_pose, rotation
from spinepacs.training.films.signs import signs
from spinepacs.training.films.truth import (
    Film,
    disc_heights,
    project_truths,
    write_film,
)
from spinepacs.training.films.variety import (
    Donors,
    Wash,
    draw_wash,
    load_donors,
    vary_build,
    vary_tissue,
)
from spinepacs.training.films.xray import Camera, attenuation

logger = logging.getLogger(__name__)


def _ends(plan: Plan, count: int, rng: np.random.Generator, cut: bool) -> tuple[int, int]:
    """Return the first and last vertebra framed; cut: now and then elsewhere than the film's kind says."""
    last = count - 1 if plan.bottom == "S1" else LEVELS.index(plan.bottom)
    first = LEVELS.index(plan.top)
    if cut and rng.random() < 0.15:
        first = int(np.clip(first + rng.integers(-4, 4), 0, last - 4))
    if cut and rng.random() < 0.15:
        last = int(np.clip(last + rng.integers(-4, 4), first + 4, count - 1))
    return first, last


def _frame(plan: Plan, pose: Pose, rng: np.random.Generator, cut: bool) -> tuple[Camera, Floats]:
    """Return the camera, and the shift (3,) mm that brings the framed part of the spine to the room's origin."""
    first, last = _ends(plan, len(pose.centres), rng, cut)
    centres = pose.scale * pose.centres[first : last + 1]
    shift = -(centres.max(axis=0) + centres.min(axis=0)) / 2
    source, back = rng.uniform(1500, 2000), rng.uniform(180, 320)
    grow = source / (source - back)
    up = grow * (centres[:, 2].max() + shift[2]) + pose.scale * (10 + rng.uniform(*plan.above_mm))
    down = grow * (-centres[:, 2].min() - shift[2]) + pose.scale * (10 + rng.uniform(*plan.below_mm))
    across = -(centres[:, 1] + shift[1]) if plan.lateral else centres[:, 0] + shift[0]
    height_mm = up + down
    spread = grow * float(np.ptp(across)) + 70 * pose.scale
    width_mm = max(spread * 1.1, height_mm * rng.uniform(*plan.width))
    # The front of the body takes more room than the back on lateral films.
    lean = rng.uniform(0.3, 0.56) if plan.lateral else rng.uniform(0.42, 0.58)
    left = float(np.clip(-lean * width_mm, spread / 2 - width_mm, -spread / 2))
    rows = int(rng.integers(*plan.height_px))
    spacing = round(height_mm / rows, 4)
    shape = (rows, int(width_mm / spacing))
    return Camera(plan.lateral, source, back, np.zeros(2), left, up, spacing, shape), shift


@dataclass(frozen=True)
class Patient:
    """One synthetic patient: how the spine stands, what surrounds it, and the metal in it (in the room, mm)."""

    anatomy: Anatomy
    pose: Pose
    tissue: Tissue
    build: Build
    metal: Metal


def draw_patient(
    anatomy: Anatomy, rng: np.random.Generator, plan: Plan, varied: bool = False, metal: float = USUAL
) -> Patient:
    """Draw a patient as one stands for a kind of film: arms down or forward, neck bent or not.

    varied: with a sacrum, pelvis and hips of their own; else the donor's. metal: share of patients that have some.
    """
    neck = plan.region == "cervical"
    build = draw_build(rng, frontal=plan.view == "ap")
    if varied:
        build = vary_build(build, rng)
    own = with_lumbar(anatomy, build.lumbar)
    often = 0.9 if plan.view == "ap" else 0.2
    strength = 1.0 if rng.random() < often else rng.uniform(0, 0.3)
    pose = draw_pose(own, rng, neck, strength * (1.0 if plan.view == "ap" else 0.7), build)
    tissue = draw_tissue(rng, neck or not plan.lateral, build.cortex < 1 or rng.random() < often - 0.4)
    if varied:
        tissue = vary_tissue(tissue, rng)
    return Patient(own, turned(pose, plan.view, rng), tissue, build, implants(own, pose, rng, metal))


def turned(pose: Pose, view: str, rng: np.random.Generator) -> Pose:
    """Turn the patient about the long axis: a few degrees as patients stand, 30 to 60 for an oblique film."""
    degrees = rng.choice([-1, 1]) * rng.uniform(30, 60) if view == "oblique" else rng.normal(0, 3.5)
    turn = rotation(0.0, 0.0, float(np.radians(degrees)))
    return replace(pose, rotations=turn @ pose.rotations, centres=pose.centres @ turn.T)


def _shadow(patient: Patient, camera: Camera, shift: Floats, rng: np.random.Generator) -> Image:
    """Return the attenuation along every ray through the patient, (H, W) float32."""
    anatomy, pose = patient.anatomy, patient.pose
    solids = build_body(anatomy, pose, patient.tissue, patient.build, rng)
    solids += metal_solids(patient.metal.meshes)
    solids += sign_solids(signs(anatomy, pose, patient.metal.caged), patient.tissue)
    solids = [replace(s, vertices=s.vertices + shift) for s in solids]
    branches = [replace(v, line=v.line + shift) for v in vessels(anatomy, pose, patient.tissue, rng)]
    return attenuation(solids, branches, camera)


def draw_film(
    patient: Patient, plan: Plan, rng: np.random.Generator, decorate: bool = True, wash: Wash | None = None
) -> Film:
    """Draw one film of a patient; wash: how bright and flat it is below, None: not at all.

    decorate: with clothing, grid, collimation, letters, other people's processing and, half of the time, mirrored.
    """
    anatomy, pose = patient.anatomy, patient.pose
    camera, shift = _frame(plan, pose, rng, decorate)
    shadow = _shadow(patient, camera, shift, rng)
    look = draw_look(rng, plan.lateral, plan.region)
    truths = project_truths(anatomy, pose, camera, shift, oblique=plan.view == "oblique")
    # As an examiner would, set the window for the part that was asked for: shoulders may turn white.
    asked = anatomy.levels[LEVELS.index(plan.top) : LEVELS.index(plan.bottom) + 1]
    film = developed(
        shadow, truths, camera, look, rng, view=plan.view, region=plan.region,
        rough=0.7 if plan.view == "ap" else 0.3, asked=asked, wash=wash, decorate=decorate,
    )  # fmt: skip
    return _with_truth(film, patient)


def _with_truth(film: Film, patient: Patient) -> Film:
    """Return the film with what is true of its patient, as far as the film shows the levels."""
    anatomy, pose = patient.anatomy, patient.pose
    levels = {t.level for t in film.truths}
    shapes = zip(anatomy.levels, pose.shapes, strict=True)
    return replace(
        film,
        disc_mm=disc_heights(anatomy, pose, film.camera.lateral, levels),
        slips={disc: row for disc, row in slips(anatomy, pose).items() if levels.issuperset(disc.split("/"))},
        signs={name: body_signs(shape, pose.scale) for name, shape in shapes if name in levels},
        patient=patient_record(anatomy, pose, patient.build, patient.metal.caged),
    )


def film_name(seed: int, index: int) -> str:
    """Return the name of a film, the same in every run."""
    return f"syn-{seed:04d}-{index:06d}"


@dataclass(frozen=True)
class Run:
    """What every process of a run needs. dicom: write DX files too. plans: the mix to draw from.

    second_dir, mean_path: surfaces of other donors from L1 down, see `variety.load_donors`. plain: every sacrum, pelvis
    and hip is the first donor's, as it was before they varied; then the two are not read. metal: share of patients with
    metal in their spine.
    """

    meshes_dir: Path
    out_dir: Path
    seed: int
    dicom: bool = False
    plans: tuple[Plan, ...] = PLANS
    second_dir: Path | None = None
    mean_path: Path | None = None
    plain: bool = False
    metal: float = USUAL


def _is_drawn(run: Run, index: int) -> bool:
    name = film_name(run.seed, index)
    there = (run.out_dir / "truth" / f"{name}.json").is_file()
    return there and (not run.dicom or (run.out_dir / "dicom" / f"{name}.dcm").is_file())


def _draw(run: Run, donors: Donors, index: int) -> int:
    """Draw and write one film of a run; return its index."""
    rng, name = np.random.default_rng([run.seed, index]), film_name(run.seed, index)
    plan = choose_plan(rng, run.plans)
    if run.plain:
        film = draw_film(draw_patient(donors.first, rng, plan, metal=run.metal), plan, rng)
    else:
        patient = draw_patient(donors.draw(rng), rng, plan, varied=True, metal=run.metal)
        film = draw_film(patient, plan, rng, wash=draw_wash(rng, plan.lateral))
    if run.dicom:
        write_study(film, run.out_dir / "dicom", name, run.seed)
    write_film(film, run.out_dir, name, run.seed)
    return index


_process: dict[str, tuple[Run, Donors]] = {}


def _begin(run: Run) -> None:
    """Load the donors once in each process of a pool; the pool is what uses the processors, not OpenCV."""
    cv2.setNumThreads(1)
    _process["run"] = (run, _donors(run))


def _donors(run: Run) -> Donors:
    others = (None, None) if run.plain else (run.second_dir, run.mean_path)
    return load_donors(run.meshes_dir, *others)


def _draw_here(index: int) -> int:
    return _draw(*_process["run"], index)


def _indices(run: Run, missing: list[int], workers: int) -> Iterator[int]:
    """Draw the missing films in one or several processes; yield the index of each when it is written."""
    if workers == 1:
        donors = _donors(run)
        yield from (_draw(run, donors, index) for index in missing)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(missing)), _begin, (run,)) as pool:
        yield from pool.imap_unordered(_draw_here, missing)


def synthesise(
    run: Run, count: int, *, workers: int = 1, on_film: Callable[[int], None] | None = None
) -> int:
    """Draw the films 0 .. count - 1 of a run that its folder does not hold yet; return how many were drawn.

    Writes images/NAME.png (8-bit grey), labels/NAME.txt (class and outline, 0..1; C1 = 0 .. S1 = 24) and
    truth/NAME.json (last, so that a film with a truth is whole); with run.dicom also dicom/NAME.dcm and NAME.json.

    workers: processes; the films do not depend on them. on_film: told each index done, those that were there first.
    Raises ValueError for a negative count or no worker, BadSettings when surfaces are missing.
    """
    if count < 0 or workers < 1:
        raise ValueError(f"count {count} must not be negative, and workers {workers} at least 1")
    if not (run.meshes_dir / "index.csv").is_file():
        raise BadSettings(f"{run.meshes_dir} holds no index.csv: not a folder of BodyParts3D surfaces")
    run.out_dir.mkdir(parents=True, exist_ok=True)
    about = json.dumps({"names": list(LEVELS), "seed": run.seed})
    (run.out_dir / "data.json").write_text(about, encoding="utf-8")
    told = on_film or (lambda index: None)
    missing = [index for index in range(count) if not _is_drawn(run, index)]
    for index in sorted(set(range(count)).difference(missing)):
        told(index)
    for index in _indices(run, missing, workers) if missing else ():
        told(index)
    logger.info("drew %d of %d films of seed %d", len(missing), count, run.seed)
    return len(missing)
