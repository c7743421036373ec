//! The `bayesc` binary.
fn main() {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).expect("file");
        let c = bayesc::driver::compile(&path, Some(path.clone().into()), &text, &Default::default(), &mut |p, _| {
            Err(format!("no {p}"))
        });
        eprint!("{}", bayesc::diag::render::render_all(&c.diags, &c.sources, false));
        if let Some(m) = &c.program.model {
            for s in &m.sites {
                println!("{} : {} ~ {}", s.name, c.program.shape_text(&s.ty.shape), s.dist.name());
            }
            println!("guides {:?}", c.program.guides.iter().map(|g| &g.name).collect::<Vec<_>>());
        }
    }
}
