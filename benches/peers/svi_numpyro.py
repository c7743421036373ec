"""Mean-field SVI in float64, one particle, Adam 1e-2: numpyro svi.update in a compiled lax.scan (what svi.run does, without its re-trace and re-compile on each call). --model eight|logreg, --elbo trace|mf"""
from common import Load, LAST_LOAD, emit, median, parse, process_age, rss_mib
args = parse(lambda p: (p.add_argument("--model", default="eight"), p.add_argument("--nsteps", type=int, default=0), p.add_argument("--elbo", default="trace")))
import time
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpyro, numpyro.distributions as dist
from numpyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from numpyro.infer.autoguide import AutoNormal
from svi_common import S8, Y8, logreg


def eight():
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("J", 8):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mu + tau * z, S8), obs=Y8)


X, Yl = logreg(10000, 50)


def lr():
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    b = numpyro.sample("b", dist.Normal(jnp.zeros(50), 1.0).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=a + X @ b), obs=Yl)


m = eight if args.model == "eight" else lr
n = args.nsteps or (100000 if args.model == "eight" else 1000)
svi = SVI(m, AutoNormal(m), numpyro.optim.Adam(1e-2), (Trace_ELBO if args.elbo == "trace" else TraceMeanField_ELBO)())
st = svi.init(jax.random.PRNGKey(0))
body = jax.jit(lambda s: jax.lax.scan(lambda s, _: svi.update(s), s, None, length=n))
t = time.perf_counter(); s2, l2 = body(st); l2.block_until_ready(); compile_and_run = time.perf_counter() - t
ld, sc = Load(), []
for _ in range(5):
    t = time.perf_counter(); s2, l2 = body(st); l2.block_until_ready(); sc.append(time.perf_counter() - t)
LAST_LOAD[0] = ld.cores()
emit(kind="svi", peer="numpyro", model=args.model, dtype="f64", threads=args.threads, elbo=args.elbo, steps_per_s_scan=n / median(sc), scan_compile_s=compile_and_run - median(sc), final_loss=float(jnp.mean(l2[-1000:])), peak_rss_mib=rss_mib(), n=n,
     total_process_s=process_age())
