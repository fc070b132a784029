"""scikit-learn's own checks of ExactPosterior."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import jspgfn

# name of the check: why it cannot pass
EXPECTED_FAILURES: dict[str, str] = {}


@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")
@parametrize_with_checks(
    [jspgfn.ExactPosterior(n_jobs=1, random_state=0)],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_checks(estimator, check):
    check(estimator)
