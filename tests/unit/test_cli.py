"""The command line writes what it says and explains bad input."""

import subprocess
import sys

import numpy as np
import pytest

import jspgfn
from jspgfn import _cli

pandas = pytest.importorskip("pandas")


@pytest.fixture
def csv(tmp_path, table):
    path = tmp_path / "things.csv"
    table.to_csv(path, index=False)
    return path


@pytest.mark.filterwarnings("ignore::jspgfn.NoiseScaleWarning")
def test_fit(tmp_path, csv, capsys):
    out = tmp_path / "result"
    arguments = ["fit", str(csv), "--n-iter", "30", "--draws", "40", "--out", str(out)]
    assert _cli.main([*arguments, "--model", "linear", "--prior", "uniform"]) == 0
    edges = pandas.read_csv(out / "edges.csv")
    assert list(edges.columns[:4]) == ["parent", "child", "probability", "std_error"]
    with np.load(out / "draws.npz") as draws:
        assert draws["graphs"].shape == draws["coef"].shape == (40, 4, 4)
        assert list(draws["feature_names"]) == ["mass", "length", "speed", "age"]
        assert draws["weights"].sum() == pytest.approx(1)
    output = capsys.readouterr().out
    assert "How good is the fit?" in output
    assert "written: edges.csv and draws.npz" in output


def test_fit_into_the_default_folder(csv, monkeypatch):
    monkeypatch.chdir(csv.parent)
    assert _cli.main(["fit", "things.csv", "--n-iter", "5", "--draws", "5"]) == 0
    assert (csv.parent / "things" / "edges.csv").exists()


def test_demo(tmp_path, capsys):
    out = tmp_path / "demo"
    assert (
        _cli.main(["demo", "--max-time", "1", "--draws", "50", "--out", str(out)]) == 0
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "edges.csv",
        "edges.png",
        "graph.png",
    ]
    output = capsys.readouterr().out
    for words in (
        "853 rows",
        "probability",
        "gap",
        "effective sample",
        "Raf",
        "seed 0",
    ):
        assert words in output


def test_bad_input(tmp_path, csv, table, capsys):
    assert _cli.main(["fit", str(tmp_path / "absent.csv")]) == 2
    assert "absent.csv" in capsys.readouterr().err
    table.assign(speed="fast").to_csv(csv, index=False)
    assert _cli.main(["fit", str(csv), "--out", str(tmp_path / "out")]) == 2
    assert "jspgfn: column 'speed' is not numeric" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert _cli.main(["fit", str(csv), "--out", str(csv)]) == 2
    assert "--out must be a folder" in capsys.readouterr().err


def test_what_cannot_end_well_is_refused_before_the_fit(monkeypatch, csv, capsys):
    def refuse(*args, **kwargs):
        raise AssertionError("the fit began")

    monkeypatch.setattr(jspgfn.JSPGFN, "fit", refuse)
    for command in (["fit", str(csv)], ["demo"]):
        with pytest.raises(SystemExit, match="2"):
            _cli.main([*command, "--draws", "0"])
        assert "must be at least 1, got 0" in capsys.readouterr().err
        assert _cli.main([*command, "--out", str(csv / "below")]) == 2
        assert "--out must be a folder" in capsys.readouterr().err


def test_show_config(capsys):
    assert _cli.main(["show-config"]) == 0
    assert jspgfn.__version__ in capsys.readouterr().out


def test_interrupted(monkeypatch, csv, capsys):
    def press_ctrl_c(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(_cli, "run_fit", press_ctrl_c)
    assert _cli.main(["fit", str(csv)]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_as_a_module():
    command = [sys.executable, "-m", "jspgfn", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"jspgfn {jspgfn.__version__}\n"
