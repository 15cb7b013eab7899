//! Names of everything an ablation writes beside the folders of its variants. Whoever writes there takes the name from here,
//! so that no variant can be called like one. Never touches a file.

use std::path::{Path, PathBuf};

use super::timing::Engine;

/// A file or folder of the results; only the constants here are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output(&'static str);

/// Declares the names, and the list of all of them.
macro_rules! outputs {
    ($($constant:ident = $name:literal;)+) => {
        impl Output {
            $(pub const $constant: Self = Self($name);)+
        }

        const ALL: [&str; [$($name),+].len()] = [$($name),+];
    };
}

outputs! {
    TABLE = "table.md";
    TABLE_CSV = "table.csv";
    SEEDS_CSV = "seeds.csv";
    TIMING_CSV = "timing.csv";
    REPORT = "report.html";
    DOCUMENT = "ablation.json";
    COST = "cost.json";
    MAP = "map.svg";
    MAP50 = "map50.svg";
    CURVES = "curves.svg";
    TIMING_TRACT = "timing-tract.svg";
    TIMING_TORCH = "timing-torch.svg";
    TIMING = "timing";
    PICTURES = "pictures";
}

impl Output {
    /// The plot of the times in `engine`.
    pub const fn timing_plot(engine: Engine) -> Self {
        match engine {
            Engine::Tract => Self::TIMING_TRACT,
            Engine::Torch => Self::TIMING_TORCH,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Its path in the folder of the results.
    pub fn in_folder(self, out: &Path) -> PathBuf {
        out.join(self.0)
    }
}

/// Whether a variant called `name` would lie where a result goes, also on file systems that do not tell cases apart.
pub(super) fn is_reserved(name: &str) -> bool {
    ALL.iter().any(|taken| taken.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_reserved_in_any_case() {
        for name in ["table.md", "Report.HTML", "cost.json", "map.svg", "timing-torch.svg", "Pictures"] {
            assert!(is_reserved(name), "{name}");
        }
        assert!(!is_reserved("table") && !is_reserved("yolov5n"));
    }
}
