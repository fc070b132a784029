"""Interventions through pipelines and searches, by scikit-learn's metadata routing."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import jspgfn
from sklearn import config_context


@pytest.fixture(scope="module")
def data():
    return jspgfn.simulate.linear_gaussian(
        n_variables=3, n_samples=60, interventions=0.5, random_state=0
    )


def test_a_pipeline_hands_interventions_on(data):
    with config_context(enable_metadata_routing=True):
        asked = jspgfn.ExactPosterior("bge").set_fit_request(interventions=True)
        pipe = make_pipeline(StandardScaler(), asked)
        pipe.fit(data.X, interventions=data.interventions)
        plain = make_pipeline(StandardScaler(), jspgfn.ExactPosterior("bge"))
        plain.fit(data.X)
    x = StandardScaler().fit_transform(data.X)
    est = jspgfn.ExactPosterior("bge").fit(x, interventions=data.interventions)
    expected = est.log_partition_
    assert pipe[-1].log_partition_ == expected
    assert plain[-1].log_partition_ != expected


def test_a_search_cuts_interventions_with_the_rows(data):
    with config_context(enable_metadata_routing=True):
        est = jspgfn.ExactPosterior()
        est.set_fit_request(interventions=True).set_score_request(interventions=True)
        search = GridSearchCV(est, {"model": ["bge", "nig"]}, cv=2)
        search.fit(data.X, interventions=data.interventions)
    half = np.arange(60) < 30
    by_hand = [
        jspgfn.ExactPosterior(search.best_params_["model"])
        .fit(data.X[part], interventions=data.interventions[part])
        .score(data.X[~part], interventions=data.interventions[~part])
        for part in (half, ~half)
    ]
    assert search.best_score_ == pytest.approx(np.mean(by_hand))
