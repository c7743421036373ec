//! What the tables do not hold: for each distribution its moments in words, parameters to plot, and a program.

/// A parameter of a curve.
pub enum Param {
    /// A number.
    S(f64),
    /// A vector.
    V(&'static [f64]),
}
use Param::{S, V};

/// What the reference adds to the rows of a distribution.
pub struct Example {
    /// Its name.
    pub name: &'static str,
    /// The mean; empty where there is nothing to say.
    pub mean: &'static str,
    /// The variance.
    pub variance: &'static str,
    /// Parameters of the first form, one curve each; none for vectors and improper densities.
    pub curves: &'static [&'static [Param]],
    /// What the plot shows of the axis.
    pub range: (f64, f64),
    /// A program that uses it.
    pub program: &'static str,
}

/// The example of the distribution `name`.
pub fn of(name: &str) -> Option<&'static Example> {
    ALL.iter().find(|e| e.name == name)
}

/// All examples. Those of distributions that do not exist are not shown.
pub const ALL: &[Example] = &[
    Example {
        name: "Normal",
        mean: "loc",
        variance: "scale^2",
        curves: &[&[S(0.0), S(1.0)], &[S(0.0), S(2.0)], &[S(2.0), S(0.5)]],
        range: (-6.0, 6.0),
        program: r#"data y: real[N] = [2.1, 1.4, 3.0, 2.6]

model {
  mu ~ Normal(0, 10)
  sigma ~ HalfNormal(5)
  y ~ Normal(mu, sigma)
}
"#,
    },
    Example {
        name: "Laplace",
        mean: "loc",
        variance: "2 scale^2",
        curves: &[&[S(0.0), S(1.0)], &[S(0.0), S(2.0)], &[S(2.0), S(0.5)]],
        range: (-6.0, 6.0),
        program: r#"data y: real[N]    = [2.1, 1.4, 3.0, 2.6]
data X: real[N, 2] = [[1.0, 0.2], [0.5, 0.1], [1.5, -0.3], [1.2, 0.9]]

model {
  w: real[2] ~ Laplace(0, 0.5)
  y ~ Normal(X @ w, 0.5)
}
"#,
    },
    Example {
        name: "StudentT",
        mean: "loc for df > 1",
        variance: "scale^2 df / (df - 2) for df > 2",
        curves: &[&[S(1.0), S(0.0), S(1.0)], &[S(4.0), S(0.0), S(1.0)], &[S(30.0), S(0.0), S(1.0)]],
        range: (-6.0, 6.0),
        program: r#"data y: real[N] = [2.1, 1.4, 3.0, 26.0]

model {
  mu ~ Normal(0, 10)
  y ~ StudentT(4, mu, 1)
}
"#,
    },
    Example {
        name: "Cauchy",
        mean: "does not exist",
        variance: "does not exist",
        curves: &[&[S(0.0), S(0.5)], &[S(0.0), S(1.0)], &[S(2.0), S(1.0)]],
        range: (-6.0, 6.0),
        program: r#"data y: real[N] = [2.1, 1.4, 3.0, 2.6]

model {
  mu ~ Cauchy(0, 2.5)
  y ~ Normal(mu, 1)
}
"#,
    },
    Example {
        name: "Logistic",
        mean: "loc",
        variance: "pi^2 scale^2 / 3",
        curves: &[&[S(0.0), S(1.0)], &[S(0.0), S(0.5)], &[S(2.0), S(1.0)]],
        range: (-8.0, 8.0),
        program: r#"data y: real[N] = [2.1, 1.4, 3.0, 2.6]

model {
  mu ~ Normal(0, 10)
  y ~ Logistic(mu, 1)
}
"#,
    },
    Example {
        name: "Gumbel",
        mean: "loc + 0.5772 scale",
        variance: "pi^2 scale^2 / 6",
        curves: &[&[S(0.0), S(1.0)], &[S(0.0), S(2.0)], &[S(2.0), S(1.0)]],
        range: (-5.0, 10.0),
        program: r#"/// The highest water of each year.
data y: real[N] = [3.1, 2.4, 5.0, 3.6]

model {
  loc ~ Normal(3, 2)
  scale ~ HalfNormal(2)
  y ~ Gumbel(loc, scale)
}
"#,
    },
    Example {
        name: "AsymmetricLaplace",
        mean: "loc + scale (1 / asymmetry - asymmetry)",
        variance: "scale^2 (1 / asymmetry^2 + asymmetry^2)",
        curves: &[&[S(0.0), S(1.0), S(1.0)], &[S(0.0), S(1.0), S(2.0)], &[S(0.0), S(1.0), S(0.5)]],
        range: (-6.0, 6.0),
        program: r#"/// The lower quartile of y: the location where a quarter of the mass is below.
data y: real[N] = [2.1, 1.4, 3.0, 2.6]

model {
  q ~ Normal(0, 10)
  y ~ AsymmetricLaplace(q, 1, sqrt(1.0 / 3))
}
"#,
    },
    Example {
        name: "SkewNormal",
        mean: "loc + scale d sqrt(2 / pi), d = skewness / sqrt(1 + skewness^2)",
        variance: "scale^2 (1 - 2 d^2 / pi)",
        curves: &[&[S(0.0), S(1.0), S(0.0)], &[S(0.0), S(1.0), S(4.0)], &[S(0.0), S(1.0), S(-4.0)]],
        range: (-4.0, 4.0),
        program: r#"data y: real[N] = [2.1, 1.4, 3.0, 2.6]

model {
  mu ~ Normal(0, 10)
  alpha ~ Normal(0, 3)
  y ~ SkewNormal(mu, 1, alpha)
}
"#,
    },
    Example {
        name: "Flat",
        mean: "",
        variance: "",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: real[N] = [2.1, 1.4, 3.0, 2.6]

model {
  mu ~ Flat()
  y ~ Normal(mu, 1)
}
"#,
    },
    Example {
        name: "HalfNormal",
        mean: "scale sqrt(2 / pi)",
        variance: "scale^2 (1 - 2 / pi)",
        curves: &[&[S(0.5)], &[S(1.0)], &[S(2.0)]],
        range: (-0.5, 6.0),
        program: r#"data y: real[N] = [0.1, -1.4, 1.0, 0.6]

model {
  tau ~ HalfNormal(2)
  y ~ Normal(0, tau)
}
"#,
    },
    Example {
        name: "LogNormal",
        mean: "exp(loc + scale^2 / 2)",
        variance: "(exp(scale^2) - 1) exp(2 loc + scale^2)",
        curves: &[&[S(0.0), S(0.25)], &[S(0.0), S(0.5)], &[S(0.0), S(1.0)]],
        range: (-0.2, 5.0),
        program: r#"data y: real[N] in 0.. = [2.1, 1.4, 3.0, 2.6]

model {
  mu ~ Normal(0, 2)
  y ~ LogNormal(mu, 0.5)
}
"#,
    },
    Example {
        name: "HalfStudentT",
        mean: "2 scale sqrt(df) Gamma((df + 1) / 2) / ((df - 1) sqrt(pi) Gamma(df / 2)) for df > 1",
        variance: "scale^2 df / (df - 2) - mean^2 for df > 2",
        curves: &[&[S(1.0), S(1.0)], &[S(3.0), S(1.0)], &[S(30.0), S(1.0)]],
        range: (-0.5, 6.0),
        program: r#"data y: real[N] = [0.1, -1.4, 1.0, 0.6]

model {
  tau ~ HalfStudentT(3, 2.5)
  y ~ Normal(0, tau)
}
"#,
    },
    Example {
        name: "HalfCauchy",
        mean: "does not exist",
        variance: "does not exist",
        curves: &[&[S(0.5)], &[S(1.0)], &[S(2.0)]],
        range: (-0.5, 8.0),
        program: r#"data y: real[J] = [28, 8, -3, 7, -1, 1, 18, 12]

model {
  mu  ~ Normal(0, 5)
  tau ~ HalfCauchy(5)
  z: real[J] ~ Normal(0, 1)
  y ~ Normal(mu + tau * z, 10)
}
"#,
    },
    Example {
        name: "Exponential",
        mean: "1 / rate",
        variance: "1 / rate^2",
        curves: &[&[S(0.5)], &[S(1.0)], &[S(2.0)]],
        range: (-0.5, 6.0),
        program: r#"/// Minutes between two calls.
data y: real[N] in 0.. = [2.1, 0.4, 3.0, 1.6]

model {
  rate ~ Gamma(2, 2)
  y ~ Exponential(rate)
}
"#,
    },
    Example {
        name: "Weibull",
        mean: "scale Gamma(1 + 1 / concentration)",
        variance: "scale^2 Gamma(1 + 2 / concentration) - mean^2",
        curves: &[&[S(0.8), S(1.0)], &[S(1.5), S(1.0)], &[S(4.0), S(1.0)]],
        range: (-0.2, 3.0),
        program: r#"/// Years until a lamp fails.
data y: real[N] in 0.. = [2.1, 1.4, 3.0, 2.6]

model {
  shape ~ Gamma(4, 2)
  scale ~ HalfNormal(5)
  y ~ Weibull(shape, scale)
}
"#,
    },
    Example {
        name: "Pareto",
        mean: "concentration scale / (concentration - 1) for concentration > 1",
        variance: "concentration scale^2 / ((concentration - 1)^2 (concentration - 2)) for concentration > 2",
        curves: &[&[S(1.0), S(1.0)], &[S(2.0), S(1.0)], &[S(4.0), S(1.0)]],
        range: (0.0, 5.0),
        program: r#"/// Losses above a threshold of 1.
data y: real[N] in 1.. = [2.1, 1.4, 9.0, 1.2]

model {
  alpha ~ Gamma(2, 1)
  y ~ Pareto(alpha, 1)
}
"#,
    },
    Example {
        name: "Gamma",
        mean: "concentration / rate",
        variance: "concentration / rate^2",
        curves: &[&[S(1.0), S(1.0)], &[S(2.0), S(1.0)], &[S(5.0), S(2.0)]],
        range: (-0.2, 8.0),
        program: r#"data y: int[N] in 0.. = [3, 5, 2, 4]

model {
  rate ~ Gamma(2, 0.5)
  y ~ Poisson(rate)
}
"#,
    },
    Example {
        name: "InverseGamma",
        mean: "scale / (concentration - 1) for concentration > 1",
        variance: "scale^2 / ((concentration - 1)^2 (concentration - 2)) for concentration > 2",
        curves: &[&[S(2.0), S(1.0)], &[S(3.0), S(2.0)], &[S(5.0), S(10.0)]],
        range: (-0.1, 6.0),
        program: r#"data y: real[N] = [0.1, -1.4, 1.0, 0.6]

model {
  variance ~ InverseGamma(3, 2)
  y ~ Normal(0, sqrt(variance))
}
"#,
    },
    Example {
        name: "ChiSquared",
        mean: "df",
        variance: "2 df",
        curves: &[&[S(1.0)], &[S(3.0)], &[S(6.0)]],
        range: (-0.2, 12.0),
        program: r#"/// Sums of three squares.
data y: real[N] in 0..

model {
  scale ~ HalfNormal(2)
  df ~ Gamma(4, 1)
  y ~ ChiSquared(df)
}
"#,
    },
    Example {
        name: "InverseGaussian",
        mean: "mean",
        variance: "mean^3 / concentration",
        curves: &[&[S(1.0), S(0.5)], &[S(1.0), S(1.0)], &[S(1.0), S(5.0)]],
        range: (-0.1, 4.0),
        program: r#"data y: real[N] in 0.. = [2.1, 1.4, 3.0, 2.6]

model {
  m ~ LogNormal(0, 1)
  y ~ InverseGaussian(m, 4)
}
"#,
    },
    Example {
        name: "HalfFlat",
        mean: "",
        variance: "",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: real[N] = [0.1, -1.4, 1.0, 0.6]

model {
  sigma ~ HalfFlat()
  y ~ Normal(0, sigma)
}
"#,
    },
    Example {
        name: "Uniform",
        mean: "(lower + upper) / 2",
        variance: "(upper - lower)^2 / 12",
        curves: &[&[S(0.0), S(1.0)], &[S(-1.0), S(1.0)], &[S(1.0), S(3.0)]],
        range: (-2.0, 4.0),
        program: r#"data y: real[N] = [2.1, 1.4, 3.0, 2.6]

model {
  mu ~ Uniform(-5, 5)
  y ~ Normal(mu, 1)
}
"#,
    },
    Example {
        name: "Beta",
        mean: "alpha / (alpha + beta)",
        variance: "alpha beta / ((alpha + beta)^2 (alpha + beta + 1))",
        curves: &[&[S(0.5), S(0.5)], &[S(2.0), S(2.0)], &[S(2.0), S(6.0)]],
        range: (0.0, 1.0),
        program: r#"data y: int[N] in 0..2 = [1, 0, 1, 1]

model {
  p ~ Beta(2, 2)
  y ~ Bernoulli(p)
}
"#,
    },
    Example {
        name: "Kumaraswamy",
        mean: "b B(1 + 1 / a, b)",
        variance: "b B(1 + 2 / a, b) - mean^2",
        curves: &[&[S(0.5), S(0.5)], &[S(2.0), S(2.0)], &[S(2.0), S(6.0)]],
        range: (0.0, 1.0),
        program: r#"data y: int[N] in 0..2 = [1, 0, 1, 1]

model {
  p ~ Kumaraswamy(2, 2)
  y ~ Bernoulli(p)
}
"#,
    },
    Example {
        name: "VonMises",
        mean: "loc (the mean direction)",
        variance: "1 - I_1(concentration) / I_0(concentration) (the circular variance)",
        curves: &[&[S(0.0), S(0.5)], &[S(0.0), S(2.0)], &[S(1.0), S(8.0)]],
        range: (-3.1416, 3.1416),
        program: r#"/// Directions of flight, in radians.
data y: real[N] = [0.1, -0.4, 1.0, 0.6]

model {
  direction ~ Uniform(-3, 3)
  y ~ VonMises(direction, 4)
}
"#,
    },
    Example {
        name: "ContinuousBernoulli",
        mean: "p / (2 p - 1) + 1 / (2 atanh(1 - 2 p)), 1/2 at p = 1/2",
        variance: "in closed form",
        curves: &[&[S(0.2)], &[S(0.5)], &[S(0.9)]],
        range: (0.0, 1.0),
        program: r#"/// Grey values of a pixel.
data y: real[N] in 0..=1 = [0.1, 0.4, 1.0, 0.6]

model {
  a ~ Normal(0, 2)
  y ~ ContinuousBernoulli(logits = a)
}
"#,
    },
    Example {
        name: "Bernoulli",
        mean: "probs",
        variance: "probs (1 - probs)",
        curves: &[&[S(0.2)], &[S(0.7)]],
        range: (-0.5, 1.5),
        program: r#"data y: int[N] in 0..2 = [1, 0, 1, 1]

model {
  a ~ Normal(0, 1.5)
  y ~ Bernoulli(logits = a)
}
"#,
    },
    Example {
        name: "Categorical",
        mean: "not meaningful: classes have no order",
        variance: "",
        curves: &[&[V(&[0.1, 0.2, 0.4, 0.3])]],
        range: (-0.5, 3.5),
        program: r#"data y: int[N] in 0..3 = [0, 2, 1, 2]

model {
  a: real[3] ~ Normal(0, 1.5)
  y ~ Categorical(logits = a)
}
"#,
    },
    Example {
        name: "OrderedLogistic",
        mean: "",
        variance: "",
        curves: &[&[S(0.0), V(&[-1.0, 0.0, 1.5])], &[S(1.5), V(&[-1.0, 0.0, 1.5])]],
        range: (-0.5, 3.5),
        program: r#"/// Answers from 0 (no) to 2 (yes), more of them to the right as x grows.
data answer: int[N] in 0..3 = [0, 1, 2, 2]
data x: real[N]             = [-1.0, 0.2, 0.5, 2.0]

model {
  b ~ Normal(0, 1)
  answer ~ OrderedLogistic(b * x, [-1, 1])
}
"#,
    },
    Example {
        name: "Binomial",
        mean: "total probs",
        variance: "total probs (1 - probs)",
        curves: &[&[S(10.0), S(0.2)], &[S(10.0), S(0.5)], &[S(10.0), S(0.9)]],
        range: (-0.5, 10.5),
        program: r#"data tries: int[N] in 0..      = [20, 15, 8]
data hits: int[N] in 0..=tries = [14, 9, 2]

model {
  p ~ Beta(1, 1)
  hits ~ Binomial(tries, p)
}
"#,
    },
    Example {
        name: "BetaBinomial",
        mean: "total alpha / (alpha + beta)",
        variance: "total alpha beta (alpha + beta + total) / ((alpha + beta)^2 (alpha + beta + 1))",
        curves: &[&[S(10.0), S(1.0), S(1.0)], &[S(10.0), S(2.0), S(5.0)], &[S(10.0), S(0.5), S(0.5)]],
        range: (-0.5, 10.5),
        program: r#"/// Seeds that came up, of twenty in each pot; pots differ.
data up: int[N] in 0..=20 = [14, 19, 5, 12]

model {
  p ~ Beta(1, 1)
  k ~ Gamma(2, 0.1)
  up ~ BetaBinomial(20, p * k, (1 - p) * k)
}
"#,
    },
    Example {
        name: "Poisson",
        mean: "rate",
        variance: "rate",
        curves: &[&[S(1.0)], &[S(4.0)], &[S(10.0)]],
        range: (-0.5, 18.5),
        program: r#"data deaths: int[N] in 0..    = [3, 5, 2, 8]
data exposure: real[N] in 0.. = [10, 18, 6, 21]

model {
  a ~ Normal(-1, 1)
  deaths ~ Poisson(log_rate = a + log(exposure))
}
"#,
    },
    Example {
        name: "NegativeBinomial",
        mean: "mean",
        variance: "mean + mean^2 / concentration",
        curves: &[&[S(4.0), S(1.0)], &[S(4.0), S(4.0)], &[S(4.0), S(100.0)]],
        range: (-0.5, 18.5),
        program: r#"data y: int[N] in 0.. = [3, 0, 12, 1]

model {
  m ~ LogNormal(1, 1)
  k ~ Gamma(2, 0.1)
  y ~ NegativeBinomial(m, k)
}
"#,
    },
    Example {
        name: "Geometric",
        mean: "(1 - probs) / probs",
        variance: "(1 - probs) / probs^2",
        curves: &[&[S(0.2)], &[S(0.5)], &[S(0.8)]],
        range: (-0.5, 12.5),
        program: r#"data y: int[N] in 0.. = [3, 0, 2, 1]

model {
  p ~ Beta(1, 1)
  y ~ Geometric(p)
}
"#,
    },
    Example {
        name: "Hypergeometric",
        mean: "draws successes / population",
        variance: "draws (successes / population) (1 - successes / population) (population - draws) / (population - 1)",
        curves: &[&[S(50.0), S(10.0), S(10.0)], &[S(50.0), S(25.0), S(10.0)]],
        range: (-0.5, 10.5),
        program: r#"/// Marked fish among the ten that were caught, of which 20 swim in a pond of 100.
data marked: int in 0..=10

model {
  marked ~ Hypergeometric(100, 20, 10)
}
"#,
    },
    Example {
        name: "DiscreteUniform",
        mean: "(lower + upper) / 2",
        variance: "((upper - lower + 1)^2 - 1) / 12",
        curves: &[&[S(1.0), S(6.0)], &[S(0.0), S(9.0)]],
        range: (-1.5, 10.5),
        program: r#"/// One throw of a die.
data pips: int in 1..=6

model {
  pips ~ DiscreteUniform(1, 6)
}
"#,
    },
    Example {
        name: "Multinomial",
        mean: "total probs",
        variance: "total probs (1 - probs), entry by entry",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data votes: int[3] in 0.. = [41, 33, 26]

model {
  p ~ Dirichlet([1, 1, 1])
  votes ~ Multinomial(100, p)
}
"#,
    },
    Example {
        name: "Dirichlet",
        mean: "concentration / sum(concentration)",
        variance: "m (1 - m) / (sum(concentration) + 1), m the mean, entry by entry",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data kind: int[N] in 0..3 = [0, 2, 1, 2]

model {
  p ~ Dirichlet([2, 2, 2])
  kind ~ Categorical(p)
}
"#,
    },
    Example {
        name: "MultivariateNormal",
        mean: "loc",
        variance: "the diagonal of the covariance",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"/// Two measurements of the same things, with correlated errors.
data y: real[N, 2] = [[1.0, 1.2], [0.3, 0.1], [2.2, 1.9]]

model {
  mu: real[2] ~ Normal(0, 5)
  y ~ MultivariateNormal(mu, cov = [[1.0, 0.8], [0.8, 1.0]])
}
"#,
    },
    Example {
        name: "MultivariateStudentT",
        mean: "loc for df > 1",
        variance: "df / (df - 2) times the diagonal of scale_tril scale_tril' for df > 2",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: real[N, 2] = [[1.0, 1.2], [0.3, 0.1], [9.2, 7.9]]

model {
  mu: real[2] ~ Normal(0, 5)
  y ~ MultivariateStudentT(4, mu, [[1.0, 0.0], [0.8, 0.6]])
}
"#,
    },
    Example {
        name: "Delta",
        mean: "value",
        variance: "0",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: real[N] = [2.1, 1.4, 3.0, 2.6]

model {
  mu ~ Normal(0, 10)
  y ~ Normal(mu, 1)
}

guide {
  mu ~ Delta(?)
}

infer svi { steps = 500 }
"#,
    },
    Example {
        name: "RelaxedBernoulli",
        mean: "",
        variance: "",
        curves: &[&[S(1.0), S(0.5)], &[S(0.5), S(0.5)], &[S(0.5), S(0.8)]],
        range: (0.0, 1.0),
        program: r#"/// A switch that gradients can move.
data y: real[N] = [2.1, 1.4, 3.0, 2.6]

model {
  gate ~ RelaxedBernoulli(0.3, probs = 0.5)
  w ~ Normal(0, 2)
  y ~ Normal(gate * w, 1)
}
"#,
    },
    Example {
        name: "GumbelSoftmax",
        mean: "",
        variance: "",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: real[N] = [2.1, 1.4, 3.0, 2.6]

model {
  share ~ GumbelSoftmax(0.5, probs = [0.2, 0.3, 0.5])
  y ~ Normal(dot(share, [1.0, 2.0, 4.0]), 0.5)
}
"#,
    },
    Example {
        name: "OneHotCategorical",
        mean: "probs",
        variance: "probs (1 - probs), entry by entry",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: int[N, 3] in 0..2 = [[1, 0, 0], [0, 0, 1]]

model {
  p ~ Dirichlet([1, 1, 1])
  y ~ OneHotCategorical(p)
}
"#,
    },
    Example {
        name: "DirichletMultinomial",
        mean: "total m, m = concentration / sum(concentration)",
        variance: "total m (1 - m) (total + A) / (1 + A), A = sum(concentration)",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"/// Ten birds in each of two gardens, by kind.
data y: int[N, 3] in 0.. = [[5, 2, 3], [1, 8, 1]]

model {
  a: real[3] ~ Gamma(2, 1)
  y ~ DirichletMultinomial(10, a)
}
"#,
    },
    Example {
        name: "GaussianRandomWalk",
        mean: "start + (t + 1) drift",
        variance: "(t + 1) scale^2",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data volume: real[T] = csv("data/nile.csv").volume / 100

model {
  step  ~ HalfNormal(1)
  noise ~ HalfNormal(2)
  level: real[T] ~ GaussianRandomWalk(step, start = 11)
  volume ~ Normal(level, noise)
}
"#,
    },
    Example {
        name: "AR",
        mean: "loc",
        variance: "from the recursion, entry by entry",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data volume: real[T] = csv("data/nile.csv").volume / 100

model {
  mean ~ Normal(9, 2)
  phi ~ Uniform(-1, 1)
  sigma ~ HalfNormal(2)
  volume ~ AR([phi], sigma, mean)
}
"#,
    },
    Example {
        name: "ZeroSumNormal",
        mean: "0",
        variance: "scale^2 (1 - 1 / K)",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"table = csv("data/penguins.csv").drop_missing("body_mass_g")

size Species = levels(table.species)

data species: int[N] in 0..Species = codes(table.species, Species)
data mass: real[N]                 = table.body_mass_g / 1000

model {
  mean ~ Normal(4, 1)
  effect: real[Species] ~ ZeroSumNormal(1)
  mass ~ Normal(mean + effect[species], 0.5)
}
"#,
    },
    Example {
        name: "MatrixNormal",
        mean: "loc",
        variance: "products of the variances of rows and columns",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: real[3, 2] = [[1.0, 1.2], [0.3, 0.1], [2.2, 1.9]]

model {
  mu ~ Normal(0, 5)
  y ~ MatrixNormal(fill([3, 2], mu), eye(3), [[1.0, 0.0], [0.5, 0.8]])
}
"#,
    },
    Example {
        name: "Wishart",
        mean: "df scale",
        variance: "df (scale[i, j]^2 + scale[i, i] scale[j, j])",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: real[N, 2] = [[1.0, 1.2], [0.3, 0.1], [-2.2, -1.9]]

model {
  P: real[2, 2] ~ Wishart(4, eye(2))
  y ~ MultivariateNormal([0, 0], precision = P)
}
"#,
    },
    Example {
        name: "InverseWishart",
        mean: "scale / (df - p - 1) for df > p + 1",
        variance: "in closed form, entry by entry",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: real[N, 2] = [[1.0, 1.2], [0.3, 0.1], [-2.2, -1.9]]

model {
  S: real[2, 2] ~ InverseWishart(5, eye(2))
  y ~ MultivariateNormal([0, 0], cov = S)
}
"#,
    },
    Example {
        name: "LKJCholesky",
        mean: "in closed form, entry by entry",
        variance: "in closed form, entry by entry",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: real[N, 2] = [[1.0, 1.2], [0.3, 0.1], [-2.2, -1.9]]

model {
  L: real[2, 2] ~ LKJCholesky(2)
  scale: real[2] ~ HalfNormal(2)
  y ~ MultivariateNormal([0, 0], scale_tril = diag(scale) @ L)
}
"#,
    },
    Example {
        name: "LKJ",
        mean: "the identity",
        variance: "1 / (2 concentration + K - 1) beside the diagonal",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: real[N, 2] = [[1.0, 1.2], [0.3, 0.1], [-0.2, -0.9]]

model {
  R: real[2, 2] ~ LKJ(2)
  y ~ MultivariateNormal([0, 0], cov = R)
}
"#,
    },
    Example {
        name: "Mixture",
        mean: "",
        variance: "",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"/// Most measurements are good, one in ten is not.
data y: real[N] = [2.1, 1.9, 2.3, 9.7, 2.0]

model {
  mu ~ Normal(0, 5)
  y ~ Mixture([0.9, 0.1], [Normal(mu, 0.3), Normal(mu, 5)])
}
"#,
    },
    Example {
        name: "Truncated",
        mean: "",
        variance: "",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"/// Only heights above 0 are recorded at all.
data y: real[N] in 0.. = [0.3, 1.2, 0.5, 2.0]

model {
  mu ~ Normal(0, 2)
  y ~ Truncated(Normal(mu, 1), lower = 0)
}
"#,
    },
    Example {
        name: "Censored",
        mean: "",
        variance: "",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"/// Weeks until a relapse; who had none by the end counts with the probability of lasting longer.
table = csv("data/leukemia_remission.csv")
data weeks: real[N] in 0..   = table.time
data treated: real[N]        = table.treated
data relapse: int[N] in 0..2 = table.event

model {
  shape ~ Gamma(4, 4)
  a ~ Normal(2, 1)
  b ~ Normal(0, 1)
  scale = exp(a + b * treated)
  weeks ~ Censored(Weibull(shape, scale), upper = where(relapse == 1, inf, weeks))
}
"#,
    },
    Example {
        name: "ZeroInflated",
        mean: "(1 - p) times that of D",
        variance: "",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"/// Fish caught by eight parties, some of which did not fish.
data y: int[N] in 0.. = [0, 0, 4, 1, 0, 9, 2, 0]

model {
  none ~ Beta(1, 1)
  rate ~ Gamma(2, 0.5)
  y ~ ZeroInflated(none, Poisson(rate))
}
"#,
    },
    Example {
        name: "Hurdle",
        mean: "",
        variance: "",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"/// Days in hospital of ten people: first whether, then how long.
data y: int[N] in 0.. = [0, 0, 4, 1, 0, 9, 2, 0, 0, 3]

model {
  none ~ Beta(1, 1)
  rate ~ Gamma(2, 0.5)
  y ~ Hurdle(none, Poisson(rate))
}
"#,
    },
    Example {
        name: "Ordered",
        mean: "",
        variance: "",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"data y: int[N] in 0..3 = [0, 1, 2, 2]

model {
  cut: real[2] ~ Ordered(Normal(0, 2))
  y ~ OrderedLogistic(0, cut)
}
"#,
    },
    Example {
        name: "Transformed",
        mean: "",
        variance: "",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"/// A probability whose log odds are normal.
data y: int[N] in 0..2 = [1, 0, 1, 1]

model {
  p ~ Transformed(Normal(0, 1.5), sigmoid)
  y ~ Bernoulli(p)
}
"#,
    },
    Example {
        name: "Independent",
        mean: "",
        variance: "",
        curves: &[],
        range: (0.0, 0.0),
        program: r#"/// Two kinds of points in the plane: both coordinates of a point come from the same kind.
data y: real[N, 2] = [[1.9, 2.2], [-2.0, -1.1], [2.4, 1.6]]

model {
  w ~ Dirichlet([2, 2])
  a: real[2] ~ Normal(-2, 1)
  b: real[2] ~ Normal(2, 1)
  y ~ Mixture(w, [Independent(Normal(a, 1), 1), Independent(Normal(b, 1), 1)])
}
"#,
    },
];
