//! Typed values of conditions: numbers, dates, networks, binary. Each reads a text or says it is none.

use std::cmp::Ordering;
use std::net::IpAddr;

/// A decimal number, compared exactly: no rounding at 2^53 and no exponents ("Numeric condition operators").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    negative: bool,
    whole: Box<str>,
    fraction: Box<str>,
}

impl Number {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Decimal { negative, whole, fraction } = Decimal::parse(text)?;
        Some(Self { negative, whole: whole.into(), fraction: fraction.into() })
    }

    pub(crate) fn decimal(&self) -> Decimal<'_> {
        Decimal { negative: self.negative, whole: &self.whole, fraction: &self.fraction }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.decimal().cmp(&other.decimal())
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A [`Number`] that borrows its digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal<'a> {
    negative: bool,
    /// Digits before the point without leading zeros.
    whole: &'a str,
    /// Digits after the point without trailing zeros.
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let zero = whole.is_empty() && fraction.is_empty();
        Some(Self { negative: sign && !zero, whole, fraction })
    }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let size = (self.whole.len().cmp(&other.whole.len()))
            .then_with(|| self.whole.cmp(other.whole))
            .then_with(|| self.fraction.cmp(other.fraction));
        match (self.negative, other.negative) {
            (false, false) => size,
            (true, true) => size.reverse(),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An instant in nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(pub(crate) i128);

const NANOS: i128 = 1_000_000_000;

impl Instant {
    /// The W3C profile of ISO 8601 (`2024`, `2024-06`, `2024-06-01`, `2024-06-01T00:00Z`, with seconds, with a
    /// fraction) or epoch seconds. Both notations give the same instant, so they can be compared.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // Four digits are a year: the epoch second 2024 lies in 1970 and is never meant.
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.len() != 4 && digits.len() <= 18 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse::<i128>().ok().map(|seconds| Self(seconds * NANOS));
        }
        let mut reader = Digits { rest: text };
        let year = reader.take(4)?;
        let month = if reader.skip('-') { reader.take(2)? } else { return reader.finish(year, 1, 1) };
        let day = if reader.skip('-') { reader.take(2)? } else { return reader.finish(year, month, 1) };
        if !reader.skip('T') {
            return reader.finish(year, month, day);
        }
        let hour = reader.take(2)?;
        let minute = if reader.skip(':') { reader.take(2)? } else { return None };
        let mut second = 0;
        let mut nanos = 0;
        if reader.skip(':') {
            second = reader.take(2)?;
            if reader.skip('.') {
                nanos = reader.fraction()?;
            }
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let offset = reader.zone()?;
        let midnight = reader.finish(year, month, day)?;
        let seconds = i128::from(hour * 3600 + minute * 60 + second - offset * 60);
        Some(Self(midnight.0 + seconds * NANOS + nanos))
    }
}

struct Digits<'a> {
    rest: &'a str,
}

impl Digits<'_> {
    fn take(&mut self, count: usize) -> Option<i64> {
        let digits = self.rest.get(..count).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
        self.rest = self.rest.get(count..)?;
        digits.parse().ok()
    }

    fn skip(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The nanoseconds of a fraction of a second; digits beyond the ninth are dropped.
    fn fraction(&mut self) -> Option<i128> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let digits = self.rest.get(..length).filter(|d| !d.is_empty())?;
        let nanos =
            digits.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |sum, b| sum * 10 + i128::from(b - b'0'));
        self.rest = self.rest.get(length..)?;
        Some(nanos)
    }

    /// Minutes east of Greenwich.
    fn zone(&mut self) -> Option<i64> {
        if self.skip('Z') {
            return Some(0);
        }
        let sign = if self.skip('+') {
            1
        } else if self.skip('-') {
            -1
        } else {
            return None;
        };
        let hours = self.take(2)?;
        let minutes = if self.skip(':') { self.take(2)? } else { return None };
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
    }

    fn finish(&self, year: i64, month: i64, day: i64) -> Option<Instant> {
        if !self.rest.is_empty() || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
            return None;
        }
        // Days since 1970-01-01, with years that begin in March so that the leap day is the last.
        let shifted = if month <= 2 { year - 1 } else { year };
        let era = shifted.div_euclid(400);
        let year_of_era = shifted.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        Some(Instant(i128::from(days) * 86_400 * NANOS))
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// A block of addresses, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) v6: bool,
    pub(crate) first: u128,
    pub(crate) last: u128,
}

impl Network {
    /// `203.0.113.0/24`, `2001:db8::/32`, or an address, which is a block of one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let (v6, bits, address) = match address.parse().ok()? {
            IpAddr::V4(v4) => (false, 32_u32, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => (true, 128, v6.to_bits()),
        };
        let length = match prefix {
            None => bits,
            Some(text) => {
                let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
                plain.then(|| text.parse().ok()).flatten().filter(|length| *length <= bits)?
            }
        };
        // A shift by the full width is undefined, hence the checked one: /0 holds every address.
        let host = u128::MAX.checked_shr(128 - bits + length).unwrap_or(0);
        let host = if bits == 32 { host & u128::from(u32::MAX) } else { host };
        Some(Self { v6, first: address & !host, last: address | host })
    }

    /// An address alone.
    pub(crate) fn address(text: &str) -> Option<Self> {
        if text.contains('/') { None } else { Self::parse(text) }
    }

    /// Whether `address` lies in the block; never across families.
    pub(crate) fn holds(&self, address: &Self) -> bool {
        self.v6 == address.v6 && self.first <= address.first && address.last <= self.last
    }
}

/// `true` or `false` in any case.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// The bytes of a base-64 text with padding.
pub(crate) fn parse_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    if padding > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(body.len() * 3 / 4);
    let mut held = 0_u32;
    let mut bits = 0;
    for b in body.bytes() {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from((held >> bits) & 0xff).ok()?);
        }
    }
    (held & ((1 << bits) - 1) == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly() {
        let number = |text| Number::parse(text).unwrap();
        assert_eq!(number("0300"), number("300.0"));
        assert_eq!(number("-0"), number("0"));
        assert!(number("9007199254740993") > number("9007199254740992"));
        assert!(number("0.1") < number("0.11"));
        assert!(number("-2") < number("-1") && number("-1") < number("0.5"));
        assert!(number("10") > number("9.99"));
        for text in ["", "10abc", "1e3", "0x10", "1.", ".5", " 1", "1_0", "--1", "NaN"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn dates_of_both_notations_meet() {
        let instant = |text| Instant::parse(text).unwrap();
        assert_eq!(instant("2024-06-01T00:00:00Z"), instant("1717200000"));
        assert_eq!(instant("2024-06-01T02:00:00+02:00"), instant("2024-06"));
        assert_eq!(instant("2024-06-01T00:00Z"), instant("2024-06-01"));
        assert_eq!(instant("1970"), Instant(0));
        assert_eq!(instant("2000-02-29T23:59:59.5Z").0, 951_868_799_500_000_000);
        assert_eq!(instant("0000-01-01").0, -62_167_219_200 * NANOS);
        assert!(instant("-5") < instant("0"));
        for text in [
            "",
            "yesterday",
            "2023-02-29",
            "2024-13",
            "2024-06-01T00:00:00",
            "2024-06-01T24:00:00Z",
            "2024-6-1",
            "1.5",
            "24-06-01",
        ] {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
    }

    #[test]
    fn networks_hold_addresses_of_their_family() {
        let holds =
            |network: &str, address: &str| Network::parse(network).unwrap().holds(&Network::address(address).unwrap());
        assert!(holds("0.0.0.0/0", "203.0.113.5"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(!holds("::/0", "203.0.113.5"));
        assert!(holds("::/0", "ffff::1"));
        assert!(holds("128.0.0.0/1", "200.1.2.3") && !holds("128.0.0.0/1", "127.0.0.1"));
        assert!(holds("203.0.113.9/24", "203.0.113.200"));
        assert!(holds("2001:db8::1", "2001:DB8:0:0::1"));
        assert!(!holds("203.0.113.5", "203.0.113.6"));
        for text in ["", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/08", "::/129", "1.2.3.4/+8", "01.2.3.4"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
        assert_eq!(Network::address("1.2.3.4/32"), None);
    }

    #[test]
    fn base64_reads_bytes() {
        assert_eq!(parse_base64("QmluYXJ5").as_deref(), Some(b"Binary".as_slice()));
        assert_eq!(parse_base64("b3RoZXI=").as_deref(), Some(b"other".as_slice()));
        assert_eq!(parse_base64("QQ==").as_deref(), Some(b"A".as_slice()));
        assert_eq!(parse_base64("").as_deref(), Some(b"".as_slice()));
        for text in ["A", "QQ", "QQ=", "Q===", "QR==", "Q*==", "=QQQ"] {
            assert_eq!(parse_base64(text), None, "{text}");
        }
    }
}
