"""Eight schools and synthetic logistic-regression data, shared by the peers."""
import numpy as np
Y8 = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
S8 = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def logreg(n, d, seed=0):
    r = np.random.default_rng(seed)
    x = r.standard_normal((n, d))
    b = r.standard_normal(d) * 0.5
    y = (r.random(n) < 1 / (1 + np.exp(-(x @ b + 0.3)))).astype(np.int64)
    return x, y
