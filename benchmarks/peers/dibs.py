"""dibs-lib: SVGD particles, joint with weights for `linear`, marginal for `bge`.

2,000 steps of 10 particles, more particles when there is more time, fewer steps when there
is less; step sizes, kernels and annealing are the package's defaults. Particles with cycles
are left out, as its authors do. log_weights are those of its mixture (DiBS+).
"""

import time

import _protocol as protocol
import numpy as np

N_STEPS = 2000
N_PARTICLES = 10
MOST_PARTICLES = 300
CHUNK = 20


def estimate(task):
    model, prior = protocol.expect(
        task, ("linear", "bge"), ("uniform", "fair"), interventions=True
    )
    import jax

    begin = time.process_time()
    sampler = sampler_of(task, model, prior)
    key = jax.random.PRNGKey(task.seed)
    for_compilation, per_step = time_of_step(sampler, key, N_PARTICLES)
    n_particles, n_steps = plan(task.budget, per_step / N_PARTICLES)
    if n_particles != N_PARTICLES:
        more, per_step = time_of_step(sampler, key, n_particles)
        for_compilation += more
        n_steps = steps_in(task.budget, per_step)
    started = time.process_time()
    found = sampler.sample(
        key=key, n_particles=n_particles, steps=n_steps, callback_every=CHUNK
    )
    computing = time.process_time() - started
    graphs = np.asarray(found if model == "bge" else found[0]).astype(np.uint8)
    weights = mixture(sampler, found, model, graphs, prior)
    kept = protocol.is_acyclic(graphs)
    seconds = time.process_time() - begin
    if not kept.any():
        raise protocol.CannotExpress("every particle has a cycle")
    info = {
        "model": "joint, linear" if model == "linear" else "marginal, bge",
        "prior": prior,
        "particles": n_particles,
        "steps": n_steps,
        "share of cyclic particles": float(1 - kept.mean()),
        "compile_seconds": for_compilation,
        "computing seconds": computing,
        "not matched": "acyclicity and graphs are relaxed while particles move",
    }
    graphs = graphs[kept]
    return protocol.Found(graphs.mean(axis=0), seconds, info, graphs, weights[kept])


def sampler_of(task, model, prior):
    import jax.numpy as jnp
    from dibs.inference import JointDiBS, MarginalDiBS
    from dibs.models import BGe, LinearGaussian

    d = task.n_variables
    x = jnp.asarray(protocol.prepared(task))
    mask = None if task.mask is None else jnp.asarray(task.mask, jnp.int32)
    shared = {"x": x, "interv_mask": mask, "graph_model": graph_prior(d, prior)}
    if model == "bge":
        return MarginalDiBS(**shared, likelihood_model=BGe(n_vars=d))
    noise = task.settings.get("noise_scale", protocol.PAPER_NOISE)
    scale = task.settings.get("weight_scale", 1.0)
    likelihood = LinearGaussian(n_vars=d, obs_noise=noise**2, sig_edge=scale)
    return JointDiBS(**shared, likelihood_model=likelihood)


def graph_prior(d, prior):
    """Its interface asks for one method; `fair` is continued to soft numbers of parents."""
    import jax.numpy as jnp
    from jax.scipy.special import gammaln

    class Prior:
        def unnormalized_log_prob_soft(self, *, soft_g):
            if prior == "uniform":
                return jnp.array(0.0)
            k = soft_g.sum(axis=0)
            return (gammaln(k + 1) + gammaln(d - k) - gammaln(d)).sum()

    return Prior()


def time_of_step(sampler, key, n_particles):
    """Seconds to compile, and of a step once it is compiled."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        sampler.sample(
            key=key, n_particles=n_particles, steps=CHUNK, callback_every=CHUNK
        )
        times.append(time.process_time() - begin)
    last = min(times[1:])
    return times[0] - last, last / CHUNK


def steps_in(budget, per_step):
    return max(1, min(N_STEPS, int(budget / per_step)) // CHUNK) * CHUNK


def plan(budget, per_particle):
    """Particles first where all steps can be afforded."""
    n_particles = int(budget / (N_STEPS * per_particle))
    n_particles = min(max(n_particles, N_PARTICLES), MOST_PARTICLES)
    return n_particles, steps_in(budget, n_particles * per_particle)


def mixture(sampler, found, model, graphs, prior):
    """Log weights of DiBS+; the package leaves the prior out, which is added here."""
    if model == "bge":
        log_p = mixture_log_p(sampler, found)
    else:
        log_p = mixture_log_p(sampler, *found)
    if prior == "fair":
        table = protocol.log_fair(graphs.shape[1])
        log_p = log_p + table[graphs.sum(axis=1)].sum(axis=1)
    return log_p


def mixture_log_p(sampler, *found):
    return np.asarray(sampler.get_mixture(*found).logp, float)


if __name__ == "__main__":
    protocol.run(estimate, "dibs-lib")
