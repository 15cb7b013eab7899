//! An outcome as JUnit XML, for the systems that collect test results: a case for each judgement. Written here, because the
//! crates that do it bring a calendar and an XML parser to the device.

use std::fmt::Write;

use super::{Broken, Judged, Outcome};

/// `outcome` as one test suite.
pub fn junit(outcome: &Outcome) -> String {
    let count = |is: fn(&Judged) -> bool| outcome.judgements.iter().filter(|it| is(&it.result)).count();
    let failures = count(|result| matches!(result, Judged::Failed(_)));
    let skipped = count(|result| matches!(result, Judged::NotJudged(_)));
    let suite = format!("self-test {} {}", outcome.report.board, outcome.report.backend);
    let suite = escape(&suite);
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing into a string cannot fail.
    let _ = writeln!(
        text,
        "<testsuite name=\"{suite}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">",
        outcome.judgements.len()
    );
    for judgement in &outcome.judgements {
        let inside = match &judgement.result {
            Judged::Passed => String::new(),
            Judged::Failed(how) => format!("<failure message=\"{}\"/>", escape(how)),
            Judged::NotJudged(why) => format!("<skipped message=\"{}\"/>", escape(why)),
        };
        let name = judgement.name;
        let _ = writeln!(text, "  <testcase classname=\"{suite}\" name=\"{name}\">{inside}</testcase>");
    }
    let _ = writeln!(text, "  <system-out>{}</system-out>", escape(&outcome.to_string()));
    text + "</testsuite>\n"
}

/// A suite whose only test, the run itself, has an error.
pub fn junit_of_broken(broken: &Broken) -> String {
    let suite = escape(&format!("self-test {}", broken.board()));
    let error = escape(broken.error());
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuite name=\"{suite}\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\">\n  \
         <testcase classname=\"{suite}\" name=\"run\"><error message=\"{error}\"/></testcase>\n\
         </testsuite>\n"
    )
}

/// Text that may stand in an attribute or between tags. Characters that XML has no way to write become `?`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            _ if character.is_control() => escaped.push('?'),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_none_is_an_error() {
        let xml = junit_of_broken(&Broken::new("rk3588", "a <b>"));
        assert!(xml.contains("tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\""), "{xml}");
        assert!(
            xml.contains("classname=\"self-test rk3588\" name=\"run\"><error message=\"a &lt;b&gt;\"/>"),
            "{xml}"
        );
    }

    #[test]
    fn what_xml_would_take_for_its_own_is_escaped() {
        assert_eq!(escape("a<b & \"c\"\u{7}\n"), "a&lt;b &amp; &quot;c&quot;?\n");
    }
}
