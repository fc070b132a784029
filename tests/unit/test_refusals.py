"""Input that used to pass: other rows, odd settings, numbers cut off."""

import numpy as np
import pytest

import jspgfn
from checks import make_scores, make_trainer


def test_interventions_of_other_rows_are_refused():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pandas.DataFrame(rng.normal(size=(20, 2)), columns=["a", "b"])
    mask = pandas.DataFrame(np.zeros((20, 2), int), columns=["a", "b"])
    mask.iloc[3, 0] = 1
    jspgfn.ExactPosterior().fit(X, interventions=mask)
    for changed in (mask[::-1], mask.set_index(mask.index + 1)):
        with pytest.raises(ValueError, match="must have the row index of X"):
            jspgfn.ExactPosterior().fit(X, interventions=changed)
    targets = pandas.Series([None] * 19 + ["a"], index=X.index[::-1])
    with pytest.raises(ValueError, match="must have the row index of X"):
        jspgfn.ExactPosterior().fit(X, interventions=targets)
    jspgfn.ExactPosterior().fit(X, interventions=mask.to_numpy()[::-1])


@pytest.mark.parametrize("verbose", [-1, 0.5, "yes", None])
def test_bad_verbose(verbose):
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="verbose must be an integer of at least 0"):
        jspgfn.ExactPosterior(verbose=verbose).fit(X)


def test_tiny_noise_is_named():
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="noise_scale must be at least"):
        jspgfn.ExactPosterior(jspgfn.LinearGaussian(noise_scale=1e-200)).fit(X)
    with pytest.raises(
        ValueError, match="noise_scale of the linear model must be a fin"
    ):
        make_scores(X, fields={"noise_scale": 1e-200, "weight_scale": 1.0})


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_of_the_core_are_not_cut_off(seed):
    scores = make_scores(np.random.default_rng(0).normal(size=(20, 2)))
    with pytest.raises(ValueError, match="seed must be from 0 to"):
        make_trainer(scores, seed=seed)


def test_unknown_model_fields_of_the_core():
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="model_fields of 'linear' has unknown names"):
        make_scores(x, fields={"noise_scale": 1.0, "weight_scale": 1.0, "nois": 1.0})
