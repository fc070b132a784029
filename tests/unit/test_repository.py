"""Rules about the repository: docstrings run, files stay small and self-contained."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import jspgfn

ROOT = Path(__file__).resolve().parents[2]
MODULES = [
    importlib.import_module(f"jspgfn.{module.name}")
    for module in pkgutil.iter_modules(jspgfn.__path__)
    if module.name not in ("__main__", "_core")
]
PUBLIC = [getattr(jspgfn, name) for name in jspgfn.__all__ if name != "__version__"] + [
    getattr(module, name)
    for module in (jspgfn.datasets, jspgfn.metrics, jspgfn.simulate)
    for name in module.__all__
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_docstrings_run(module):
    pytest.importorskip("pandas")
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def python_blocks(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Files of examples go to a folder of their own, pictures nowhere."""
    monkeypatch.chdir(tmp_path)
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


@pytest.mark.usefixtures("elsewhere")
def test_example_of_the_readme_runs():
    code = python_blocks("README.md")
    code = code.replace("JSPGFN(model=", "JSPGFN(n_iter=50, model=")
    names = {}
    exec(code.replace("MCMC(model=", "MCMC(n_moves=20_000_000, model="), names)
    for drawn in (names["post"], names["exact"].sample(1000)):
        assert drawn.graphs.shape == (1000, 6, 6)


NO_EXAMPLE = (Warning, ArithmeticError, tuple)  # named tuples are explained where made


def public_things():
    for thing in PUBLIC:
        if inspect.isclass(thing) or inspect.isfunction(thing):
            yield thing.__name__, thing
        if inspect.isclass(thing) and thing.__module__.startswith("jspgfn"):
            seen = set()
            for cls in thing.__mro__:  # bases of our own too
                if not cls.__module__.startswith("jspgfn"):
                    continue
                for name, member in vars(cls).items():
                    member = getattr(member, "__func__", member)  # of class methods
                    known, _ = name in seen, seen.add(name)
                    if inspect.isfunction(member) and not (known or name[0] == "_"):
                        yield f"{thing.__name__}.{name}", member


@pytest.mark.parametrize(("name", "thing"), list(public_things()))
def test_public_things_are_documented(name, thing):
    text = inspect.getdoc(thing)
    assert text, name
    if not (inspect.isclass(thing) and issubclass(thing, NO_EXAMPLE)):
        assert ">>>" in text, f"{name} has no example"
    if inspect.isfunction(thing):
        for parameter in set(inspect.signature(thing).parameters) - {"self", "cls"}:
            assert re.search(rf"\b{parameter}\b.* : ", text), f"{name}: {parameter}"


def test_every_module_is_in_the_list_of_subjects():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for module in MODULES:
        assert f"`{module.__name__.split('.')[1]}`" in text


def test_setup_py_is_short():
    assert len((ROOT / "setup.py").read_text(encoding="utf-8").splitlines()) < 150


def test_version_is_said_once_and_known():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{jspgfn.__version__}"' in text
    assert f"## {jspgfn.__version__}" in (ROOT / "CHANGELOG.md").read_text(
        encoding="utf-8"
    )


def test_the_installed_package_is_tested():
    assert ROOT / "python" not in Path(jspgfn.__file__).resolve().parents


def test_types_are_marked():
    folder = Path(jspgfn.__file__).parent
    assert (folder / "py.typed").exists()
    assert (folder / "_core.pyi").exists()


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for folder in ("tests", "benchmarks", "python", "csrc")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".pyi", ".c", ".h", ".inc")
        and "build" not in path.parts
    ),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_files_name_no_place_outside_the_repository(path):
    text = path.read_text(encoding="utf-8")
    absolute = r"""["'](/(?:home|work|tmp|root|Users|mnt|data|opt|usr)\b|~/)"""
    assert not re.search(absolute, text)
    above = re.findall(r"parents\[(\d+)\]", text) if path.suffix == ".py" else []
    depth = len(path.relative_to(ROOT).parts) - 1
    assert all(int(levels) <= depth for levels in above)
