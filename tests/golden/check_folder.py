"""Holds the network against a folder of golden numbers.

    python tests/golden/check_folder.py FOLDER

Prints the worst error of each quantity over all cases of the folder and exits with 1
when one is out of tolerance. README.md beside this file describes the format.

Network and heads are the compiled ones; the model and the loss come from the slow twin in
tests/reference/paper.py, which also has heads of its own, held against the same files.
"""

import pathlib
import re
import sys

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from jspgfn import _core
from reference import paper

REAL = np.float32 if _core.config()["real"] == "float" else np.float64
OUTPUT_TOLERANCE = 2e-5 if REAL is np.float32 else 1e-10
"""Of |difference| / (1 + |value|)."""
GRADIENT_TOLERANCE = 1e-4 if REAL is np.float32 else 1e-6
"""Of the L2 norm of the difference relative to the norm of the array."""
ADAM_TOLERANCE = 1e-4
"""Of losses after Adam steps, which magnify rounding of small gradients."""
ROUNDED_TOLERANCE = max(1e-6, OUTPUT_TOLERANCE)
"""log_p_theta of `lingauss_full` has a constant that was rounded to float32, also in what
is made of it."""
TWIN_TOLERANCE = 1e-9
"""Of the slow twin, when it gets the golden parameters of the head as input."""


class Report:
    """Worst error and its tolerance by quantity."""

    def __init__(self):
        self.worst = {}

    def add(self, quantity, error, tolerance, case):
        error = float(error) if np.isfinite(error) else np.inf
        known = self.worst.get(quantity)
        if known is None or error / tolerance >= known[0] / known[1]:
            self.worst[quantity] = (error, tolerance, case)

    def compare(self, quantity, ours, golden, case, tolerance=OUTPUT_TOLERANCE):
        """Infinite entries must be equal, the others close."""
        golden, ours = np.asarray(golden, float), np.asarray(ours, float)
        finite = np.isfinite(golden)
        same = ours.shape == golden.shape and (
            np.array_equal(golden[~finite], ours[~finite], equal_nan=True)
        )
        error = np.zeros(0)
        if same:
            error = np.abs(ours[finite] - golden[finite]) / (1 + np.abs(golden[finite]))
        self.add(quantity, error.max(initial=0) if same else np.inf, tolerance, case)

    def failed(self):
        return [name for name, (e, t, _) in self.worst.items() if not e <= t]

    def print(self):
        print(f"{'quantity':<44} {'worst error':>12} {'tolerance':>10}  case")
        for name, (error, tolerance, case) in self.worst.items():
            mark = " " if error <= tolerance else "!"
            print(f"{name:<44} {error:>12.2e} {tolerance:>10.0e} {mark} {case}")


def load(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def split_name(path):
    """('lingauss_diag', 4, is_empty_case) of forward_lingauss_diag_d4.npz and so on."""
    found = re.fullmatch(r"(?:forward|loss)_(\w+?)_d(\d+)(_empty)?", path.stem)
    return found[1], int(found[2]), bool(found[3])


def as_columns(name, value, D):
    """A golden array in the shape of our table: vectors are columns."""
    value = value[:D] if name == "embed.embeddings" else value
    value = np.asarray(value, REAL)
    return np.ascontiguousarray(value.reshape(len(value), -1))


def make_network(trunk, D):
    network = _core.GnnNetwork(D)
    ours = network.parameters()
    assert set(ours) == set(trunk), set(ours) ^ set(trunk)
    network.set_parameters({k: as_columns(k, v, D) for k, v in trunk.items()})
    return network


def run_network(network, case, suffix=""):
    """log_pi, node features, global features in float64."""
    prefix = "next_" if suffix == "tp1" else ""
    outputs = network.forward(
        np.ascontiguousarray(case[prefix + "adjacency"], np.uint8),
        np.ascontiguousarray(case[prefix + "mask"], np.uint8),
        float(case["N"]),
    )
    return [np.asarray(output, np.float64) for output in outputs]


def core_name(head_name):
    return {"mlp_gauss": "mlp"}.get(head_name, head_name.removeprefix("lingauss_"))


class CompiledHead:
    """A head of the compiled core with the methods of the twin's heads, for own samples."""

    def __init__(self, name, params):
        params = {k: as_columns(k, v, len(v)) for k, v in params.items()}
        self.kind, self.params, self.head = core_name(name), params, None

    def forward(self, nodes, globals_, mask):
        self.mask = np.asarray(mask, float)
        self.features = [np.ascontiguousarray(x, REAL) for x in (nodes, globals_)]
        parents = mask
        if self.kind == "mlp":  # rows of hidden weights that are active
            D = mask.shape[1]
            parents = mask[..., 5 : 5 * (D + 1)].reshape(*mask.shape[:2], D, 5)[..., 0]
        self.adjacency = np.ascontiguousarray(np.swapaxes(parents, 1, 2), np.uint8)
        if self.head is None:
            self.head = _core.GnnHead(self.kind, self.adjacency.shape[1])
            self.head.set_parameters(self.params)

    def sample(self, eps):
        outputs = self.head.forward(
            self.adjacency, *self.features, np.ascontiguousarray(eps, np.float64)
        )
        self.loc, self.U, theta, self.log_p, self.slope = outputs
        return theta

    def log_prob(self, theta):
        """(B, K, 1): summed over variables already."""
        del theta
        return self.log_p[:, :, None]

    def log_prob_backward(self, d):
        self.d_log_prob = np.ascontiguousarray(d)

    def negative_slope(self):
        return self.slope

    def slope_backward(self, d_slope, d_theta):
        self.d_slope, self.d_theta = d_slope, d_theta

    def backward(self, gradients):
        *d_features, found = self.head.backward(
            self.d_log_prob,
            np.ascontiguousarray(self.d_theta),
            np.ascontiguousarray(self.d_slope),
        )
        for name, value in found.items():
            value = value.astype(np.float64)
            value = value[:, 0] if name.endswith(".b") else value
            gradients[name] = gradients.get(name, 0) + value
        return d_features


# ---- forward cases ---------------------------------------------------------------------


def check_forward(report, path, trunk, head_params):
    case = load(path)
    head_name, D, _ = split_name(path)
    log_pi, nodes, globals_ = run_network(make_network(trunk, D), case)
    report.compare("log_pi", log_pi, case["log_pi"], path.stem)
    report.compare("feat_nodes", nodes, case["feat_nodes"], path.stem)
    report.compare("feat_globals", globals_, case["feat_globals"], path.stem)
    mask = np.swapaxes(case["adjacency"], 1, 2)
    if head_name == "mlp_gauss":
        mask = paper.mlp_mask(case["adjacency"])
    if "theta_mask" in case:
        report.compare("theta_mask", mask, case["theta_mask"], path.stem, 0.5)
    eps = case["eps"].astype(float)
    head = CompiledHead(head_name, head_params)
    # features of the compiled network: errors of both add up
    head.forward(nodes, globals_, mask)
    theta = head.sample(eps)
    found = {"theta_loc": head.loc, "theta": theta}
    if head_name == "lingauss_full":
        found["theta_precision_triu"] = head.U
    elif head_name == "lingauss_diag":
        # where masked the scale is a constant that is never used
        scale = 1 / np.diagonal(head.U, axis1=2, axis2=3)
        found["theta_scale"] = np.where(mask, scale, case["theta_scale"])
    else:
        # published loc and scale are not masked; where masked they are never used
        found["theta_loc"] = np.where(mask, head.loc, case["theta_loc"])
        found["theta_scale"] = np.where(mask, head.U, case["theta_scale"])
    for name, value in found.items():
        report.compare(name, value, case[name], path.stem)
    log_p = head.log_prob(theta).sum(2)
    report.compare(
        "log_p_theta", log_p, case["log_p_theta"].sum(2), path.stem, ROUNDED_TOLERANCE
    )
    # golden features: the twin alone
    head = paper.make_head(head_name, head_params)
    head.forward(case["feat_nodes"], case["feat_globals"], mask)
    theta = head.sample(eps)
    report.compare("twin: theta", theta, case["theta"], path.stem, TWIN_TOLERANCE)
    report.compare(
        "twin: log_p_theta",
        head.log_prob(theta),
        case["log_p_theta"],
        path.stem,
        ROUNDED_TOLERANCE,
    )


# ---- loss cases ------------------------------------------------------------------------


def check_loss_terms(report, case, values, before, after, stem):
    sides = {"t": before, "tp1": after}
    for suffix, side in sides.items():
        found = {
            "theta": side.theta,
            "log_p_theta": side.log_p,
            "log_lik": side.log_lik,
            "log_prior_theta": side.log_prior,
            "score": side.score,
        }
        for name, value in found.items():
            tolerance = 1e-4 if name in ("log_lik", "score") else ROUNDED_TOLERANCE
            golden = case[f"{name}_{suffix}"]
            report.compare(f"loss: {name}", value, golden, stem, tolerance)
        penalty = case.get(f"guarded_penalty_{suffix}", case[f"penalty_{suffix}"])
        report.compare("loss: penalty", side.penalty, penalty, stem, 1e-4)
    # residuals are differences of scores: relative to the size of those
    size = np.abs(case["score_t"]).max()
    error = np.abs(values["residual"] - case["residual"]).max() / size
    report.add("loss: residual / largest score", error, 1e-4, stem)
    for name in ("huber_mean", "loss_term1"):
        report.compare(
            f"loss: {name}", values[name], case[name], stem, ROUNDED_TOLERANCE
        )
    golden = case.get("guarded_loss", case["loss"])
    report.compare("loss: loss", values["loss"], golden, stem, 1e-4)


def compute_gradients(network, case, head, trunk, penalty_weight):
    """Values of the loss and gradients by golden name."""
    data = case["data"].astype(float)
    interventions = case["interventions"].astype(float)
    both = {}
    for suffix, prefix in (("t", ""), ("tp1", "next_")):
        log_pi, nodes, globals_ = run_network(network, case, suffix)
        side = paper.Side(
            head[suffix],
            (nodes, globals_),
            case[prefix + "adjacency"],
            case[f"eps_{suffix}"].astype(float),
            data,
            interventions,
        )
        both[suffix] = (side, log_pi)
    before, after = both["t"][0], both["tp1"][0]
    values, *d_log_pi, d_before, d_after, d_penalty = paper.loss(
        case, before, after, both["t"][1], both["tp1"][1], penalty_weight
    )
    gradients = {}
    for k, (suffix, d_log_p) in enumerate((("t", d_before), ("tp1", d_after))):
        d_nodes, d_globals = both[suffix][0].backward(d_log_p, d_penalty, gradients)
        run_network(network, case, suffix)
        found = network.backward(
            d_log_pi[k],
            np.ascontiguousarray(d_nodes, REAL),
            np.ascontiguousarray(d_globals, REAL),
        )
        for name, value in found.items():
            shape = trunk[name].shape
            shape = value.shape if name == "embed.embeddings" else shape
            gradient = value.astype(np.float64).reshape(shape)
            gradients[name] = gradients.get(name, 0) + gradient
    return values, before, after, gradients


def compare_gradient(report, label, prefix, ours, case, name, stem):
    """By the whole array where it is stored, else by norm, first entries and a dot
    product; errors relative to the norm of the array."""
    norm = float(case[f"{prefix}_norm/{name}"])
    flat = ours.ravel()
    group = "heads" if name.startswith("posterior_parameters") else "network"
    quantity = f"{label} of the {group}"
    if name == "multi_head_attention.key.b":
        # mathematically zero: compare with the gradient of its neighbour
        scale = float(case[f"{prefix}_norm/multi_head_attention.key.w"])
        error = np.linalg.norm(flat) / scale
        report.add(f"{label} of the key's bias", error, GRADIENT_TOLERANCE, stem)
        return
    if f"{prefix}/{name}" in case and norm > 0:
        error = np.linalg.norm(ours - case[f"{prefix}/{name}"]) / norm
    else:
        cosines = np.cos(np.arange(flat.size))
        error = max(
            abs(np.linalg.norm(flat) - norm),
            abs(flat @ cosines - float(case[f"{prefix}_dot/{name}"])) / 4,
            np.linalg.norm(flat[:8] - case[f"{prefix}_head/{name}"]),
        ) / (norm or 1)
    report.add(quantity, error, GRADIENT_TOLERANCE, stem)


def losses_during_adam(case, head_name, D, trunk, head_params, make=CompiledHead):
    """The loss before and after 1 to 5 steps of Adam on the same batch and draws."""
    params = {name: np.asarray(value, float) for name, value in trunk.items()}
    params["embed.embeddings"] = params["embed.embeddings"][:D]
    params.update(
        {name: np.asarray(value, float) for name, value in head_params.items()}
    )
    first = {name: np.zeros_like(value) for name, value in params.items()}
    second = {name: np.zeros_like(value) for name, value in params.items()}
    losses = []
    for t in range(1, 7):
        inner = {name: params[name] for name in trunk}
        head_now = {name: params[name] for name in head_params}
        heads = {s: make(head_name, head_now) for s in ("t", "tp1")}
        values, _, _, gradients = compute_gradients(
            make_network(inner, D), case, heads, inner, 1.0
        )
        losses.append(values["loss"])
        for name, gradient in gradients.items():
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            step = first[name] / (1 - 0.9**t)
            step /= np.sqrt(second[name] / (1 - 0.999**t)) + 1e-8
            if (
                name != "multi_head_attention.key.b"
            ):  # rounding noise, made large by Adam
                params[name] = params[name] - 1e-3 * step
    return losses


def check_adam(report, case, path, trunk, head_params):
    head_name, D, is_empty = split_name(path)
    losses = losses_during_adam(case, head_name, D, trunk, head_params)
    golden = case["guarded_adam_losses" if is_empty else "adam_losses"]
    report.compare("losses during Adam", losses, golden, path.stem, ADAM_TOLERANCE)


def check_loss(report, path, trunk, head_params):
    case = load(path)
    head_name, D, is_empty = split_name(path)
    network = make_network(trunk, D)
    log_pi = {s: run_network(network, case, s)[0] for s in ("t", "tp1")}
    for suffix, value in log_pi.items():
        report.compare("log_pi", value, case[f"log_pi_{suffix}"], path.stem)
    whole = "guarded_grad" if is_empty else "grad"
    for label, prefix, weight, make in (
        ("gradient", whole, 1.0, CompiledHead),
        ("gradient of term 1", "grad_term1", 0.0, CompiledHead),
        ("twin's head: gradient", whole, 1.0, paper.make_head),
    ):
        heads = {s: make(head_name, head_params) for s in ("t", "tp1")}
        values, before, after, gradients = compute_gradients(
            network, case, heads, trunk, weight
        )
        if weight:
            check_loss_terms(report, case, values, before, after, path.stem)
        for name, value in gradients.items():
            compare_gradient(report, label, prefix, value, case, name, path.stem)
    check_adam(report, case, path, trunk, head_params)


# ---- the loss of the core ---------------------------------------------------------------


def make_trainer(case, head_name, D, params):
    """The compiled trainer on the data of a case, with its parameters and constants."""
    data = np.ascontiguousarray(case["data"], np.float64)
    interventions = np.ascontiguousarray(case["interventions"], np.uint8)
    limits = [D] * D
    is_mlp = head_name == "mlp_gauss"
    others = {"hidden": 5.0} if is_mlp else {"weight_scale": 1.0}
    scores = _core.Scores(
        data,
        interventions,
        model="mlp" if is_mlp else "linear",
        model_fields={"noise_scale": paper.NOISE_VARIANCE**0.5, **others},
        graph_prior="uniform",
        max_parents=limits,
        candidates=[[i for i in range(D) if i != j] for j in range(D)],
        intercept=False,
        n_threads=1,
        edge_log_odds=None,
        required=None,
        n_states=None,
    )
    trainer = _core.GnnTrainer(
        scores,
        head=core_name(head_name),
        allowed=np.ones((D, D), np.uint8),
        max_parents=limits,
        graph_prior="uniform",
        edge_log_odds=None,
        n_iter=10,
        batch_size=1,
        n_theta_samples=1,
        learning_rate=1e-3,
        logit_scale=float(case["N"]),
        residual_scale=float(case["N"]),
        delta=float(case["delta"]),
        seed=0,
        n_threads=1,
        n_prefill=1,
        replay_capacity=8,
    )
    trainer.set_parameters({k: as_columns(k, v, D) for k, v in params.items()})
    return trainer


def check_core_loss(report, path, trunk, head_params):
    """Loss and gradients as the trainer computes them."""
    case = load(path)
    head_name, D, is_empty = split_name(path)
    trainer = make_trainer(case, head_name, D, {**trunk, **head_params})
    arguments = [
        np.ascontiguousarray(case[name], np.uint8)
        for name in ("adjacency", "next_adjacency", "mask", "next_mask")
    ]
    values, gradients = trainer.loss(
        *arguments,
        np.ascontiguousarray(case["action"], np.int32),
        np.ascontiguousarray(case["eps_t"], np.float64),
        np.ascontiguousarray(case["eps_tp1"], np.float64),
    )
    golden = case.get("guarded_loss", case["loss"])
    loss = values["huber"] + values["penalty"]
    report.compare("core: loss", loss, golden, path.stem, 1e-4)
    report.compare(
        "core: loss_term1",
        values["huber"],
        case["loss_term1"],
        path.stem,
        ROUNDED_TOLERANCE,
    )
    size = np.abs(case["score_t"]).max()
    mean = np.abs(values["residual"] - case["residual"].mean())
    square = np.abs(values["residual_square"] - (case["residual"] ** 2).mean())
    report.add("core: mean residual", mean / size, 1e-4, path.stem)
    report.add("core: mean square of residuals", square / size**2, 1e-4, path.stem)
    prefix = "guarded_grad" if is_empty else "grad"
    for name, value in gradients.items():
        shape = value.shape if name == "embed.embeddings" else trunk.get(name, value)
        shape = shape if isinstance(shape, tuple) else shape.shape
        ours = value.astype(np.float64)
        ours = ours.reshape(head_params[name].shape if name in head_params else shape)
        compare_gradient(report, "core: gradient", prefix, ours, case, name, path.stem)


def check(folder):
    """A Report over all cases of a folder."""
    folder = pathlib.Path(folder)
    report = Report()
    trunk = load(folder / "params_trunk.npz")
    cases = sorted(folder.glob("forward_*.npz")) + sorted(folder.glob("loss_*.npz"))
    if not cases:
        raise FileNotFoundError(f"no forward_*.npz or loss_*.npz in {folder}")
    for path in cases:
        head_name, D, _ = split_name(path)
        head_params = load(folder / f"params_head_{head_name}_d{D}.npz")
        run = check_forward if path.stem.startswith("forward") else check_loss
        run(report, path, trunk, head_params)
        if run is check_loss:
            check_core_loss(report, path, trunk, head_params)
    return report


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    report = check(sys.argv[1])
    report.print()
    sys.exit(1 if report.failed() else 0)


if __name__ == "__main__":
    main()
