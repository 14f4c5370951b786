//! Lines of a Condition block.

use serde_json::{Map, Value};

use crate::pattern::{Piece, arn_matches, chars, glob, lower, plain, substitute, wild};
use crate::policies::texts;
use crate::request::{Request, is_multivalued};
use crate::value::{base64, compare_dates, compare_numbers, ip_in};

pub(crate) fn conditions_hold(request: &Request, statement: &Value, modern: bool) -> bool {
    let none = Map::new();
    let block = statement["Condition"].as_object().unwrap_or(&none);
    block.iter().all(|(operator, lines)| {
        lines.as_object().unwrap().iter().all(|(key, values)| line_holds(request, operator, key, values, modern))
    })
}

/// Whether one line of a Condition block holds: `operator` and `key` as they are written, `wanted` a value or a list.
/// `modern` says whether the policy has Version 2012-10-17.
///
/// # Panics
/// Where there is no such operator.
#[must_use]
pub fn line_holds(request: &Request, operator: &str, key: &str, wanted: &Value, modern: bool) -> bool {
    let key = key.to_ascii_lowercase();
    let values = request.values(&key);
    let wanted = texts(wanted);
    let mut name = operator.to_ascii_lowercase();
    if name == "null" {
        let absent = values.is_empty();
        return wanted.iter().any(|text| lower(text) == if absent { "true" } else { "false" });
    }
    // With a set operator the values are asked, and a value that is there is not absent.
    if let Some(every) = ["forallvalues:null", "foranyvalue:null"].iter().position(|set| *set == name) {
        return if values.is_empty() { every == 0 } else { wanted.iter().any(|text| lower(text) == "false") };
    }
    let all = name.strip_prefix("forallvalues:").map(str::to_owned);
    let any = name.strip_prefix("foranyvalue:").map(str::to_owned);
    let (every, some) = (all.is_some(), any.is_some());
    name = all.or(any).unwrap_or(name);
    let bare = name.strip_suffix("ifexists").map(str::to_owned);
    let if_exists = bare.is_some();
    name = bare.unwrap_or(name);
    let negated = name.contains("not");
    if values.is_empty() {
        return if every {
            true
        } else if some {
            if_exists
        } else {
            if_exists || negated
        };
    }
    let one = |value: &String| {
        let hit = wanted.iter().any(|wanted| value_matches(request, &name, value, wanted, modern));
        hit != negated
    };
    if every {
        values.iter().all(one)
    } else if some {
        values.iter().any(one)
    } else {
        values.len() == 1 && !is_multivalued(&key) && one(&values[0])
    }
}

/// Whether a value of the request matches one of the policy; `name` is lower-case, negation is the caller's.
fn value_matches(request: &Request, name: &str, value: &str, wanted: &str, modern: bool) -> bool {
    match name {
        "stringequals" | "stringnotequals" => {
            substitute(wanted, request, modern).is_some_and(|wanted| plain(&wanted) == value)
        }
        "stringequalsignorecase" | "stringnotequalsignorecase" => {
            substitute(wanted, request, modern).is_some_and(|wanted| lower(&plain(&wanted)) == lower(value))
        }
        "stringlike" | "stringnotlike" => substitute(wanted, request, modern).is_some_and(|wanted| {
            let pattern: Vec<Piece> = wanted.into_iter().map(wild).collect();
            glob(&pattern, &chars(value))
        }),
        "arnequals" | "arnlike" | "arnnotequals" | "arnnotlike" => {
            substitute(wanted, request, modern).is_some_and(|wanted| arn_matches(&wanted, value))
        }
        "numericequals" | "numericnotequals" => compare_numbers(value, wanted).is_some_and(|order| order == 0),
        "numericlessthan" => compare_numbers(value, wanted).is_some_and(|order| order < 0),
        "numericlessthanequals" => compare_numbers(value, wanted).is_some_and(|order| order <= 0),
        "numericgreaterthan" => compare_numbers(value, wanted).is_some_and(|order| order > 0),
        "numericgreaterthanequals" => compare_numbers(value, wanted).is_some_and(|order| order >= 0),
        "dateequals" | "datenotequals" => compare_dates(value, wanted).is_some_and(|order| order == 0),
        "datelessthan" => compare_dates(value, wanted).is_some_and(|order| order < 0),
        "datelessthanequals" => compare_dates(value, wanted).is_some_and(|order| order <= 0),
        "dategreaterthan" => compare_dates(value, wanted).is_some_and(|order| order > 0),
        "dategreaterthanequals" => compare_dates(value, wanted).is_some_and(|order| order >= 0),
        "ipaddress" | "notipaddress" => ip_in(value, wanted),
        "binaryequals" => match (base64(value), base64(wanted)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
        "bool" => {
            let Some(wanted) = substitute(wanted, request, modern) else { return false };
            let (value, wanted) = (lower(value), lower(&plain(&wanted)));
            value == wanted && (value == "true" || value == "false")
        }
        other => panic!("the oracle has no operator {other}"),
    }
}
