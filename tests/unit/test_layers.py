"""The folders of csrc are layers, and what belongs into one of them stays there."""

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
LAYERS = ["base", "kernels", "nn", "score", "dag", "gfn", "py"]
FILES = sorted(path for path in CSRC.glob("*/*") if path.suffix in (".c", ".h", ".inc"))
TEXT_IN_QUOTES = r'"(?:\\.|[^"\\\n])*"'


def code_of(path):
    """The text without comments and with empty strings."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)
    includes = re.findall(r"^\s*#\s*include\s+(\S+)", text, flags=re.MULTILINE)
    return includes, re.sub(TEXT_IN_QUOTES, '""', text)


def layer_of(header):
    """Number of the layer that a header in quotes is from, -1 for jspgfn.h."""
    if header == "jspgfn.h":
        return -1
    found = [LAYERS.index(path.parent.name) for path in FILES if path.name == header]
    assert len(found) == 1, f"{header} is in {len(found)} folders"
    return found[0]


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(CSRC)))
def file(request):
    return request.param


def test_there_are_files_in_known_folders_only():
    assert len(FILES) > 20
    assert {path.parent.name for path in FILES} <= set(LAYERS)


def test_includes_point_left(file):
    includes, _ = code_of(file)
    own = LAYERS.index(file.parent.name)
    for include in includes:
        if include.startswith('"'):
            assert layer_of(include.strip('"')) <= own, (
                f"{include} is from a later layer"
            )


def test_python_stays_in_py(file):
    includes, _ = code_of(file)
    if file.parent.name != "py":
        for include in includes:
            assert "Python.h" not in include
            assert "numpy" not in include


def test_openmp_stays_in_one_file(file):
    includes, code = code_of(file)
    if file.name != "jsp_parallel.c":
        assert "<omp.h>" not in includes
        assert not re.search(r"#\s*pragma\s+omp|\bomp_\w+\s*\(|_OPENMP", code)


def test_intrinsics_stay_in_kernels(file):
    includes, code = code_of(file)
    if file.parent.name != "kernels":
        assert not re.search(r"immintrin|arm_neon|x86intrin", " ".join(includes))
        assert not re.search(r"\b_mm\d*_\w+|\b__m\d+\w*|\bfloat32x4_t", code)


def test_the_core_neither_prints_nor_exits_nor_allocates(file):
    _, code = code_of(file)
    if file.parent.name != "base":
        forbidden = (
            r"\b(v?f?printf|puts|exit|_Exit|abort|malloc|calloc|realloc|free)\s*\("
        )
        found = re.search(forbidden, code)
        assert not found, f"{found.group(0)} outside base"


def test_no_global_fast_math():
    setup = (CSRC.parent / "setup.py").read_text(encoding="utf-8")
    assert "fast-math" not in setup
