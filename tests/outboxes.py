"""Outboxes with something in them, couriers that empty them, and destinations that answer as they are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE, evt
from sqlalchemy import text

from spinepacs.delivery.courier import Courier, deliver
from spinepacs.domain.findings import RESULTS, EncodedObject, ObjectKind, StudyResult
from spinepacs.settings.destinations import Destination, DicomDestination
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests import films, peers
from tests.store import makers

SOP_CLASSES = {
    ObjectKind.SEG: SegmentationStorage,
    ObjectKind.SR: ComprehensiveSRStorage,
    ObjectKind.OVERLAY: SecondaryCaptureImageStorage,
    ObjectKind.GSPS: GrayscaleSoftcopyPresentationStateStorage,
    ObjectKind.PDF: EncapsulatedPDFStorage,
}


def encoded(kind: ObjectKind, source_sop_uid: str, size_bytes: int = 1000) -> EncodedObject:
    """A small object of each kind, whole enough for a PACS; the picture is JPEG baseline."""
    dataset = films.make_dx(study=source_sop_uid)
    for keyword in ("PixelData", "ViewCodeSequence", "AnatomicRegionSequence"):
        del dataset[keyword]
    dataset.SOPClassUID, dataset.Modality = SOP_CLASSES[kind], "OT"
    dataset.SOPInstanceUID = f"{source_sop_uid}.{list(ObjectKind).index(kind) + 1}"
    syntax = ExplicitVRLittleEndian
    if kind is ObjectKind.OVERLAY:
        syntax = JPEGBaseline8Bit
        _put_jpeg(dataset)
    else:
        dataset.ContentLabel = "X" * 16
        dataset.EncapsulatedDocument = bytes(size_bytes)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    sop_uid, series_uid = dataset.SOPInstanceUID, dataset.SeriesInstanceUID
    return EncodedObject(
        kind, source_sop_uid, sop_uid, dataset.SOPClassUID, series_uid, syntax, buffer.getvalue()
    )


def _put_jpeg(dataset: Dataset) -> None:
    _, jpeg = cv2.imencode(".jpg", np.full((32, 48, 3), (10, 200, 90), np.uint8))
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PlanarConfiguration = 32, 48, 3, 0
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = encapsulate([jpeg.tobytes()])
    dataset["PixelData"].is_undefined_length = True


def destination(name: str, port: int, **changes: Any) -> DicomDestination:
    values = {"host": "127.0.0.1", "timeout_s": 10, "retry_first_s": 0.05, "retry_longest_s": 0.2}
    return DicomDestination(name=name, port=port, **{"ae_title": name.upper(), **values, **changes})


def fill_outbox(
    ledger: Ledger,
    spool: Spool,
    *destinations: Destination,
    kinds: Sequence[ObjectKind] = RESULTS,
    size_bytes: int = 1000,
    broken: ObjectKind | None = None,
    images: int = 1,
) -> list[EncodedObject]:
    """A study is read, and its objects are to be sent; the pixels of the ``broken`` kind are none."""
    claim = makers.claimed(ledger, *(f"{makers.SOP}{number:02d}" for number in range(images)))
    results = []
    for arrival in claim.arrivals:
        objects = tuple(encoded(kind, arrival.sop_uid, size_bytes) for kind in kinds)
        results.append(replace(makers.image(arrival.sop_uid), objects=objects))
    made = [item for image in results for item in image.objects]
    stored = {item.sop_uid: spool.add((_content(item, item.kind is broken),)).sha256 for item in made}
    assert ledger.record(claim, StudyResult(claim.study_uid, tuple(results)), stored, destinations)
    return made


def _content(item: EncodedObject, is_broken: bool) -> bytes:
    return item.part10.replace(b"\xff\xd8\xff", b"\x00\x00\x00") if is_broken else item.part10


def courier_to(target: Destination, spool: Spool, ledger: Ledger) -> Courier:
    return Courier(target, "SPINEPACS", spool, ledger)


def outbox(ledger: Ledger) -> dict[tuple[str, str], int]:
    return ledger.counts().outbox


def deliveries(ledger: Ledger) -> list[dict[str, Any]]:
    return ledger.rows(text("SELECT * FROM deliveries"))  # type: ignore[arg-type]


def deliver_until_settled(courier: Courier, ledger: Ledger, name: str) -> None:
    """Let the courier come again and again until nothing is pending."""

    def settled() -> bool:
        courier.deliver_due(threading.Event())
        return not outbox(ledger).get((name, "pending"))

    peers.wait_until(settled, 60, "an empty outbox")


@dataclass
class Liar:
    """An acceptor that answers with these statuses, one after the other, and 0x0000 after them."""

    statuses: list[int]
    port: int = 0
    received: int = 0
    associations: int = 0

    def on_store(self, event: evt.Event) -> int:
        self.received += 1
        return self.statuses.pop(0) if self.statuses else 0x0000

    def on_accepted(self, _: evt.Event) -> None:
        self.associations += 1


@contextmanager
def lying(
    *statuses: int,
    classes: Sequence[str] = tuple(SOP_CLASSES.values()),
    syntaxes: Sequence[str] = (ExplicitVRLittleEndian, JPEGBaseline8Bit),
    handler: Any = None,
) -> Iterator[Liar]:
    liar = Liar(list(statuses))
    ae = AE("LIAR")
    for sop_class in classes:
        ae.add_supported_context(sop_class, list(syntaxes))
    handlers = [(evt.EVT_C_STORE, handler or liar.on_store), (evt.EVT_ACCEPTED, liar.on_accepted)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    liar.port = server.server_address[1]
    try:
        yield liar
    finally:
        ae.shutdown()


@contextmanager
def delivering(*targets: Destination, spool: Spool, ledger: Ledger) -> Iterator[None]:
    """Couriers at work, as the daemon runs them."""
    stop = threading.Event()
    working = threading.Thread(
        target=deliver,
        args=(targets, "SPINEPACS", spool, ledger),
        kwargs={"stop": stop, "poll_s": 0.05},
    )
    working.start()
    try:
        yield
    finally:
        stop.set()
        working.join(60)
    assert not working.is_alive()
