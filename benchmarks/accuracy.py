"""How close the trained sampler comes to exact posteriors.

    python benchmarks/accuracy.py small      all DAGs of 5 variables, simulated data
    python benchmarks/accuracy.py medium     12 variables
    python benchmarks/accuracy.py peaked     8 variables, modes hundreds of nats apart
    python benchmarks/accuracy.py sachs      11 proteins, 853 cells
    python benchmarks/accuracy.py all

Total variation is half the sum of |q - p| over all DAGs. KL is log Z - mean(log R -
log q) over draws, in nats; one draw far out in the tail can carry it, so the median is
printed too. Edge errors are |frequency in the draws - exact probability|; 10,000
independent draws alone have errors of 0.002 to 0.003 (RMSE) and about 0.01 (largest).
The seconds are wall time of the whole fit, tables and chains included. The chain columns
are edge errors of the competitor, StructureMCMC as it comes, with the same wall time and
threads: on marginals of easy posteriors it beats a set of draws.
"""

import argparse
import time

import numpy as np

import jspgfn
from common import cases, enumerated, exact_of, local_scores, print_table, write


def as_object(model, fields):
    return {"linear": jspgfn.LinearGaussian, "bge": jspgfn.BGe}[model](**fields)


def fit(x, mask, model, graph_prior, preprocess, args, seed, seconds):
    start = time.perf_counter()
    estimator = jspgfn.JSPGFN(
        model=model,
        graph_prior=graph_prior,
        preprocess=preprocess,
        max_time=seconds,
        n_jobs=args.n_jobs,
        random_state=seed,
    ).fit(x, interventions=mask)
    return estimator, time.perf_counter() - start


def chain_edges(estimator, x, mask, args, seed):
    """Edge probabilities by tempered structure MCMC under the estimator's settings."""
    shared = ("model", "graph_prior", "preprocess", "n_jobs")
    settings = {name: getattr(estimator, name) for name in shared}
    chain = jspgfn.StructureMCMC(**settings, max_time=args.time, random_state=seed)
    return chain.fit(x, interventions=mask).edge_probabilities()


def compare(estimator, x, mask, exact, args, seed):
    """KL with its error, weights, edge errors of draws, and those of the competitor."""
    n_draws = args.n_draws
    posterior = estimator.sample(n_draws, random_state=seed)
    gap = exact.log_Z - (posterior.log_reward - posterior.log_prob)
    edges = posterior.graphs.mean(axis=0)
    weighted = np.tensordot(posterior.weights, posterior.graphs, 1)
    error, weighted_error = edges - exact.edges, weighted - exact.edges
    chain_error = chain_edges(estimator, x, mask, args, seed) - exact.edges
    return {
        "KL": gap.mean(),
        "KL error": gap.std() / np.sqrt(n_draws),
        "KL median": np.median(gap),
        "ESS": 1 / (posterior.weights**2).sum() / n_draws,
        "edge RMSE": np.sqrt((error**2).mean()),
        "edge max": np.abs(error).max(),
        "weighted max": np.abs(weighted_error).max(),
        "chain RMSE": np.sqrt((chain_error**2).mean()),
        "chain max": np.abs(chain_error).max(),
    }


def small(args):
    """Ten simulated data sets of 5 variables, two priors: total variation."""
    rows = []
    for graph_prior in ("uniform", "fair"):
        for seed in range(args.n_data):
            data = jspgfn.simulate.linear_gaussian(
                n_variables=5, n_samples=100, random_state=seed
            )
            x = np.asarray(data.X)
            graphs, exact, _ = enumerated(
                local_scores.tables(x, graph_prior=graph_prior)
            )
            estimator, seconds = fit(
                x, None, "linear", graph_prior, None, args, seed, args.small_time
            )
            q = np.exp(estimator.log_prob(graphs))
            rows.append(
                {
                    "prior": graph_prior,
                    "seed": seed,
                    "total variation": np.abs(q - np.exp(exact)).sum() / 2,
                    "sum of q - 1": q.sum() - 1,
                    "seconds": seconds,
                }
            )
    print_table(rows)
    distance = [row["total variation"] for row in rows]
    off = max(abs(row["sum of q - 1"]) for row in rows)
    summary = {
        "median": np.median(distance),
        "worst": max(distance),
        "sum of q, largest error": off,
    }
    print(f"total variation: median {summary['median']:.5f}, worst {max(distance):.5f}")
    print(f"sum of probabilities: 1 within {off:.1e}")
    return {"rows": rows, "summary": summary}


def one_case(name, args, seconds):
    case = cases.load(name)
    exact = exact_of(
        case.x,
        case.mask,
        model=case.model,
        graph_prior=case.graph_prior,
        fields=case.fields,
    )
    model = as_object(case.model, case.fields)
    estimator, taken = fit(
        case.x, case.mask, model, case.graph_prior, None, args, 0, seconds
    )
    return {
        "data": name,
        **compare(estimator, case.x, case.mask, exact, args, 1),
        "seconds": taken,
    }


def medium(args):
    """12 variables, 1 and 2 edges per node, bundled and simulated data."""
    rows = [one_case(f"d12_linear_er{k}_n100", args, args.time) for k in (1, 2)]
    for edges_per_node in (1, 2):
        for seed in range(args.n_medium):
            data = jspgfn.simulate.linear_gaussian(
                n_variables=12,
                n_samples=100,
                edges_per_node=edges_per_node,
                random_state=seed,
            )
            x = np.asarray(data.X)
            exact = exact_of(x)
            estimator, taken = fit(
                x, None, "linear", "uniform", None, args, seed, args.time
            )
            rows.append(
                {
                    "data": f"simulated e{edges_per_node} seed {seed}",
                    **compare(estimator, x, None, exact, args, seed + 1),
                    "seconds": taken,
                }
            )
    print_table(rows)
    return {"rows": rows}


def peaked(args):
    """Noise fixed too small on purpose: far-apart modes."""
    rows = [one_case("d08_peaked_n500_81", args, args.time)]
    print_table(rows)
    return {"rows": rows}


def sachs(args):
    """Protein signalling, natural logarithms, BGe, fair prior, standardised."""
    data = jspgfn.datasets.load_sachs()
    x = np.log(np.asarray(data.data, float))
    standardised = (x - x.mean(axis=0)) / x.std(axis=0)
    exact = exact_of(standardised, model="bge", graph_prior="fair")
    estimator, taken = fit(x, None, "bge", "fair", "standardize", args, 0, args.time)
    rows = [
        {
            "data": "sachs",
            **compare(estimator, x, None, exact, args, 1),
            "seconds": taken,
        }
    ]
    print_table(rows)
    return {"rows": rows}


def main():
    parts = {"small": small, "medium": medium, "peaked": peaked, "sachs": sachs}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=[*parts, "all"])
    parser.add_argument("--time", type=float, default=15.0, help="seconds per fit")
    parser.add_argument("--small-time", type=float, default=10.0)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--n-draws", type=int, default=10_000)
    parser.add_argument("--n-data", type=int, default=10, help="data sets in `small`")
    parser.add_argument("--n-medium", type=int, default=3, help="seeds in `medium`")
    args = parser.parse_args()
    for name, part in parts.items():
        if args.part in (name, "all"):
            print(f"\n{name}: {part.__doc__}")
            result = part(args)
            write(f"accuracy_{name}", settings=vars(args), **result)


if __name__ == "__main__":
    main()
