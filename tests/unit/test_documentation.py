"""The documentation: pages build without warnings, examples and notebooks run."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jspgfn

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def relative(path):
    return str(path.relative_to(DOCS))


def require(*modules):
    """Skips the test unless all are installed, as the extra [docs] does."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (extra docs)")


def examples(path):
    fence = r"^```(?:python|\{code-cell\} ipython3)\n(.*?)^```"
    return re.findall(fence, path.read_text("utf-8"), re.M | re.S)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Files of examples go to a folder of their own, pictures nowhere."""
    monkeypatch.chdir(tmp_path)
    require("pandas", "networkx", "matplotlib")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("path", [p for p in PAGES if examples(p)], ids=relative)
def test_examples_of_a_page_run(path):
    code = "\n".join(examples(path))
    exec(compile(code, str(path), "exec"), {"jspgfn": jspgfn})


@pytest.mark.usefixtures("elsewhere")
def test_regression_per_graph_agrees_with_effects_of_draws(capsys):
    names = {}
    exec("\n".join(examples(DOCS / "howto" / "effects.md")), names)
    summary = names["summary"]
    assert names["average"] == pytest.approx(summary.mean, abs=0.2 * summary.sd)
    assert f"mean {summary.mean:.2f}, 90 % between" in capsys.readouterr().out


def test_every_public_name_has_an_entry():
    text = "\n".join(path.read_text("utf-8") for path in (DOCS / "api").glob("*.md"))
    for name in set(jspgfn.__all__) - {"__version__"}:
        assert re.search(rf"jspgfn\.{name}\b", text), name


def test_every_page_of_a_folder_is_in_its_index():
    for folder in ("howto", "notebooks", "api"):
        index = (DOCS / folder / "index.md").read_text("utf-8").splitlines()
        files = {path.stem for path in (DOCS / folder).iterdir() if path.is_file()}
        assert files - {"index"} <= set(index), folder


def test_pages_build_without_warnings(tmp_path):
    """Notebooks are not run here: they have a test each, below."""
    require("sphinx", "myst_nb", "furo")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    command += ["-D", "nb_execution_mode=off", "-d", str(tmp_path / "trees")]
    result = subprocess.run(
        [*command, str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "html" / "index.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=relative)
def test_notebook_runs(path, tmp_path, monkeypatch):
    require("nbclient", "ipykernel", "matplotlib", "pandas", "networkx")
    import nbformat
    from nbclient import NotebookClient

    # the same bits, without threads that wait for each other on a busy machine
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "stored outputs"
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute(
        cwd=str(tmp_path)
    )
    outputs = [o for c in notebook.cells for o in c.get("outputs", [])]
    assert any("image/png" in o.get("data", {}) for o in outputs), "no picture"
    said = [o.text for o in outputs if o.get("name") == "stderr"]
    assert not said, "".join(said)
