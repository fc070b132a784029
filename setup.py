"""Builds the extension jspgfn._core and nothing else; metadata is in pyproject.toml.

Switches, read from the environment at build time (1 = on):
    JSPGFN_NO_OPENMP  one thread only         JSPGFN_SANITIZE  address and UB sanitizers
    JSPGFN_NATIVE     -march=native           JSPGFN_COVERAGE  gcov counters
    JSPGFN_WERROR     warnings are errors     JSPGFN_REAL      float (default) or double
    JSPGFN_JOBS       number of compilers side by side
"""

import os
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import numpy as np
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

LAYERS = ["base", "kernels", "nn", "score", "dag", "gfn", "py"]
FLAGS = [
    "-O3",
    "-std=c11",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",  # the same bits everywhere: fused multiply-add is written out
    "-fvisibility=hidden",
]
# (compiler flags, linker flags), tried in this order
OPENMP_CHOICES = [
    (["-fopenmp"], ["-fopenmp"]),
    (["-Xpreprocessor", "-fopenmp"], ["-lomp"]),  # Apple clang with libomp
]
OPENMP_PROBE = (
    "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 0; }\n"
)


def switch(name: str) -> bool:
    return os.environ.get(f"JSPGFN_{name}", "") not in ("", "0")


def package_version() -> str:
    text = Path(__file__).with_name("pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r'^version = "([^"]+)"', text, re.MULTILINE)
    assert match, "pyproject.toml has no line 'version = ...'"
    return match.group(1)


def real_type() -> str:
    real = os.environ.get("JSPGFN_REAL") or "float"
    if real not in ("float", "double"):
        sys.exit(f"JSPGFN_REAL must be 'float' or 'double', got {real!r}")
    return real


def flags_from_switches() -> tuple[list[str], list[str]]:
    compile_flags, link_flags = list(FLAGS), []
    if switch("NATIVE"):
        compile_flags.append("-march=native")
    if switch("WERROR"):
        compile_flags += ["-Wall", "-Wextra", "-Werror"]
    if switch("SANITIZE"):
        sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
        compile_flags += [*sanitizers, "-g", "-O1", "-fno-omit-frame-pointer"]
        link_flags += sanitizers
    if switch("COVERAGE"):
        compile_flags += ["--coverage", "-O0"]
        link_flags.append("--coverage")
    return compile_flags, link_flags


class BuildExtension(build_ext):
    """Adds OpenMP where it works and compiles several files at a time."""

    def build_extensions(self) -> None:
        compile_flags, link_flags = self.openmp_flags()
        for extension in self.extensions:
            extension.extra_compile_args += compile_flags
            extension.extra_link_args += link_flags
        self.compile_side_by_side()
        super().build_extensions()

    def openmp_flags(self) -> tuple[list[str], list[str]]:
        if switch("NO_OPENMP"):
            return [], []
        for compile_flags, link_flags in OPENMP_CHOICES:
            if self.openmp_builds(compile_flags, link_flags):
                return compile_flags, link_flags
        print("jspgfn: no OpenMP found, the build will use one thread")
        return [], []

    def openmp_builds(self, compile_flags: list[str], link_flags: list[str]) -> bool:
        """Compiles and links the probe; never runs it, so cross builds work."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(OPENMP_PROBE, encoding="utf-8")
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=compile_flags
                )
                self.compiler.link_executable(
                    objects, str(Path(folder, "probe")), extra_postargs=link_flags
                )
            except Exception:  # each compiler class has error types of its own
                return False
        return True

    def compile_side_by_side(self) -> None:
        compile_one = self.compiler.compile
        n_jobs = int(os.environ.get("JSPGFN_JOBS") or min(os.cpu_count() or 1, 8))

        def compile_all(sources: list[str], **options: object) -> list[str]:
            with ThreadPoolExecutor(n_jobs) as pool:
                lists = pool.map(lambda file: compile_one([file], **options), sources)
                return [name for names in lists for name in names]

        self.compiler.compile = compile_all


compile_flags, link_flags = flags_from_switches()
macros = [("JSPGFN_VERSION", f'"{package_version()}"')]
if real_type() == "double":
    macros.append(("JSP_REAL_DOUBLE", "1"))

setup(
    ext_modules=[
        Extension(
            "jspgfn._core",
            sources=sorted(glob("csrc/*/*.c")),
            depends=sorted(
                glob("csrc/*.h") + glob("csrc/*/*.h") + glob("csrc/*/*.inc")
            ),
            include_dirs=[
                "csrc",
                *(f"csrc/{name}" for name in LAYERS),
                np.get_include(),
            ],
            define_macros=macros,
            extra_compile_args=compile_flags,
            extra_link_args=link_flags,
        )
    ],
    cmdclass={"build_ext": BuildExtension},
)
