"""What a person's correction makes of a film's objects: verified reports, key objects, authors, UIDs of their own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import highdicom as hd
import pytest
from pydicom import Dataset, dcmread

from spinepacs.dicom.encapsulated import encode_pdf
from spinepacs.dicom.objects import encode_all, unwritable
from spinepacs.dicom.report.rejection import encode_rejection
from spinepacs.domain.corrections import Accept, Correction, Draft, Operation, Reject, Shift
from spinepacs.domain.findings import EarlierObject, EncodedObject, ObjectKind, Reading
from spinepacs.settings.sections import OutputSettings
from tests.dicom import readings
from tests.dicom.tools import dcentvfy_errors, dciodvfy_complaints

AT = datetime(2026, 11, 30, 22, 30, tzinfo=UTC)


def corrected(reading: Reading, *operations: Operation, author: str = "Doe^Jane", uid: str = "a1") -> Reading:
    draft = Draft(operations or (Shift(1),), author, "Ward 3", "counted again")
    drawn_by = uid if any(isinstance(one, Shift) for one in draft.operations) else ""
    return replace(reading, correction=Correction(uid, draft, AT, drawn_by))


def objects_of(
    header: Dataset, reading: Reading, earlier: Sequence[EarlierObject] = (), **output: str | bool
) -> dict[ObjectKind, EncodedObject]:
    settings = OutputSettings(**output)  # type: ignore[arg-type]  # names of the test's own
    step = lambda _: nullcontext()  # noqa: E731
    made = encode_all(readings.film(header), readings.display(), reading, settings, step, earlier)
    return {item.kind: item for item in made}


def with_page(
    header: Dataset, reading: Reading, made: dict[ObjectKind, EncodedObject]
) -> dict[ObjectKind, EncodedObject]:
    return {**made, ObjectKind.PDF: encode_pdf(header, reading, b"%PDF-1.7", OutputSettings())}


def left_behind(made: dict[ObjectKind, EncodedObject]) -> tuple[EarlierObject, ...]:
    return tuple(
        EarlierObject(one.kind, one.sop_uid, one.sop_class_uid, one.series_uid) for one in made.values()
    )


def read(item: EncodedObject) -> Dataset:
    return dcmread(BytesIO(item.part10))


def complaints(item: EncodedObject, folder: Path) -> list[str]:
    path = folder / f"{item.kind}.dcm"
    path.write_bytes(item.part10)
    return [line for line in dciodvfy_complaints(path) if line != "KeyObjectSelectionDocument"]


@pytest.mark.parametrize("author", ["Doe^Jane", "Müller^Anna"])
@pytest.mark.parametrize("segmentation", ["compat", "strict"])
def test_strangers_find_nothing_wrong_with_what_a_correction_makes(
    tmp_path: Path, segmentation: str, author: str
) -> None:
    header = readings.header(SpecificCharacterSet="ISO_IR 100")
    plain = readings.reading(header)
    earlier = objects_of(header, plain, segmentation=segmentation)
    made = objects_of(
        header, corrected(plain, author=author), left_behind(earlier), segmentation=segmentation
    )
    assert list(made) == [ObjectKind.SEG, ObjectKind.SR, ObjectKind.OVERLAY, ObjectKind.REJECTION]
    assert {kind: complaints(item, tmp_path) for kind, item in made.items()} == {kind: [] for kind in made}
    written = [tmp_path / f"{kind}.dcm" for kind in made]
    assert dcentvfy_errors(*written) == []
    assert str(read(made[ObjectKind.SEG]).ContentCreatorName) == author
    assert str(read(made[ObjectKind.OVERLAY]).OperatorsName) == author
    report = read(made[ObjectKind.SR])
    assert str(report.VerifyingObserverSequence[0].VerifyingObserverName) == author
    observers = [item.PersonName for item in report.ContentSequence if item.ValueType == "PNAME"]
    assert [str(name) for name in observers] == [author]


def test_the_report_is_final_verified_and_names_the_one_it_replaces() -> None:
    header = readings.header()
    plain = readings.reading(header)
    earlier = objects_of(header, plain)
    report = read(objects_of(header, corrected(plain), left_behind(earlier))[ObjectKind.SR])
    flags = (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag)
    assert flags == ("COMPLETE", "FINAL", "VERIFIED")
    observer = report.VerifyingObserverSequence[0]
    assert (observer.VerifyingOrganization, observer.VerificationDateTime) == (
        "Ward 3",
        "20261130223000+0000",
    )
    (study,) = report.PredecessorDocumentsSequence
    assert study.StudyInstanceUID == header.StudyInstanceUID
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == earlier[ObjectKind.SR].series_uid
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == earlier[ObjectKind.SR].sop_uid
    assert "corrected and verified by a person" in report.to_json()
    first = read(earlier[ObjectKind.SR])
    assert first.VerificationFlag == "UNVERIFIED"
    assert "PredecessorDocumentsSequence" not in first


def test_the_key_object_rejects_what_is_replaced_as_highdicom_reads_it() -> None:
    header = readings.header()
    plain = readings.reading(header)
    earlier = objects_of(header, plain)
    made = objects_of(header, corrected(plain), left_behind(earlier))
    dataset = read(made[ObjectKind.REJECTION])
    assert (dataset.Modality, dataset.ConceptNameCodeSequence[0].CodeValue) == ("KO", "113001")
    document = hd.ko.KeyObjectSelectionDocument.from_dataset(dataset)
    named = {
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in document.content[0].ContentSequence
        if "ReferencedSOPSequence" in item
    }
    assert named == {item.sop_uid for item in earlier.values()}
    studies = dataset.CurrentRequestedProcedureEvidenceSequence[0]
    assert {series.SeriesInstanceUID for series in studies.ReferencedSeriesSequence} == {
        item.series_uid for item in earlier.values()
    }


def test_uids_are_the_corrections_own_and_those_of_a_model_stay() -> None:
    header = readings.header()
    plain = readings.reading(header)
    first, again, other = (objects_of(header, corrected(plain, uid=uid)) for uid in ("a1", "a1", "b2"))
    model = objects_of(header, plain)
    for kind in model:
        uids = [made[kind].sop_uid for made in (model, first, again, other)]
        assert uids[1] == uids[2]
        assert len(set(uids)) == 3
        assert first[kind].part10 == again[kind].part10, "a retry gives the same bytes"
    tracking = [read(made[ObjectKind.SEG]).SegmentSequence[0].TrackingUID for made in (model, first, other)]
    assert len(set(tracking)) == 3


def test_presentation_state_and_page_are_replaced_too_and_are_no_images(tmp_path: Path) -> None:
    header = readings.header()
    plain = readings.reading(header)
    earlier = with_page(header, plain, objects_of(header, plain, presentation_state_enabled=True))
    fixed = corrected(plain)
    made = objects_of(header, fixed, left_behind(earlier), presentation_state_enabled=True)
    made = with_page(header, fixed, made)
    assert set(made) == {*earlier, ObjectKind.REJECTION}
    assert not {item.sop_uid for item in made.values()} & {item.sop_uid for item in earlier.values()}
    rejection = read(made[ObjectKind.REJECTION])
    assert complaints(made[ObjectKind.REJECTION], tmp_path) == []
    types = {
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID): item.ValueType
        for item in rejection.ContentSequence
        if "ReferencedSOPSequence" in item
    }
    images = (ObjectKind.SEG, ObjectKind.OVERLAY)
    assert types == {
        item.sop_uid: "IMAGE" if kind in images else "COMPOSITE" for kind, item in earlier.items()
    }
    assert list(objects_of(header, corrected(plain, Accept()), left_behind(earlier))) == [ObjectKind.SR]


def test_what_is_accepted_refers_to_the_segmentation_that_is_there(tmp_path: Path) -> None:
    header = readings.header()
    plain = readings.reading(header)
    earlier = objects_of(header, plain)
    made = objects_of(header, corrected(plain, Accept()), left_behind(earlier))
    assert list(made) == [ObjectKind.SR]
    assert complaints(made[ObjectKind.SR], tmp_path) == []
    assert earlier[ObjectKind.SEG].sop_uid in read(made[ObjectKind.SR]).to_json()
    seg, sr = read(earlier[ObjectKind.SEG]), read(made[ObjectKind.SR]).to_json()
    assert all(segment.TrackingUID in sr for segment in seg.SegmentSequence)


def test_what_is_rejected_has_a_key_object_alone(tmp_path: Path) -> None:
    header = readings.header()
    plain = readings.reading(header)
    earlier = left_behind(objects_of(header, plain))
    made = objects_of(header, corrected(plain, Reject("blurred")), earlier)
    assert list(made) == [ObjectKind.REJECTION]
    assert complaints(made[ObjectKind.REJECTION], tmp_path) == []
    assert "blurred" not in read(made[ObjectKind.REJECTION]).to_json(), "free words stay in the database"
    with pytest.raises(ValueError, match="something to reject"):
        encode_rejection(header, corrected(plain), (), OutputSettings())


@pytest.mark.parametrize(
    ("characters", "author", "fits"),
    [
        ("", "Doe^Jane", True), ("", "Müller^Anna", False), ("ISO_IR 100", "Müller^Anna", True),
        ("ISO_IR 100", "Иванов^Иван", False), ("ISO_IR 144", "Иванов^Иван", True), ("ISO_IR 192", "王^小東", True),
        ("no such set", "Müller^Anna", False),
    ],
)  # fmt: skip
def test_an_author_whom_the_film_cannot_name_is_said_so(characters: str, author: str, fits: bool) -> None:
    header = readings.header()
    header.SpecificCharacterSet = characters
    refusal = unwritable(header, Draft((Shift(1),), author))
    assert (refusal is None) == fits


@pytest.mark.parametrize(
    ("zone", "day", "hour"), [("+0900", "20261201", "073000"), ("-0330", "20261130", "190000")]
)
def test_the_time_of_a_correction_is_that_of_the_films_zone(zone: str, day: str, hour: str) -> None:
    header = readings.header(TimezoneOffsetFromUTC=zone)
    report = read(objects_of(header, corrected(readings.reading(header)))[ObjectKind.SR])
    assert (report.ContentDate, report.ContentTime) == (day, hour)
