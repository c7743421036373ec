"""NUTS by NumPyro, chains in parallel, float64, 4 chains of 1000 + 1000 draws. --model eight|logreg"""
from common import parse, process_age
args = parse(lambda p: p.add_argument("--model", default="eight"))
import os, time
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
import jax
jax.config.update("jax_enable_x64", True)
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import numpyro, numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS
from nuts_common import CHAINS, DRAWS, S8, SEEDS, WARMUP, Y8, report, waves

X, Y = waves(1000, 25)


def eight():
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("J", 8):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mu + tau * z, S8), obs=Y8)


def logistic():
    a = numpyro.sample("a", dist.Normal(0.0, 2.5))
    b = numpyro.sample("b", dist.Normal(jnp.zeros(25), 2.5).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=a + X @ b), obs=Y)


# A repeated run compiles again; JAX's own events say for how long, and that is taken off (tracing stays in).
compiling = {"seconds": 0.0}


def listen(name, seconds, **_):
    if name.endswith(("backend_compile_duration", "jaxpr_to_mlir_module_duration")):
        compiling["seconds"] += seconds


jax.monitoring.register_event_duration_secs_listener(listen)
sampler = MCMC(
    NUTS(eight if args.model == "eight" else logistic),
    num_warmup=WARMUP, num_samples=DRAWS, num_chains=CHAINS, chain_method="parallel", progress_bar=False,
)
sampler.run(jax.random.PRNGKey(0)); jax.block_until_ready(sampler.get_samples())
first = process_age()
runs = []
for seed in SEEDS:
    compiling["seconds"] = 0.0
    begin = time.perf_counter()
    sampler.run(jax.random.PRNGKey(seed))
    draws = sampler.get_samples(group_by_chain=True); jax.block_until_ready(draws)
    seconds = time.perf_counter() - begin - compiling["seconds"]
    runs.append((seconds, {name: np.asarray(value) for name, value in draws.items()}))
report("NumPyro", args.model, runs, first, threads=args.threads)
