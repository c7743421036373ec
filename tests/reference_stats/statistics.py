"""Writes statistics.json: fixed chains with the numbers that ArviZ gives for them.

    pip install arviz==0.23.4 && python statistics.py > statistics.json

Made with ArviZ 0.23.4, NumPy 2.4.6, SciPy 1.17.1. Quantiles are NumPy's default (type 7); sd has the divisor n - 1.
"""
import json
import warnings

import numpy as np

warnings.simplefilter("ignore")
import arviz as az  # noqa: E402

rng = np.random.default_rng(20261123)


def ar1(chains, draws, rho, shift=0.0):
    x = np.zeros((chains, draws))
    for c in range(chains):
        state = rng.normal()
        for t in range(draws):
            state = rho * state + np.sqrt(1 - rho**2) * rng.normal()
            x[c, t] = state + shift * c
    return x


cases = {
    "independent": rng.normal(3.0, 2.0, (1, 200)),
    "four_chains": ar1(4, 100, 0.5),
    "odd_length": ar1(3, 51, 0.7),
    "slow": ar1(2, 400, 0.97),
    "antithetic": ar1(2, 100, -0.6),
    "apart": ar1(4, 60, 0.2, shift=1.5),
    "heavy_tail": rng.standard_t(1.2, (2, 120)),
    "ties": rng.poisson(1.5, (2, 100)).astype(float),
    "skewed": np.exp(1.5 * ar1(2, 100, 0.3)),
}
statistics = []
for name, x in cases.items():
    x = np.round(x, 6)
    q5, q25, median, q75, q95 = np.quantile(x, [0.05, 0.25, 0.5, 0.75, 0.95])
    statistics.append(
        {
            "name": name,
            "chains": x.shape[0],
            "draws": x.shape[1],
            "data": x.ravel().tolist(),
            "mean": float(x.mean()),
            "sd": float(x.std(ddof=1)),
            "q5": q5, "q25": q25, "median": median, "q75": q75, "q95": q95,
            "rhat": float(az.rhat(x, method="rank")) if len(x) > 1 else None,  # it wants two chains
            "ess_bulk": float(az.ess(x, method="bulk")),
            "ess_tail": float(az.ess(x, method="tail")),
            "ess_mean": float(az.ess(x, method="mean")),
            "mcse_mean": float(az.mcse(x, method="mean")),
        }
    )

ratios = {
    "light": rng.normal(0.0, 0.5, 300),
    "moderate": rng.normal(0.0, 1.5, 400),
    "heavy": np.log(rng.pareto(1.0, 500) + 1.0),
    "very_heavy": np.log(rng.pareto(0.6, 250) + 1.0) - 700.0,
    "bounded": np.log(rng.uniform(0.5, 1.0, 200)),
}
pareto = []
for name, x in ratios.items():
    x = np.round(x, 6)
    pareto.append({"name": name, "log_ratios": x.tolist(), "pareto_k": float(az.psislw(x.copy())[1])})

print(json.dumps({"statistics": statistics, "pareto": pareto}))
