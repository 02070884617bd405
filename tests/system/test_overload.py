"""A small overload: more senders than places, and what came of it. The large one is a command."""

from __future__ import annotations

import pytest

from tests.system.overload import overload

pytestmark = pytest.mark.peer


def test_more_senders_than_places_lose_nothing_and_are_served_alike(tmp_path):
    outcome = overload(tmp_path, senders=12, images=240, maximum_associations=4)
    assert outcome.lost == 0
    assert sum(sender.failures for sender in outcome.senders) == 0
    assert outcome.turned_away == {}
    assert outcome.unfairness < 20  # nobody is left to the end; how fairly, the command tells
    assert max(peak_mb for name, peak_mb in outcome.peak_mb.items() if name.startswith("listener")) < 200
