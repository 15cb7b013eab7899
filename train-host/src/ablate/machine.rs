//! What the figures were measured on. Only reads.

use serde::{Deserialize, Serialize};

/// The machine and the engines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor, as the system gives it.
    pub processor: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Version of train-host.
    pub train_host: String,
    /// Version of libtorch it was built with.
    pub libtorch: String,
    /// Version of tract.
    pub tract: String,
}

impl Machine {
    /// The machine this runs on.
    pub fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            processor: processor(&cpuinfo).unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            train_host: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: env!("REPEDGE_LIBTORCH_VERSION").to_owned(),
            tract: repedge::backend::tract::VERSION.to_owned(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { processor, cores, train_host, libtorch, tract } = self;
        let cores = if *cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
        write!(f, "{processor}, {cores}; train-host {train_host}, libtorch {libtorch}, tract {tract}")
    }
}

/// The processor's name in the text of `/proc/cpuinfo`, whose lines read `model name : NAME`.
fn processor(cpuinfo: &str) -> Option<&str> {
    cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then_some(value.trim()).filter(|name| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_found_by_its_key() {
        let text = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Some CPU @ 2.0: fast \nflags\t\t: fpu\n";
        assert_eq!(processor(text), Some("Some CPU @ 2.0: fast"));
        assert_eq!(processor("processor : 0\nmodel name :\n"), None);
        assert!(Machine::here().cores > 0);
    }
}
