"""Milliseconds of processor time of each network for one film, one thread: the forms of model folders in turns.

Other folders, and lateral pictures in the place of the demo's full-spine film: ``python -c "from pathlib import Path;
from tests.benchmarks.networks import main; main([Path('OLD')], Path('../shared/data/lateral-films'))"``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from spinepacs.analysis.naming.spine import find_spine
from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.analysis.seeing.segment import Precision, Segmenter
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.domain.study import Radiograph, View
from spinepacs.settings.settings import Settings

ROUNDS = 2
FILM = Path(__file__).parents[2] / "demo/films/3-full-spine-lateral.dcm"


class Timed:
    """A session that adds up the processor time of its runs."""

    def __init__(self, session: Any) -> None:
        self._session, self.seconds = session, 0.0

    def run(self, *arguments: Any) -> Any:
        """Run the network."""
        start = time.process_time()
        answer = self._session.run(*arguments)
        self.seconds += time.process_time() - start
        return answer

    def get_inputs(self) -> Any:
        """What the network is shown."""
        return self._session.get_inputs()


class Form(NamedTuple):
    """A model folder in one form, its networks timed."""

    name: str
    segmenter: Segmenter
    networks: dict[str, Timed]

    @classmethod
    def of(cls, folder: Path, precision: Precision) -> Form:
        """Open it with one thread."""
        segmenter = Segmenter.open(folder, 1, precision)
        owners = {"detector": segmenter, "reader": segmenter.reader, "tracer": segmenter.tracer}
        timed = {}
        for name, owner in owners.items():
            if owner is not None:
                timed[name] = Timed(owner._session)
                vars(owner)["_session"] = timed[name]
        return cls(f"{segmenter.model_name} {segmenter.model_version}", segmenter, timed)


def forms(folders: Sequence[Path]) -> Iterator[Form]:
    """Each folder in fp32, and in int8 where it has that."""
    for folder in folders:
        yield Form.of(folder, "fp32")
        if Manifest.load(folder).int8_sha256:
            yield Form.of(folder, "int8")


def films(pictures: Path | None) -> list[Radiograph]:
    """The demo's full-spine lateral film, or the pictures of a folder as lateral films."""
    if pictures is None:
        film = read_film(FILM)
        assert isinstance(film, LoadedFilm)
        shown = [film.radiograph.display]
    else:
        paths = sorted(path for path in pictures.iterdir() if path.suffix in (".jpg", ".png"))
        shown = [np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8) for path in paths]
    return [
        Radiograph("", "", "", np.zeros((0, 0), np.float32), display, None, View.LATERAL, None, "")
        for display in shown
    ]


def main(folders: Sequence[Path] = (), pictures: Path | None = None) -> None:
    """Print the mean over films and rounds, and the ratio to the first form."""
    read = films(pictures)
    compared = list(forms([*folders, Settings().model.folder]))
    for form in compared:
        find_spine(form.segmenter, read[0])
        for network in form.networks.values():
            network.seconds = 0.0
    for _ in range(ROUNDS):
        for film in read:
            for form in compared:
                find_spine(form.segmenter, film)
    print(
        f"\nprocessor ms of the networks for one film, one thread, {len(read)} films, {ROUNDS} rounds in turns"
    )
    print(f"{'':<28}{'detector':>10}{'reader':>10}{'tracer':>10}{'all':>10}")
    first = 0.0
    for form in compared:
        ms = {name: 1000 * one.seconds / ROUNDS / len(read) for name, one in form.networks.items()}
        first = first or sum(ms.values())
        cells = "".join(f"{ms.get(name, 0.0):>10.1f}" for name in ("detector", "reader", "tracer"))
        print(f"{form.name:<28}{cells}{sum(ms.values()):>10.1f}  {sum(ms.values()) / first:.2f} ×")


if __name__ == "__main__":
    main()
