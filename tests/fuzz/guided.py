"""Fuzzing of the DICOM reader guided by coverage (atheris, libFuzzer): ``python -m tests.fuzz.guided FOLDER SECONDS``.

atheris is no dependency of the tests (it has wheels for Linux on x86 alone): ``pip install atheris`` first. What ends
in an exception that is not ours is written to a file ``crash-…`` in the folder that is told, and ends the run.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import atheris  # type: ignore[import-not-found]  # installed by hand, see above

with atheris.instrument_imports(include=["pydicom", "spinepacs.dicom"]):
    from spinepacs.dicom.reading.film import read_film
    from spinepacs.dicom.reading.header import read_header
    from spinepacs.errors import BadInput

_LONGEST_SEED_BYTES = 60_000


def main(folder: Path, seconds: int) -> None:
    """Run in this process, which libFuzzer ends; the corpus and what is found are below ``folder``."""
    from tests.fuzz import corpus

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("error")
    seeds = folder / "corpus"
    seeds.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate((*corpus.made(), *corpus.found())):
        if len(data) < _LONGEST_SEED_BYTES:
            (seeds / f"seed-{number}").write_bytes(data)
    film = folder / "film.dcm"

    def read(data: bytes) -> None:
        film.write_bytes(data)
        try:
            read_header(film)
            read_film(film)
        except BadInput:
            pass

    arguments = [f"-max_total_time={seconds}", "-timeout=30", "-rss_limit_mb=2000", "-print_final_stats=1"]
    arguments += [f"-max_len={_LONGEST_SEED_BYTES}", f"-artifact_prefix={folder}/", str(seeds)]
    atheris.Setup([sys.argv[0], *arguments], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
