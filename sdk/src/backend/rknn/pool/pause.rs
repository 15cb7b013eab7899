//! How long a core waits for its next context when one was refused: a moment at first, because memory that others give back
//! may be there by then, and longer and longer once its core is left out. Never so long that nobody sees it come back.

use std::time::Duration;

/// Contexts in a row that may be refused in place of one, before its core is left out.
const MAX_REFUSALS: u32 = 3;
const MOMENT: Duration = Duration::from_secs(1);
/// After the first refusal that leaves a core out; each further one doubles it.
const FIRST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(600);

/// Whether a core is left out on which so many contexts in a row were refused.
pub(super) fn is_left_out(refusals: u32) -> bool {
    refusals >= MAX_REFUSALS
}

/// Time from so many refusals in a row to the next attempt.
pub(super) fn pause(refusals: u32) -> Duration {
    let Some(doublings) = refusals.checked_sub(MAX_REFUSALS) else { return MOMENT };
    FIRST.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let seconds = |refusals| pause(refusals).as_secs();
        assert_eq!([1, 2].map(seconds), [1, 1]);
        assert_eq!([3, 4, 5, 6, 7].map(seconds), [30, 60, 120, 240, 480]);
        assert_eq!([8, 9, 40, u32::MAX].map(seconds), [600; 4]);
    }

    #[test]
    fn a_core_is_left_out_after_three_refusals() {
        assert_eq!([0, 2, 3, u32::MAX].map(is_left_out), [false, false, true, true]);
    }
}
