//! The report of a whole run: what was played last, and what was before, such as pictures until a camera came. Each has figures of
//! its own: pictures that wait for a camera and its frames have neither rate nor latency in common.

use examples::console;
use repedge::pipeline::PipelineReport;
use serde::Serialize;

/// A run, from its begin to its end.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    last: Part,
    /// What was played before, in that order.
    earlier: Vec<Part>,
}

/// One thing that was played.
#[derive(Debug, Serialize)]
pub struct Part {
    /// What it was, for people.
    source: String,
    #[serde(flatten)]
    figures: PipelineReport,
}

impl Report {
    /// `last`, after those that were played `earlier`.
    pub fn new(earlier: Vec<Part>, last: Part) -> Self {
        Self { last, earlier }
    }

    /// Says in a line what was played last.
    pub fn tell(&self) {
        self.last.tell();
    }
}

impl Part {
    /// What playing `source` came to.
    pub fn new(source: String, figures: PipelineReport) -> Self {
        Self { source, figures }
    }

    /// Frames that reached the sinks.
    pub fn shown(&self) -> u64 {
        self.figures.shown
    }

    /// Says in a line what it was.
    pub fn tell(&self) {
        let PipelineReport { shown, dropped, broken, lost, fps, latency, stuck, .. } = &self.figures;
        let fps = fps.map_or(String::new(), |fps| format!(", {fps:.1} a second"));
        console::note(format_args!(
            "{shown} frames shown{fps}, {dropped} dropped, {broken} broken, {lost} lost; latency {:.1} ms (99 %: {:.1} ms)",
            millis(latency.p50_us),
            millis(latency.p99_us)
        ));
        for stage in stuck {
            console::note(format_args!("note: {stage} did not end in time and was left"));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "to be read by people")]
fn millis(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_played_before_is_told_beside_what_was_last() {
        let part = |source: &str, shown| {
            Part::new(source.into(), PipelineReport { shown, ..PipelineReport::default() })
        };
        let report = Report::new(vec![part("3 pictures", 7)], part("a camera", 90));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["source"], &json["shown"]), (&"a camera".into(), &90.into()));
        let earlier = json["earlier"].as_array().unwrap();
        assert_eq!((earlier.len(), &earlier[0]["source"]), (1, &"3 pictures".into()));
        assert_eq!((&earlier[0]["shown"], earlier[0]["stages"].is_array()), (&7.into(), true));
    }
}
