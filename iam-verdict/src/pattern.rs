//! Patterns with `*`, `?` and policy variables, matched without backtracking beyond the last star.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use crate::context::Context;
use crate::truth::Truth;
use crate::variable::{self, Variable};

/// One piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// This text.
    Text(Arc<str>),
    /// `?`: one character.
    One,
    /// `?` in one of the first five fields of an ARN: one character but `:`.
    OneInside,
    /// `*`: any text.
    Any,
    /// `*` that stays inside its field of an ARN: any text without `:`.
    AnyInside,
    /// `${…}`: the value of a context key, taken literally.
    Variable(Box<Variable>),
}

/// The tokens of a pattern. Most patterns are one text, which needs no list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tokens {
    One([Token; 1]),
    Many(Box<[Token]>),
}

impl Deref for Tokens {
    type Target = [Token];

    fn deref(&self) -> &[Token] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

impl From<Vec<Token>> for Tokens {
    fn from(tokens: Vec<Token>) -> Self {
        match <[Token; 1]>::try_from(tokens) {
            Ok(one) => Self::One(one),
            Err(many) => Self::Many(many.into_boxed_slice()),
        }
    }
}

/// How wildcards of a pattern are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wildcards {
    /// `*` and `?` are ordinary characters.
    None,
    /// `*` matches any text.
    Free,
    /// The pattern of a Resource element: `*` crosses `:` where it ends a field, and in the resource part.
    Resource,
    /// The pattern of an ARN operator: fields are compared one by one.
    Arn,
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    tokens: Tokens,
    /// Letters match in either case.
    fold: bool,
    variables: bool,
}

impl Pattern {
    /// Compiles `text`. `variables` says whether `${…}` is special (Version 2012-10-17 and a place that allows it).
    pub(crate) fn new(text: &str, wildcards: Wildcards, variables: bool, fold: bool) -> Self {
        Self::shared(&Arc::from(text), wildcards, variables, fold)
    }

    /// As [`new`](Self::new); a pattern without special characters shares the text.
    pub(crate) fn shared(text: &Arc<str>, wildcards: Wildcards, variables: bool, fold: bool) -> Self {
        // Where a character is not special, a byte stands in for it that no text has.
        let star = if wildcards == Wildcards::None { 0xff } else { b'*' };
        let question = if wildcards == Wildcards::None { 0xff } else { b'?' };
        let dollar = if variables { b'$' } else { 0xff };
        let special = |b: u8| (b == star) | (b == question) | (b == dollar);
        if !text.bytes().fold(false, |found, b| found | special(b)) {
            return Self { tokens: Tokens::One([Token::Text(Arc::clone(text))]), fold, variables: false };
        }
        let count = text.bytes().filter(|b| special(*b)).count();
        // Most have a text before each special character; a long run of stars is none of them.
        let mut tokens = Vec::with_capacity(2 * count.min(4));
        let mut literal = Cow::Borrowed("");
        let mut rest: &str = text;
        let mut fields = 0_usize;
        loop {
            let (run, tail) =
                rest.bytes().position(special).and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
            literal += run;
            fields += run.bytes().filter(|b| *b == b':').count();
            let Some(c) = tail.chars().next() else { break };
            rest = tail.get(1..).unwrap_or_default();
            // IAM-VAR-3: in Resource, variables stand after the fifth colon only.
            let variable_here = c == '$' && (wildcards != Wildcards::Resource || fields >= 5);
            let inside = matches!(wildcards, Wildcards::Resource | Wildcards::Arn) && fields < 5;
            let token = match c {
                '*' => {
                    // A run of stars is one star; taken at once, so that a long run costs no more than its length.
                    rest = rest.trim_start_matches('*');
                    let ends_field = rest.is_empty() || rest.starts_with(':');
                    let crosses = !inside || (wildcards == Wildcards::Resource && ends_field);
                    if crosses { Token::Any } else { Token::AnyInside }
                }
                '?' if inside => Token::OneInside,
                '?' => Token::One,
                _ => match variable_here.then(|| variable::parse(tail)).flatten() {
                    Some((variable::Parsed::Variable(variable), after)) => {
                        rest = after;
                        Token::Variable(Box::new(variable))
                    }
                    Some((variable::Parsed::Escape(escaped), after)) => {
                        literal.to_mut().push(escaped);
                        rest = after;
                        continue;
                    }
                    None => {
                        literal += "$";
                        continue;
                    }
                },
            };
            flush(&mut literal, &mut tokens);
            tokens.push(token);
        }
        flush(&mut literal, &mut tokens);
        let variables = variables && tokens.iter().any(|token| matches!(token, Token::Variable(_)));
        Self { tokens: tokens.into(), fold, variables }
    }

    /// Compiles the value of an ARN operator, whose six fields are compared one by one; none where no ARN matches it.
    ///
    /// IAM-ARN-2: what is no ARN matches nothing, its own text included. A star alone is used for "any ARN".
    pub(crate) fn arn(text: &str, variables: bool) -> Option<Self> {
        let pattern = Self::new(text, Wildcards::Arn, variables, false);
        if pattern.variables { Some(pattern) } else { arn_fields(pattern.tokens.to_vec()) }
    }

    /// Whether the pattern of an ARN operator that has variables matches `text`.
    ///
    /// IAM-VAR-8: the fields are those of the text after substitution.
    pub(crate) fn matches_arn(&self, text: &str, context: &Context) -> Truth {
        let mut tokens = Vec::with_capacity(self.tokens.len());
        let mut unknown = false;
        for token in &*self.tokens {
            match token {
                Token::Variable(variable) => match variable.resolve(context) {
                    variable::Resolved::Text(value) => tokens.push(Token::Text(value.into())),
                    variable::Resolved::Nothing => return Truth::False,
                    variable::Resolved::Unknown => unknown = true,
                },
                other => tokens.push(other.clone()),
            }
        }
        if text.splitn(6, ':').count() < 6 || !text.starts_with("arn:") {
            Truth::False
        } else if unknown {
            Truth::Unknown
        } else {
            Truth::from(arn_fields(tokens).is_some_and(|pattern| pattern.matches_plain(text)))
        }
    }

    /// Whether the pattern is `*` alone.
    pub(crate) fn is_any(&self) -> bool {
        matches!(&*self.tokens, [Token::Any])
    }

    /// The variables in the pattern.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Variable(variable) => Some(&**variable),
            _ => None,
        })
    }

    /// Whether the pattern has variables.
    pub(crate) fn has_variables(&self) -> bool {
        self.variables
    }

    /// Whether letters match in either case.
    pub(crate) fn folds(&self) -> bool {
        self.fold
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// A pattern of these tokens.
    pub(crate) fn from_tokens(tokens: Vec<Token>, fold: bool) -> Self {
        let variables = tokens.iter().any(|token| matches!(token, Token::Variable(_)));
        let mut merged: Vec<Token> = Vec::with_capacity(tokens.len());
        for token in tokens {
            match (merged.last_mut(), token) {
                (_, Token::Text(next)) if next.is_empty() => {}
                (Some(Token::Text(last)), Token::Text(next)) => *last = format!("{last}{next}").into(),
                (_, token) => merged.push(token),
            }
        }
        Self { tokens: merged.into(), fold, variables }
    }

    /// The text, where the pattern has neither wildcards nor variables.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &*self.tokens {
            [] => Some(""),
            [Token::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether the pattern matches `text`; variables are read from `context`.
    ///
    /// IAM-VAR-5: a variable whose key has no value makes the pattern match nothing.
    pub(crate) fn matches(&self, text: &str, context: &Context) -> Truth {
        if self.variables {
            let mut unknown = false;
            for variable in self.variables() {
                match variable.resolve(context) {
                    variable::Resolved::Text(_) => {}
                    variable::Resolved::Nothing => return Truth::False,
                    variable::Resolved::Unknown => unknown = true,
                }
            }
            if unknown {
                return Truth::Unknown;
            }
        }
        Truth::from(self.glob(text, context))
    }

    /// Whether a pattern without variables matches `text`.
    pub(crate) fn matches_plain(&self, text: &str) -> bool {
        !self.variables && self.glob(text, &EMPTY)
    }

    /// The matcher proper. Two kinds of stars need two places to return to: where the last star that stays inside its
    /// field cannot grow any more, the last free star grows. A star grows to the next place where what follows it can
    /// stand, so that the cost is linear in text and pattern where only text follows stars, and at most the text times
    /// the longest stretch between two stars otherwise.
    fn glob(&self, text: &str, context: &Context) -> bool {
        match &*self.tokens {
            [] => return text.is_empty(),
            [Token::Any] => return true,
            [Token::Text(wanted)] => return self.prefix(text, wanted) == Some(text.len()),
            [Token::Text(wanted), Token::Any] => return self.prefix(text, wanted).is_some(),
            _ => {}
        }
        if let Some(Token::Text(last)) = self.tokens.last()
            && !self.fold
            && !text.ends_with(&**last)
        {
            return false;
        }
        let mut token = 0;
        let mut at = 0;
        let mut free: Option<Star> = None;
        let mut inside: Option<Star> = None;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let step = match self.tokens.get(token) {
                None if rest.is_empty() => return true,
                None => None,
                Some(Token::Any) => {
                    if token + 1 == self.tokens.len() {
                        return true;
                    }
                    inside = None;
                    let Some(star) = self.seek(token + 1, text, at, context) else { return false };
                    free = Some(star);
                    (token, at) = star.next;
                    continue;
                }
                Some(Token::AnyInside) => {
                    inside = self.seek_inside(token + 1, text, at, context);
                    if let Some(star) = inside {
                        (token, at) = star.next;
                        continue;
                    }
                    None
                }
                Some(Token::One) => rest.chars().next().map(char::len_utf8),
                Some(Token::OneInside) => rest.chars().next().filter(|c| *c != ':').map(char::len_utf8),
                Some(Token::Text(wanted)) => self.prefix(rest, wanted),
                Some(Token::Variable(variable)) => match variable.resolve(context) {
                    variable::Resolved::Text(wanted) => self.prefix(rest, wanted),
                    _ => None,
                },
            };
            if let Some(step) = step {
                token += 1;
                at += step;
                continue;
            }
            inside = inside.and_then(|star| {
                let c = text.get(star.end..).and_then(|rest| rest.chars().next()).filter(|c| *c != ':')?;
                self.seek_inside(star.after, text, star.end + c.len_utf8(), context)
            });
            if let Some(star) = inside {
                (token, at) = star.next;
                continue;
            }
            free = free.and_then(|star| {
                let c = text.get(star.end..).and_then(|rest| rest.chars().next())?;
                self.seek(star.after, text, star.end + c.len_utf8(), context)
            });
            let Some(star) = free else { return false };
            (token, at) = star.next;
        }
    }

    /// The star before the token `after`, grown from `from` on to the first place where the token can stand. Where the
    /// token is text it is passed; for other tokens only trying tells.
    fn seek(&self, after: usize, text: &str, from: usize, context: &Context) -> Option<Star> {
        let Some(wanted) = self.tokens.get(after).and_then(|token| self.plain(token, context)) else {
            return Some(Star { after, end: from, next: (after, from) });
        };
        let rest = text.get(from..)?;
        let end = if after + 1 == self.tokens.len() {
            rest.ends_with(wanted).then(|| text.len() - wanted.len())?
        } else {
            from + find(rest, wanted)?
        };
        Some(Star { after, end, next: (after + 1, end + wanted.len()) })
    }

    /// As [`seek`](Self::seek), where no colon may be passed.
    fn seek_inside(&self, after: usize, text: &str, from: usize, context: &Context) -> Option<Star> {
        let Some(wanted) = self.tokens.get(after).and_then(|token| self.plain(token, context)) else {
            return Some(Star { after, end: from, next: (after, from) });
        };
        let rest = text.get(from..)?;
        let field = rest.find(':').unwrap_or(rest.len());
        // What is wanted may begin at the colon and reach beyond it.
        let window = rest.get(..field + wanted.len()).unwrap_or(rest);
        let end = from + find(window, wanted).filter(|place| *place <= field)?;
        Some(Star { after, end, next: (after + 1, end + wanted.len()) })
    }

    /// The text that a token stands for, where letters must match in their case.
    fn plain<'a>(&self, token: &'a Token, context: &'a Context) -> Option<&'a str> {
        match token {
            _ if self.fold => None,
            Token::Text(text) => Some(text),
            Token::Variable(variable) => match variable.resolve(context) {
                variable::Resolved::Text(text) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// The length of `wanted` at the start of `rest`, if it is there.
    fn prefix(&self, rest: &str, wanted: &str) -> Option<usize> {
        if !self.fold {
            return rest.starts_with(wanted).then_some(wanted.len());
        }
        let head = rest.as_bytes().get(..wanted.len()).unwrap_or(rest.as_bytes());
        if head.eq_ignore_ascii_case(wanted.as_bytes()) {
            return Some(wanted.len());
        }
        if head.is_ascii() && wanted.is_ascii() {
            return None;
        }
        let mut length = 0;
        let mut have = rest.chars();
        for c in wanted.chars() {
            let other = have.next()?;
            if c != other && !c.to_lowercase().eq(other.to_lowercase()) {
                return None;
            }
            length += other.len_utf8();
        }
        Some(length)
    }
}

/// A star that can grow.
#[derive(Clone, Copy)]
struct Star {
    /// The token that follows it.
    after: usize,
    /// Where it ends, in bytes.
    end: usize,
    /// The token and the place to go on with.
    next: (usize, usize),
}

/// Searches up to this many comparisons are left to the obvious search, which has nothing to prepare.
const SHORT_SEARCH: usize = 1 << 12;

/// Where `wanted` first stands in `text`; in linear time.
fn find(text: &str, wanted: &str) -> Option<usize> {
    let (have, wanted_bytes) = (text.as_bytes(), wanted.as_bytes());
    if have.len() * wanted_bytes.len() > SHORT_SEARCH {
        return text.find(wanted);
    }
    let Some((first, tail)) = wanted_bytes.split_first() else { return Some(0) };
    let mut rest = have;
    loop {
        let place = rest.iter().position(|byte| byte == first)?;
        rest = rest.get(place + 1..)?;
        if rest.starts_with(tail) {
            return Some(have.len() - rest.len() - 1);
        }
    }
}

/// The pattern of an ARN operator from its tokens without variables: wildcards stay inside their field up to the fifth
/// colon, and the first field is `arn`. None where no ARN matches.
pub(crate) fn arn_fields(mut tokens: Vec<Token>) -> Option<Pattern> {
    tokens.retain(|token| !matches!(token, Token::Text(text) if text.is_empty()));
    if let [Token::Any | Token::AnyInside] = tokens.as_slice() {
        return Some(Pattern::new("arn:*:*:*:*:*", Wildcards::Arn, false, false));
    }
    let mut first = Vec::new();
    let mut rest = Vec::with_capacity(tokens.len() + 1);
    let mut colons = 0_usize;
    for token in tokens {
        match token {
            Token::Text(text) if colons == 0 => match text.split_once(':') {
                Some((head, tail)) => {
                    first.push(Token::Text(head.into()));
                    rest.push(Token::Text(format!("arn:{tail}").into()));
                    colons = text.matches(':').count();
                }
                None => first.push(Token::Text(text)),
            },
            other if colons == 0 => first.push(other),
            Token::AnyInside if colons >= 5 => rest.push(Token::Any),
            Token::OneInside if colons >= 5 => rest.push(Token::One),
            other => {
                if let Token::Text(text) = &other {
                    colons += text.matches(':').count();
                }
                rest.push(other);
            }
        }
    }
    (colons >= 5 && Pattern::from_tokens(first, false).matches_plain("arn")).then(|| Pattern::from_tokens(rest, false))
}

static EMPTY: Context = Context::new();

fn flush(literal: &mut Cow<'_, str>, tokens: &mut Vec<Token>) {
    if !literal.is_empty() {
        tokens.push(Token::Text(std::mem::take(literal).into()));
    }
}

/// Every word of these letters up to a length.
#[cfg(test)]
pub(crate) fn words(alphabet: &[char], longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        last = last.iter().flat_map(|word| alphabet.iter().map(move |c| format!("{word}{c}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(pattern: &str, wildcards: Wildcards, text: &str) -> bool {
        Pattern::new(pattern, wildcards, false, false).matches_plain(text)
    }

    /// The obvious matcher for free stars, exponential and therefore only for short texts.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
            Some(('?', rest)) => !text.is_empty() && naive(rest, &text[1..]),
            Some((c, rest)) => text.first() == Some(c) && naive(rest, &text[1..]),
        }
    }

    #[test]
    fn free_stars_agree_with_the_obvious_matcher() {
        let alphabet = ['a', 'b', '*', '?'];
        let texts: Vec<String> = words(&['a', 'b'], 6);
        for pattern in words(&alphabet, 5) {
            let chars: Vec<char> = pattern.chars().collect();
            let compiled = Pattern::new(&pattern, Wildcards::Free, false, false);
            for text in &texts {
                let letters: Vec<char> = text.chars().collect();
                assert_eq!(compiled.matches_plain(text), naive(&chars, &letters), "{pattern} {text}");
            }
        }
    }

    /// IAM-RES-4: a star that ends a field reaches beyond the colon, one inside a field does not.
    #[test]
    fn stars_and_fields_of_a_resource() {
        let repo = "arn:aws:ecr:us-east-1:111122223333:repository/x";
        assert!(hit("arn:aws:ecr:*:repository/x", Wildcards::Resource, repo));
        assert!(hit("arn:aws:ecr:us-*:repository/x", Wildcards::Resource, repo));
        assert!(!hit("arn:aws:ecr:u*3:repository/x", Wildcards::Resource, repo));
        assert!(hit("arn:aws:ecr:*:*:repository/*", Wildcards::Resource, repo));
        assert!(hit("arn:aws:ecr:u*-*1:1*3:rep*", Wildcards::Resource, repo));
        assert!(hit("*", Wildcards::Resource, repo));
        assert!(!hit("arn:aws:ecr:*:repository/x", Wildcards::Arn, repo));
        assert!(hit("arn:aws:ecr:*:*:repository/x", Wildcards::Arn, repo));
        assert!(!hit("arn:aws:ecr:us-east-1?111122223333:repository/x", Wildcards::Resource, repo));
        assert!(hit("arn:aws:logs:r:a:log-group:*x:y*z", Wildcards::Resource, "arn:aws:logs:r:a:log-group:a:x:yy:z"));
        assert!(!hit("arn:*a*b:x", Wildcards::Resource, "arn:a:ab:x"));
        assert!(hit("arn:*:a*b:x", Wildcards::Resource, "arn:q:ac:ab:x"));
    }

    #[test]
    fn question_marks_are_characters_not_bytes() {
        assert!(hit("?", Wildcards::Free, "é"));
        assert!(!hit("??", Wildcards::Free, "é"));
        assert!(hit("*?", Wildcards::Free, "é"));
        assert!(!hit("*??", Wildcards::Free, "é"));
    }

    /// Both searches, the short and the linear one, find the same places.
    #[test]
    fn long_texts_match_as_short_ones() {
        let ab = |length: usize| "ab".repeat(length / 2);
        let long = ab(10_000);
        for (pattern, expected) in [
            (format!("*{}", &long), true),
            (format!("*{}*", ab(6_000)), true),
            (format!("*{}a*", ab(6_000)), true),
            (format!("*{}aa*", ab(6_000)), false),
            (format!("ab*{}*ab", ab(8_000)), true),
            (format!("ab*{}*{}", ab(8_000), ab(2_000)), false),
        ] {
            assert_eq!(hit(&pattern, Wildcards::Free, &long), expected, "{}", pattern.len());
        }
        // A star inside a field does not pass the colon, wherever the text goes on.
        let field = "é".repeat(3_000);
        assert!(hit("arn:a:b:x*é:c:r", Wildcards::Resource, &format!("arn:a:b:x{field}:c:r")));
        assert!(!hit("arn:a:b:x*é:c:r", Wildcards::Resource, &format!("arn:a:b:x{field}:d:é:c:r")));
        assert!(!hit("arn:a:b:x*éb:c:r", Wildcards::Arn, &format!("arn:a:b:x:éb:c:r{field}")));
    }

    /// Letters of another case may take another number of bytes.
    #[test]
    fn folds_letters_beyond_ascii() {
        let folds = |pattern: &str, text: &str| Pattern::new(pattern, Wildcards::None, false, true).matches_plain(text);
        assert!(folds("aé", "AÉ") && folds("k", "\u{212a}") && folds("x\u{212a}", "xK"));
        assert!(!folds("k", "\u{212a}k") && !folds("ab", "a") && !folds("a", "ab"));
    }

    #[test]
    fn hostile_patterns_end_quickly() {
        let pattern = Pattern::new(&"*a".repeat(100_000), Wildcards::Free, false, false);
        assert!(!pattern.matches_plain(&"a".repeat(2_000)));
        let pattern = Pattern::new(&"*".repeat(1_000_000), Wildcards::Free, false, false);
        assert!(pattern.is_any());
        let pattern = Pattern::new(&format!("{}b", "a*".repeat(500)), Wildcards::Free, false, false);
        assert!(!pattern.matches_plain(&"a".repeat(5_000)));
    }
}
