//! Random programs that are well typed by construction: sizes, data, functions, sites of many supports, hierarchies,
//! submodels, observations, factors, guides.
//!
//! A program is read off a tape of numbers, each a choice. Choices run out into zeros, and zero is always the simplest
//! alternative, so that a failing tape shrinks to a short program.

use std::fmt::Write;

/// The numbers that decide.
pub struct Tape<'t> {
    choices: &'t [u16],
    at: usize,
}

impl Tape<'_> {
    /// One of `0..n`.
    fn below(&mut self, n: usize) -> usize {
        let choice = self.choices.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(choice) % n
    }
    fn one_of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }
    /// A number between -2 and 2 with one decimal.
    fn number(&mut self) -> f64 {
        (self.below(41) as f64 - 20.0) / 10.0
    }
}

/// The shape of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    Scalar,
    Vector(&'static str),
    Matrix(&'static str, &'static str),
}
use Shape::{Matrix, Scalar, Vector};

/// Where the elements of a value lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Real,
    Positive,
    Unit,
}

struct Variable {
    name: String,
    shape: Shape,
    kind: Kind,
}

/// A program and the names of its sites.
pub struct Random {
    /// Everything but the guide.
    pub model: String,
    /// A guide for it.
    pub guide: String,
}

impl Random {
    /// The whole text.
    pub fn text(&self) -> String {
        format!("{}{}", self.model, self.guide)
    }
    /// The same with a point mass for every site, whose objective is a plain function of its parameters.
    pub fn with_delta(&self) -> String {
        format!("{}guide delta\n", self.model)
    }
}

struct Writer<'t> {
    tape: Tape<'t>,
    variables: Vec<Variable>,
    fresh: usize,
}

/// The program that `choices` decide on.
pub fn program(choices: &[u16]) -> Random {
    let mut w = Writer { tape: Tape { choices, at: 0 }, variables: Vec::new(), fresh: 0 };
    let mut text = String::new();
    let (rows, columns, groups) = (3 + w.tape.below(3), 2 + w.tape.below(2), 2 + w.tape.below(3));
    let uses_library = w.tape.below(3) == 2;
    if uses_library {
        text += "use bnn\n";
    }
    writeln!(text, "size K = {groups}").unwrap();
    let reals =
        |w: &mut Writer<'_>, n: usize| (0..n).map(|_| format!("{:?}", w.tape.number())).collect::<Vec<_>>().join(", ");
    let y = reals(&mut w, rows);
    writeln!(text, "data y: real[N] = [{y}]").unwrap();
    let x: Vec<String> = (0..rows).map(|_| format!("[{}]", reals(&mut w, columns))).collect();
    writeln!(text, "data x: real[N, D] = [{}]", x.join(", ")).unwrap();
    let mut ints = |name: &str, range: &str, n: usize| {
        let values: Vec<String> = (0..rows).map(|_| w.tape.below(n).to_string()).collect();
        writeln!(text, "data {name}: int[N]{range} = [{}]", values.join(", ")).unwrap();
    };
    ints("group", " in 0..K", groups);
    ints("count", " in 0..", 6);
    ints("flag", " in 0..2", 2);
    let functions = w.tape.below(3);
    for i in 0..functions {
        let body = w.tape.one_of(&["tanh(a) * 0.5 + b", "a * sigmoid(b)", "where(a > b, a, 0.5 * b)", "sin(a - b)"]);
        writeln!(text, "fn f{i}(a: real[M], b: real) -> real[M] {{\n  c = {body}\n  return c\n}}").unwrap();
    }
    let own_submodel = w.tape.below(3) == 2;
    if own_submodel {
        text += "model slopes(a: real[R, C], width: real) {\n  slope: real[C] ~ Normal(0, width)\n  shift ~ Normal(0, 1)\n  \
                 return a @ slope + shift\n}\n";
    }
    w.variables.push(Variable { name: "x".into(), shape: Matrix("N", "D"), kind: Kind::Real });
    text += "model {\n";
    let statements = 1 + w.tape.below(6);
    let mut sites = Vec::new();
    for _ in 0..statements {
        let line = match w.tape.below(12) {
            0..=3 => w.site(&mut sites),
            4 => w.deterministic(functions, ""),
            5 => w.deterministic(functions, "keep "),
            6 => format!("factor -0.1 * square({})", w.expr(Scalar, Kind::Real, 2, functions)),
            7 if uses_library => w.layer(),
            8 if own_submodel => w.submodel(),
            9 => w.parameter(),
            10 => w.vector_site(&mut sites),
            11 => w.walk(),
            _ => w.site(&mut sites),
        };
        writeln!(text, "  {line}").unwrap();
    }
    for line in w.observations(functions) {
        writeln!(text, "  {line}").unwrap();
    }
    text += "}\n";
    if w.tape.below(2) == 1 {
        let value = w.expr(Vector("N"), Kind::Real, 2, functions);
        writeln!(text, "generate {{\n  again = {value}\n  drawn ~ Normal(again, 1)\n}}").unwrap();
    }
    writeln!(text, "infer svi {{ steps = {} }}", 1 + w.tape.below(3)).unwrap();
    let guide = w.guide(&sites);
    Random { model: text, guide }
}

/// A site: name, shape, support.
type Site = (String, Shape, Kind);

impl Writer<'_> {
    fn name(&mut self, stem: &str) -> String {
        self.fresh += 1;
        format!("{stem}{}", self.fresh)
    }
    fn shape(&mut self) -> Shape {
        [Scalar, Vector("K"), Vector("D"), Matrix("D", "K")][self.tape.below(4)]
    }

    fn site(&mut self, sites: &mut Vec<Site>) -> String {
        let name = self.name("s");
        let shape = self.shape();
        let kind = [Kind::Real, Kind::Real, Kind::Positive, Kind::Unit][self.tape.below(4)];
        // Parameters are scalars or have the shape of the site.
        let at = if self.tape.below(2) == 0 { Scalar } else { shape };
        let scale = self.expr(at, Kind::Positive, 1, 0);
        let other = self.expr(Scalar, Kind::Real, 1, 0);
        let simplex = shape == Vector("K") && self.tape.below(4) == 3;
        let dist = match kind {
            _ if simplex => "Dirichlet(fill([K], 1.5))".to_string(),
            Kind::Real => match self.tape.below(5) {
                0 => format!("Normal({other}, {scale})"),
                1 => format!("StudentT(5, {other}, {scale})"),
                2 => format!("Logistic({other}, {scale})"),
                3 => format!("Gumbel(loc = {other}, scale = {scale})"),
                _ => format!("Cauchy({other}, {scale})"),
            },
            Kind::Positive => match self.tape.below(6) {
                0 => format!("HalfNormal({scale})"),
                1 => format!("Gamma(2, {scale})"),
                // Wider ones have draws beyond all use.
                2 => format!("LogNormal({other}, 0.5)"),
                3 => format!("Exponential({scale})"),
                4 => format!("InverseGamma(3, {scale})"),
                _ => format!("Weibull(1.5, {scale})"),
            },
            Kind::Unit => match self.tape.below(3) {
                0 => "Beta(2, 3)".to_string(),
                1 => "Uniform(0, 1)".to_string(),
                _ => format!("Beta(1 + {scale}, 2)"),
            },
        };
        let kind = if simplex { Kind::Unit } else { kind };
        self.variables.push(Variable { name: name.clone(), shape, kind });
        if !simplex {
            sites.push((name.clone(), shape, kind));
        }
        format!("{name}{} ~ {dist}", declared(shape))
    }

    fn deterministic(&mut self, functions: usize, word: &str) -> String {
        let (name, shape) = (self.name("v"), self.shape());
        let kind = [Kind::Real, Kind::Positive, Kind::Unit][self.tape.below(3)];
        let value = self.expr(shape, kind, 3, functions);
        // A scalar expression may stand for any shape, but its name then has the scalar's.
        let value = match shape {
            Scalar => value,
            Vector(n) => format!("{value} + zeros([{n}])"),
            Matrix(a, b) => format!("{value} + zeros([{a}, {b}])"),
        };
        self.variables.push(Variable { name: name.clone(), shape, kind });
        format!("{word}{name} = {value}")
    }

    /// A call of the program's own submodel.
    fn submodel(&mut self) -> String {
        let name = self.name("h");
        let width = self.expr(Scalar, Kind::Positive, 1, 0);
        self.variables.push(Variable { name: name.clone(), shape: Vector("N"), kind: Kind::Real });
        format!("{name} ~ slopes(x, {width})")
    }

    /// An array of sites that a loop fills.
    fn walk(&mut self) -> String {
        let name = self.name("w");
        let (scale, drift) = (self.expr(Scalar, Kind::Positive, 1, 0), self.expr(Scalar, Kind::Real, 1, 0));
        self.variables.push(Variable { name: name.clone(), shape: Vector("K"), kind: Kind::Real });
        format!(
            "{name}: real[K]\n  {name}[0] ~ Normal({drift}, 1)\n  for t in 1..K {{\n    \
             {name}[t] ~ Normal(0.5 * {name}[t - 1] + {drift}, {scale})\n  }}"
        )
    }

    /// A learnable constant.
    fn parameter(&mut self) -> String {
        let (name, shape) = (self.name("p"), self.shape());
        let kind = [Kind::Real, Kind::Positive][self.tape.below(2)];
        self.variables.push(Variable { name: name.clone(), shape, kind });
        let ty = match shape {
            Scalar => ": real".to_string(),
            _ => declared(shape),
        };
        match kind {
            Kind::Positive => format!("param {name}{ty} in 0.. = 0.7"),
            _ => format!("param {name}{ty} = 0.3"),
        }
    }

    /// A site whose draw is a vector, and a mixture.
    fn vector_site(&mut self, sites: &mut Vec<Site>) -> String {
        let name = self.name("s");
        let scale = self.expr(Scalar, Kind::Positive, 1, 0);
        let (line, shape) = match self.tape.below(4) {
            0 => {
                (format!("{name} ~ MultivariateNormal(zeros([K]), scale_tril = diag(fill([K], {scale})))"), Vector("K"))
            }
            1 => {
                (format!("{name} ~ MultivariateNormal(zeros([D]), cov = eye(D) + {scale} * ones([D, D]))"), Vector("D"))
            }
            2 => (format!("{name} ~ Mixture([0.3, 0.7], [Normal(-1, {scale}), Normal(2, 0.5)])"), Scalar),
            _ => {
                let (p, loc) = (self.expr(Scalar, Kind::Unit, 1, 0), self.expr(Scalar, Kind::Real, 1, 0));
                let weights = format!("stack({p}, 1 - {p})");
                let components = format!("[StudentT(5, {loc}, {scale}), Normal(0, 1)]");
                (format!("{name}: real[K] ~ Mixture({weights}, {components})"), Vector("K"))
            }
        };
        self.variables.push(Variable { name: name.clone(), shape, kind: Kind::Real });
        if shape == Scalar {
            sites.push((name, shape, Kind::Real));
        }
        line
    }

    fn layer(&mut self) -> String {
        let name = self.name("h");
        let line = match self.tape.below(2) {
            0 => format!("{name} ~ bnn.dense(x, K)"),
            _ => format!("{name} ~ bnn.dense(x |> tanh, K, prior = Normal(0, 0.5), bias = false)"),
        };
        self.variables.push(Variable { name, shape: Matrix("N", "K"), kind: Kind::Real });
        line
    }

    fn observations(&mut self, functions: usize) -> Vec<String> {
        let scale = self.expr(Scalar, Kind::Positive, 1, functions);
        let mut lines = Vec::new();
        let real = |w: &mut Self| w.expr(Vector("N"), Kind::Real, 3, functions);
        let loc = real(self);
        lines.push(match self.tape.below(3) {
            0 => format!("y ~ Normal({loc}, {scale})"),
            1 => format!("y ~ StudentT(4, {loc}, {scale})"),
            _ => format!("observe y * 2 ~ Normal({loc}, {scale})"),
        });
        if self.tape.below(2) == 1 {
            let rate = self.expr(Vector("N"), Kind::Positive, 2, functions);
            lines.push(match self.tape.below(3) {
                0 => format!("count ~ Poisson({rate})"),
                1 => format!("count ~ NegativeBinomial({rate}, {scale})"),
                _ => format!("count ~ Poisson(log_rate = log({rate}))"),
            });
        }
        if self.tape.below(2) == 1 {
            let value = match self.tape.below(3) {
                0 => format!("logits = {}", real(self)),
                1 => format!("probs = {}", self.expr(Vector("N"), Kind::Unit, 2, functions)),
                _ => format!("probs = normal_cdf({})", real(self)),
            };
            lines.push(format!("flag ~ Bernoulli({value})"));
        }
        if self.tape.below(2) == 1 {
            let logits = self.expr(Vector("K"), Kind::Real, 2, functions);
            lines.push(match self.tape.below(2) {
                0 => format!("group ~ Categorical(logits = {logits} + zeros([K]))"),
                _ => format!("group ~ Categorical(probs = softmax({logits} + zeros([K])))"),
            });
        }
        lines
    }

    /// An expression that has the shape, or is a scalar.
    fn expr(&mut self, shape: Shape, kind: Kind, depth: usize, functions: usize) -> String {
        let choice = if depth == 0 { self.tape.below(2) } else { self.tape.below(10) };
        if choice < 3 || depth == 0 {
            return self.leaf(shape, kind);
        }
        let d = depth - 1;
        if kind == Kind::Unit {
            return format!("sigmoid({})", self.expr(shape, Kind::Real, d, functions));
        }
        if kind == Kind::Positive {
            let real = |w: &mut Self| w.expr(shape, Kind::Real, d, functions);
            return match choice {
                // A scale that underflows to 0 is no scale.
                3 => format!("(0.05 + softplus({}))", real(self)),
                4 => format!("exp(tanh({}))", real(self)),
                5 => format!("(0.1 + square({}))", real(self)),
                6 => format!("sqrt({})", self.expr(shape, Kind::Positive, d, functions)),
                7 => format!("(1 + {})", self.expr(shape, Kind::Unit, d, functions)),
                _ => {
                    let a = self.expr(shape, Kind::Positive, d, functions);
                    let b = self.expr(Scalar, Kind::Positive, d, functions);
                    format!("({a} {} {b})", self.tape.one_of(&["+", "*", "/"]))
                }
            };
        }
        match (choice, shape) {
            (3, _) => {
                let (a, b) = (self.expr(shape, Kind::Real, d, functions), self.expr(shape, Kind::Real, d, functions));
                format!("({a} {} {b})", self.tape.one_of(&["+", "-", "*"]))
            }
            (4, _) => {
                let map = self.tape.one_of(&["tanh", "sin", "sigmoid", "softplus", "-", "atan", "square"]);
                let a = self.expr(shape, Kind::Real, d, functions);
                if map == "square" { format!("square(tanh({a}))") } else { format!("{map}({a})") }
            }
            (5, _) => format!("log({})", self.expr(shape, Kind::Positive, d, functions)),
            (6, _) => {
                let (c, b) = (self.expr(Scalar, Kind::Real, d, functions), self.expr(shape, Kind::Real, d, functions));
                let a = self.expr(shape, Kind::Real, d, functions);
                format!("where({c} > 0.123, {a}, {b})")
            }
            (7 | 8, Vector("N")) => match self.tape.below(5) {
                0 => format!("(x @ {})", self.whole(Vector("D"))),
                1 => format!("{}[group]", self.whole(Vector("K"))),
                2 => format!("(x @ {})[:, 0]", self.whole(Matrix("D", "K"))),
                3 => format!("sum(x * {}, over = D)", self.whole(Vector("D"))),
                _ => format!("{}[1, group]", self.whole(Matrix("D", "K"))),
            },
            (7 | 8, Vector(n)) if functions > 0 => {
                let (v, s) = (self.whole(Vector(n)), self.expr(Scalar, Kind::Real, d, functions));
                format!("f{}({v}, {s})", self.tape.below(functions))
            }
            (7 | 8, Vector("K")) => match self.tape.below(3) {
                0 => format!("cumsum({})", self.whole(Vector("K"))),
                1 => format!("logsumexp({}, over = D)", self.whole(Matrix("D", "K"))),
                _ => format!("({} @ {})", self.whole(Vector("D")), self.whole(Matrix("D", "K"))),
            },
            (7 | 8, Scalar) => {
                let v = self.whole(Vector("K"));
                match self.tape.below(6) {
                    0 => format!("mean({v})"),
                    1 => format!("logsumexp({v})"),
                    2 => format!("{v}[{}]", self.tape.below(2)),
                    3 => format!("dot({v}, {v}) / 10"),
                    4 => format!("log(sum(exp({v})))"),
                    _ => format!("variance({v})"),
                }
            }
            _ => format!("(0.5 * {})", self.expr(shape, Kind::Real, d, functions)),
        }
    }

    /// A variable, or a number where none fits.
    fn leaf(&mut self, shape: Shape, kind: Kind) -> String {
        let fits = |v: &Variable| {
            let inside = match kind {
                Kind::Real => true,
                Kind::Positive => v.kind != Kind::Real,
                Kind::Unit => v.kind == Kind::Unit,
            };
            (v.shape == shape || v.shape == Scalar) && inside
        };
        let names: Vec<&str> = self.variables.iter().filter(|v| fits(v)).map(|v| v.name.as_str()).collect();
        let at = self.tape.below(names.len() + 1);
        if let Some(name) = names.get(at.wrapping_sub(1)) {
            return name.to_string();
        }
        match kind {
            Kind::Real => format!("({:?})", self.tape.number()),
            Kind::Positive => format!("{:?}", 0.5 + self.tape.below(10) as f64 / 4.0),
            Kind::Unit => format!("{:?}", 0.1 + self.tape.below(8) as f64 / 10.0),
        }
    }

    /// An expression that really has the shape.
    fn whole(&mut self, shape: Shape) -> String {
        let names: Vec<&str> = self.variables.iter().filter(|v| v.shape == shape).map(|v| v.name.as_str()).collect();
        let at = self.tape.below(names.len() + 1);
        if let Some(name) = names.get(at.wrapping_sub(1)) {
            return name.to_string();
        }
        match shape {
            Scalar => "1.0".into(),
            Vector(n) => format!("(0.3 * range({n}) - 0.4)"),
            Matrix(a, b) => format!("(zeros([{a}, {b}]) + 0.2 * range({b}))"),
        }
    }

    fn guide(&mut self, sites: &[Site]) -> String {
        match self.tape.below(5) {
            0 => "guide mean_field\n".into(),
            1 => "guide full_rank\n".into(),
            2 => "guide delta\n".into(),
            _ => {
                let mut text = "guide {\n".to_string();
                for (name, _, kind) in sites {
                    let family = match kind {
                        Kind::Real => self.tape.one_of(&["Normal(?, ?)", "Laplace(?, ?)", "Normal(?(0.2), ?(0.1))"]),
                        Kind::Positive => self.tape.one_of(&["LogNormal(?, ?)", "Gamma(?, ?)"]),
                        Kind::Unit => "Beta(?, ?)",
                    };
                    if self.tape.below(3) > 0 {
                        writeln!(text, "  {name} ~ {family}").unwrap();
                    }
                }
                text + "  _ ~ mean_field\n}\n"
            }
        }
    }
}

/// The type of a site that is not a scalar.
fn declared(shape: Shape) -> String {
    match shape {
        Scalar => String::new(),
        Vector(n) => format!(": real[{n}]"),
        Matrix(a, b) => format!(": real[{a}, {b}]"),
    }
}
