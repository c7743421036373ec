"""NUTS by nutpie (numba) on a PyMC model, float64, 4 chains of 1000 + 1000 draws. --model eight|logreg"""
from common import parse, process_age
args = parse(lambda p: p.add_argument("--model", default="eight"))
import os, time
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # the chains run side by side
import logging, warnings
warnings.filterwarnings("ignore"); logging.getLogger("pymc").setLevel(logging.ERROR)
import nutpie
import pymc as pm
from nuts_common import CHAINS, DRAWS, S8, SEEDS, WARMUP, Y8, report, waves

if __name__ == "__main__":
    with pm.Model() as model:
        if args.model == "eight":
            names = ["mu", "tau", "z"]
            mu = pm.Normal("mu", 0, 5); tau = pm.HalfCauchy("tau", 5); z = pm.Normal("z", 0, 1, shape=8)
            pm.Normal("y", mu + tau * z, S8, observed=Y8)
        else:
            names = ["a", "b"]
            x, y = waves(1000, 25)
            a = pm.Normal("a", 0, 2.5); b = pm.Normal("b", 0, 2.5, shape=25)
            pm.Bernoulli("y", logit_p=a + pm.math.dot(x, b), observed=y)
    compiled = nutpie.compile_pymc_model(model)
    runs = []
    for seed in (0, *SEEDS):
        begin = time.perf_counter()
        fit = nutpie.sample(compiled, draws=DRAWS, tune=WARMUP, chains=CHAINS, cores=args.threads, seed=seed, progress_bar=False)
        seconds = time.perf_counter() - begin
        if seed == 0:
            first = process_age()
        else:
            runs.append((seconds, {n: fit.posterior[n].values for n in names}))
    report("nutpie", args.model, runs, first, threads=args.threads)
