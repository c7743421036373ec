//! Special functions of doubles and their derivatives.
//!
//! Each documents its domain, its accuracy and the source of the formula; arguments outside the domain give NaN.
//! Relative accuracy unless said otherwise, away from zeros of the function.
mod bessel;
mod beta;
mod elementary;
mod gamma;
mod incomplete_beta;
mod incomplete_gamma;
pub mod lanes;
mod normal;
mod von_mises;

pub use bessel::{i0e, i1e};
pub use beta::{digamma_difference, lbeta, lbeta_grad, lchoose, lmgamma};
pub use elementary::{
    expm1, log_sigmoid, log1mexp, log1p, log1pexp, logaddexp, logdiffexp, logit, logsumexp, sigmoid, softplus_inv,
    xlogy,
};
pub use gamma::{digamma, lgamma, tetragamma, trigamma};
pub use incomplete_beta::{betainc, betainc_da, betainc_db, betainc_dx};
pub use incomplete_gamma::{gammainc, gammainc_da, gammainc_dx, gammaincc};
pub use normal::{erf, erfc, erfcx, erfinv, gelu, log_ndtr, ndtr, ndtri, owens_t};
pub use von_mises::{von_mises_mass, von_mises_mass_dk};

#[cfg(test)]
mod tests;
