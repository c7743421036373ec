"""NUTS by Stan (pystan 3), double, 4 chains of 1000 + 1000 draws on two processes. --model eight|logreg

The model's cache is cleared first, so that its compilation counts; the sampling time includes httpstan's transport of the draws.
"""
from common import parse, process_age
args = parse(lambda p: p.add_argument("--model", default="eight"))
import time
import httpstan.cache, httpstan.models
import numpy as np
import stan
from nuts_common import CHAINS, DRAWS, S8, SEEDS, WARMUP, Y8, report, waves

EIGHT = """
data { int J; vector[J] y; vector<lower=0>[J] s; }
parameters { real mu; real<lower=0> tau; vector[J] z; }
model { mu ~ normal(0, 5); tau ~ cauchy(0, 5); z ~ normal(0, 1); y ~ normal(mu + tau * z, s); }
"""
LOGISTIC = """
data { int N; int D; matrix[N, D] x; array[N] int<lower=0, upper=1> y; }
parameters { real a; vector[D] b; }
model { a ~ normal(0, 2.5); b ~ normal(0, 2.5); y ~ bernoulli_logit_glm(x, a, b); }
"""
if args.model == "eight":
    code, data, scalars, names = EIGHT, dict(J=8, y=Y8.tolist(), s=S8.tolist()), ("mu", "tau"), ["mu", "tau", "z"]
else:
    x, y = waves(1000, 25)
    code, data, scalars, names = LOGISTIC, dict(N=1000, D=25, x=x.tolist(), y=y.tolist()), ("a",), ["a", "b"]
try:
    httpstan.cache.delete_model_directory(httpstan.models.calculate_model_name(code))
except Exception:
    pass


def arrays(fit):
    """The draws [chain, draw, …] by name."""
    draws = {}
    for name in names:
        values = np.stack([fit[name][:, chain::CHAINS].T for chain in range(CHAINS)])  # chains are interleaved
        draws[name] = values[..., 0] if name in scalars else values
    return draws


posterior = stan.build(code, data=data, random_seed=0)
posterior.sample(num_chains=CHAINS, num_warmup=WARMUP, num_samples=DRAWS)
first = process_age()
runs = []
for seed in SEEDS:
    posterior = stan.build(code, data=data, random_seed=seed)  # found in the cache
    begin = time.perf_counter()
    fit = posterior.sample(num_chains=CHAINS, num_warmup=WARMUP, num_samples=DRAWS)
    runs.append((time.perf_counter() - begin, arrays(fit)))
report("Stan", args.model, runs, first, threads=args.threads)
