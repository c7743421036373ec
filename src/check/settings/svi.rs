//! Settings of `infer svi`: reading each, and what does not go together.

use super::{EstimatorChoice, KlChoice, Length, Minibatch, PrecisionChoice, SiteRate, StartChoice, SviSettings};
use crate::check::checker::{Checker, R};
use crate::diag::{Code, Diagnostic};
use crate::infer::objective::Objective;
use crate::infer::optim::Rule;
use crate::infer::plateau::Plateau;
use crate::infer::schedule::Shape;
use crate::kernels::conv::Method;
use crate::nearest::nearest;
use crate::syntax::ast::{self, ExprKind as Syntax};

impl<'p> Checker<'p> {
    pub(super) fn svi_setting(&mut self, svi: &mut SviSettings, setting: &ast::Setting) -> R<()> {
        let value = &setting.value;
        match setting.name.name.as_str() {
            "steps" => svi.length = Length::Steps(self.count(setting, 1)?),
            "epochs" => svi.length = Length::Epochs(self.count(setting, 1)?),
            "particles" => svi.particles = Some(self.count(setting, 1)?),
            "draws" => svi.draws = self.count(setting, 2)?,
            "seed" => svi.seed = self.count(setting, 0)? as u64,
            "clip" => svi.clip = Some(self.positive(setting, value)?),
            "anneal_kl" => svi.anneal_kl = self.count(setting, 0)?,
            "warmup_steps" => svi.schedule.warmup = self.count(setting, 0)? as u64,
            "minibatch" => {
                let Some(subject) = &setting.subject else {
                    return Err(self.error(
                        Code::E0702,
                        "`minibatch` needs the size that it subsamples",
                        setting.span,
                        "which size?",
                        "write `minibatch N = 64`",
                    ));
                };
                let rows = self.count(setting, 1)?;
                let Some(size) = self.known_size(&subject.name) else {
                    let names: Vec<String> = self.program.sizes.iter().map(|s| s.name.clone()).collect();
                    let mut d = Diagnostic::new(Code::E0201, format!("no size is called `{}`", subject.name))
                        .label(subject.span, "unknown size");
                    d = match nearest(&subject.name, names.iter().map(String::as_str)) {
                        Some(near) => d.help(format!("there is a size `{near}`")).fix(subject.span, near.to_string()),
                        None => d.help(format!("the sizes are `{}`", names.join("`, `"))),
                    };
                    return Err(self.report(d));
                };
                if let Some(n) = self.program.sizes[size].value.filter(|&n| rows > n) {
                    let message = format!("a minibatch of {rows} is larger than `{}`, which is {n}", subject.name);
                    return Err(self.error(
                        Code::E0703,
                        message,
                        setting.span,
                        "too many rows",
                        &format!("use at most {n}"),
                    ));
                }
                svi.minibatch = Some(Minibatch { size, rows, span: setting.span });
            }
            "optimizer" => {
                let (rule, rate) = self.optimizer(value)?;
                svi.optimizer = rule;
                svi.learning_rate = rate;
            }
            "schedule" => svi.schedule.shape = self.schedule(value)?,
            "kl" => {
                svi.kl = match self.choice(setting, &["auto", "closed", "monte_carlo"])? {
                    0 => KlChoice::Auto,
                    1 => KlChoice::Closed,
                    _ => KlChoice::MonteCarlo,
                };
            }
            "precision" => {
                svi.precision = match self.choice(setting, &["auto", "f32", "f64"])? {
                    0 => PrecisionChoice::Auto,
                    1 => PrecisionChoice::F32,
                    _ => PrecisionChoice::F64,
                };
            }
            "convolution" => {
                svi.convolution = match self.choice(setting, &["auto", "direct", "winograd"])? {
                    0 => Method::Auto,
                    1 => Method::Direct,
                    _ => Method::Winograd,
                };
            }
            "elbo" => svi.objective = self.objective(setting)?,
            "antithetic" => svi.antithetic = self.truth(setting)?,
            "rate" => {
                let rate = self.rate(setting)?;
                svi.rates.push(rate);
                // A name inside another one counts more, wherever it stands.
                svi.rates.sort_by_key(|r| r.name.matches('.').count());
            }
            "average" => svi.average = Some(self.in_range(setting, 0.0, 1.0, false)?),
            "stop" => svi.stop = Some(self.plateau(setting)?),
            "estimator" => {
                svi.estimator =
                    match self.choice(setting, &["auto", "reparam", "flipout", "local_reparam", "exact", "score"])? {
                        0 => EstimatorChoice::Auto,
                        1 => EstimatorChoice::Reparam,
                        2 => EstimatorChoice::Flipout,
                        3 => EstimatorChoice::LocalReparam,
                        4 => EstimatorChoice::Exact,
                        _ => EstimatorChoice::Score,
                    };
            }
            "restarts" => svi.restarts = self.count(setting, 1)?,
            "keep" => svi.keep = self.kept_fits(setting)?,
            "start" => {
                svi.start = match self.choice(setting, &["prior", "mode"])? {
                    0 => StartChoice::Prior,
                    _ => StartChoice::Mode,
                };
            }
            "reparam" => svi.reparam = self.reparam(setting)?,
            other => unreachable!("`{other}` is not in the list of settings"),
        }
        Ok(())
    }

    /// `elbo`, `iwae(k)`, `renyi(alpha, k)`, `tail_adaptive(k)`
    fn objective(&mut self, setting: &ast::Setting) -> R<Objective> {
        const NAMES: &[&str] = &["elbo", "iwae", "renyi", "tail_adaptive"];
        let word = self.word(&setting.value).map(|(w, args)| (w.to_string(), args.to_vec()));
        let span = setting.value.span;
        let Some((name, args)) = word.filter(|(w, _)| NAMES.contains(&w.as_str())) else {
            let message = format!("`elbo` must be one of `{}`", NAMES.join("`, `"));
            return Err(self.error(Code::E0702, message, span, "not one of them", "write `elbo = elbo`"));
        };
        let params: &[&str] = match name.as_str() {
            "elbo" => &[],
            "renyi" => &["alpha", "k"],
            _ => &["k"],
        };
        let values = self.numbers(&name, &args, params)?;
        if name == "elbo" {
            return Ok(Objective::Elbo);
        }
        let example = if name == "renyi" { "renyi(0.5, 16)".to_string() } else { format!("{name}(16)") };
        let k = match values.last().copied().flatten() {
            Some(k) if k.fract() == 0.0 && (2.0..=1e6).contains(&k) => k as usize,
            other => {
                let what = if other.is_some() { "`k` is" } else { "it needs its `k`," };
                let message = format!("{what} the number of draws under the logarithm, a whole number of at least 2");
                let help = format!("write for example `elbo = {example}`; with one draw it is the ELBO");
                return Err(self.error(Code::E0702, message, span, "how many draws?", &help));
            }
        };
        Ok(match name.as_str() {
            "iwae" => Objective::Iwae { k },
            "tail_adaptive" => Objective::TailAdaptive { k },
            _ => match values[0] {
                Some(alpha) if alpha >= 0.0 && alpha.is_finite() && (alpha - 1.0).abs() > 1e-6 => {
                    Objective::Renyi { alpha, k }
                }
                Some(alpha) if (alpha - 1.0).abs() <= 1e-6 => {
                    let message = "a Rényi bound of order 1 is the ELBO";
                    let help = format!("write `elbo = elbo, particles = {k}`");
                    return Err(self.error(Code::E0702, message, span, "this order", &help));
                }
                _ => {
                    let message = "the order of `renyi` must be a number of at least 0";
                    let help =
                        "below 0 it is no lower bound of the evidence; write for example `elbo = renyi(0.5, 16)`";
                    return Err(self.error(Code::E0702, message, span, "not such an order", help));
                }
            },
        })
    }
    fn truth(&mut self, setting: &ast::Setting) -> R<bool> {
        match setting.value.kind {
            Syntax::Bool(b) => Ok(b),
            _ => {
                let name = &setting.name.name;
                let message = format!("`{name}` must be `true` or `false`");
                let help = format!("write `{name} = true`");
                Err(self.error(Code::E0702, message, setting.value.span, "neither of them", &help))
            }
        }
    }
    /// `rate h1.weight = 1e-3`
    fn rate(&mut self, setting: &ast::Setting) -> R<SiteRate> {
        let Some(subject) = &setting.subject else {
            return Err(self.error(
                Code::E0702,
                "`rate` needs the site whose parameters it is for",
                setting.span,
                "which site?",
                "write `rate mu = 1e-3`; the common rate stands in `optimizer = adam(1e-3)`",
            ));
        };
        let rate = match self.number(&setting.value) {
            Some(x) if x >= 0.0 && x.is_finite() => x,
            _ => {
                let message = "a rate is a number of at least 0";
                let help = "write for example `1e-3`; 0 keeps the parameters where they start";
                return Err(self.error(Code::E0702, message, setting.value.span, "not a rate", help));
            }
        };
        let name = subject.name.clone();
        let inside = format!("{name}.");
        let covers = |n: &str| n == name || n.starts_with(&inside);
        let sites = self.model.sites.iter_enumerated().filter(|(_, s)| covers(&s.name)).map(|(id, _)| id).collect();
        let params = self.program.params.iter_enumerated().filter(|(_, p)| covers(&p.name)).map(|(id, _)| id).collect();
        let found = SiteRate { name, sites, params, rate };
        if found.sites.is_empty() && found.params.is_empty() && self.complete {
            let names = self.model.sites.iter().map(|s| &s.name).chain(self.program.params.iter().map(|p| &p.name));
            let names: Vec<String> = names.cloned().collect();
            let message = format!("no site or learnable constant is called `{}`", found.name);
            let mut d = Diagnostic::new(Code::E0702, message).label(subject.span, "unknown name");
            d = match nearest(&found.name, names.iter().map(String::as_str)) {
                Some(near) => d.help(format!("there is `{near}`")).fix(subject.span, near.to_string()),
                None => d.help(format!("there is `{}`", names.join("`, `"))),
            };
            return Err(self.report(d));
        }
        Ok(found)
    }
    /// `plateau`, `plateau(window = 200, patience = 3)`
    fn plateau(&mut self, setting: &ast::Setting) -> R<Plateau> {
        let word = self.word(&setting.value).map(|(w, args)| (w.to_string(), args.to_vec()));
        let span = setting.value.span;
        let Some((_, args)) = word.filter(|(w, _)| w == "plateau") else {
            let message = "`stop` takes `plateau`";
            let help = "write `stop = plateau` or `stop = plateau(window = 500, patience = 3)`";
            return Err(self.error(Code::E0702, message, span, "not a stopping rule", help));
        };
        let v = self.numbers("plateau", &args, &["window", "patience"])?;
        let default = Plateau::default();
        let window = v[0].unwrap_or(default.window as f64);
        let patience = v[1].unwrap_or(default.patience as f64);
        if !(window >= 20.0 && window % 10.0 == 0.0 && window <= 1e9 && patience >= 1.0 && patience.fract() == 0.0) {
            return Err(self.error(
                Code::E0702,
                "the numbers of `plateau` are out of range",
                span,
                "a window is a multiple of 10 from 20 on, patience a whole number of at least 1",
                "write for example `stop = plateau(window = 200, patience = 3)`",
            ));
        }
        Ok(Plateau { window: window as usize, patience: patience.min(1e6) as usize })
    }

    /// What does not go together.
    pub(super) fn svi_combined(&mut self, s: &SviSettings) -> R<()> {
        let mut failed = false;
        let mut refuse = |names: [&str; 2], message: &str, why: &str, help: &str| {
            let mut d = Diagnostic::new(Code::E0703, message);
            for (at, name) in names.into_iter().enumerate() {
                if let Some(span) = s.place(name) {
                    d = d.label(span, if at == 0 { why } else { "set here" });
                }
            }
            self.report(d.help(help));
            failed = true;
        };
        let objective = s.objective.text();
        if s.objective != Objective::Elbo {
            let name = objective.as_str();
            if s.anneal_kl > 0 {
                refuse(
                    ["anneal_kl", "elbo"],
                    &format!("`elbo = {name}` has no KL divergence to anneal"),
                    "there are importance ratios of the whole joint density only",
                    "remove `anneal_kl`",
                );
            }
            if s.kl == KlChoice::Closed {
                refuse(
                    ["kl", "elbo"],
                    &format!("`elbo = {name}` has no KL divergence in closed form"),
                    "the weight of a draw is the ratio of the densities at that draw",
                    "remove `kl = closed`",
                );
            }
            if !matches!(s.estimator, EstimatorChoice::Auto | EstimatorChoice::Reparam) {
                let message = format!("`elbo = {name}` needs `estimator = reparam`, not `{}`", s.estimator.name());
                let why = match s.estimator {
                    EstimatorChoice::Score => "its gradient is along the path of the draws",
                    _ => "the weight of a draw belongs to one value of the latents, shared by all rows",
                };
                refuse(["estimator", "elbo"], &message, why, "remove `estimator`");
            }
            if s.antithetic {
                refuse(
                    ["antithetic", "elbo"],
                    &format!("`elbo = {name}` needs independent draws"),
                    "a pair is not independent, and the gradient by squared weights would be another one",
                    "remove `antithetic`",
                );
            }
            if s.optimizer.is_gaussian() {
                let message = format!("`{}` steps need the ELBO, not `{name}`", s.optimizer.name());
                let why = "its gradient by the scales is no curvature of the log density";
                refuse(["optimizer", "elbo"], &message, why, "write `optimizer = adam(1e-2)`, or `elbo = elbo`");
            }
        }
        if s.optimizer.is_gaussian() && s.anneal_kl > 0 {
            let message = format!("`{}` steps and `anneal_kl` do not go together", s.optimizer.name());
            let why = "with another weight of the entropy the gradient by the scales is no curvature";
            refuse(["anneal_kl", "optimizer"], &message, why, "remove `anneal_kl`");
        }
        if s.estimator == EstimatorChoice::Score {
            if s.particles == Some(1) {
                refuse(
                    ["particles", "estimator"],
                    "the score function needs at least two draws a step",
                    "each draw is measured against the others",
                    "write `particles = 8`",
                );
            }
            if s.antithetic {
                refuse(
                    ["antithetic", "estimator"],
                    "the score function needs independent draws",
                    "the other draws are the control variate of each",
                    "remove `antithetic`",
                );
            }
        } else if s.antithetic && s.particles.is_some_and(|p| p % 2 == 1) {
            refuse(
                ["particles", "antithetic"],
                "antithetic draws come in pairs",
                "an odd number of draws",
                "write `particles = 2`",
            );
        }
        if let Some(spread) = s
            .antithetic
            .then_some(s.estimator)
            .filter(|e| matches!(e, EstimatorChoice::Flipout | EstimatorChoice::LocalReparam | EstimatorChoice::Exact))
        {
            let message = format!("`antithetic` and `estimator = {}` do not go together", spread.name());
            let why = "noise of layers that rows do not share has no mirror image";
            refuse(["antithetic", "estimator"], &message, why, "remove one of them");
        }
        if failed { Err(crate::check::checker::Reported) } else { Ok(()) }
    }

    fn optimizer(&mut self, e: &ast::Expr) -> R<(Rule, f64)> {
        const NAMES: &[&str] = &["adam", "adamw", "sgd", "rmsprop", "ivon", "natural"];
        let Some((name, args)) = self.word(e) else {
            return Err(self.error(
                Code::E0702,
                "this is not an optimizer",
                e.span,
                "not an optimizer",
                "write for example `adam(1e-3)`",
            ));
        };
        let (name, args) = (name.to_string(), args.to_vec());
        let fraction = |x: Option<f64>, default: f64| x.unwrap_or(default);
        let (rule, rate, ok) = match name.as_str() {
            "adam" => {
                let v = self.numbers(&name, &args, &["learning_rate", "beta1", "beta2", "epsilon"])?;
                let (beta1, beta2, epsilon) = (fraction(v[1], 0.9), fraction(v[2], 0.999), fraction(v[3], 1e-8));
                (Rule::Adam { beta1, beta2, epsilon }, v[0], in_unit(beta1) && in_unit(beta2) && epsilon > 0.0)
            }
            "adamw" => {
                let v = self.numbers(&name, &args, &["learning_rate", "weight_decay", "beta1", "beta2", "epsilon"])?;
                let (decay, beta1, beta2, epsilon) =
                    (fraction(v[1], 0.01), fraction(v[2], 0.9), fraction(v[3], 0.999), fraction(v[4], 1e-8));
                (
                    Rule::AdamW { beta1, beta2, epsilon, weight_decay: decay },
                    v[0],
                    in_unit(beta1) && in_unit(beta2) && epsilon > 0.0 && decay >= 0.0,
                )
            }
            "sgd" => {
                let v = self.numbers(&name, &args, &["learning_rate", "momentum"])?;
                let momentum = fraction(v[1], 0.0);
                (Rule::Sgd { momentum, nesterov: false }, v[0], in_unit(momentum))
            }
            "rmsprop" => {
                let v = self.numbers(&name, &args, &["learning_rate", "decay", "epsilon", "momentum"])?;
                let (decay, epsilon, momentum) = (fraction(v[1], 0.9), fraction(v[2], 1e-8), fraction(v[3], 0.0));
                (Rule::RmsProp { decay, epsilon, momentum }, v[0], in_unit(decay) && in_unit(momentum) && epsilon > 0.0)
            }
            "ivon" => {
                let v = self.numbers(&name, &args, &["learning_rate", "beta1", "beta2"])?;
                let (beta1, beta2) = (fraction(v[1], 0.9), fraction(v[2], 0.999));
                (Rule::Ivon { beta1, beta2 }, v[0].or(Some(0.1)), in_unit(beta1) && beta2 > 0.0 && beta2 < 1.0)
            }
            "natural" => {
                let v = self.numbers(&name, &args, &["learning_rate"])?;
                let rate = v[0].unwrap_or(0.1);
                (Rule::Natural, Some(rate), rate <= 1.0)
            }
            other => {
                let mut d = Diagnostic::new(Code::E0702, format!("no optimizer is called `{other}`"))
                    .label(e.span, "unknown optimizer");
                d = match nearest(other, NAMES.iter().copied()) {
                    Some(near) => d.help(format!("there is `{near}`")),
                    None => d.help(format!("the optimizers are `{}`", NAMES.join("`, `"))),
                };
                return Err(self.report(d));
            }
        };
        let rate = rate.unwrap_or(1e-3);
        if !(ok && rate > 0.0 && rate.is_finite()) {
            return Err(self.error(
                Code::E0702,
                format!("the numbers of `{name}` are out of range"),
                e.span,
                "rates are positive, decays lie in 0..1",
                "write for example `adam(1e-3)`",
            ));
        }
        Ok((rule, rate))
    }
    fn schedule(&mut self, e: &ast::Expr) -> R<Shape> {
        const NAMES: &[&str] = &["constant", "cosine", "one_cycle"];
        let word = self.word(e).map(|(w, args)| (w.to_string(), args.to_vec()));
        match word.as_ref().map(|(w, a)| (w.as_str(), a)) {
            Some(("constant", args)) if args.is_empty() => Ok(Shape::Constant),
            Some(("one_cycle", args)) if args.is_empty() => Ok(Shape::one_cycle()),
            Some(("cosine", args)) => {
                let v = self.numbers("cosine", args, &["final_fraction"])?;
                let final_fraction = v[0].unwrap_or(0.0);
                if !(0.0..=1.0).contains(&final_fraction) {
                    return Err(self.error(
                        Code::E0702,
                        "`final_fraction` lies in 0..1",
                        e.span,
                        "out of range",
                        "write for example `cosine(0.1)`",
                    ));
                }
                Ok(Shape::Cosine { final_fraction })
            }
            other => {
                let name = other.map_or("", |(w, _)| w).to_string();
                let mut d = Diagnostic::new(Code::E0702, "this is not a schedule").label(e.span, "unknown schedule");
                d = match nearest(&name, NAMES.iter().copied()) {
                    Some(near) => d.help(format!("there is `{near}`")),
                    None => d.help(format!("the schedules are `{}`", NAMES.join("`, `"))),
                };
                Err(self.report(d))
            }
        }
    }
}

fn in_unit(x: f64) -> bool {
    (0.0..1.0).contains(&x)
}
