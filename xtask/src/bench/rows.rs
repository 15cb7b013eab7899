//! What the timing script found, and its table.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;

/// One model at one size on a number of threads.
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    /// Its name.
    pub model: String,
    /// What follows its convolutions.
    pub activation: String,
    /// Side of its input in pixels.
    pub size: usize,
    /// In which numbers it computes.
    pub precision: String,
    /// On how many threads.
    pub threads: usize,
    /// Median time of ours.
    pub ours_ms: f64,
    /// Median times of the others.
    pub peers_ms: BTreeMap<String, f64>,
    /// The median over rounds of the best other's time over ours.
    pub best_peer_over_ours: Option<f64>,
    /// As `best_peer_over_ours`, in processor time, which other programs disturb less.
    pub best_peer_over_ours_processor: Option<f64>,
    /// What textbooks count, by the median time of ours.
    pub gflops: f64,
    /// What so many cores do at once at most.
    pub peak_gflops: f64,
    /// That over what one does alone: what more threads can give on this machine.
    pub peak_over_one_core: f64,
    /// Where there are several threads, the median over rounds of the time on one over theirs.
    pub one_thread_over_ours: Option<f64>,
    /// From the bundle to the first frame's boxes, on all cores.
    pub load_to_first_result_s: f64,
    /// Most memory that ours held.
    pub peak_rss_mb: f64,
    /// Most memory that the others held, beyond what their interpreter had.
    pub peers_peak_rss_mb: BTreeMap<String, f64>,
    /// What a program with our kernels and tract takes, and the others' libraries.
    pub binary_mb: BTreeMap<String, f64>,
}

/// The engines that columns are for.
const PEERS: [&str; 4] = ["tract", "onnxruntime", "openvino", "ncnn"];

/// The rows as a table in Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| model | threads | ours ms | ");
    text.push_str(&PEERS.map(|peer| format!("{peer} ms")).join(" | "));
    text.push_str(
        " | best / ours | by processor time | 1 thread / ours | cores' peak / one's | GFLOP/s | of FMA peak | load s | RSS MB | least other MB |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        let peers = PEERS.map(|peer| row.peers_ms.get(peer).map_or("–".into(), |ms| format!("{ms:.1}")));
        let ratios = [row.best_peer_over_ours, row.best_peer_over_ours_processor, row.one_thread_over_ours];
        let [wall, processor, alone] =
            ratios.map(|ratio| ratio.map_or("–".into(), |ratio| format!("{ratio:.2}")));
        let least = row.peers_peak_rss_mb.values().copied().reduce(f64::min);
        let least = least.map_or("–".into(), |mb| format!("{mb:.0}"));
        let _ = writeln!(
            text,
            "| {} {} {} {} | {} | {:.1} | {} | {wall} | {processor} | {alone} | {:.2} | {:.0} | {:.0} % | {:.2} | {:.0} | {least} |",
            row.model,
            row.activation,
            row.size,
            row.precision,
            row.threads,
            row.ours_ms,
            peers.join(" | "),
            row.peak_over_one_core,
            row.gflops,
            100.0 * row.gflops / row.peak_gflops,
            row.load_to_first_result_s,
            row.peak_rss_mb,
        );
    }
    text
}

/// What each engine takes on disk, which is the same for all rows.
pub fn sizes(rows: &[Row]) -> String {
    let sizes = rows.first().into_iter().flat_map(|row| &row.binary_mb);
    let each: Vec<_> = sizes.map(|(name, mb)| format!("{name} {mb:.1} MB")).collect();
    format!("on disk, without debug information: {}", each.join(", "))
}

#[cfg(test)]
pub(super) fn example() -> Vec<Row> {
    let json = r#"[{"model": "yolov5n", "activation": "relu", "size": 640, "precision": "fp32", "threads": 1,
        "ours_ms": 40.0, "peers_ms": {"tract": 92.0, "onnxruntime": 52.0}, "best_peer_over_ours": 1.3,
        "best_peer_over_ours_processor": 1.25, "gflops": 110.2, "peak_gflops": 100.0,
        "peak_over_one_core": 1.0, "one_thread_over_ours": null, "binary_mb": {"ours": 9.04, "ncnn": 17.3}, "load_to_first_result_s": 0.12, "peak_rss_mb": 78.1,
        "peers_peak_rss_mb": {"onnxruntime": 95.0, "openvino": 151.0}}]"#;
    serde_json::from_str(json).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_did_not_run_is_a_dash() {
        let table = table(&example());
        let last = table.lines().last().unwrap();
        assert_eq!(
            last,
            "| yolov5n relu 640 fp32 | 1 | 40.0 | 92.0 | 52.0 | – | – | 1.30 | 1.25 | – | 1.00 | 110 | 110 % | 0.12 | 78 | 95 |"
        );
    }

    #[test]
    fn sizes_are_told_once() {
        assert_eq!(sizes(&example()), "on disk, without debug information: ncnn 17.3 MB, ours 9.0 MB");
    }
}
