"""NUTS of the peers: the two data sets, and the least bulk effective sample size over all scalar parameters a second."""
import numpy as np
from common import emit, rss_mib
from svi_common import S8, Y8  # noqa: F401  (the scripts import them from here)

CHAINS, WARMUP, DRAWS = 4, 1000, 1000
SEEDS = range(1, 6)


def waves(rows, columns):
    """The columns and outcomes that `programs/logistic_nuts.bayes` makes, to the same numbers."""
    wave = 43758.5453 * np.sin(12.9898 * np.arange(1.0, rows * columns + 1.0))
    coin = 24634.6345 * np.sin(78.233 * np.arange(1.0, rows + 1.0))
    table = (2.0 * (wave - np.floor(wave)) - 1.0).reshape(rows, columns)
    rate = 1.0 / (1.0 + np.exp(-(2.0 * table[:, 0] - table[:, 1])))
    return 1.7 * table, (coin - np.floor(coin) < rate).astype(np.int64)


def least_ess(draws):
    """The least bulk effective sample size over all scalars of arrays [chain, draw, …] by name."""
    import arviz as az

    ess = az.ess(az.from_dict(posterior=draws), method="bulk")
    return min(float(np.min(ess[name].values)) for name in ess.data_vars)


def report(peer, model, runs, first_call_s, **more):
    """One JSON line of one peer.

    `runs`: seconds and draws of samplings with seeds of their own that find everything compiled; `first_call_s`:
    seconds from the start of the process to the end of the first one, with imports and compilation. Effective sample sizes are the mean over the
    runs, since the least over all scalars moves by a third from seed to seed; seconds are the least.
    """
    ess = float(np.mean([least_ess(draws) for _, draws in runs]))
    seconds = min(seconds for seconds, _ in runs)
    emit(
        kind="nuts", peer=peer, model=model, min_bulk_ess=ess, sampling_s=seconds, ess_per_s=ess / seconds,
        first_call_s=first_call_s, ess_per_s_first_call=ess / first_call_s, peak_rss_mib=rss_mib(), **more,
    )
