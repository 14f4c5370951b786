//! Instants of whole seconds, as the keys `aws:EpochTime` and `aws:CurrentTime` have them ("AWS global condition context
//! keys").

/// Date and time of the request, in ISO 8601; lower-cased.
pub(crate) const CURRENT_TIME: &str = "aws:currenttime";
/// Date and time of the request, in seconds since 1970; lower-cased.
pub(crate) const EPOCH_TIME: &str = "aws:epochtime";

/// 0000-01-01T00:00:00Z.
const FIRST: i64 = -62_167_219_200;
/// 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;

/// The nearest instant whose year has four digits.
pub(crate) fn clamp(epoch_seconds: i64) -> i64 {
    epoch_seconds.clamp(FIRST, LAST)
}

/// `2024-06-01T00:00:00Z`.
pub(crate) fn text(epoch_seconds: i64) -> String {
    let days = epoch_seconds.div_euclid(86_400);
    let second = epoch_seconds.rem_euclid(86_400);
    // Years that begin in March have the leap day as their last; 400 of them have the same number of days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::value::Instant;

    #[test]
    fn texts_read_back_as_the_same_instant() {
        assert_eq!(text(FIRST), "0000-01-01T00:00:00Z");
        assert_eq!(text(LAST), "9999-12-31T23:59:59Z");
        assert_eq!(text(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(text(951_782_400), "2000-02-29T00:00:00Z");
        // Every day of a leap cycle and its borders, and steps that meet every month of all four-digit years.
        for seconds in (-86_400..86_400 * 1_500).step_by(43_199).chain((FIRST..LAST).step_by(86_399 * 27)) {
            assert_eq!(Instant::parse(&text(seconds)).unwrap().0, i128::from(seconds) * 1_000_000_000, "{seconds}");
        }
    }
}
