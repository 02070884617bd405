import hashlib
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from spinepacs.analysis.seeing import segment, sessions
from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.analysis.seeing.sessions import multiplies_int8
from spinepacs.domain.anatomy import Level
from spinepacs.errors import BadModel
from tests import models, phantoms

PHANTOM = phantoms.spine()
SHIPPED = next(path.parent for path in sorted((Path(__file__).parents[3] / "models").glob("*/manifest.toml")))


def test_a_sound_model_folder_opens(tmp_path):
    segmenter = Segmenter.open(models.write_model(tmp_path / "m", PHANTOM, version="2.1"), threads=1)
    assert (segmenter.model_name, segmenter.model_version) == ("made-up", "2.1")
    assert segmenter.manifest.classes == tuple(Level)


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": None},
        {"classes": ["C1", "C1"]},
        {"classes": ["skull"]},
        {"input_px": 600},
        {"score_threshold": 1.5},
        {"mask_threshold": "high"},
        {"pad_value": 300},
        {"name": ""},
    ],
)
def test_a_manifest_that_cannot_be_meant_is_refused_with_its_path(tmp_path, changes):
    folder = models.write_model(tmp_path / "m", PHANTOM, **changes)
    with pytest.raises(BadModel, match=r"manifest\.toml"):
        Manifest.load(folder)


def test_an_altered_model_is_never_run(tmp_path):
    folder = models.write_model(tmp_path / "m", PHANTOM)
    weights = bytearray((folder / "model.onnx").read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / "model.onnx").write_bytes(bytes(weights))
    with pytest.raises(BadModel, match="sha256"):
        Segmenter.open(folder, threads=1)


def test_weights_that_are_no_network_are_refused(tmp_path):
    folder = models.write_model(tmp_path / "m", PHANTOM, sha256=hashlib.sha256(b"rubbish").hexdigest())
    (folder / "model.onnx").write_bytes(b"rubbish")
    with pytest.raises(BadModel, match="cannot load"):
        Segmenter.open(folder, threads=1)


def test_a_network_that_does_not_fit_its_manifest_is_refused(tmp_path):
    folder = models.write_model(tmp_path / "m", PHANTOM, classes=["C1", "C2"])
    with pytest.raises(BadModel, match="61 head channels are not 4 \\+ 2 classes"):
        Segmenter.open(folder, threads=1)


def test_a_network_of_one_fixed_size_is_refused(tmp_path):
    folder = models.write_model(tmp_path / "m", PHANTOM, sizes=(1, 640, 384))
    with pytest.raises(BadModel, match="batch, height and width must be left open"):
        Segmenter.open(folder, threads=1)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.toml"])
def test_a_model_folder_that_lacks_a_file_is_refused_by_its_name(tmp_path, name):
    folder = models.write_model(tmp_path / "m", PHANTOM)
    (folder / name).unlink()
    with pytest.raises(BadModel, match=name):
        Segmenter.open(folder, threads=1)


def test_a_manifest_that_is_no_toml_is_refused(tmp_path):
    (tmp_path / "manifest.toml").write_text("name = ", encoding="utf-8")
    with pytest.raises(BadModel, match="not valid TOML"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("loss", [0.3, 0.7])
def test_the_int8_model_is_checked_and_named_in_the_version(tmp_path, monkeypatch, loss):
    monkeypatch.setattr(segment, "multiplies_int8", lambda: True)
    folder = models.write_model(tmp_path / "m", PHANTOM)
    weights = (folder / "model.onnx").read_bytes()
    with pytest.raises(BadModel, match=r"model-int8\.onnx: the manifest names none"):
        Segmenter.open(folder, threads=1, precision="int8")
    with (folder / "manifest.toml").open("a", encoding="utf-8") as manifest:
        manifest.write(
            f'\n[int8]\nsha256 = "{hashlib.sha256(weights).hexdigest()}"\nloss_map50_95 = {loss}\n'
        )
    with pytest.raises(BadModel, match=r"model-int8\.onnx: cannot be read"):
        Segmenter.open(folder, threads=1, precision="int8")
    (folder / "model-int8.onnx").write_bytes(weights[:-1])
    with pytest.raises(BadModel, match=r"model-int8\.onnx: sha256"):
        Segmenter.open(folder, threads=1, precision="int8")
    (folder / "model-int8.onnx").write_bytes(weights)
    assert Segmenter.open(folder, threads=1, precision="int8").model_version == "1+int8"
    assert Segmenter.open(folder, threads=1, precision="fp32").model_version == "1"
    chosen = "1+int8" if loss <= 0.5 else "1"
    assert Segmenter.open(folder, threads=1).model_version == chosen


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 fma", False),
        ("fpu avx512f avx512_vnni", True),
        ("avx2 avx_vnni", True),
        ("fp asimd asimddp", True),
    ],
)
def test_int8_is_for_processors_with_dot_products(tmp_path, flags, expected):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n", encoding="ascii")
    assert multiplies_int8(tmp_path / "cpuinfo") is expected


@pytest.mark.parametrize("multiplies", [True, False])
def test_exact_sums_are_asked_for_where_the_processor_has_no_dot_products(tmp_path, monkeypatch, multiplies):
    monkeypatch.setattr(sessions, "multiplies_int8", lambda: multiplies)
    path = models.write_model(tmp_path / "m", PHANTOM) / "model.onnx"
    options = sessions.open_session(path, path.read_bytes(), 1).get_session_options()
    asked = nullcontext() if not multiplies else pytest.raises(RuntimeError, match="x64quantprecision")
    with asked:
        assert options.get_session_config_entry("session.x64quantprecision") == "1"


@pytest.mark.parametrize("kind", ["model", "reader", "tracer"])
def test_in_8_bits_every_network_is_the_8_bit_one(tmp_path, kind):
    folder = shutil.copytree(SHIPPED, tmp_path / "m")
    form = folder / f"{kind}-int8.onnx"
    form.write_bytes(form.read_bytes() + b"0")
    Segmenter.open(folder, threads=1, precision="fp32")
    with pytest.raises(BadModel, match=rf"{kind}-int8\.onnx: sha256"):
        Segmenter.open(folder, threads=1, precision="int8")


def test_a_network_without_an_8_bit_form_is_run_as_it_is(tmp_path):
    folder = shutil.copytree(SHIPPED, tmp_path / "m")
    text = (folder / "manifest.toml").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith("tracer_sha256")]
    (folder / "manifest.toml").write_text("".join(kept), encoding="utf-8")
    (folder / "tracer-int8.onnx").unlink()
    assert Segmenter.open(folder, threads=1, precision="int8").tracer is not None
