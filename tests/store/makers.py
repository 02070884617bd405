"""Small true values for tests of the store: headers, readings, results."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from spinepacs.domain.anatomy import DiscLevel, Level, Span
from spinepacs.domain.findings import (
    RESULTS,
    Detection,
    DiscHeight,
    EncodedObject,
    ImageResult,
    ObjectKind,
    Reading,
    Refusal,
    Spine,
    StudyResult,
    Versions,
    Vertebra,
)
from spinepacs.domain.geometry import Endplate, Outline, PointPx, Spacing, SpacingBasis
from spinepacs.domain.measures import Measure, Quantity, Reason, Unit
from spinepacs.domain.signs import Area, Conclusion, Deformity, Finding, Scheme, Side, Sign, Statement
from spinepacs.domain.study import Source, StudyHeader, View
from spinepacs.settings.destinations import Destination, DicomDestination
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalOutcome, Claim, NewArrival

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
"""When the first image of each test comes in."""
VERSIONS = Versions("spine-v0", "0.1.0", "disc-height", "1.0")
NEWER = Versions("spine-v1", "1.0.0", "disc-height", "1.0")
PACS = DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=104)
VIEWER = DicomDestination(name="viewer", ae_title="VIEWER", host="127.0.0.1", port=105, send=("OVERLAY",))
NOT_A_SPINE = Refusal("NOT_SELECTED", "its header does not speak of the spine")
NO_VERTEBRA = Refusal("NO_VERTEBRA_FOUND", "the model found no vertebra")
STUDY, SERIES, SOP = "1.2.3", "1.2.3.1", "1.2.3.1.1"


def digest(text: str) -> str:
    """A SHA-256 that stands for some file."""
    return hashlib.sha256(text.encode()).hexdigest()


def arrival(sop_uid: str = SOP, content: str = "", seconds: float = 0) -> NewArrival:
    """A file that came over the network."""
    return NewArrival(
        sop_uid=sop_uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256=digest(content or sop_uid),
        size_bytes=12_000_000,
        source=Source.NETWORK,
        calling_ae="MODALITY",
        called_ae="SPINEPACS",
        peer="192.0.2.7",
        received_at=NOW + timedelta(seconds=seconds),
    )


def header(sop_uid: str = SOP, study_uid: str = STUDY, **changes: object) -> StudyHeader:
    """The header of a lateral lumbar spine."""
    values: dict[str, object] = {
        "study_uid": study_uid,
        "series_uid": SERIES,
        "sop_uid": sop_uid,
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "modality": "DX",
        "body_part": "LSPINE",
        "descriptions": ("L SPINE LAT",),
        "patient_id": "PAT-0001",
        "patient_sex": "F",
        "patient_age_years": 61.5,
        "study_date": "20261120",
        "accession_number": "ACC-1",
        "study_description": "LWS seitlich",
        "manufacturer": "ACME",
        "is_ours": False,
    }
    return StudyHeader(**{**values, **changes})  # type: ignore[arg-type]  # keywords of the test's own


def vertebra(level: Level, raw_level: Level | None = None) -> Vertebra:
    """A box of 100 × 80 px, one below the other; its raw level differs if one is given."""
    top = 100.0 * level
    corners = np.array([[200.0, top], [300.0, top], [300.0, top + 80], [200.0, top + 80]])
    raw = level if raw_level is None else raw_level
    reason = "" if raw is level else "made consistent along the chain"
    scores = np.eye(25, dtype=np.float32)[raw]
    seen = Detection(scores, np.float32(0.9), np.array([200, top, 300, top + 80]), Outline(corners))  # type: ignore[arg-type]  # as the network's decoder gives it
    upper = Endplate(
        PointPx(200, top), PointPx(300, top), corners[:2], spreads=(0.0625, 0.125), spurs=(0.125, 0.0)
    )
    lower = Endplate(PointPx(200, top + 80), PointPx(300, top + 80), corners[:1:-1])
    margin = 2.5 if reason else None
    other = raw if reason else None
    return Vertebra(
        level, raw, float(scores[raw]), reason, seen.score, seen.outline, upper, lower, margin, other
    )


def reading(
    sop_uid: str = SOP,
    study_uid: str = STUDY,
    *,
    versions: Versions = VERSIONS,
    refusal: Refusal | None = None,
    calibrated: bool = True,
) -> Reading:
    """L4, L5 and S1 with two discs, of which L5/S1 is narrow (grade 2) and L4 shifted from the raw L3."""
    spacing = Spacing(0.15, 0.15, SpacingBasis.DETECTOR_PLANE) if calibrated else None
    levels = (vertebra(Level.L4, raw_level=Level.L3), vertebra(Level.L5), vertebra(Level.S1))
    spine = Spine(levels, (), View.LATERAL, True, "header", ("LEVELS_SHIFTED",))
    found = refusal is None
    return Reading(
        study_uid=study_uid,
        series_uid=SERIES,
        sop_uid=sop_uid,
        versions=versions,
        rows=3000,
        columns=2500,
        spacing=spacing,
        spine=spine if found else None,
        discs=(disc(Level.L4, 60, spacing), disc(Level.L5, 30, spacing)) if found else (),
        findings=(graded(Level.L4, 0.6, 0), graded(Level.L5, 0.3, 2)) if found else (),
        refusal=refusal,
        notes=("WINDOW_ABSURD", "LEVELS_SHIFTED"),
        seconds={"read": 0.5, "segment": 0.25},
    )


def disc(upper: Level, height_px: float, spacing: Spacing | None) -> DiscHeight:
    """A disc of even height."""
    line = np.array([[200.0, 0.0], [200.0, height_px]])
    measured = {f"{where}_px": height_px for where in ("anterior", "middle", "posterior")}
    if spacing:
        measured |= {
            f"{where}_mm": height_px * spacing.row_mm for where in ("anterior", "middle", "posterior")
        }
    return DiscHeight(
        DiscLevel.below(upper),
        height_index=height_px / 100,
        wedge_deg=np.nan,
        lines_px={"middle": line},
        **measured,
    )


def graded(upper: Level, value: float, grade: int) -> Finding:
    """A loss of disc height."""
    disc = DiscLevel.below(upper)
    return Finding(Sign.DISC_HEIGHT_LOSS, disc, Scheme.SPINEPACS, value, Unit.RATIO, grade, grade)


def with_signs(plain: Reading) -> Reading:
    """The same reading with measures, a slip, a rim, a deformed vertebra, a grade withheld, and conclusions."""
    place, basis = DiscLevel.below(Level.L5), SpacingBasis.DETECTOR_PLANE
    line = np.array([[200.0, 0.0], [200.0, 30.0]])
    slip = Finding(Sign.SPONDYLOLISTHESIS, place, Scheme.MEYERDING, 0.2, Unit.RATIO, 1, 1, side=Side.ANTERIOR,
                   uncertainty=0.02, grade_range=(0, 1))  # fmt: skip
    return replace(
        plain,
        measures=(
            Measure(Quantity.DISC_HEIGHT_MIDDLE, place, 4.5, Unit.MM, 0.2, basis, (line,)),
            Measure(Quantity.DISC_HEIGHT_INDEX, place, 0.3, Unit.RATIO, 0.01),
            Measure(Quantity.SLIP, place, 6.4, Unit.MM, 0.5, basis),
            Measure(Quantity.SLIP_SHARE, place, 0.2, Unit.RATIO, 0.02),
            Measure(Quantity.VERTEBRA_DEPTH, Level.L4, 34.0, Unit.MM, None, basis),
            Measure(Quantity.LUMBAR_LORDOSIS, Span(Level.L1, Level.S1), 48.25, Unit.DEGREE, 1.5),
            Measure(Quantity.COBB_MAIN, Span(Level.T5, Level.L1), 21, Unit.DEGREE, apex=Level.T9, convex_left=False),
        ),
        findings=(
            *plain.findings,
            slip,
            Finding(Sign.OSTEOPHYTES, place, Scheme.WILKE, None, Unit.MM, None, None, Reason.NOT_MEASURABLE,
                    basis=basis),
            Finding(Sign.OSTEOPHYTES, Level.L5, Scheme.WILKE, 3.5, Unit.MM, 2, 2, basis=basis,
                    side=Side.LOWER_ANTERIOR, marks_px=(line,)),
            Finding(Sign.VERTEBRAL_DEFORMITY, Level.L4, Scheme.GENANT, 0.22, Unit.RATIO, 1, None,
                    Reason.LEVEL_AMBIGUOUS, form=Deformity.WEDGE),
        ),
        conclusions=(
            Conclusion(Area.LUMBOSACRAL, Span(Level.L5, Level.S1), Scheme.WILKE, 2, 2, Statement.MODERATE_SIGNS,
                       "Moderate signs of osteochondrosis.", (slip,)),
            Conclusion(Area.COMBINED, None, Scheme.WILKE, 2, None, Statement.WITHHELD, "Withheld.", (),
                       Reason.TOO_FEW_DISCS),
        ),
    )  # fmt: skip


def encoded(sop_uid: str, kind: ObjectKind, versions: Versions = VERSIONS) -> EncodedObject:
    """An object whose UID derives from its source, as the real ones do."""
    name = f"{sop_uid}.{list(ObjectKind).index(kind)}.{versions.model_version.replace('.', '')}"
    sop_class_uid, explicit_little = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.1.2.1"
    return EncodedObject(kind, sop_uid, name, sop_class_uid, f"{name}.9", explicit_little, b"DICM")


def image(
    sop_uid: str = SOP,
    study_uid: str = STUDY,
    *,
    versions: Versions = VERSIONS,
    refusal: Refusal | None = None,
) -> ImageResult:
    """A reading with its SEG, SR and picture; none of them if it is refused."""
    kinds = () if refusal else RESULTS
    objects = tuple(encoded(sop_uid, kind, versions) for kind in kinds)
    return ImageResult(reading(sop_uid, study_uid, versions=versions, refusal=refusal), objects)


def result_of(claim: Claim, refusal: Refusal | None = None) -> StudyResult:
    """What the pipeline gives for a claim: every image read, or every one refused."""
    images = [
        image(item.sop_uid, claim.study_uid, versions=claim.versions, refusal=refusal)
        for item in claim.arrivals
    ]
    return StudyResult(claim.study_uid, tuple(images))


def stored(result: StudyResult) -> Mapping[str, str]:
    """Digests of a result's objects, as the spool gives them."""
    return {item.sop_uid: digest(item.sop_uid) for entry in result.images for item in entry.objects}


def take_in(
    ledger: Ledger,
    sop_uid: str = SOP,
    study_uid: str = STUDY,
    *,
    refusal: Refusal | None = None,
    **changes: object,
) -> None:
    """An image comes in and its header is read."""
    assert ledger.add_arrival(arrival(sop_uid)) is ArrivalOutcome.NEW
    for waiting in ledger.unregistered(100):
        ledger.register(waiting.arrival_id, header(waiting.sop_uid, study_uid, **changes), refusal)


def claimed(
    ledger: Ledger, *sop_uids: str, versions: Versions = VERSIONS, maximum_attempts: int = 3
) -> Claim:
    """A study of these images, in work."""
    for sop_uid in sop_uids or (SOP,):
        take_in(ledger, sop_uid)
    ledger.mark_ready(STUDY)
    claim = ledger.claim(versions, maximum_attempts)
    assert claim is not None
    return claim


def recorded_with_signs(ledger: Ledger, *sop_uids: str) -> Claim:
    """A study of these images, read with all that :func:`with_signs` adds, and recorded."""
    claim = claimed(ledger, *sop_uids)
    plain = result_of(claim)
    images = tuple(replace(item, reading=with_signs(item.reading)) for item in plain.images)
    assert ledger.record(claim, replace(plain, images=images), stored(plain), ())
    return claim


def recorded(ledger: Ledger, *sop_uids: str, destinations: tuple[Destination, ...] = (PACS,)) -> Claim:
    """A study of these images, read and recorded."""
    claim = claimed(ledger, *sop_uids)
    result = result_of(claim)
    assert ledger.record(claim, result, stored(result), destinations)
    return claim
