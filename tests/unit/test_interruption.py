"""Ctrl-C, kills and full disks at random moments: nothing is lost or left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import jspgfn
from long import short_or_long

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals"),
    pytest.mark.long,
]

PROGRAM = Path(__file__).with_name("interrupted.py")
WORK = ["edges", "gnn", "slow gnn", "exact", "exact draws", "chain", "mlp", "mlp draws"]
WORK += ["features draws", "refine", "density"]


def test_ctrl_c_at_random_moments():
    """The long version sends 200 signals to each kind of work and prints how long the
    answers took; on a busy machine they take longer, so only a generous bound is tested."""
    n_signals = short_or_long(2, 200)
    command = [sys.executable, str(PROGRAM), ",".join(WORK), str(n_signals)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        output, _ = process.communicate(timeout=3600)
    finally:
        process.kill()
    print(output)
    assert process.returncode == 0
    reports = [json.loads(line) for line in output.splitlines()]
    assert [report["work"] for report in reports] == WORK
    for report in reports:
        assert report["interrupted"] == n_signals
        assert report["threads"] <= 2  # n_jobs; OpenMP keeps its team for the next loop
        assert report["slowest"] < 20


def test_killed_while_saving(tmp_path):
    """Killed at any moment, there is the old file or the new one, whole."""
    n_kills = short_or_long(20, 200)
    command = [sys.executable, str(PROGRAM), "save", str(tmp_path / "file")]
    found = json.loads(subprocess.check_output([*command, str(n_kills)], timeout=600))
    print(found)
    assert sum(found.values()) == n_kills
    assert all(found.values())


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 64 kB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(tiny_disk):
    sim = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=50, random_state=0)
    exact = jspgfn.ExactPosterior(random_state=0).fit(sim.X)
    path = tiny_disk / "file"
    exact.sample(10).save(path)
    with pytest.raises(OSError, match="No space left"):
        exact.sample(20_000).save(path)
    assert len(jspgfn.load(path)) == 10
    assert os.listdir(tiny_disk) == ["file"]


def test_a_folder_that_cannot_be_written(tmp_path):
    sim = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=50, random_state=0)
    est = jspgfn.ExactPosterior(random_state=0).fit(sim.X)
    folder = tmp_path / "read only"
    folder.mkdir()
    if (
        os.geteuid() == 0
    ):  # whom permissions do not stop; /proc cannot be written at all
        folder = Path("/proc")
    else:
        folder.chmod(0o500)
    with pytest.raises(OSError, match="cannot write"):
        est.save(folder / "file")
    assert est.sample(3).graphs.shape == (3, 4, 4)
