"""The bundled cases with known answers (tests/cases)."""

import json
import pathlib
import types

import numpy as np

DIRECTORY = pathlib.Path(__file__).resolve().parent.parent / "cases"
NAMES = sorted(path.parent.name for path in DIRECTORY.glob("*/config.json"))


def read_table(path):
    return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)


def read_if_there(path):
    return read_table(path) if path.exists() else None


def load(name):
    """x, mask (or None), model, fields, graph_prior, and the known answers."""
    folder = DIRECTORY / name
    config = json.loads((folder / "config.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    given = config["model"]
    if given["kind"] == "linear":
        fields = {
            "noise_scale": given["sigma2"] ** 0.5,
            "weight_scale": given["prior_var"] ** 0.5,
        }
    elif given["kind"] == "nig":
        fields = {
            "a": given["a0"],
            "b": given["b0"],
            "weight_scale": given["v"] ** 0.5,
        }
    elif given["kind"] == "bdeu":
        fields = {"equivalent_sample_size": given["ess"]}
    else:
        fields = {"alpha_mu": given["alpha_mu"], "alpha_w": given["alpha_w"]}
    mask = folder / "mask.csv"
    return types.SimpleNamespace(
        name=name,
        x=read_table(folder / "data.csv"),
        mask=read_table(mask).astype(np.uint8) if mask.exists() else None,
        model=given["kind"],
        fields=fields,
        graph_prior=config["prior"]["kind"],
        log_Z=summary["log_Z"],
        log_prior_Z=summary["log_prior_Z"],
        expected_edges=summary["expected_edges"],
        entropy=summary["entropy"],
        edges=read_table(folder / "edges.csv"),
        n_states=config.get("arity"),
        theta_mean=read_if_there(folder / "theta_mean.csv"),
        theta_sd=read_if_there(folder / "theta_sd.csv"),
    )
