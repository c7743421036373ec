//! What other systems call the things of this language, for help with names that come from there.

/// Distributions of Stan, NumPyro and PyTorch under other names.
const DISTRIBUTIONS: &[(&str, &str)] = &[
    ("gaussian", "Normal"),
    ("multi_normal", "MultivariateNormal"),
    ("mvnormal", "MultivariateNormal"),
    ("student_t", "StudentT"),
    ("neg_binomial_2", "NegativeBinomial"),
    ("negativebinomial2", "NegativeBinomial"),
    ("double_exponential", "Laplace"),
    ("inv_gamma", "InverseGamma"),
    ("bernoulli_logit", "Bernoulli"),
    ("categorical_logit", "Categorical"),
    ("multinoulli", "Categorical"),
    ("poisson_log", "Poisson"),
    ("lkj_corr_cholesky", "LKJCholesky"),
    ("mixturesamefamily", "Mixture"),
    ("lkj", "LKJ"),
    ("lkjcorr", "LKJ"),
    ("lkj_corr", "LKJ"),
    ("lkjcorrcholesky", "LKJCholesky"),
    ("inv_wishart", "InverseWishart"),
    ("dirmult", "DirichletMultinomial"),
    ("dirichlet_multinomial", "DirichletMultinomial"),
    ("onehot", "OneHotCategorical"),
    ("relaxedonehotcategorical", "GumbelSoftmax"),
    ("relaxedonehot", "GumbelSoftmax"),
    ("concrete", "GumbelSoftmax"),
    ("expconcrete", "GumbelSoftmax"),
    ("logitrelaxedbernoulli", "RelaxedBernoulli"),
    ("randomwalk", "GaussianRandomWalk"),
    ("random_walk", "GaussianRandomWalk"),
    ("autoregressive", "AR"),
    ("ar1", "AR"),
    ("sumtozero", "ZeroSumNormal"),
    ("matrix_normal", "MatrixNormal"),
    ("matrixvariatenormal", "MatrixNormal"),
    ("lowrankmultivariatenormal", "MultivariateNormal"),
    ("mvstudentt", "MultivariateStudentT"),
    ("multi_student_t", "MultivariateStudentT"),
    ("pointmass", "Delta"),
    ("dirac", "Delta"),
    ("diracdelta", "Delta"),
    ("wald", "InverseGaussian"),
    ("von_mises", "VonMises"),
];
/// Functions.
const FUNCTIONS: &[(&str, &str)] = &[
    ("inv_logit", "sigmoid"),
    ("expit", "sigmoid"),
    ("log_sum_exp", "logsumexp"),
    ("phi", "normal_cdf"),
    ("concatenate", "concat"),
    ("append_row", "concat"),
    ("std", "sd"),
    ("var", "variance"),
    ("rep_vector", "fill"),
    ("full", "fill"),
    ("arange", "range"),
    ("dot_product", "dot"),
    ("gammaln", "lgamma"),
    ("fabs", "abs"),
    ("pow", "^"),
    ("matmul", "@"),
    ("mm", "@"),
];
/// Parameters of distributions and optimizers.
const ARGUMENTS: &[(&str, &str)] = &[
    ("mean", "loc"),
    ("mu", "loc"),
    ("sd", "scale"),
    ("std", "scale"),
    ("stddev", "scale"),
    ("sigma", "scale"),
    ("nu", "df"),
    ("alpha", "concentration"),
    ("shape", "concentration"),
    ("beta", "rate"),
    ("lambda", "rate"),
    ("low", "lower"),
    ("high", "upper"),
    ("p", "probs"),
    ("prob", "probs"),
    ("n", "total"),
    ("total_count", "total"),
    ("covariance_matrix", "cov"),
    ("cov_factor", "factor"),
    ("cov_diag", "diag"),
    ("precision_matrix", "precision"),
    ("scale_matrix", "scale"),
    ("eta", "concentration"),
    ("tau", "temperature"),
    ("rho", "coefficients"),
    ("row_tril", "scale_tril_row"),
    ("column_tril", "scale_tril_column"),
    ("scale_row", "scale_tril_row"),
    ("scale_column", "scale_tril_column"),
    ("rowchol", "scale_tril_row"),
    ("colchol", "scale_tril_column"),
    ("lr", "learning_rate"),
    ("eps", "epsilon"),
    ("dim", "axis"),
    ("padding", "pad"),
    ("kernel_size", "kernel"),
    ("out_channels", "out"),
];
/// Algorithms of inference.
const ALGORITHMS: &[(&str, &str)] =
    &[("vi", "svi"), ("advi", "svi"), ("bbvi", "svi"), ("hmc", "nuts"), ("mcmc", "nuts"), ("sampling", "nuts")];

fn find(table: &'static [(&str, &str)], name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    table.iter().find(|(other, _)| *other == name).map(|(_, ours)| *ours)
}
/// Our name of a distribution.
pub fn distribution(name: &str) -> Option<&'static str> {
    find(DISTRIBUTIONS, name)
}
/// Our name of a function or operator.
pub fn function(name: &str) -> Option<&'static str> {
    find(FUNCTIONS, name)
}
/// Our name of an argument, if it is one of `names`.
pub fn argument(name: &str, names: &[&str]) -> Option<&'static str> {
    find(ARGUMENTS, name).filter(|ours| names.contains(ours))
}
/// Our name of an algorithm.
pub fn algorithm(name: &str) -> Option<&'static str> {
    find(ALGORITHMS, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_synonym_names_something_that_the_language_has() {
        for (other, ours) in FUNCTIONS {
            let operator = matches!(*ours, "@" | "^");
            assert!(operator || crate::builtins::get(ours).is_some(), "{other}: {ours}");
            assert!(crate::builtins::get(other).is_none(), "{other} is a function of its own");
        }
        for (_, ours) in ALGORITHMS {
            assert!(crate::check::settings::ALGORITHMS.contains(ours), "{ours}");
        }
        for (other, ours) in DISTRIBUTIONS {
            assert!(crate::dist::names().contains(ours) || *ours == "Mixture", "{other}: {ours}");
        }
        assert_eq!(argument("sigma", &["loc", "scale"]), Some("scale"));
        assert_eq!(argument("sigma", &["rate"]), None);
        assert_eq!(distribution("Gaussian"), Some("Normal"));
    }
}
