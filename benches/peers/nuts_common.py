"""NUTS of the peers: the two data sets, and the least bulk effective sample size over all scalar parameters a second."""
import numpy as np
from common import emit, rss_mib
from svi_common import S8, Y8  # noqa: F401  (the scripts import them from here)

CHAINS, WARMUP, DRAWS = 4, 1000, 1000


def waves(rows, columns):
    """The columns and outcomes that `programs/logistic_nuts.bayes` makes, to the same numbers."""
    wave = 43758.5453 * np.sin(12.9898 * np.arange(1.0, rows * columns + 1.0))
    coin = 24634.6345 * np.sin(78.233 * np.arange(1.0, rows + 1.0))
    table = (2.0 * (wave - np.floor(wave)) - 1.0).reshape(rows, columns)
    rate = 1.0 / (1.0 + np.exp(-(2.0 * table[:, 0] - table[:, 1])))
    return 1.7 * table, (coin - np.floor(coin) < rate).astype(np.int64)


def report(peer, model, draws, sampling_s, first_call_s, **more):
    """One JSON line of one peer.

    `draws`: arrays [chain, draw, …] by name; `sampling_s`: seconds of a sampling that finds everything compiled;
    `first_call_s`: seconds of the first one with its compilation (imports left out).
    """
    import arviz as az

    posterior = az.from_dict(posterior=draws)
    ess = az.ess(posterior, method="bulk")
    least = min(float(np.min(ess[name].values)) for name in ess.data_vars)
    emit(
        kind="nuts", peer=peer, model=model, min_bulk_ess=least, sampling_s=sampling_s, ess_per_s=least / sampling_s,
        first_call_s=first_call_s, ess_per_s_first_call=least / first_call_s, peak_rss_mib=rss_mib(), **more,
    )
