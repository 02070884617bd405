"""A dozen kills in `make test`; `python -m tests.system.kills --kills 1000` is the long run."""

from __future__ import annotations

import pytest

from tests.system.kills import WEIGHTS, kind, run, table


@pytest.mark.peer
@pytest.mark.timeout(600)
def test_what_was_acknowledged_has_each_result_exactly_once_whatever_is_killed(tmp_path):
    outcome = run(tmp_path, kills=12, mean_s=1.0, senders=2, seed=6)
    assert outcome.account.is_settled, f"{table(outcome)}\n{outcome.account}"
    assert outcome.failed == {}
    assert outcome.acknowledged > 0
    assert outcome.dropped > 0
    assert set(outcome.kills.count) == {kind(part) for part in WEIGHTS}
