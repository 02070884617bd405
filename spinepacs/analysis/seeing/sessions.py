"""ONNX Runtime sessions on the CPU, opened alike for every network of a model folder."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from spinepacs.analysis.seeing.crops import Frame
from spinepacs.analysis.seeing.manifest import checked_weights
from spinepacs.errors import BadModel

_INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
"""Of /proc/cpuinfo."""


def open_session(path: Path, weights: bytes, threads: int) -> ort.InferenceSession:
    """A session over checked weights; ``threads`` within one operator, 0: every core.

    Raises
    ------
    BadModel
        ONNX Runtime cannot load them.
    """
    try:
        return ort.InferenceSession(weights, _options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own, straight below Exception
        raise BadModel(f"{path}: ONNX Runtime cannot load the model ({type(error).__name__})") from error


def open_for_crops(
    path: Path, sha256: str, threads: int, frame: Frame, *answers: Sequence[int]
) -> ort.InferenceSession:
    """The session of a network that looks at crops of a kind; ``answers``: shapes that what it says of each may have.

    Raises
    ------
    BadModel
        If the weights are not those of that SHA-256, or not those of such a network.
    """
    session = open_session(path, checked_weights(path, sha256), threads)
    seen, said = session.get_inputs()[0].shape[1:], session.get_outputs()[0].shape[1:]
    if seen != [1, *frame.shape] or said not in [[*answer] for answer in answers]:
        raise BadModel(f"{path}: input and answer {[seen, said]} are not those of a {path.stem}")
    return session


def _options(threads: int) -> ort.SessionOptions:
    """Threads as given, none of them spinning: workers share the cores and would starve each other."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if not multiplies_int8():
        # Then u8 × s8 is summed in 16 bits and overflows: asked so, ONNX Runtime computes u8 × u8, exact and slower. It
        # does so on some processors with VNNI as well, for nothing (findings/onnxruntime-exact-int8-with-vnni.sh).
        options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 3
    return options


def multiplies_int8(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has dot products of int8 (x86: VNNI or AMX, Arm: DotProd); False where it does not say."""
    try:
        words = set(cpuinfo.read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return platform.machine() == "arm64"  # Apple's: all of them have
    return not words.isdisjoint(_INT8_FLAGS)
