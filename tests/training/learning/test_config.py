from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from spinepacs.training.learning.config import TrainConfig, parse, record


def test_the_command_of_the_stages_keeps_working() -> None:
    data = "--ap a --synthetic s1 s2 --start e.pt --real-share 0.42"
    run = "--out o --minutes 118 --workers 3 --threads 1 --seed 6 --learning-rate 8e-4"
    config, check = parse([*data.split(), *run.split()])
    assert not check
    assert config == TrainConfig(
        out=Path("o"),
        ap=Path("a"),
        synthetic=(Path("s1"), Path("s2")),
        start=Path("e.pt"),
        minutes=118,
        real_share=0.42,
        workers=3,
        threads=1,
        seed=6,
        learning_rate=8e-4,
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--data d.toml", "required: --out"),
        ("--data d.toml --ap a --out o", "--data takes the place of --ap"),
        ("--ap a --out o --device cuda --workers 2", "one worker keeps a GPU busy"),
        ("--ap a --out o --recipe other", "invalid choice"),
    ],
)
def test_wrong_use_is_refused(line: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(line.split())
    assert why in capsys.readouterr().err


def test_a_check_needs_no_folder() -> None:
    assert parse(["--data", "d.toml", "--check"])[1]


def test_every_start_is_recorded(tmp_path: Path) -> None:
    config = TrainConfig(out=tmp_path, data=Path("d.toml"), seed=4)
    record(config)
    record(replace(config, minutes=5))
    first, second = json.loads((tmp_path / "config.json").read_text())
    assert first["config"]["seed"] == 4
    assert first["config"]["data"] == "d.toml"
    assert second["config"]["minutes"] == 5
    assert set(first["versions"]) >= {"python", "spinepacs", "numpy"}
