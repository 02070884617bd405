"""What a study takes on disk for good: in the database, table by table, and in the spool.

The demo's films go through the real pipeline once each; what was found is then taken in, recorded and delivered by the
ledger's own code again and again under new UIDs, ``SIZES_STUDIES`` times (one film a study).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sqlalchemy import text

from spinepacs.dicom.reading.header import read_header
from spinepacs.domain.findings import ImageResult, StudyResult
from spinepacs.domain.study import Source, StudyHeader
from spinepacs.pipeline import Pipeline
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import NewArrival, OutboxState
from tests.benchmarks.pipeline import large_film
from tests.benchmarks.process import DEMO_FILMS
from tests.peers_postgresql import postgresql
from tests.store.makers import PACS

STUDIES = int(os.environ.get("SIZES_STUDIES", "2000"))
_SHOWN = 12


def main() -> None:
    """Print bytes a study, on both databases, and of the files."""
    settings = Settings()
    pipeline = Pipeline.open(settings.model, settings.output, threads=1)
    with (
        tempfile.TemporaryDirectory(prefix="spinepacs-sizes-", dir="/var/tmp") as name,
        postgresql() as server,
    ):
        read = [(read_header(film), _read(pipeline, film)) for film in DEMO_FILMS]
        large = large_film(Path(name))
        _print_files(
            "demo, mean",
            [(film.stat().st_size, made) for film, (_, made) in zip(DEMO_FILMS, read, strict=True)],
        )
        _print_files("3000 × 2500 × 16 bits", [(large.stat().st_size, _read(pipeline, large))])
        for url in (f"sqlite:///{Path(name) / 'ledger.sqlite'}", server.create_database()):
            with Ledger.open(url) as ledger:
                empty = dict(_sizes(ledger))
                for number in range(STUDIES):
                    _go_through(ledger, *read[number % len(read)], number)
                print(f"\n{STUDIES} studies on {url.partition(':')[0]}: bytes a study, indexes included")
                each = {table: (size - empty[table]) / STUDIES for table, size in _sizes(ledger)}
                for table, size in sorted(each.items(), key=lambda item: -item[1])[:_SHOWN]:
                    print(f"{table:>24} {size:>8,.0f}")
                print(f"{'all':>24} {sum(each.values()):>8,.0f}", flush=True)


def _read(pipeline: Pipeline, film: Path) -> ImageResult:
    (found,) = pipeline.read_study(read_header(film).study_uid, [film]).images
    assert found.reading.spine, f"{film.name} shows a spine"
    return found


def _print_files(name: str, films: list[tuple[int, ImageResult]]) -> None:
    originals = sum(size for size, _ in films) / len(films)
    results = sum(len(item.part10) for _, made in films for item in made.objects) / len(films)
    print(f"{name}: original {originals:,.0f} bytes, its results {results:,.0f}", flush=True)


def _go_through(ledger: Ledger, header: StudyHeader, made: ImageResult, number: int) -> None:
    """One study of one film, from its arrival to the last delivery."""
    end = f".{number}"
    known = replace(
        header,
        sop_uid=header.sop_uid + end,
        study_uid=header.study_uid + end,
        series_uid=header.series_uid + end,
    )
    digest = hashlib.sha256(end.encode()).hexdigest()
    uids = (known.sop_uid, known.sop_class_uid, known.transfer_syntax_uid)
    ledger.add_arrival(NewArrival(*uids, digest, 12_000_000, Source.NETWORK, "CT1", "SPINEPACS", "192.0.2.7"))
    ledger.register(ledger.unregistered(1)[0].arrival_id, known, None)
    ledger.mark_ready(known.study_uid)
    claim = ledger.claim(made.reading.versions, 3)
    assert claim is not None
    reading = replace(
        made.reading, sop_uid=known.sop_uid, study_uid=known.study_uid, series_uid=known.series_uid
    )
    objects = tuple(
        replace(
            item, source_sop_uid=known.sop_uid, sop_uid=item.sop_uid + end, series_uid=item.series_uid + end
        )
        for item in made.objects
    )
    stored = {item.sop_uid: hashlib.sha256(item.sop_uid.encode()).hexdigest() for item in objects}
    ledger.record(claim, StudyResult(known.study_uid, (ImageResult(reading, objects),)), stored, (PACS,))
    for item in ledger.due("pacs"):
        ledger.begin_delivery([item.outbox_id])
        ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0x0000)


def _sizes(ledger: Ledger) -> Iterator[tuple[str, int]]:
    """Each table with its indexes (bytes); on SQLite the file, write-ahead log included."""
    if ledger._database.is_sqlite:
        path = Path(ledger.url.removeprefix("sqlite:///"))
        with ledger._database.read() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        yield "the file", path.stat().st_size
        return
    asked = (
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    with ledger._database.read() as connection:
        yield from ((str(name), int(size)) for name, size in connection.execute(text(asked)))
