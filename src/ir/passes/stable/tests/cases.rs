//! The expressions: as people write them, where they fail, and what is right there.

use super::*;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "log(sum(exp(x)))",
        build: |g, x| {
            let e = g.exp(x);
            let s = g.sum(e, &[0]);
            g.log(s)
        },
        at: &[800.0, 799.0, -3.0],
        value: 800.3132616875182,
        slope: &[0.7310585786300049, 0.2689414213699951, 0.0],
    },
    Case {
        name: "log(3 * sum(exp(x)))",
        build: |g, x| {
            let e = g.exp(x);
            let s = g.sum(e, &[0]);
            let s = g.mul_scalar(s, 3.0);
            g.log(s)
        },
        at: &[-800.0, -801.0],
        value: -798.5881260238136,
        slope: &[0.7310585786300049, 0.2689414213699951],
    },
    Case {
        name: "log(sum(3 * exp(x)))",
        build: |g, x| {
            let e = g.exp(x);
            let e = g.mul_scalar(e, 3.0);
            let s = g.sum(e, &[0]);
            g.log(s)
        },
        at: &[-800.0, -801.0],
        value: -798.5881260238136,
        slope: &[0.7310585786300049, 0.2689414213699951],
    },
    Case {
        name: "log(sum(exp(x)) / 4)",
        build: |g, x| {
            let e = g.exp(x);
            let s = g.sum(e, &[0]);
            let four = int(g, 4.0);
            let s = g.div(s, four);
            g.log(s)
        },
        at: &[900.0, 901.0],
        value: 899.9269673263983,
        slope: &[0.2689414213699951, 0.7310585786300049],
    },
    Case {
        name: "log(mean(exp(x)))",
        build: |g, x| {
            let e = g.exp(x);
            let s = g.sum(e, &[0]);
            let s = g.mul_scalar(s, 1.0 / 3.0);
            g.log(s)
        },
        at: &[710.0, 711.0, 712.0],
        value: 711.3089936757763,
        slope: &[0.09003057317038046, 0.24472847105479764, 0.6652409557748219],
    },
    Case {
        name: "log(sum(w * exp(x)))",
        build: |g, x| {
            let e = g.exp(x);
            let w = g.constant(vec![0.3, 0.0, 0.7], Shape::from([3]), DType::Real);
            let p = g.mul(w, e);
            let s = g.sum(p, &[0]);
            g.log(s)
        },
        at: &[-800.0, -790.0, -801.0],
        value: -800.5842647781564,
        slope: &[0.5381015262244488, 0.0, 0.4618984737755511],
    },
    Case {
        name: "log(mean(w * exp(x)))",
        build: |g, x| {
            let e = g.exp(x);
            let w = g.constant(vec![0.25, 0.75], Shape::from([2]), DType::Real);
            let p = g.mul(e, w);
            let s = g.sum(p, &[0]);
            let s = g.mul_scalar(s, 0.5);
            g.log(s)
        },
        at: &[-800.0, -801.0],
        value: -801.3357731610512,
        slope: &[0.4753668864186717, 0.5246331135813284],
    },
    Case {
        name: "log(1 - p)",
        build: |g, x| {
            let p = g.mul_scalar(x, 1e-17);
            let one = int(g, 1.0);
            let q = g.sub(one, p);
            g.log(q)
        },
        at: &[3.0],
        value: -3e-17,
        slope: &[-1e-17],
    },
    Case {
        name: "log(1 + p)",
        build: |g, x| {
            let p = g.mul_scalar(x, 1e-17);
            let one = int(g, 1.0);
            let q = g.add(p, one);
            g.log(q)
        },
        at: &[3.0],
        value: 3e-17,
        slope: &[1e-17],
    },
    Case {
        name: "log(sigmoid(x))",
        build: |g, x| {
            let p = g.sigmoid(x);
            g.log(p)
        },
        at: &[-800.0],
        value: -800.0,
        slope: &[1.0],
    },
    Case {
        name: "log(1 - sigmoid(x))",
        build: |g, x| {
            let p = g.sigmoid(x);
            let one = int(g, 1.0);
            let q = g.sub(one, p);
            g.log(q)
        },
        at: &[50.0],
        value: -50.0,
        slope: &[-1.0],
    },
    Case {
        name: "log1p(-sigmoid(x))",
        build: |g, x| {
            let p = g.sigmoid(x);
            let m = g.neg(p);
            g.log1p(m)
        },
        at: &[50.0],
        value: -50.0,
        slope: &[-1.0],
    },
    Case {
        name: "log(normal_cdf(x))",
        build: |g, x| {
            let p = g.ndtr(x);
            g.log(p)
        },
        at: &[-40.0],
        value: -804.6084420137538,
        slope: &[40.02496884720726],
    },
    Case {
        name: "log(1 - normal_cdf(x))",
        build: |g, x| {
            let p = g.ndtr(x);
            let one = int(g, 1.0);
            let q = g.sub(one, p);
            g.log(q)
        },
        at: &[9.0],
        value: -43.628149113332114,
        slope: &[-9.108523105002869],
    },
    Case {
        name: "log1p(-normal_cdf(x))",
        build: |g, x| {
            let p = g.ndtr(x);
            let m = g.neg(p);
            g.log1p(m)
        },
        at: &[9.0],
        value: -43.628149113332114,
        slope: &[-9.108523105002869],
    },
    Case {
        name: "log(0.5 * (1 + erf(x / sqrt 2)))",
        build: |g, x| {
            let z = g.mul_scalar(x, std::f64::consts::FRAC_1_SQRT_2);
            let e = g.erf(z);
            let one = int(g, 1.0);
            let s = g.add(one, e);
            let p = g.mul_scalar(s, 0.5);
            g.log(p)
        },
        at: &[-12.0],
        value: -75.41067300156881,
        slope: &[12.082214175254286],
    },
    Case {
        name: "log(erfc(x))",
        build: |g, x| {
            let e = g.erfc(x);
            g.log(e)
        },
        at: &[30.0],
        value: -903.9741171106439,
        slope: &[-60.03329639875623],
    },
    Case {
        name: "log(1 + exp(x))",
        build: |g, x| {
            let e = g.exp(x);
            let one = int(g, 1.0);
            let s = g.add(one, e);
            g.log(s)
        },
        at: &[800.0],
        value: 800.0,
        slope: &[1.0],
    },
    Case {
        name: "log1p(exp(x))",
        build: |g, x| {
            let e = g.exp(x);
            g.log1p(e)
        },
        at: &[800.0],
        value: 800.0,
        slope: &[1.0],
    },
    Case {
        name: "exp(x) - 1",
        build: |g, x| {
            let e = g.exp(x);
            let one = int(g, 1.0);
            g.sub(e, one)
        },
        at: &[1e-12],
        value: 1.0000000000005e-12,
        slope: &[1.000000000001],
    },
    Case {
        name: "1 - exp(x)",
        build: |g, x| {
            let e = g.exp(x);
            let one = int(g, 1.0);
            g.sub(one, e)
        },
        at: &[1e-12],
        value: -1.0000000000005e-12,
        slope: &[-1.000000000001],
    },
    Case {
        name: "log(exp(x) - 1)",
        build: |g, x| {
            let e = g.exp(x);
            let e = g.add_scalar(e, -1.0);
            g.log(e)
        },
        at: &[800.0],
        value: 800.0,
        slope: &[1.0],
    },
    Case {
        name: "log(1 - exp(x))",
        build: |g, x| {
            let e = g.exp(x);
            let q = g.scalar_sub(1.0, e);
            g.log(q)
        },
        at: &[-1e-17],
        value: -39.14394658089878,
        slope: &[-1e+17],
    },
    Case {
        name: "log(1 - exp(-exp(x)))",
        build: |g, x| {
            let e = g.exp(x);
            let m = g.neg(e);
            let s = g.exp(m);
            let q = g.scalar_sub(1.0, s);
            g.log(q)
        },
        at: &[-45.0],
        value: -45.0,
        slope: &[1.0],
    },
    Case {
        name: "log(exp(x0) + exp(x1))",
        build: |g, x| {
            let (a, b) = parts(g, x);
            let (a, b) = (g.exp(a), g.exp(b));
            let s = g.add(a, b);
            g.log(s)
        },
        at: &[800.0, 801.0],
        value: 801.3132616875182,
        slope: &[0.2689414213699951, 0.7310585786300049],
    },
    Case {
        name: "log(exp(x0) - exp(x1))",
        build: |g, x| {
            let (a, b) = parts(g, x);
            let (a, b) = (g.exp(a), g.exp(b));
            let s = g.sub(a, b);
            g.log(s)
        },
        at: &[-800.0, -801.0],
        value: -800.4586751453871,
        slope: &[1.5819767068693265, -0.5819767068693265],
    },
    Case {
        name: "log(sigmoid(x0) - sigmoid(x1))",
        build: |g, x| {
            let (a, b) = parts(g, x);
            let (a, b) = (g.sigmoid(a), g.sigmoid(b));
            let s = g.sub(a, b);
            g.log(s)
        },
        at: &[40.0, 39.0],
        value: -39.45867514538708,
        slope: &[0.5819767068693265, -1.5819767068693265],
    },
    Case {
        name: "log(normal_cdf(x0) - normal_cdf(x1))",
        build: |g, x| {
            let (a, b) = parts(g, x);
            let (a, b) = (g.ndtr(a), g.ndtr(b));
            let s = g.sub(a, b);
            g.log(s)
        },
        at: &[11.0, 10.0],
        value: -53.23131022558312,
        slope: &[0.00027807260546884274, -10.098346447538487],
    },
    Case {
        name: "log(normal_cdf(x0) - normal_cdf(x1)), left",
        build: |g, x| {
            let (a, b) = parts(g, x);
            let (a, b) = (g.ndtr(a), g.ndtr(b));
            let s = g.sub(a, b);
            g.log(s)
        },
        at: &[-40.0, -41.0],
        value: -804.6084420137538,
        slope: &[40.02496884720726, -1.0313462302074796e-16],
    },
    Case {
        name: "log(exp(x))",
        build: |g, x| {
            let e = g.exp(x);
            g.log(e)
        },
        at: &[800.0],
        value: 800.0,
        slope: &[1.0],
    },
    Case {
        name: "log(exp(x0) * x1)",
        build: |g, x| {
            let (a, b) = parts(g, x);
            let e = g.exp(a);
            let p = g.mul(e, b);
            g.log(p)
        },
        at: &[800.0, 3.0],
        value: 801.0986122886682,
        slope: &[1.0, 0.3333333333333333],
    },
    Case {
        name: "log(x1 / exp(x0))",
        build: |g, x| {
            let (a, b) = parts(g, x);
            let e = g.exp(a);
            let p = g.div(b, e);
            g.log(p)
        },
        at: &[800.0, 3.0],
        value: -798.9013877113318,
        slope: &[-1.0, 0.3333333333333333],
    },
    Case {
        name: "log(softmax(x)[1])",
        build: |g, x| {
            let l = g.log_softmax(x);
            let p = g.exp(l);
            let p = g.index_axis(p, 0, 1);
            g.log(p)
        },
        at: &[800.0, -3.0],
        value: -803.0,
        slope: &[-1.0, 1.0],
    },
    Case {
        name: "softmax written out",
        build: |g, x| {
            let e = g.exp(x);
            let s = g.sum(e, &[0]);
            let p = g.div(e, s);
            g.index_axis(p, 0, 1)
        },
        at: &[800.0, 799.0],
        value: 0.2689414213699951,
        slope: &[-0.19661193324148185, 0.19661193324148185],
    },
    Case {
        name: "log of softmax written out",
        build: |g, x| {
            let e = g.exp(x);
            let s = g.sum(e, &[0]);
            let p = g.div(e, s);
            let l = g.log(p);
            g.index_axis(l, 0, 1)
        },
        at: &[-800.0, -799.0],
        value: -0.3132616875182228,
        slope: &[-0.2689414213699951, 0.2689414213699951],
    },
    Case {
        name: "1 - sigmoid(x)",
        build: |g, x| {
            let p = g.sigmoid(x);
            let one = int(g, 1.0);
            g.sub(one, p)
        },
        at: &[50.0],
        value: 1.9287498479639178e-22,
        slope: &[-1.9287498479639178e-22],
    },
    Case {
        name: "1 - normal_cdf(x)",
        build: |g, x| {
            let p = g.ndtr(x);
            let one = int(g, 1.0);
            g.sub(one, p)
        },
        at: &[10.0],
        value: 7.619853024160525e-24,
        slope: &[-7.694598626706419e-23],
    },
    Case {
        name: "1 - erf(x)",
        build: |g, x| {
            let p = g.erf(x);
            let one = int(g, 1.0);
            g.sub(one, p)
        },
        at: &[7.0],
        value: 4.183825607779414e-23,
        slope: &[-5.9159629580030695e-22],
    },
    Case {
        name: "exp(x) / (1 + exp(x))",
        build: |g, x| {
            let e = g.exp(x);
            let one = int(g, 1.0);
            let d = g.add(one, e);
            g.div(e, d)
        },
        at: &[800.0],
        value: 1.0,
        slope: &[0.0],
    },
    Case {
        name: "log(1 / (1 + exp(-x)))",
        build: |g, x| {
            let m = g.neg(x);
            let e = g.exp(m);
            let one = int(g, 1.0);
            let d = g.add(one, e);
            let p = g.div(one, d);
            g.log(p)
        },
        at: &[-800.0],
        value: -800.0,
        slope: &[1.0],
    },
    Case {
        name: "log(1 - 1 / (1 + exp(-x)))",
        build: |g, x| {
            let m = g.neg(x);
            let e = g.exp(m);
            let one = int(g, 1.0);
            let d = g.add(one, e);
            let p = g.div(one, d);
            let q = g.sub(one, p);
            g.log(q)
        },
        at: &[50.0],
        value: -50.0,
        slope: &[-1.0],
    },
    Case {
        name: "logit(sigmoid(x))",
        build: |g, x| {
            let p = g.sigmoid(x);
            let l = g.log(p);
            let m = g.neg(p);
            let r = g.log1p(m);
            g.sub(l, r)
        },
        at: &[50.0],
        value: 50.0,
        slope: &[1.0],
    },
    Case {
        name: "log(sigmoid(x0) * sigmoid(x1))",
        build: |g, x| {
            let s = g.sigmoid(x);
            let p = g.reduce(Reduction::Prod, s, &[0]);
            g.log(p)
        },
        at: &[-500.0, -400.0],
        value: -900.0,
        slope: &[1.0, 1.0],
    },
    Case {
        name: "log(1 - sigmoid(x0) * sigmoid(x1))",
        build: |g, x| {
            let (a, b) = parts(g, x);
            let (a, b) = (g.sigmoid(a), g.sigmoid(b));
            let p = g.mul(a, b);
            let q = g.scalar_sub(1.0, p);
            g.log(q)
        },
        at: &[41.0, 40.0],
        value: -39.68673831248178,
        slope: &[-0.2689414213699951, -0.7310585786300049],
    },
    Case {
        name: "log of a mixture of two",
        build: |g, x| {
            let (a, b) = parts(g, x);
            let p = g.sigmoid(a);
            let q = g.scalar_sub(1.0, p);
            let e = g.exp(b);
            let r = g.mul(q, e);
            let s = g.add(p, r);
            g.log(s)
        },
        at: &[-800.0, -810.0],
        value: -799.9999546011007,
        slope: &[0.9999546021312976, 4.5397868702434395e-05],
    },
    Case {
        name: "log(cosh(x))",
        build: |g, x| {
            let c = g.cosh(x);
            g.log(c)
        },
        at: &[800.0],
        value: 799.3068528194401,
        slope: &[1.0],
    },
    Case {
        name: "log(x ^ 2)",
        build: |g, x| {
            let c = g.square(x);
            g.log(c)
        },
        at: &[-1e-200],
        value: -921.0340371976183,
        slope: &[-2e+200],
    },
    Case {
        name: "log(2 ^ x)",
        build: |g, x| {
            let two = int(g, 2.0);
            let two = g.to_real(two);
            let p = g.pow(two, x);
            g.log(p)
        },
        at: &[2000.0],
        value: 1386.2943611198907,
        slope: &[std::f64::consts::LN_2],
    },
    Case {
        name: "sqrt(x ^ 2)",
        build: |g, x| {
            let c = g.square(x);
            g.sqrt(c)
        },
        at: &[-1e-200],
        value: 1e-200,
        slope: &[-1.0],
    },
    Case {
        name: "sqrt(exp(x))",
        build: |g, x| {
            let e = g.exp(x);
            let r = g.sqrt(e);
            g.log(r)
        },
        at: &[-1000.0],
        value: -500.0,
        slope: &[0.5],
    },
    Case {
        name: "exp(x) ^ 0.001",
        build: |g, x| {
            let e = g.exp(x);
            g.pow_scalar(e, 0.001)
        },
        at: &[1000.0],
        value: std::f64::consts::E,
        slope: &[0.002718281828459045],
    },
    Case {
        name: "x ln of a probability",
        build: |g, x| {
            let p = g.sigmoid(x);
            let k = g.scalar(3.0);
            g.xlogy(k, p)
        },
        at: &[-800.0],
        value: -2400.0,
        slope: &[3.0],
    },
];
