"""Draw films of a merged data set by the weight of their source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from spinepacs.training.data.batches import Pool, is_slim
from spinepacs.training.data.dataset import Film


class SourcePool(Pool):
    """A fixed list of films; ``shares`` gives the weight of each source by name."""

    def __init__(
        self, films: Sequence[Film], shares: Mapping[str, float], part: tuple[int, int] = (0, 1)
    ) -> None:
        self._shares = shares
        super().__init__(films, (), 1.0, part)

    def refresh(self) -> int:
        """Sort the films by source; return how many there are."""
        self._sources: dict[str, list[Film]] = defaultdict(list)
        for film in self._real:
            self._sources[film.source].append(film)
        weights = np.array([self._shares[name] for name in self._sources])
        self._weights = weights / weights.sum()
        self._has_wide = any(not is_slim(film) for film in self._real)
        return len(self._real)

    def films(self, rng: np.random.Generator) -> Sequence[Film]:
        """Films of one source, chosen by weight."""
        return list(self._sources.values())[int(rng.choice(len(self._weights), p=self._weights))]
