"""Simulation-based calibration: is the truth a typical draw of its posterior?

    python benchmarks/calibration.py exact --data-sets 500
    python benchmarks/calibration.py chain --data-sets 500
    python benchmarks/calibration.py edges --data-sets 500
    python benchmarks/calibration.py gnn --variables 4 --iter 1500
    python benchmarks/calibration.py gnn --variables 5 6 --iter 1000 --weak
    python benchmarks/calibration.py exact --wrong

Graph, parameters and rows are drawn from the prior, the posterior is sampled, and the
rank of the truth among 99 draws is uniform if all is well (tests/reference/calibration.py).
One row per model and quantity: chi-square p-value over 20 bins and the share of truths
inside the central 90 % of their draws. `--wrong` fits with another prior than the data
came from; every model must then fail. `--weak` takes five rows and halves the effects:
flat posteriors, which "gnn" learns in seconds.
"""

import argparse
import json
import pathlib
import sys
import time
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))

from calibrate import FIELDS, N_DRAWS, WARNINGS, calibrate
from reference.calibration import p_values


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("generator", choices=["exact", "chain", "edges", "gnn"])
    parser.add_argument("--data-sets", type=int, default=500)
    parser.add_argument("--variables", type=int, nargs="*", default=[4, 5, 6])
    parser.add_argument("--models", nargs="*", default=None)
    parser.add_argument("--iter", type=int, default=None, help="updates or moves")
    parser.add_argument("--wrong", action="store_true", help="negative control")
    parser.add_argument("--weak", action="store_true", help="little data")
    parser.add_argument("--json", type=pathlib.Path, help="file for the ranks")
    args = parser.parse_args()
    models = ["linear"] if args.generator == "gnn" else list(FIELDS)
    for kind in WARNINGS:
        warnings.simplefilter("ignore", kind)
    everything, lowest = {}, []
    for D in args.variables:
        for name in args.models or models:
            begin = time.process_time()
            collected = calibrate(
                name,
                D,
                args.generator,
                args.data_sets,
                wrong=args.wrong,
                n_iter=args.iter,
                weak=args.weak,
            )
            seconds = time.process_time() - begin
            everything[f"{name} {D}"] = collected
            found = p_values(collected, N_DRAWS)
            for quantity, (p, inside) in found.items():
                print(
                    f"{args.generator:6} {name:9} D = {D}  {quantity:28} "
                    f"p = {p:.2g}  90 % interval {100 * inside:.1f} %"
                )
                lowest.append(p)
            print(f"{'':8}{seconds:.1f} CPU seconds", flush=True)
    n, expected = len(lowest), 1 - 2 * 5 / (N_DRAWS + 1)
    print(
        f"{n} quantities: smallest p {min(lowest):.2g}, times {n} (Bonferroni) "
        f"{min(1, n * min(lowest)):.2g}; 90 % intervals hold {100 * expected:.0f} %, "
        f"standard error {100 * (0.09 / args.data_sets) ** 0.5:.1f} %"
    )
    if args.json:
        args.json.write_text(json.dumps(everything), encoding="utf-8")


if __name__ == "__main__":
    main()
