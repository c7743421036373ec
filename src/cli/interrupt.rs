//! Ctrl-C: the first one asks to stop, the second one stops.

use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// From now on Ctrl-C asks to stop instead of killing the process.
pub fn listen() {
    // Without a handler Ctrl-C kills, as it does everywhere.
    let _ = ctrlc::set_handler(|| {
        if COUNT.fetch_add(1, Ordering::SeqCst) > 0 {
            std::process::exit(i32::from(super::shell::Exit::Interrupted.code()));
        }
    });
}

/// Whether somebody asked to stop.
pub fn requested() -> bool {
    COUNT.load(Ordering::Relaxed) > 0
}
