"""The command ``spinepacs train``: checks the data, or trains by the recipe that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from spinepacs.errors import Permanent
from spinepacs.training.learning.config import parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the path of the trained checkpoint."""
    config, only_check = parse(arguments)
    # Here, since they need the extra and seconds to import, and --help neither.
    from spinepacs.training.learning.initialise import WeightsError
    from spinepacs.training.learning.train import check, films_of, prepare, train

    try:
        if only_check:
            return check(films_of(config))
        if config.recipe == "seed":
            from spinepacs.training.learning.seed_recipe import train_seed

            trained = train_seed(config, prepare(config))
        else:
            trained = train(config)
    except (Permanent, WeightsError) as error:
        sys.stderr.write(f"spinepacs: {error}\n")
        return 2
    sys.stdout.write(f"{trained}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
