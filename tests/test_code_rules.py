"""What no line of the product does: unpickle, evaluate, start a shell, make SQL of values. Read off the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "spinepacs"
UNPICKLERS = {
    "pickle",
    "cPickle",
    "_pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "jsonpickle",
}
UNCHECKED = {"training/learning/seed_recipe.py"}
"""Reads the checkpoint of its own run that it then hands to Ultralytics, which unpickles it itself."""
FIXED_SQL = {"store/engine.py": 1}
"""Calls whose SQL is put together of fixed words: a PRAGMA cannot take parameters."""
TAKES_SQL = {"text", "literal_column", "exec_driver_sql", "execute", "executescript", "executemany"}


@cache
def sources() -> list[tuple[str, ast.Module]]:
    found = [(path.relative_to(PACKAGE).as_posix(), path) for path in sorted(PACKAGE.rglob("*.py"))]
    return [(name, ast.parse(path.read_text(encoding="utf-8"))) for name, path in found]


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Dotted names of what is called (``np.load``), as far as they are names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func) if isinstance(node.func, (ast.Name, ast.Attribute)) else "", node


def keyword(call: ast.Call, name: str) -> object:
    """Value of a keyword that is a constant; None where it is not given."""
    given = next((item.value for item in call.keywords if item.arg == name), None)
    return ast.literal_eval(given) if isinstance(given, ast.Constant) else given


def offences(tree: ast.AST) -> Iterator[str]:
    """Everything in a module that is forbidden everywhere."""
    yield from (f"imports {name}" for name in imported(tree) if name in UNPICKLERS)
    for name, call in calls(tree):
        if name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "builtins.eval"):
            yield f"calls {name}"
        if keyword(call, "shell") or name.endswith(("getoutput", "create_subprocess_shell")):
            yield f"{name} starts a shell"
        if keyword(call, "allow_pickle"):
            yield f"{name} allows pickle"
        if name.endswith((".recv", ".send")) and "channel" in name:
            yield f"{name} pickles what goes through a pipe"


def sql_of_values(tree: ast.AST) -> Iterator[str]:
    for name, call in calls(tree):
        if name.rpartition(".")[2] in TAKES_SQL and call.args:
            first = call.args[0]
            joined = isinstance(first, ast.JoinedStr) or (
                isinstance(first, ast.BinOp) and isinstance(first.op, (ast.Mod, ast.Add))
            )
            formatted = isinstance(first, ast.Call) and ast.unparse(first.func).endswith((".format", ".join"))
            if joined or formatted:
                yield f"line {call.lineno}: {ast.unparse(first)}"


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from marshal import loads", "import os\nos.system('x')", "eval('1')",
        "subprocess.run('x', shell=True)", "np.load(path, allow_pickle=True)", "channel.recv()", "self.channel.send(x)",
    ],
)  # fmt: skip
def test_an_offence_would_be_found(line):
    assert list(offences(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    ["execute(f'SELECT {name}')", "text('SELECT ' + name)", "c.exec_driver_sql('SELECT %s' % name)",
     "text('SELECT {}'.format(name))"],
)  # fmt: skip
def test_sql_of_values_would_be_found(line):
    assert list(sql_of_values(ast.parse(line)))


def test_no_pickle_no_eval_no_shell():
    found = {name: list(offences(tree)) for name, tree in sources()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_only_the_training_extra_starts_programs_or_reads_checkpoints():
    starts = {name for name, tree in sources() if "subprocess" in imported(tree)}
    assert {name for name in starts if not name.startswith("training/")} == set()
    loads = {
        name: keyword(call, "weights_only")
        for name, tree in sources()
        for called, call in calls(tree)
        if called == "torch.load"
    }
    assert all(name.startswith("training/") for name in loads)
    assert {name for name, only in loads.items() if only is not True} == UNCHECKED


def test_values_reach_sql_as_parameters_only():
    """Migrations are left out: their SQL is fixed text, made when they are written."""
    found = {name: list(sql_of_values(tree)) for name, tree in sources() if "/migrations/" not in name}
    assert {name: len(lines) for name, lines in found.items() if lines} == FIXED_SQL, found


def test_no_path_is_made_of_what_the_network_says():
    """The listener's modules make no path at all: the spool names files by their SHA-256."""
    received = (
        "intake/listener.py",
        "intake/incoming.py",
        "intake/acceptor.py",
        "intake/gate.py",
        "health.py",
    )
    for name, tree in sources():
        if name in received:
            made = {
                called for called, _ in calls(tree) if called in ("Path", "open", "os.open", "os.path.join")
            }
            assert made == set(), name
