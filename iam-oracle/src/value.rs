//! Numbers, dates, addresses and bytes, compared as slowly as they are read.

/// Digits and perhaps a point between digits, aligned and compared as texts.
pub(crate) fn compare_numbers(a: &str, b: &str) -> Option<i32> {
    let read = |text: &str| {
        let negative = text.starts_with('-');
        let digits = text.trim_start_matches(['-', '+']);
        if text.len() - digits.len() > 1 {
            return None;
        }
        let parts: Vec<&str> = digits.split('.').collect();
        let good = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        if parts.len() > 2 || !parts.iter().all(good) {
            return None;
        }
        let fraction = parts.get(1).copied().unwrap_or("");
        let aligned = format!("{:0>60}{:0<60}", parts[0], fraction);
        let zero = aligned.chars().all(|c| c == '0');
        Some((negative && !zero, aligned))
    };
    let ((a_negative, a), (b_negative, b)) = (read(a)?, read(b)?);
    let size = match a.cmp(&b) {
        std::cmp::Ordering::Less => -1,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => 1,
    };
    Some(match (a_negative, b_negative) {
        (false, false) => size,
        (true, true) => -size,
        (true, false) => -1,
        (false, true) => 1,
    })
}

pub(crate) fn compare_dates(a: &str, b: &str) -> Option<i128> {
    let (a, b) = (microseconds(a)?, microseconds(b)?);
    Some((a - b).signum())
}

/// Since 1970, by counting days one by one.
fn microseconds(text: &str) -> Option<i128> {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if digits(text.trim_start_matches('-')) && text.trim_start_matches('-').len() != 4 {
        return text.parse::<i128>().ok().map(|seconds| seconds * 1_000_000);
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let widths = [4, 2, 2];
    if parts.len() > 3 || !parts.iter().zip(widths).all(|(part, width)| digits(part) && part.len() == width) {
        return None;
    }
    let part = |index: usize| parts.get(index).map_or(1, |part| part.parse::<i128>().unwrap());
    let (year, month, day) = (part(0), part(1), part(2));
    let leap = |year: i128| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = |year: i128, month: i128| match month {
        2 => 28 + i128::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || day < 1 || day > length(year, month) {
        return None;
    }
    let mut days = 0;
    for passed in 1970..year {
        days += 365 + i128::from(leap(passed));
    }
    for coming in year..1970 {
        days -= 365 + i128::from(leap(coming));
    }
    for passed in 1..month {
        days += length(year, passed);
    }
    days += day - 1;
    let mut seconds = days * 86_400;
    let mut micros = 0;
    if let Some(time) = time {
        if parts.len() != 3 {
            return None;
        }
        let (clock, east) = if let Some(clock) = time.strip_suffix('Z') {
            (clock, 0)
        } else {
            let at = time.find(['+', '-'])?;
            let (hours, minutes) = time[at + 1..].split_once(':')?;
            if !digits(hours) || !digits(minutes) || hours.len() != 2 || minutes.len() != 2 {
                return None;
            }
            let (hours, minutes) = (hours.parse::<i128>().ok()?, minutes.parse::<i128>().ok()?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let sign = if time.as_bytes()[at] == b'+' { 1 } else { -1 };
            (&time[..at], sign * (hours * 60 + minutes) * 60)
        };
        let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let fields: Vec<&str> = whole.split(':').collect();
        let two = |part: &&str| digits(part) && part.len() == 2;
        if !(2..=3).contains(&fields.len()) || !fields.iter().all(two) || !digits(fraction) {
            return None;
        }
        if clock.contains('.') && fields.len() != 3 {
            return None;
        }
        let field = |index: usize| fields.get(index).map_or(0, |field| field.parse::<i128>().unwrap());
        if field(0) > 23 || field(1) > 59 || field(2) > 59 {
            return None;
        }
        seconds += field(0) * 3600 + field(1) * 60 + field(2) - east;
        micros = format!("{fraction:0<6}")[..6].parse().ok()?;
    }
    Some(seconds * 1_000_000 + micros)
}

/// The bits of an address, written out.
#[must_use]
pub fn address_bits(text: &str) -> Option<String> {
    if text.contains(':') {
        let halves: Vec<&str> = text.split("::").collect();
        let groups = |half: &str| -> Option<Vec<u32>> {
            if half.is_empty() {
                return Some(Vec::new());
            }
            half.split(':')
                .map(|group| {
                    let good = (1..=4).contains(&group.len()) && group.chars().all(|c| c.is_ascii_hexdigit());
                    good.then(|| u32::from_str_radix(group, 16).unwrap())
                })
                .collect()
        };
        let mut all = groups(halves[0])?;
        match halves.len() {
            1 => {}
            2 => {
                let tail = groups(halves[1])?;
                if all.len() + tail.len() > 7 {
                    return None;
                }
                while all.len() + tail.len() < 8 {
                    all.push(0);
                }
                all.extend(tail);
            }
            _ => return None,
        }
        (all.len() == 8).then(|| all.iter().map(|group| format!("{group:016b}")).collect())
    } else {
        let parts: Vec<&str> = text.split('.').collect();
        let mut bits = String::new();
        for part in &parts {
            let good = !part.is_empty()
                && part.chars().all(|c| c.is_ascii_digit())
                && (*part == "0" || !part.starts_with('0'));
            let number: u32 = if good { part.parse().ok()? } else { return None };
            if number > 255 {
                return None;
            }
            bits.push_str(&format!("{number:08b}"));
        }
        (parts.len() == 4).then_some(bits)
    }
}

pub(crate) fn ip_in(value: &str, wanted: &str) -> bool {
    let Some(value) = address_bits(value) else { return false };
    let (network, length) = match wanted.split_once('/') {
        Some((network, length)) => (network, Some(length)),
        None => (wanted, None),
    };
    let Some(network) = address_bits(network) else { return false };
    let length: usize = match length {
        None => network.len(),
        Some(text) => {
            let good =
                !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            match text.parse() {
                Ok(length) if good => length,
                _ => return false,
            }
        }
    };
    length <= network.len() && network.len() == value.len() && network[..length] == value[..length]
}

pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bits = String::new();
    for c in body.chars() {
        bits.push_str(&format!("{:06b}", DIGITS.find(c)?));
    }
    let whole = bits.len() / 8 * 8;
    if bits[whole..].contains('1') || bits.len() - whole >= 6 {
        return None;
    }
    Some((0..whole).step_by(8).map(|at| u8::from_str_radix(&bits[at..at + 8], 2).unwrap()).collect())
}
