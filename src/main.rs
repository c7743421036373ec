//! The `bayesc` binary.
use bayesc::session::*;
struct O(std::time::Instant);
impl Observer for O {
    fn note(&mut self, t: &str) {
        eprintln!("note: {t}");
    }
    fn status(&mut self, s: &Status) -> std::ops::ControlFlow<()> {
        if s.step % (s.total / 10).max(1) == 0 {
            eprintln!("{} {:.2} {:.1}/s", s.step, s.elbo, s.steps_per_sec);
        }
        std::ops::ControlFlow::Continue(())
    }
    fn clock(&mut self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let path = &a[0];
    let text = std::fs::read_to_string(path).expect("file");
    let t = std::time::Instant::now();
    let c = bayesc::driver::compile(path, Some(path.clone().into()), &text, &Default::default(), &mut |p, _| {
        Err(format!("no {p}"))
    });
    eprint!("{}", bayesc::diag::render::render_all(&c.diags, &c.sources, false));
    eprintln!("check {:?}", t.elapsed());
    let mut files = bayesc::data::Files::new();
    let fail = |f: Failure| match f {
        Failure::Diagnostics(d) => eprint!("{}", bayesc::diag::render::render_all(&d, &c.sources, false)),
        Failure::Run(e) => eprintln!("run: {e}"),
    };
    let b = match bind(&c, &mut files, &[]) {
        Ok(b) => b,
        Err(e) => {
            fail(e);
            return;
        }
    };
    eprintln!("bind {:?}", t.elapsed());
    let o = RunOptions {
        infer: a.get(1).cloned(),
        guide: a.get(2).cloned(),
        seed: a.get(3).map(|s| s.parse().expect("n")),
        ..Default::default()
    };
    if let Some(stage) = a.get(4) {
        let st = match stage.as_str() {
            "graph" => Stage::Graph,
            "adjoint" => Stage::Adjoint,
            _ => Stage::Plan,
        };
        match emit(&b, &o, st) {
            Ok(s) => println!("{s}"),
            Err(e) => fail(e),
        }
        return;
    }
    match run(&b, &o, &mut O(t)) {
        Ok(f) => {
            println!("elbo {:?} k {:?}", f.elbo, f.diagnostics.pareto_k);
            for q in &f.quantities {
                let mut d = vec![];
                q.element_draws(0, &mut d);
                println!(
                    "{} {:?} mean {:.4} sd {:.4}  prior sd {:?}",
                    q.name,
                    q.shape,
                    bayesc::report::statistics::mean(&d),
                    bayesc::report::statistics::sd(&d),
                    q.prior_sd
                );
            }
            println!("{:?}\n{:?}", f.evaluation, f.timing);
        }
        Err(e) => fail(e),
    }
    eprintln!("total {:?}", t.elapsed());
}
