"""What is known of a study, and what documents have said of it before: what those of a correction are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from spinepacs.domain.findings import Reading
from spinepacs.domain.study import FilmOwner


@dataclass(frozen=True)
class Told:
    """What documents about some films have said before.

    Parameters
    ----------
    readings
        By film (SOP Instance UID), oldest first, each but the current one.
    reports
        UIDs of the reports that they are in, oldest first. The first one is empty where no document had been made
        before a person corrected something; the reports of further corrections are the first one.
    """

    readings: Mapping[str, tuple[Reading, ...]] = field(default_factory=dict)
    reports: tuple[str, ...] = ()

    def of(self, reading: Reading) -> tuple[Reading, ...]:
        """Earlier readings of a film."""
        return self.readings.get(reading.sop_uid, ())


NOTHING = Told()


@dataclass(frozen=True)
class SoFar:
    """A study as it stands.

    Parameters
    ----------
    readings
        The current reading of each film, in the order in which the films came. A film that was refused is not among
        them; that of a film whose reading a person has rejected is refused, and says who did.
    told
        See :class:`Told`.
    reports
        The same by owner.
    """

    readings: tuple[Reading, ...] = ()
    told: Mapping[str, tuple[Reading, ...]] = field(default_factory=dict)
    reports: Mapping[FilmOwner, tuple[str, ...]] = field(default_factory=dict)

    def after(self, made: Iterable[Reading]) -> SoFar:
        """The same when these readings are the current ones of their films."""
        current, told = {each.sop_uid: each for each in self.readings}, dict(self.told)
        for reading in made:
            if (before := current.get(reading.sop_uid)) is not None:
                told[reading.sop_uid] = (*told.get(reading.sop_uid, ()), before)
            current[reading.sop_uid] = reading
        return SoFar(tuple(current.values()), told, self.reports)

    def told_to(self, owner: FilmOwner) -> Told:
        """What documents have said before that hold films of one owner."""
        return Told(self.told, self.reports.get(owner, ()))
