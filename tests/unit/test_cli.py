"""The command line writes what it says and explains bad input."""

import html.parser
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


QUICK = ["--n-iter", "5", "--draws", "40", "--n-jobs", "1"]


def run(*arguments):
    return _cli.main([str(argument) for argument in arguments])


def test_fit(tmp_path, csv, capsys):
    out, report = tmp_path / "result.safetensors", tmp_path / "report.html"
    edges, fit = tmp_path / "edges.csv", tmp_path / "fit.safetensors"
    results = ["--out", out, "--report", report, "--edges", edges]
    results += ["--save-estimator", fit]
    assert (
        run("fit", csv, *QUICK, *results, "--model", "nig", "--prior", "uniform") == 0
    )
    output = capsys.readouterr().out
    assert "How good is the fit?" in output
    assert f"written: {out}, {fit}, {edges}, {report}" in output
    post = jspgfn.load(out)
    assert post.graphs.shape == (40, 4, 4)
    assert post.feature_names == ["mass", "length", "speed", "age"]
    table = pandas.read_csv(edges)
    assert list(table.columns[:4]) == ["parent", "child", "probability", "std_error"]
    est = jspgfn.load(fit)
    assert est.n_iter_ == 5
    assert est.model == "nig"
    page = report.read_text(encoding="utf-8")
    for word in ("things.csv", "80 rows", "nig", "speed", "effective sample"):
        assert word in page
    assert capsys.readouterr().err == ""


def test_fit_into_the_default_file(csv, monkeypatch, capsys):
    monkeypatch.chdir(csv.parent)
    assert run("fit", "things.csv", *QUICK, "--quiet") == 0
    assert (csv.parent / "things.safetensors").exists()
    assert capsys.readouterr().out == ""


def test_knowledge(tmp_path, table, capsys):
    path, out = tmp_path / "more.csv", tmp_path / "out"
    more = table.rename(columns={"age": "a:b"}).assign(note="x", target="")
    more.loc[:9, "target"] = "mass"
    more.loc[10:19, "target"] = "speed+a:b"
    more.to_csv(path, sep=";", index=False)
    options = ["--interventions", "target", "--drop", "note", "--forbid", "mass:a:b"]
    options += ["--require", "length:speed", "--tiers", "mass, length; speed"]
    assert run("fit", path, *QUICK, *options, "--out", out) == 0
    assert "20 rows with interventions" in capsys.readouterr().out
    post = jspgfn.load(out)
    assert post.feature_names == ["mass", "length", "speed", "a:b"]
    assert post.graphs[:, 1, 2].all()
    assert not post.graphs[:, 0, 3].any()
    assert not post.graphs[:, 2, :2].any()


def test_discrete_columns(tmp_path, capsys):
    path = tmp_path / "words.csv"
    path.write_text("colour,n\n" + "red,2\nblue,10\nred,3\n" * 5, encoding="utf-8")
    report = tmp_path / "words.html"
    options = ["--model", "bdeu", "--out", tmp_path / "out", "--report", report]
    assert run("fit", path, *QUICK, *options) == 0
    est = jspgfn.load(tmp_path / "out")
    assert est.theta["n_states"].tolist() == [2, 3]
    assert "colour" in report.read_text(encoding="utf-8")


@pytest.mark.filterwarnings("always::jspgfn.NoiseScaleWarning")
def test_warnings_are_short(tmp_path, csv, capsys):
    assert run("fit", csv, *QUICK, "--model", "linear", "--out", tmp_path / "o") == 0
    assert capsys.readouterr().err.startswith("jspgfn: warning: noise_scale=")


# --- report --------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Open elements, and whatever a page would fetch from elsewhere."""

    empty = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.words = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.empty:
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href") and not value.startswith(
                "data:image/png;base64,"
            ):
                self.fetched.append(value)
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read_page(path):
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    assert page.fetched == []
    return "".join(page.words)


def test_report_of_draws_and_of_estimators(tmp_path, posterior, fitted):
    draws, est = tmp_path / "draws.safetensors", tmp_path / "est.safetensors"
    posterior.save(draws)
    fitted.save(est)
    assert run("report", draws) == 0
    words = read_page(tmp_path / "draws.html")
    assert "mass" in words
    assert "300" in words
    assert run("report", est, "-o", tmp_path / "page.html") == 0
    assert "120 updates" in read_page(tmp_path / "page.html")
    exact = jspgfn.ExactPosterior(random_state=0).fit(np.eye(5)[:, :3] + 0.1)
    exact.save(est)
    assert run("report", est, "-o", tmp_path / "page.html") == 0
    assert "x1" in read_page(tmp_path / "page.html")


def test_names_cannot_break_out_of_the_page(tmp_path, table, capsys):
    names = ["<b>mass</b>", '"><script>', "a&b", "$x_1$"]
    post = jspgfn.ExactPosterior(random_state=0).fit(table.set_axis(names, axis=1))
    post.sample(50).save(tmp_path / "odd")
    assert run("report", tmp_path / "odd") == 0
    words = read_page(tmp_path / "odd.html")
    for name in names:
        assert name in words


def test_what_has_no_report(tmp_path, csv, capsys):
    assert run("report", csv) == 2
    assert "things.csv is damaged, cut off, or not a file" in capsys.readouterr().err
    jspgfn.JSPGFN().save(tmp_path / "empty")
    assert run("report", tmp_path / "empty") == 2
    assert "has not been fitted" in capsys.readouterr().err
    assert run("report", tmp_path / "absent") == 2
    assert "absent: No such file" in capsys.readouterr().err


# --- bad input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("a,b\n", "has a header but no rows"),
        ("1,2\n3,4\n", "first line must hold the names"),
        (",a\n0,1\n", "column 1 has no name"),
        ("a,a\n0,1\n", "columns occur more than once: 'a'"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells, but the header has 2"),
        ('a,b\n1,"2\n', "line 2: unexpected end of data"),
        ("a,b\n1,2\n3,x\n", "line 3 (row 2), column 'b': 'x' is not a finite number"),
        ("a;b\n1;2\n3;\n;4\n", "line 3 (row 2), column 'b': '' is missing; 2 such"),
        ("a\tb\n1\tinf\n", "line 2 (row 1), column 'b': 'inf' is not a finite number"),
        ("a,b\n\n1,NA\n", "line 3 (row 1), column 'b': 'NA' is missing"),
        ("a,b\n1,2\n3,2\n", "constant columns: 'b'"),
    ],
)
def test_bad_tables(content, words, tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8")
    assert run("fit", path, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("jspgfn: ")
    assert "bad.csv" in error or "constant" in error
    assert sorted(tmp_path.iterdir()) == [path]


def test_not_text(tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_bytes(b"a,b\n\xff,1\n")
    assert run("fit", path, "--out", tmp_path / "out") == 2
    assert "not text in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--forbid", "mass"], "--forbid must be PARENT:CHILD, got 'mass'"),
        (["--require", "mass:sped"], "there is no variable 'sped'; expected 'mass'"),
        (["--tiers", "mass;sped"], "--tiers: there is no variable 'sped'"),
        (["--drop", "sped"], "--drop: "),
        (["--interventions", "sped"], "has no column 'sped'; it has 'mass'"),
        (["--interventions", "age"], "(row 1), column 'age'"),
        (["--time", "0"], "max_time must be a finite number above 0"),
        (["--seed", "-1"], "random_state must be"),
        (["--report", "things.csv"], "DATA and --report are the same file"),
        (["--report", "."], "--report: . is a folder"),
        (["--edges", "absent/x"], "--edges: there is no folder absent"),
        (["--out", "/proc/x"], "--out: cannot write into /proc"),
    ],
)
def test_bad_options(options, words, csv, monkeypatch, capsys):
    monkeypatch.chdir(csv.parent)
    monkeypatch.setattr(_cli, "describe_fit", None)  # no fit comes so far
    assert run("fit", csv.name, *options) == 2
    assert words in capsys.readouterr().err
    assert list(csv.parent.iterdir()) == [csv]


def test_a_disk_that_fills_up_meanwhile(csv, tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise OSError("cannot write it: no space")

    monkeypatch.setattr(_cli._files, "save", fail)
    assert run("fit", csv, *QUICK, "--out", tmp_path / "out") == 1
    assert "jspgfn: cannot write it: no space" in capsys.readouterr().err


def test_interrupted_output(csv, tmp_path):
    """The reader of the output goes away, as `head` does: no traceback."""
    command = f"{sys.executable} -m jspgfn fit {csv} --n-iter 5 --out {tmp_path}/o"
    result = subprocess.run(
        ["bash", "-c", f"{command} | true"], capture_output=True, text=True, check=True
    )
    assert "Traceback" not in result.stderr


# --- the other commands --------------------------------------------------------------


def test_demo(tmp_path, capsys):
    out = tmp_path / "demo"
    assert (
        _cli.main(["demo", "--max-time", "1", "--draws", "50", "--out", str(out)]) == 0
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "edges.csv",
        "edges.png",
        "graph.png",
        "report.html",
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


def test_what_cannot_end_well_is_refused_before_the_fit(monkeypatch, csv, capsys):
    def refuse(*args, **kwargs):
        raise AssertionError("the fit began")

    monkeypatch.setattr(jspgfn.JSPGFN, "fit", refuse)
    for command in (["fit", str(csv)], ["demo"]):
        with pytest.raises(SystemExit, match="2"):
            _cli.main([*command, "--draws", "0"])
        assert "must be at least 1, got 0" in capsys.readouterr().err
        assert _cli.main([*command, "--out", str(csv / "below")]) == 2
        assert "folder" in capsys.readouterr().err


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
