"""Mean-field SVI in float64: tfp.vi.fit_surrogate_posterior, jit_compile=True, sample_size=1."""
import os
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
from common import Load, LAST_LOAD, emit, median, parse, process_age, rss_mib
args = parse(lambda p: (p.add_argument("--model", default="eight"), p.add_argument("--nsteps", type=int, default=0)))
import time
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(args.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
import tensorflow_probability as tfp
import tf_keras as tfk
from svi_common import S8, Y8, logreg
tfd, tfb = tfp.distributions, tfp.bijectors
f = lambda v: tf.constant(v, tf.float64)
if args.model == "eight":
    q = tfd.JointDistributionNamed(dict(
        mu=tfd.Normal(tf.Variable(f(0.0)), tfp.util.TransformedVariable(f(0.1), tfb.Softplus())),
        tau=tfd.LogNormal(tf.Variable(f(0.0)), tfp.util.TransformedVariable(f(0.1), tfb.Softplus())),
        z=tfd.Independent(tfd.Normal(tf.Variable(tf.zeros(8, tf.float64)), tfp.util.TransformedVariable(f(np.full(8, 0.1)), tfb.Softplus())), 1)))

    def tgt(mu, tau, z):
        return (tfd.Normal(f(0.0), f(5.0)).log_prob(mu) + tfd.HalfCauchy(f(0.0), f(5.0)).log_prob(tau)
                + tf.reduce_sum(tfd.Normal(f(0.0), f(1.0)).log_prob(z), -1)
                + tf.reduce_sum(tfd.Normal(mu[..., None] + tau[..., None] * z, f(S8)).log_prob(f(Y8)), -1))
else:
    X, Y = logreg(10000, 50)
    X, Y = f(X), f(Y.astype("float64"))
    q = tfd.JointDistributionNamed(dict(
        a=tfd.Normal(tf.Variable(f(0.0)), tfp.util.TransformedVariable(f(0.1), tfb.Softplus())),
        b=tfd.Independent(tfd.Normal(tf.Variable(tf.zeros(50, tf.float64)), tfp.util.TransformedVariable(f(np.full(50, 0.1)), tfb.Softplus())), 1)))

    def tgt(a, b):
        lg = a[..., None] + tf.linalg.matmul(b, X, transpose_b=True) if len(b.shape) > 1 else a + tf.linalg.matvec(X, b)
        return (tfd.Normal(f(0.0), f(1.0)).log_prob(a) + tf.reduce_sum(tfd.Normal(f(0.0), f(1.0)).log_prob(b), -1)
                + tf.reduce_sum(tfd.Bernoulli(logits=lg).log_prob(Y), -1))
n = args.nsteps or (50000 if args.model == "eight" else 500)
opt = tfk.optimizers.Adam(1e-2)
opt.build(q.trainable_variables)


@tf.function(jit_compile=True)
def fit(k):
    return tfp.vi.fit_surrogate_posterior(tgt, q, opt, num_steps=n, sample_size=1)


t = time.perf_counter(); l = fit(0).numpy(); first = time.perf_counter() - t
cold = process_age()
ld, ts = Load(), []
for i in range(4):
    t = time.perf_counter(); l = fit(0).numpy(); ts.append(time.perf_counter() - t)
LAST_LOAD[0] = ld.cores()
emit(kind="svi", peer="tfp", model=args.model, dtype="f64", threads=args.threads, steps_per_s=n / median(ts), compile_s=first - median(ts), final_loss=float(np.mean(l[-200:])), peak_rss_mib=rss_mib(), total_process_s=cold, n=n)
