//! Patterns and policy variables.

use crate::request::{Request, is_multivalued};

/// The keys (lower-case) of the variables in a text, and the text with the values that the request has.
#[must_use]
pub fn variables(text: &str, request: &Request, modern: bool) -> (Vec<String>, String) {
    let all = chars(text);
    let mut keys = Vec::new();
    let mut shown = String::new();
    let mut at = 0;
    while at < all.len() {
        let length = if modern {
            match variable(&all[at..], request) {
                Plain => 0,
                Stands(length, value) => {
                    shown.push_str(&value);
                    length
                }
                Nothing => all[at..].iter().position(|c| *c == '}').map_or(0, |end| end + 1),
            }
        } else {
            0
        };
        if length == 0 {
            shown.push(all[at]);
            at += 1;
            continue;
        }
        if length > 4 || ![Some('*'), Some('?'), Some('$')].contains(&all.get(at + 2).copied()) {
            let key: String = all[at + 2..at + length].iter().take_while(|c| **c != '}' && **c != ',').collect();
            keys.push(key.to_ascii_lowercase());
        }
        at += length;
    }
    (keys, shown)
}

/// A piece of a text after variables are substituted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Piece {
    /// Written in the policy: `*` and `?` may be wildcards.
    Written(char),
    /// Substituted or escaped: always itself.
    Literal(char),
    Star {
        colons: bool,
    },
    One {
        colons: bool,
    },
}

pub(crate) fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

pub(crate) fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

pub(crate) fn plain(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Written(c) | Piece::Literal(c) => *c,
            _ => panic!("wildcards are not made yet"),
        })
        .collect()
}

pub(crate) fn wild(piece: Piece) -> Piece {
    match piece {
        Piece::Written('*') => Piece::Star { colons: true },
        Piece::Written('?') => Piece::One { colons: true },
        Piece::Written(c) => Piece::Literal(c),
        other => other,
    }
}

pub(crate) fn free_pattern(text: &str) -> Vec<Piece> {
    text.chars().map(Piece::Written).map(wild).collect()
}

/// Puts values in the place of variables; none where a variable has no value.
pub(crate) fn substitute(text: &str, request: &Request, modern: bool) -> Option<Vec<Piece>> {
    let text = chars(text);
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match if modern { variable(&text[at..], request) } else { Plain } {
            Plain => {
                pieces.push(Piece::Written(text[at]));
                at += 1;
            }
            Stands(length, value) => {
                pieces.extend(value.chars().map(Piece::Literal));
                at += length;
            }
            Nothing => return None,
        }
    }
    Some(pieces)
}

enum Variable {
    Plain,
    /// So many characters stand for this text.
    Stands(usize, String),
    Nothing,
}
use Variable::{Nothing, Plain, Stands};

fn variable(text: &[char], request: &Request) -> Variable {
    if text.len() < 4 || text[0] != '$' || text[1] != '{' {
        return Plain;
    }
    if text[3] == '}' && ['*', '?', '$'].contains(&text[2]) {
        return Stands(4, text[2].to_string());
    }
    let mut at = 2;
    let mut key = String::new();
    loop {
        match text.get(at) {
            None | Some('$' | '{' | '\'' | '*' | '?') => return Plain,
            Some('}' | ',') => break,
            Some(c) => key.push(*c),
        }
        at += 1;
    }
    if key.is_empty() || key.trim() != key {
        return Plain;
    }
    let mut default = None;
    if text[at] == ',' {
        if text.get(at + 1) != Some(&' ') || text.get(at + 2) != Some(&'\'') {
            return Plain;
        }
        at += 3;
        let mut value = String::new();
        loop {
            match text.get(at) {
                None => return Plain,
                Some('\'') => break,
                Some(c) => value.push(*c),
            }
            at += 1;
        }
        at += 1;
        if text.get(at) != Some(&'}') {
            return Plain;
        }
        default = Some(value);
    }
    let length = at + 1;
    let key = key.to_ascii_lowercase();
    let values = request.values(&key);
    if values.is_empty() {
        match default {
            Some(default) => Stands(length, default),
            None => Nothing,
        }
    } else if values.len() == 1 && !is_multivalued(&key) {
        Stands(length, values[0].clone())
    } else {
        Nothing
    }
}

/// In a Resource, variables stand after the fifth colon, and before it a wildcard stays inside its field unless a star
/// ends the field.
pub(crate) fn resource_pattern(text: &str, request: &Request, modern: bool) -> Option<Vec<Piece>> {
    let text = chars(text);
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut colons = 0;
    while at < text.len() {
        if colons >= 5 {
            let rest: String = text[at..].iter().collect();
            pieces.extend(substitute(&rest, request, modern)?.into_iter().map(wild));
            break;
        }
        match text[at] {
            '*' => {
                let mut end = at;
                while text.get(end) == Some(&'*') {
                    end += 1;
                }
                let ends_field = end == text.len() || text[end] == ':';
                pieces.push(Piece::Star { colons: ends_field });
                at = end - 1;
            }
            '?' => pieces.push(Piece::One { colons: false }),
            c => pieces.push(Piece::Literal(c)),
        }
        if text[at] == ':' {
            colons += 1;
        }
        at += 1;
    }
    Some(pieces)
}

/// The six fields of ARNs one by one; the last may hold colons. What is no ARN matches nothing.
pub(crate) fn arn_matches(wanted: &[Piece], value: &str) -> bool {
    let value: Vec<&str> = value.splitn(6, ':').collect();
    if value.len() != 6 || value[0] != "arn" {
        return false;
    }
    // IAM-VAR-8: stars alone are any ARN.
    if !wanted.is_empty() && wanted.iter().all(|piece| *piece == Piece::Written('*')) {
        return true;
    }
    let mut fields: Vec<Vec<Piece>> = vec![Vec::new()];
    for piece in wanted {
        let colon = matches!(piece, Piece::Written(':') | Piece::Literal(':'));
        if colon && fields.len() < 6 {
            fields.push(Vec::new());
        } else {
            fields.last_mut().unwrap().push(wild(*piece));
        }
    }
    fields.len() == 6 && fields.iter().zip(&value).all(|(field, value)| glob(field, &chars(value)))
}

/// Tries everything.
pub(crate) fn glob(pattern: &[Piece], text: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        Piece::Literal(c) | Piece::Written(c) => text.first() == Some(c) && glob(rest, &text[1..]),
        Piece::One { colons } => text.first().is_some_and(|c| *colons || *c != ':') && glob(rest, &text[1..]),
        Piece::Star { colons } => {
            glob(rest, text) || (text.first().is_some_and(|c| *colons || *c != ':') && glob(pattern, &text[1..]))
        }
    }
}
