"""Writes loo.json: fixed log likelihoods with the leave-one-out numbers that ArviZ gives for them.

    pip install arviz==0.23.4 && python loo.py > loo.json

Made with ArviZ 0.23.4, NumPy 2.4.6, SciPy 1.17.1. ArviZ takes the divisor n for the variance behind the standard error of
elpd_loo; here it is n - 1, as in Vehtari, Gelman & Gabry 2017, eq. 23, and the R package loo.
"""
import json
import warnings

import numpy as np

warnings.simplefilter("ignore")
import arviz as az  # noqa: E402
import xarray as xr  # noqa: E402

rng = np.random.default_rng(20261124)


def normal_mean(n_draws, y):
    """Log likelihoods of y ~ Normal(mu, 1), mu from its posterior under a flat prior."""
    mu = y.mean() + rng.normal(size=n_draws) / np.sqrt(len(y))
    return -0.5 * (y[None, :] - mu[:, None]) ** 2 - 0.5 * np.log(2 * np.pi)


cases = {
    # name: (chains, draws x observations, relative efficiency)
    "normal": (1, normal_mean(300, np.array([0.3, -0.8, 1.1, 0.2, 4.0])), 1.0),
    "heavy_tails": (1, -np.abs(rng.standard_t(1.5, (300, 4))), 1.0),
    "few_draws": (1, rng.normal(-2.0, 0.4, (30, 3)), 1.0),
    "correlated_draws": (2, rng.normal(-1.0, 1.0, (200, 4)), 0.3),
    "far_down": (1, rng.normal(-800.0, 3.0, (250, 3)), 1.0),
}
out = []
for name, (chains, x, reff) in cases.items():
    x = np.round(x, 5)
    array = xr.DataArray(x.reshape(chains, -1, x.shape[1]), dims=["chain", "draw", "i"])
    data = az.InferenceData(
        posterior=xr.Dataset({"mu": array.isel(i=0)}), log_likelihood=xr.Dataset({"y": array})
    )
    loo = az.loo(data, pointwise=True, reff=reff)
    elpd = loo.loo_i.values
    seen = np.array([np.logaddexp.reduce(c) for c in x.T]) - np.log(len(x))
    out.append(
        {
            "name": name,
            "draws": len(x),
            "relative_efficiency": reff,
            "log_likelihood": x.T.ravel().tolist(),  # observation by observation
            "elpd": elpd.tolist(),
            "p": (seen - elpd).tolist(),
            "pareto_k": loo.pareto_k.values.tolist(),
            "elpd_loo": float(loo.elpd_loo),
            "se": float(np.sqrt(len(elpd) * elpd.var(ddof=1))),
            "p_loo": float(loo.p_loo),
            "good_k": float(loo.good_k),
        }
    )

print(json.dumps({"cases": out}))
