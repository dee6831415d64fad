//! Times as the wire writes them: `2031-04-05T06:07:08.123456+00:00`, always six fraction digits, always UTC.
//!
//! Times are for display. Nothing in the system compares times of different nodes.

use std::fmt;

/// Microseconds since the Unix epoch. Ordered, but only for display: wall clocks may jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// How many characters [`fmt::Display`] writes for the years that four digits have.
    pub const LENGTH: usize = "2031-04-05T06:07:08.123456+00:00".len();

    /// Parses what [`fmt::Display`] writes, and what an original node writes: any number of fraction digits or none,
    /// and `Z` for `+00:00`. Other offsets are refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (date_time, rest) = (text.get(..19)?, text.get(19..)?);
        let b = date_time.as_bytes();
        if b[4] != b'-' || b[7] != b'-' || b[10] != b'T' || b[13] != b':' || b[16] != b':' {
            return None;
        }
        let number = |range: std::ops::Range<usize>| -> Option<i64> {
            let digits = &date_time[range];
            digits
                .bytes()
                .all(|c| c.is_ascii_digit())
                .then(|| digits.parse().ok())?
        };
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let rest = rest.strip_suffix("+00:00").or_else(|| rest.strip_suffix('Z'))?;
        let micros = match rest.strip_prefix('.') {
            None if rest.is_empty() => 0,
            Some(f) if !f.is_empty() && f.len() <= 9 && f.bytes().all(|c| c.is_ascii_digit()) => {
                format!("{f:0<6}")[..6].parse().ok()?
            }
            _ => return None,
        };
        let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(Self(seconds * 1_000_000 + micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00"
        )
    }
}

/// Days since 1970-01-01 to (year, month, day) of the Gregorian calendar.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// The inverse of [`civil_from_days`], from the same source.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_exactly() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(
            Timestamp(1_933_308_428_123_456).to_string(),
            "2031-04-07T06:07:08.123456+00:00"
        );
        assert_eq!(
            Timestamp(951_782_399_999_999).to_string(),
            "2000-02-28T23:59:59.999999+00:00"
        );
        assert_eq!(
            Timestamp(951_868_799_000_000).to_string(),
            "2000-02-29T23:59:59.000000+00:00"
        );
    }

    #[test]
    fn a_reader_accepts_z_and_any_fraction() {
        let whole = Timestamp::parse("2031-04-05T06:07:08+00:00");
        assert_eq!(whole, Timestamp::parse("2031-04-05T06:07:08Z"));
        assert_eq!(whole, Timestamp::parse("2031-04-05T06:07:08.000Z"));
        for bad in [
            "",
            "2031-04-05",
            "2031-13-05T06:07:08Z",
            "2031-04-05T06:07:08",
            "2031-04-05T06:07:08.Z",
            "ä".repeat(30).as_str(),
        ] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        for day in -150_000_i64..150_000 {
            let t = Timestamp(day * 86_400_000_000 + 12_345_678);
            assert_eq!(Timestamp::parse(&t.to_string()), Some(t));
        }
    }
}
