"""What each ingredient of the training is worth: the same updates with one changed.

    python benchmarks/ablations.py
    python benchmarks/ablations.py --problems sachs_int_bge d16_e2_0 --n-iter 2500

Distances from the exact posterior are explained in measure.py, names of problems too.
One seed and one thread; differences below a factor of 1.5 in KL are not real.
"""

import argparse
import time
import warnings

import numpy as np

import jspgfn
import measure
from common import print_table, write
from jspgfn import _core
from jspgfn._engine import default_learning_rate

VARIANTS = {
    "default": {},
    "plain chains only": {"n_ensembles": 0},
    "no missed graphs": {"n_missed": 0},
    "missed graphs at full weight": {"missed_weight": 1},
    "missed graphs shown 20 times": {"missed_turns": 20},
    "missed graphs kept for ever": {"missed_turns": 1e9},
    "no missed graphs 12 nats down": {"missed_spread": 0},
    "no wild draws": {"n_wild": 0},
    "chains only, nothing kept": {"n_ensembles": 0, "n_missed": 0, "n_wild": 0},
    "no proposals to chains": {"proposals": 0},
    "residuals up to 40": {"clip_high": 40},
    "no full conditionals": {"conditional_share": 0},
}


def train(scores, args, tuning):
    begin = time.process_time()
    trainer = _core.Trainer(
        scores,
        n_iter=args.n_iter,
        batch_size=32,
        learning_rate=default_learning_rate(scores.n_variables, is_gnn=False),
        likelihood_fraction=0.2,
        seed=0,
        n_threads=1,
        tuning=tuning,
    )
    trainer.step(args.n_iter)
    return trainer, time.process_time() - begin


def compare(name, args):
    given = measure.problem(name)
    _, exact = measure.solve(given)
    estimator = jspgfn.JSPGFN(**given.settings, n_iter=1, n_jobs=1, random_state=0)
    estimator.set_params(candidates=given.x.shape[1] - 1)
    estimator.fit(given.x, interventions=given.mask)
    scores = estimator._engine.tables.scores
    for label, tuning in VARIANTS.items():
        trainer, seconds = train(scores, args, tuning)
        distances = measure.measure(
            lambda n, trainer=trainer: trainer.sample(n, 1, 1),
            lambda graphs, trainer=trainer: trainer.log_prob(
                np.ascontiguousarray(graphs, dtype=np.uint8), 1
            ),
            exact,
            args.n_draws,
        )
        yield {"data": name, "training": label, **distances, "CPU s": seconds}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", nargs="+", default=["sachs_int_bge", "d16_e2_0"])
    parser.add_argument("--n-iter", type=int, default=2500)
    parser.add_argument("--n-draws", type=int, default=10_000)
    args = parser.parse_args()
    warnings.simplefilter("ignore", jspgfn.NoiseScaleWarning)
    rows = [row for name in args.problems for row in compare(name, args)]
    print_table(rows)
    write("ablations", settings=vars(args), rows=rows)


if __name__ == "__main__":
    main()
