"""The tests of threads on a free-threaded CPython, for which safetensors has no wheels yet.

    python3.13t setup.py -q build --build-lib build/free
    PYTHONPATH=build/free python3.13t tests/free_threaded.py

Without safetensors everything works but files.
"""

import sys
import types

import pytest


def stand_in_for_safetensors():
    try:
        import safetensors
    except ImportError:
        safetensors = types.ModuleType("safetensors")
        of_numpy = types.ModuleType("safetensors.numpy")
        safetensors.SafetensorError = type("SafetensorError", (Exception,), {})
        safetensors.safe_open = of_numpy.save = of_numpy.save_file = None
        sys.modules.update({"safetensors": safetensors, "safetensors.numpy": of_numpy})


if __name__ == "__main__":
    stand_in_for_safetensors()
    import jspgfn._core

    print("lock of the interpreter:", sys._is_gil_enabled(), jspgfn._core.config())
    without_files = "not spawn and not loky and not nested and not outside and not file"
    tests = ["unit/test_threads.py", "unit/test_mcmc.py", "unit/test_estimator.py"]
    tests += ["statistical/test_faults.py", "statistical/test_determinism.py"]
    arguments = sys.argv[1:] or [f"tests/{name}" for name in tests]
    sys.exit(pytest.main(["-q", "-k", without_files, *arguments]))
