"""Simulation-based calibration in short; benchmarks/calibration.py is the long form."""

import pytest

import calibrate
from checks import ERROR_RATE
from reference.calibration import p_values

pytestmark = [
    pytest.mark.statistical,
    *(
        pytest.mark.filterwarnings(f"ignore::jspgfn.{w.__name__}")
        for w in calibrate.WARNINGS
    ),
]


def lowest(collected):
    """Smallest of all p-values and their number."""
    found = p_values(collected, calibrate.N_DRAWS, n_bins=10)
    return min(p for p, _ in found.values()), len(found)


@pytest.mark.parametrize(
    ("name", "D"), [("linear", 6), ("nig", 4), ("bge", 6), ("features", 6), ("bdeu", 4)]
)
def test_exact_posterior(name, D):
    p, n = lowest(calibrate.calibrate(name, D, "exact", 100))
    assert p * n > ERROR_RATE


@pytest.mark.parametrize("name", ["nig", "bdeu"])
def test_chains(name):
    p, n = lowest(calibrate.calibrate(name, 4, "chain", 30))
    assert p * n > ERROR_RATE


def test_edges():
    p, n = lowest(calibrate.calibrate("bge", 4, "edges", 15, n_iter=100))
    assert p * n > ERROR_RATE


@pytest.mark.parametrize("name", list(calibrate.FIELDS))
def test_negative_control(name):
    """A prior three times as wide (bdeu: eight times as strong) is found out."""
    p, n = lowest(calibrate.calibrate(name, 4, "exact", 150, wrong=True))
    assert p * n < ERROR_RATE
