//! Numbers as people read them in the report. Never rounds what is stored.

/// A fraction as a percentage with two digits; a dash for what could not be measured.
pub(super) fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| String::from("–"), |v| format!("{:.2} %", v * 100.0))
}

/// The change of a fraction in percentage points, with its sign.
pub(super) fn points(before: Option<f64>, after: Option<f64>) -> String {
    match (before, after) {
        (Some(before), Some(after)) => format!("{:+.2}", (after - before) * 100.0).replace('-', "−"),
        _ => String::from("–"),
    }
}

/// A duration in milliseconds.
pub(super) fn milliseconds(value: f64) -> String {
    if value < 10.0 { format!("{value:.2} ms") } else { format!("{value:.1} ms") }
}

/// A duration in hours, minutes and seconds.
pub(super) fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "float casts saturate")]
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) if minutes < 10 => format!("{minutes} min {seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// An integer with a comma before every third digit.
pub(super) fn grouped(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The part of `whole` that `part` is; of nothing, nothing.
#[expect(clippy::cast_precision_loss, reason = "a fraction for display")]
pub(super) fn fraction(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Floating-point operations in billions.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn gflops(flops: u64) -> String {
    format!("{:.3}", flops as f64 / 1e9)
}

/// A JSON value in a table cell: small numbers in scientific notation, text without quotes.
pub(super) fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::from("–"),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => match number.as_f64() {
            Some(v) if number.is_f64() && v != 0.0 && v.abs() < 0.001 => format!("{v:.2e}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(percent(Some(0.85234)), "85.23 %");
        assert_eq!(percent(None), "–");
        assert_eq!(points(Some(0.5), Some(0.4987)), "−0.13");
        assert_eq!(points(None, Some(0.4987)), "–");
        assert_eq!(milliseconds(0.456), "0.46 ms");
        assert_eq!(milliseconds(91.26), "91.3 ms");
        assert_eq!(
            [duration(3.2), duration(61.0), duration(1499.0), duration(7260.0), duration(f64::NAN)],
            ["3 s", "1 min 1 s", "24 min", "2 h 1 min", "0 s"]
        );
        assert_eq!(plain(&serde_json::json!(3.4e-7)), "3.40e-7");
        assert_eq!(plain(&serde_json::json!("a")), "a");
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(gflops(4_456_000_000), "4.456");
    }
}
