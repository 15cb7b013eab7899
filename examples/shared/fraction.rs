//! Numbers from 0 to 1, as scores and overlaps are: refused where they are read, and not when they are used.

/// Reads one.
///
/// # Errors
/// When `text` is none.
pub fn parse(text: &str) -> Result<f32, String> {
    let number = text.parse().map_err(|_| format!("{text:?}: expected a number from 0 to 1"))?;
    check(number)
}

/// Gives `number` back.
///
/// # Errors
/// When it is not from 0 to 1, or no number at all.
pub fn check(number: f32) -> Result<f32, String> {
    if (0.0..=1.0).contains(&number) {
        Ok(number)
    } else {
        Err(format!("{number}: expected a number from 0 to 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_from_0_to_1_is_read() {
        assert_eq!(["0", "0.25", "1"].map(|text| parse(text).unwrap()), [0.0, 0.25, 1.0]);
        for text in ["7", "-0.1", "NaN", "inf", "", "half"] {
            assert!(parse(text).unwrap_err().contains("from 0 to 1"), "{text}");
        }
    }
}
