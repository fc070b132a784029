"""Several trainings as one sampler: draws of all, weighted against their mixture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ._estimator import JSPGFN
from ._policies import mean_density
from ._posterior import Posterior
from ._streams import stream_seed
from ._validation import check_integer, check_seed, describe

# Largest difference of log rewards of the same graph between two fits of the same data.
SAME_REWARD = 1e-6


def merge(
    estimators: Sequence[JSPGFN], n: int = 1000, random_state: object = None
) -> Posterior:
    """Draws of several trainings on the same data, weighted as draws of their mixture.

    Each member draws its share of n. The probability of a graph is then the mean of those
    that the members give it, ``log_prob = log(mean_k q_k(G))``, whoever drew it
    (deterministic mixture weights; Owen and Zhou, JASA 95, 2000). A graph that one member
    hardly ever draws gets no large weight as long as another member draws it: of K
    members, no weight is more than K times what the best of them would give it. Modes that
    single trainings miss are there when one member has them.

    Parameters
    ----------
    estimators : list of JSPGFN
        Fitted with the generator "edges" to the same data, with the same model, prior,
        constraints and candidates; seeds and training may differ. They may come from other
        processes or machines.
    n : int
        Number of draws, at least one per member.
    random_state : int, numpy generator or None
        None draws a seed.

    Returns
    -------
    Posterior
        In the order of the members; take ``weighted=True`` in summaries. Unweighted ones
        are means over members.

    Raises
    ------
    ValueError
        When members are no fits of one problem.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=3, n_samples=50, random_state=0)
    >>> fits = [jspgfn.JSPGFN(n_iter=50, random_state=seed).fit(sim.X)
    ...         for seed in range(3)]
    >>> post = jspgfn.merge(fits, 600, random_state=0)
    >>> bool(abs(post.weights.sum() - 1) < 1e-12)
    True
    """
    members = check_members(estimators)
    check_integer("n", n, at_least=len(members))
    seed = check_seed(random_state)
    sizes = np.diff(np.arange(len(members) + 1) * n // len(members))
    parts = [
        member.sample(int(size), random_state=stream_seed(seed, k))
        for k, (member, size) in enumerate(zip(members, sizes, strict=True))
    ]
    merged = Posterior.concatenate(parts)
    rewards = [member.log_reward(merged.graphs) for member in members]
    if any(differ(rewards[0], other) for other in rewards[1:]):
        raise ValueError(
            "the members give the same graph different log_reward: they are fits of "
            "different data, models, priors, constraints or candidates"
        )
    log_qs = [member.log_prob(merged.graphs) for member in members]
    merged.log_prob = mean_density(log_qs)
    return merged


def check_members(estimators: Sequence[JSPGFN]) -> list[JSPGFN]:
    members = list(estimators) if isinstance(estimators, Iterable) else []
    if not members or not all(isinstance(member, JSPGFN) for member in members):
        raise ValueError(
            "estimators must be a list of fitted JSPGFN, at least one, got "
            f"{describe(estimators)}"
        )
    for member in members:
        if member.generator == "gnn":
            raise ValueError(
                "merge needs log q of any graph, which the generator 'gnn' only "
                "estimates; use generator='edges'"
            )
    return members


def differ(a: np.ndarray, b: np.ndarray) -> bool:
    return not bool(np.allclose(a, b, rtol=1e-12, atol=SAME_REWARD))
