//! Exact decisions where facts are not known.
//!
//! What stays open after the first look is a set of *atoms*: lines of conditions, resource patterns with variables,
//! principals. Atoms of one context key move together, because the key has one filling: for each key the combinations
//! of truth values that some filling produces are found from the values that the policies compare it with, and the
//! decision is taken for every combination over all keys. A combination that no filling produces may slip in where
//! atoms read several unknown keys at once; then a decision may stay Unknown that could be settled, never the reverse.

use std::collections::{BTreeMap, BTreeSet};

use crate::condition::key;
use crate::condition::operator::{Comparison, Quantifier, Test};
use crate::condition::variable::Variable;
use crate::condition::{Condition, Kind, value};
use crate::document::{Clause, Effect, Entry, PrincipalClause, PrincipalEntry};
use crate::evaluate::{self, Bits, Forms, Frame, bit};
use crate::pattern::{Pattern, Token};
use crate::request::{Account, Context, Decision, Environment, Fact, Layer, Missing, PolicyState, Request};
use crate::truth::Truth;

/// Facts in play up to which decisions are exact.
const MAX_FACTS: usize = 6;
/// Readings that are looked at before the decision is left to the bounds.
const MAX_READINGS: usize = 1 << 16;
/// Steps of the automaton that finds which patterns can match one text together.
const MAX_STEPS: usize = 10_000;
/// Open atoms that are told apart; a document with more is hostile and left to the bounds.
const MAX_ATOMS: usize = 512;

/// The facts that would settle an Unknown decision: whatever they turn out to be, the decision is definite then.
///
/// The set is minimal (no proper subset settles) while at most six facts are in play; beyond that it holds all of them.
/// It is empty where the decision is definite already.
#[must_use]
pub fn missing(env: &Environment, request: &Request) -> Missing {
    if evaluate::decide(env, request) != Decision::Unknown {
        return Missing { facts: Vec::new(), minimal: true };
    }
    let model = Model::new(env, request);
    let all = || model.facts.iter().map(|fact| fact.name.clone()).collect();
    let Some(readings) = model.readings() else { return Missing { facts: all(), minimal: false } };
    // IAM-UNK-5: leave facts out, in order of appearance, as long as the rest settles.
    let mut kept: Vec<bool> = vec![true; model.facts.len()];
    for fact in 0..model.facts.len() {
        set(&mut kept, fact, false);
        if !model.settles(&readings, &kept) {
            set(&mut kept, fact, true);
        }
    }
    let facts = model.facts.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(fact, _)| fact.name.clone()).collect();
    Missing { facts, minimal: true }
}

/// The decision over all readings; `bound` is what is certain without looking at them (Unknown or ImplicitlyDenied).
pub(crate) fn decide(env: &Environment, request: &Request, bound: Decision) -> Decision {
    match Model::new(env, request).readings() {
        None => bound,
        Some(readings) => {
            let allowed = readings.iter().filter(|decision| **decision == Decision::Allowed).count();
            if allowed == readings.len() {
                Decision::Allowed
            } else if allowed > 0 {
                Decision::Unknown
            } else if readings.iter().all(|decision| *decision == Decision::ExplicitlyDenied) {
                Decision::ExplicitlyDenied
            } else {
                Decision::ImplicitlyDenied
            }
        }
    }
}

fn set(flags: &mut [bool], at: usize, value: bool) {
    if let Some(flag) = flags.get_mut(at) {
        *flag = value;
    }
}

fn at(flags: &[bool], index: usize) -> bool {
    flags.get(index).copied().unwrap_or(false)
}

/// Something whose truth is open.
#[derive(Clone, PartialEq)]
enum Atom<'a> {
    Condition(&'a Condition),
    Resource(&'a Clause),
    /// A principal clause names the principal by this form (or, for a Deny, by any).
    Principal(&'a PrincipalClause, Effect, Form),
    SameAccount,
    /// Drawn by an unreadable policy.
    Drawn(usize),
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Direct,
    Role,
    Account,
    Any,
}

impl Form {
    fn of(self, forms: Forms) -> Truth {
        match self {
            Self::Direct => forms.direct,
            Self::Role => forms.role,
            Self::Account => forms.account,
            Self::Any => forms.any(),
        }
    }
}

/// What is not known.
#[derive(PartialEq)]
struct OpenFact {
    name: String,
    source: Source,
}

#[derive(PartialEq, Clone)]
enum Source {
    Key(String),
    Account,
    ResourceAccount,
    Principal,
    Policy,
}

/// A statement that applies when all its atoms hold.
struct Live {
    sets: Bits,
    atoms: Vec<usize>,
}

/// Atoms that move together, with the combinations they can take.
struct Dimension {
    facts: Vec<usize>,
    atoms: Vec<usize>,
    options: Vec<Vec<bool>>,
}

struct Model<'a> {
    env: &'a Environment,
    request: &'a Request,
    frame: Frame,
    same: Result<bool, usize>,
    certain: Bits,
    live: Vec<Live>,
    atoms: Vec<Atom<'a>>,
    facts: Vec<OpenFact>,
    dimensions: Vec<Dimension>,
}

impl<'a> Model<'a> {
    fn new(env: &'a Environment, request: &'a Request) -> Self {
        let mut model = Self {
            env,
            request,
            frame: Frame::new(env, &request.principal),
            same: Ok(false),
            certain: 0,
            live: Vec::new(),
            atoms: Vec::new(),
            facts: Vec::new(),
            dimensions: Vec::new(),
        };
        model.collect();
        model.drop_dead();
        model.dimensions();
        model
    }

    fn atom(&mut self, atom: Atom<'a>) -> usize {
        let known =
            if self.atoms.len() < MAX_ATOMS { self.atoms.iter().position(|known| *known == atom) } else { None };
        match known {
            Some(index) => index,
            None => {
                self.atoms.push(atom);
                self.atoms.len() - 1
            }
        }
    }

    fn fact(&mut self, name: &str, source: Source) -> usize {
        match self
            .facts
            .iter()
            .position(|fact| fact.source == source && (source != Source::Policy || fact.name == name))
        {
            Some(index) => index,
            None => {
                self.facts.push(OpenFact { name: name.to_owned(), source });
                self.facts.len() - 1
            }
        }
    }

    /// Statements with their open atoms.
    fn collect(&mut self) {
        let (env, request) = (self.env, self.request);
        self.same = match evaluate::same_account(env, request) {
            Truth::True => Ok(true),
            Truth::False => Ok(false),
            Truth::Unknown => Err(self.atom(Atom::SameAccount)),
        };
        for (place, policy) in evaluate::places(env, &request.principal) {
            let document = match &policy.policy {
                PolicyState::Known(document) => document,
                PolicyState::Unreadable(name) => {
                    self.unreadable(name, evaluate::unreadable_grants(place));
                    continue;
                }
            };
            for statement in &document.statements {
                if evaluate::applies(place.layer, statement, request) == Truth::False {
                    continue;
                }
                let mut atoms = Vec::new();
                if let Some(clause) = &statement.resource
                    && evaluate::resource_applies(place.layer, Some(clause), request) == Truth::Unknown
                {
                    atoms.push(self.atom(Atom::Resource(clause)));
                }
                for condition in &statement.conditions {
                    if condition.evaluate(&request.context) == Truth::Unknown {
                        atoms.push(self.atom(Atom::Condition(condition)));
                    }
                }
                let forms = evaluate::principal_forms(place.layer, statement, env, request);
                let denies = statement.effect == Effect::Deny;
                let grants = forms.grants(place);
                let wanted: &[(Bits, Form)] = if denies {
                    &[(bit::DENY, Form::Any)]
                } else if matches!(place.layer, Layer::Resource | Layer::Registry) {
                    &[(bit::DIRECT, Form::Direct), (bit::ROLE, Form::Role), (bit::ACCOUNT, Form::Account)]
                } else {
                    &[(0, Form::Any)]
                };
                for (sets, form) in wanted {
                    let sets = if *sets == 0 { grants[0].0 } else { *sets };
                    let mut atoms = atoms.clone();
                    match (form.of(forms), &statement.principal) {
                        (Truth::False, _) => continue,
                        (Truth::Unknown, Some(clause)) => {
                            atoms.push(self.atom(Atom::Principal(clause, statement.effect, *form)));
                        }
                        _ => {}
                    }
                    if atoms.is_empty() {
                        self.certain |= sets;
                    } else {
                        self.live.push(Live { sets, atoms });
                    }
                }
            }
        }
    }

    /// IAM-UNK-4: a policy that could not be read says nothing, or denies, or grants in one of its ways.
    fn unreadable(&mut self, name: &str, grants: Bits) {
        let fact = self.fact(name, Source::Policy);
        let mut atoms = Vec::new();
        for sets in
            [bit::DENY].into_iter().chain((0..Bits::BITS).map(|shift| 1 << shift).filter(|one| grants & one != 0))
        {
            let atom = self.atoms.len();
            self.atoms.push(Atom::Drawn(atom));
            atoms.push(atom);
            self.live.push(Live { sets, atoms: vec![atom] });
        }
        let count = atoms.len();
        let options = (0..=count).map(|chosen| (0..count).map(|index| index == chosen).collect()).collect();
        self.dimensions.push(Dimension { facts: vec![fact], atoms, options });
    }

    /// Statements that cannot matter, so that their facts are not asked for.
    fn drop_dead(&mut self) {
        let have = self.certain | self.frame.given;
        let possible = self.live.iter().fold(have, |sum, live| sum | live.sets);
        let in_same = self.same != Ok(false) && self.frame.grants(possible, true);
        let across = self.same != Ok(true) && self.frame.grants(possible, false);
        self.live.retain(|live| {
            if live.sets == bit::DENY {
                return true;
            }
            if live.sets & have == live.sets {
                return false;
            }
            // Without this bit every reading would be granted the same: it adds nothing.
            (in_same || across) && (live.sets != bit::ACCOUNT || self.same != Ok(true))
        });
        if let Err(_atom) = self.same
            && self.frame.grants(have, true) == self.frame.grants(possible, true)
            && self.frame.grants(have, false) == self.frame.grants(possible, false)
            && self.frame.grants(have, true) == self.frame.grants(have, false)
        {
            self.same = Ok(true);
        }
        // An unreadable policy whose draws are all dead asks for nothing.
        let live = &self.live;
        self.dimensions
            .retain(|dimension| live.iter().any(|live| live.atoms.iter().any(|atom| dimension.atoms.contains(atom))));
    }

    /// Finds for each open atom the facts it reads, and for each fact its combinations.
    fn dimensions(&mut self) {
        let mut used: BTreeSet<usize> = self.live.iter().flat_map(|live| live.atoms.iter().copied()).collect();
        used.extend(self.same.err());
        let mut by_key: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut by_account: (Option<usize>, Vec<usize>) = (None, Vec::new());
        let mut ordered: Vec<usize> = self.live.iter().flat_map(|live| live.atoms.iter().copied()).collect();
        ordered.extend(used.iter().copied());
        let mut seen = BTreeSet::new();
        for atom in ordered {
            if !seen.insert(atom) || !used.contains(&atom) {
                continue;
            }
            let Some(kind) = self.atoms.get(atom).cloned() else { continue };
            let facts = match &kind {
                Atom::Drawn(_) => continue,
                Atom::Condition(condition) => {
                    let own = std::iter::once((&*condition.written, &*condition.key));
                    let all: Vec<_> = own.chain(condition.variables().map(|v| (&*v.written, &*v.key))).collect();
                    self.open_keys(&all)
                }
                Atom::Resource(clause) => {
                    let variables = clause.entries.iter().flat_map(|entry| entry.pattern.variables());
                    let all: Vec<_> = variables.map(|v| (&*v.written, &*v.key)).collect();
                    self.open_keys(&all)
                }
                Atom::Principal(..) | Atom::SameAccount => self.principal_facts(&kind),
            };
            match facts.as_slice() {
                [one] => match self.facts.get(*one).map(|fact| &fact.source) {
                    Some(Source::Key(_)) => by_key.entry(*one).or_default().push(atom),
                    Some(Source::Account) => {
                        by_account.0 = Some(*one);
                        by_account.1.push(atom);
                    }
                    _ => self.free(facts, atom),
                },
                _ => self.free(facts, atom),
            }
        }
        for (fact, atoms) in by_key {
            let Some(Source::Key(name)) = self.facts.get(fact).map(|fact| fact.source.clone()) else { continue };
            let kinds: Vec<Atom<'a>> = atoms.iter().filter_map(|atom| self.atoms.get(*atom).cloned()).collect();
            let few = self.atoms.len() <= MAX_ATOMS;
            let options =
                if few { Fillings { key: &name, atoms: &kinds, request: self.request }.combinations() } else { None };
            match options {
                Some(options) => self.dimensions.push(Dimension { facts: vec![fact], atoms, options }),
                // Too many to list: each atom on its own, which is a superset.
                None => atoms.into_iter().for_each(|atom| self.free(vec![fact], atom)),
            }
        }
        if let (Some(fact), atoms) = by_account {
            let options = self.accounts(&atoms);
            self.dimensions.push(Dimension { facts: vec![fact], atoms, options });
        }
        // Facts of dimensions that were dropped are in play no more.
        let used: BTreeSet<usize> =
            self.dimensions.iter().flat_map(|dimension| dimension.facts.iter().copied()).collect();
        let renumbered: BTreeMap<usize, usize> = used.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        for dimension in &mut self.dimensions {
            dimension.facts = dimension.facts.iter().filter_map(|old| renumbered.get(old).copied()).collect();
        }
        let facts = std::mem::take(&mut self.facts);
        self.facts =
            facts.into_iter().enumerate().filter(|(old, _)| used.contains(old)).map(|(_, fact)| fact).collect();
    }

    fn free(&mut self, facts: Vec<usize>, atom: usize) {
        self.dimensions.push(Dimension { facts, atoms: vec![atom], options: vec![vec![false], vec![true]] });
    }

    fn open_keys(&mut self, keys: &[(&str, &str)]) -> Vec<usize> {
        let mut facts = Vec::new();
        for (written, key) in keys {
            if self.request.context.lookup(key).is_open() {
                let fact = self.fact(written, Source::Key((*key).to_owned()));
                if !facts.contains(&fact) {
                    facts.push(fact);
                }
            }
        }
        facts
    }

    fn principal_facts(&mut self, atom: &Atom<'a>) -> Vec<usize> {
        let account_open = evaluate::principal_account(self.env, self.request).is_none();
        let mut facts = Vec::new();
        if *atom == Atom::SameAccount {
            if account_open {
                facts.push(self.fact("account", Source::Account));
            }
            if evaluate::resource_account(self.env, self.request).is_none() {
                facts.push(self.fact("resourceAccount", Source::ResourceAccount));
            }
            return facts;
        }
        let settled_by_account =
            account_open && self.candidates().iter().all(|id| self.with_account(id, atom) != Truth::Unknown);
        if !settled_by_account {
            facts.push(self.fact("principal", Source::Principal));
        }
        if account_open {
            facts.push(self.fact("account", Source::Account));
        }
        facts
    }

    /// The accounts that policies or the resource name, and one that nobody names.
    fn candidates(&self) -> Vec<String> {
        let mut all: BTreeSet<String> = BTreeSet::from(["(another account)".to_owned()]);
        all.extend(evaluate::resource_account(self.env, self.request).map(str::to_owned));
        for atom in &self.atoms {
            if let Atom::Principal(clause, ..) = atom {
                all.extend(clause.entries.iter().filter_map(|entry| match entry {
                    PrincipalEntry::Account(id) => Some(id.to_string()),
                    PrincipalEntry::Arn(arn) => crate::arn::account(arn).map(str::to_owned),
                    _ => None,
                }));
            }
        }
        all.into_iter().collect()
    }

    fn with_account(&self, id: &str, atom: &Atom<'a>) -> Truth {
        let mut request = self.request.clone();
        request.principal.account = Account::Known(id.to_owned());
        match atom {
            Atom::Principal(clause, effect, form) => {
                form.of(evaluate::clause_forms(clause, *effect, self.env, &request))
            }
            Atom::SameAccount => evaluate::same_account(self.env, &request),
            _ => Truth::Unknown,
        }
    }

    fn accounts(&self, atoms: &[usize]) -> Vec<Vec<bool>> {
        let vector = |id: &String| {
            let truth = |atom: &usize| self.atoms.get(*atom).map_or(Truth::False, |atom| self.with_account(id, atom));
            atoms.iter().map(|atom| truth(atom) == Truth::True).collect()
        };
        let all: BTreeSet<Vec<bool>> = self.candidates().iter().map(vector).collect();
        all.into_iter().collect()
    }

    /// The decision of every reading, in mixed radix over the dimensions; none beyond the bound.
    fn readings(&self) -> Option<Vec<Decision>> {
        if self.facts.len() > MAX_FACTS || self.atoms.len() > MAX_ATOMS {
            return None;
        }
        let count = self.dimensions.iter().try_fold(1_usize, |product, dimension| {
            product.checked_mul(dimension.options.len()).filter(|product| *product <= MAX_READINGS)
        })?;
        let mut chosen = vec![0_usize; self.dimensions.len()];
        let mut truth = vec![false; self.atoms.len()];
        let mut decisions = Vec::with_capacity(count);
        for _ in 0..count {
            for (dimension, option) in self.dimensions.iter().zip(&chosen) {
                for (atom, value) in dimension.atoms.iter().zip(dimension.options.get(*option).into_iter().flatten()) {
                    set(&mut truth, *atom, *value);
                }
            }
            decisions.push(self.reading(&truth));
            for (digit, dimension) in chosen.iter_mut().zip(&self.dimensions) {
                *digit += 1;
                if *digit < dimension.options.len() {
                    break;
                }
                *digit = 0;
            }
        }
        Some(decisions)
    }

    fn reading(&self, truth: &[bool]) -> Decision {
        let holds = |live: &&Live| live.atoms.iter().all(|atom| at(truth, *atom));
        let bits = self.live.iter().filter(holds).fold(self.certain, |sum, live| sum | live.sets);
        let same = match self.same {
            Ok(same) => same,
            Err(atom) => at(truth, atom),
        };
        if bits & bit::DENY != 0 {
            Decision::ExplicitlyDenied
        } else if self.frame.grants(bits, same) {
            Decision::Allowed
        } else {
            Decision::ImplicitlyDenied
        }
    }

    /// Whether the decision is definite as soon as the `kept` facts are known.
    fn settles(&self, readings: &[Decision], kept: &[bool]) -> bool {
        let mut groups: BTreeMap<usize, bool> = BTreeMap::new();
        readings.iter().enumerate().all(|(index, decision)| {
            let mut rest = index;
            let mut group = 0;
            let mut stride = 1;
            for dimension in &self.dimensions {
                let size = dimension.options.len().max(1);
                if dimension.facts.iter().all(|fact| at(kept, *fact)) {
                    group += rest % size * stride;
                }
                rest /= size;
                stride *= size;
            }
            let allowed = *decision == Decision::Allowed;
            *groups.entry(group).or_insert(allowed) == allowed
        })
    }
}

/// A question about one value of a key.
#[derive(Clone, PartialEq)]
enum Question {
    Pattern(Pattern),
    Number(Comparison, value::Number),
    Date(Comparison, value::Instant),
    Network(value::Network),
    Bool(bool),
    Binary(Vec<u8>),
}

/// What an atom makes of the answers.
enum Formula {
    Constant(bool),
    Question(usize),
    Any(Vec<Formula>),
    All(Vec<Formula>),
    Not(Box<Formula>),
}

impl Formula {
    fn eval(&self, answers: &[bool]) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Question(index) => at(answers, *index),
            Self::Any(items) => items.iter().any(|item| item.eval(answers)),
            Self::All(items) => items.iter().all(|item| item.eval(answers)),
            Self::Not(item) => !item.eval(answers),
        }
    }
}

/// The atoms that read one open key and no other.
struct Fillings<'a> {
    key: &'a str,
    atoms: &'a [Atom<'a>],
    request: &'a Request,
}

impl Fillings<'_> {
    /// Every combination of truth values that a filling of the key produces (a superset where that is not known).
    fn combinations(&self) -> Option<Vec<Vec<bool>>> {
        let fact = self.request.context.lookup(self.key);
        let mut all: BTreeSet<Vec<bool>> = BTreeSet::new();
        if matches!(fact, Fact::AbsentOr(_) | Fact::Unknown) {
            all.extend(self.with(Fact::Absent));
        }
        match fact {
            Fact::AbsentOr(values) => all.extend(self.with(Fact::Values(values.clone()))),
            _ => all.extend(self.present()?),
        }
        Some(all.into_iter().collect())
    }

    /// The truth of all atoms under one definite fact, both values where that leaves an atom open.
    fn with(&self, fact: Fact) -> Vec<Vec<bool>> {
        let mut context = self.request.context.clone();
        context.set(self.key, fact);
        let request = Request { context, ..self.request.clone() };
        let mut all = vec![Vec::new()];
        for atom in self.atoms {
            let truth = match atom {
                Atom::Condition(condition) => condition.evaluate(&request.context),
                Atom::Resource(clause) => clause.matches_resource(&request.resource, &request.context),
                _ => Truth::Unknown,
            };
            let values: &[bool] = match truth {
                Truth::True => &[true],
                Truth::False => &[false],
                Truth::Unknown => &[false, true],
            };
            all =
                values.iter().flat_map(|value| all.iter().map(|held| [held.as_slice(), &[*value]].concat())).collect();
        }
        all
    }

    /// The combinations when the key is present with some value or values.
    fn present(&self) -> Option<BTreeSet<Vec<bool>>> {
        let mut questions = Vec::new();
        let mut formulas = Vec::new();
        let mut sets = false;
        for atom in self.atoms {
            formulas.push(match atom {
                Atom::Condition(condition) if *condition.key == *self.key => {
                    sets |= condition.operator.quantifier != Quantifier::One;
                    self.own(condition, &mut questions)?
                }
                Atom::Condition(condition) => self.other(condition, &mut questions)?,
                Atom::Resource(clause) => {
                    let entries =
                        clause.entries.iter().map(|entry| self.entry(entry, &mut questions)).collect::<Option<_>>()?;
                    negate(clause.negated, Formula::Any(entries))
                }
                _ => return None,
            });
        }
        let several = key::is_multivalued(self.key) || (sets && !key::is_single(self.key));
        let own = |atom: &Atom<'_>| matches!(atom, Atom::Condition(condition) if *condition.key == *self.key);
        // As a variable, a key with several values is another thing than with one: left to free atoms.
        if several && !self.atoms.iter().all(own) {
            return None;
        }
        let answers = answers(&questions)?;
        let each: BTreeSet<Vec<bool>> =
            answers.iter().map(|answers| formulas.iter().map(|formula| formula.eval(answers)).collect()).collect();
        if several { self.several(&each) } else { Some(each) }
    }

    /// The key may have several values: combine those of single values by the set operators.
    fn several(&self, each: &BTreeSet<Vec<bool>>) -> Option<BTreeSet<Vec<bool>>> {
        let alone = !key::is_multivalued(self.key);
        let quantifier = |atom: &Atom<'_>| match atom {
            // Presence is the same for all fillings here.
            Atom::Condition(condition) if condition.operator.test == Test::Null => Quantifier::Any,
            Atom::Condition(condition) => condition.operator.quantifier,
            _ => Quantifier::Any,
        };
        let mut closed: BTreeSet<Vec<bool>> = each
            .iter()
            .map(|vector| {
                let one = |(value, atom): (&bool, &Atom<'_>)| *value && (alone || quantifier(atom) != Quantifier::One);
                vector.iter().zip(self.atoms).map(one).collect()
            })
            .collect();
        let singles: Vec<Vec<bool>> = closed.iter().cloned().collect();
        let mut work = singles.clone();
        while let Some(vector) = work.pop() {
            for single in &singles {
                let combined: Vec<bool> = vector
                    .iter()
                    .zip(single)
                    .zip(self.atoms)
                    .map(|((a, b), atom)| match quantifier(atom) {
                        Quantifier::All => *a && *b,
                        Quantifier::Any => *a || *b,
                        Quantifier::One => false,
                    })
                    .collect();
                if closed.insert(combined.clone()) {
                    work.push(combined);
                }
            }
            if closed.len() > 4096 {
                return None;
            }
        }
        Some(closed)
    }

    /// A condition on the key itself.
    fn own(&self, condition: &Condition, questions: &mut Vec<Question>) -> Option<Formula> {
        if condition.operator.test == Test::Null {
            let holds = condition.with_values(&[String::new()], &self.request.context);
            return Some(Formula::Constant(holds == Truth::True));
        }
        let mut any = Vec::new();
        for value in &condition.values {
            let question = match (&value.kind, condition.operator.test) {
                // A Bool with a variable compares booleans only; rare enough to be left out.
                (Kind::Pattern(_), Test::Bool) => return None,
                (Kind::Pattern(pattern), _) => match substituted(pattern, &self.request.context) {
                    Substituted::Pattern(pattern) => Question::Pattern(pattern),
                    Substituted::Nothing => continue,
                    Substituted::Open => return None,
                },
                (Kind::Number(Some(number)), Test::Numeric(comparison)) => Question::Number(comparison, number.clone()),
                (Kind::Date(Some(instant)), Test::Date(comparison)) => Question::Date(comparison, *instant),
                (Kind::Network(Some(network)), _) => Question::Network(*network),
                (Kind::Bool(Some(flag)), _) => Question::Bool(*flag),
                (Kind::Binary(Some(bytes)), _) => Question::Binary(bytes.clone()),
                _ => continue,
            };
            any.push(ask(questions, question));
        }
        Some(negate(condition.operator.negated, Formula::Any(any)))
    }

    /// A condition on another key, which is known, with the key as a variable.
    fn other(&self, condition: &Condition, questions: &mut Vec<Question>) -> Option<Formula> {
        let Fact::Values(values) = self.request.context.lookup(&condition.key) else { return None };
        let mut per_value = Vec::new();
        for text in values {
            let mut any = Vec::new();
            for wanted in &condition.values {
                match &wanted.kind {
                    Kind::Pattern(pattern) if condition.operator.test != Test::Bool => {
                        any.push(self.pattern(pattern, text, questions)?);
                    }
                    Kind::Bool(flag) => any.push(Formula::Constant(flag.is_some() && *flag == value::parse_bool(text))),
                    _ => return None,
                }
            }
            per_value.push(negate(condition.operator.negated, Formula::Any(any)));
        }
        Some(match condition.operator.quantifier {
            Quantifier::Any => Formula::Any(per_value),
            Quantifier::All | Quantifier::One => Formula::All(per_value),
        })
    }

    fn entry(&self, entry: &Entry, questions: &mut Vec<Question>) -> Option<Formula> {
        if self.request.resource == "*" {
            return Some(Formula::Constant(entry.pattern.is_any()));
        }
        let mut any = vec![self.pattern(&entry.pattern, &self.request.resource, questions)?];
        if let Some(completed) = &entry.completed {
            any.push(self.pattern(completed, &self.request.resource, questions)?);
        }
        Some(Formula::Any(any))
    }

    /// A pattern with the key as a variable, against a text: which value of the key makes it match? Answered where the
    /// pattern has the variable once and no wildcard.
    fn pattern(&self, pattern: &Pattern, text: &str, questions: &mut Vec<Question>) -> Option<Formula> {
        let reads = pattern.variables().filter(|variable| *variable.key == *self.key).count();
        if reads == 0 {
            return match pattern.matches(text, &self.request.context) {
                Truth::Unknown => None,
                truth => Some(Formula::Constant(truth == Truth::True)),
            };
        }
        let mut before = String::new();
        let mut after = String::new();
        let mut seen = false;
        for token in pattern.tokens() {
            let part = match token {
                Token::Text(part) => part,
                Token::Variable(variable) if *variable.key == *self.key => {
                    seen = true;
                    continue;
                }
                Token::Variable(variable) => match resolved(variable, &self.request.context) {
                    Some(Some(text)) => text,
                    Some(None) => return Some(Formula::Constant(false)),
                    None => return None,
                },
                _ => return None,
            };
            if seen { after.push_str(part) } else { before.push_str(part) }
        }
        if reads > 1 {
            return None;
        }
        if pattern.folds() && (!before.is_empty() || !after.is_empty()) {
            return None;
        }
        let middle = text.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
        Some(match middle {
            None => Formula::Constant(false),
            Some(middle) => {
                let literal = if middle.is_empty() { Vec::new() } else { vec![Token::Text(middle.into())] };
                ask(questions, Question::Pattern(Pattern::from_tokens(literal, pattern.folds())))
            }
        })
    }
}

fn negate(negated: bool, formula: Formula) -> Formula {
    if negated { Formula::Not(Box::new(formula)) } else { formula }
}

fn ask(questions: &mut Vec<Question>, question: Question) -> Formula {
    Formula::Question(match questions.iter().position(|known| *known == question) {
        Some(index) => index,
        None => {
            questions.push(question);
            questions.len() - 1
        }
    })
}

enum Substituted {
    Pattern(Pattern),
    Nothing,
    Open,
}

/// The text of a variable: none where it is open, `Some(None)` where it has none.
fn resolved<'a>(variable: &'a Variable, context: &'a Context) -> Option<Option<&'a str>> {
    use crate::condition::variable::Resolved;
    match variable.resolve(context) {
        Resolved::Text(text) => Some(Some(text)),
        Resolved::Nothing => Some(None),
        Resolved::Unknown => None,
    }
}

fn substituted(pattern: &Pattern, context: &Context) -> Substituted {
    if !pattern.has_variables() {
        return Substituted::Pattern(pattern.clone());
    }
    let mut tokens = Vec::new();
    let mut open = false;
    for token in pattern.tokens() {
        match token {
            Token::Variable(variable) => match resolved(variable, context) {
                Some(Some("")) => {}
                Some(Some(text)) => tokens.push(Token::Text(text.into())),
                Some(None) => return Substituted::Nothing,
                None => open = true,
            },
            other => tokens.push(other.clone()),
        }
    }
    if open { Substituted::Open } else { Substituted::Pattern(Pattern::from_tokens(tokens, pattern.folds())) }
}

/// Every combination of answers that one value can give.
fn answers(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    let mut all: Vec<Vec<bool>> = vec![vec![false; questions.len()]];
    type Family = fn(&[Question]) -> Option<Vec<Vec<bool>>>;
    for family in [texts as Family, numbers, dates, networks, booleans, binaries] {
        let vectors = family(questions)?;
        // Questions of different types about one key are taken to be independent: a superset.
        all = all
            .iter()
            .flat_map(|held| vectors.iter().map(|vector| held.iter().zip(vector).map(|(a, b)| *a || *b).collect()))
            .collect();
        if all.len() > MAX_READINGS {
            return None;
        }
    }
    Some(all)
}

fn distinct(vectors: impl IntoIterator<Item = Vec<bool>>) -> Option<Vec<Vec<bool>>> {
    let all: BTreeSet<Vec<bool>> = vectors.into_iter().collect();
    Some(all.into_iter().collect())
}

fn numbers(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    ordered(questions, |question| match question {
        Question::Number(comparison, number) => Some((*comparison, number)),
        _ => None,
    })
}

fn dates(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    ordered(questions, |question| match question {
        Question::Date(comparison, instant) => Some((*comparison, instant)),
        _ => None,
    })
}

/// On each constant, between the constants, and a text that is of no such type.
fn ordered<'a, T: Ord + 'a>(
    questions: &'a [Question],
    pick: impl Fn(&'a Question) -> Option<(Comparison, &'a T)>,
) -> Option<Vec<Vec<bool>>> {
    let constants: BTreeSet<&T> =
        questions.iter().filter_map(|question| pick(question).map(|(_, constant)| constant)).collect();
    let rank = |constant: &T| 2 * constants.iter().take_while(|other| **other < constant).count() + 1;
    let none = vec![false; questions.len()];
    if constants.is_empty() {
        return Some(vec![none]);
    }
    let places = (0..=2 * constants.len()).map(|place| {
        let holds = |question: &'a Question| {
            pick(question).is_some_and(|(comparison, constant)| comparison.holds(place.cmp(&rank(constant))))
        };
        questions.iter().map(holds).collect()
    });
    distinct(places.chain([none]))
}

fn networks(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    let networks = questions.iter().filter_map(|question| match question {
        Question::Network(network) => Some(network),
        _ => None,
    });
    let mut starts = BTreeSet::new();
    for network in networks {
        starts.insert((network.v6, network.first));
        let top = if network.v6 { u128::MAX } else { u128::from(u32::MAX) };
        if network.last < top {
            starts.insert((network.v6, network.last + 1));
        }
    }
    let vectors = starts.into_iter().map(|(v6, address)| {
        let address = value::Network { v6, first: address, last: address };
        questions
            .iter()
            .map(|question| matches!(question, Question::Network(network) if network.holds(&address)))
            .collect()
    });
    distinct(vectors.chain([vec![false; questions.len()]]))
}

fn booleans(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    if !questions.iter().any(|question| matches!(question, Question::Bool(_))) {
        return Some(vec![vec![false; questions.len()]]);
    }
    let vector = |flag| questions.iter().map(|question| *question == Question::Bool(flag)).collect();
    distinct([vector(true), vector(false), vec![false; questions.len()]])
}

fn binaries(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    let vectors = questions
        .iter()
        .filter(|question| matches!(question, Question::Binary(_)))
        .map(|chosen| questions.iter().map(|question| question == chosen).collect());
    distinct(vectors.chain([vec![false; questions.len()]]))
}

/// The texts that policies compare with, and what patterns can match together beside them.
fn texts(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    let pattern = |question: &Question| match question {
        Question::Pattern(pattern) => Some(pattern.clone()),
        _ => None,
    };
    let patterns: Vec<Option<Pattern>> = questions.iter().map(pattern).collect();
    let mut samples: BTreeSet<String> = BTreeSet::new();
    for pattern in patterns.iter().flatten() {
        let Some(text) = pattern.literal() else { continue };
        samples.insert(text.to_owned());
    }
    // A text that differs in case alone from a compared one, and is none of the others.
    for pattern in patterns.iter().flatten().filter(|pattern| pattern.folds()) {
        let text = pattern.literal().unwrap_or_default().to_owned();
        let flip =
            |c: char| if c.is_lowercase() { c.to_uppercase().next() } else { c.to_lowercase().next() }.unwrap_or(c);
        let variants = text.char_indices().map(|(at, _)| {
            text.char_indices().map(|(index, c)| if index == at { flip(c) } else { c }).collect::<String>()
        });
        if let Some(variant) = variants.into_iter().find(|variant| !samples.contains(variant)) {
            samples.insert(variant);
        }
    }
    let concrete = samples.iter().map(|text| {
        patterns.iter().map(|pattern| pattern.as_ref().is_some_and(|pattern| pattern.matches_plain(text))).collect()
    });
    let wild: Vec<(usize, &Pattern)> = patterns
        .iter()
        .enumerate()
        .filter_map(|(index, pattern)| pattern.as_ref().map(|pattern| (index, pattern)))
        .filter(|(_, pattern)| pattern.literal().is_none())
        .collect();
    let together = together(&wild.iter().map(|(_, pattern)| *pattern).collect::<Vec<_>>())?;
    let others = together.into_iter().map(|signature| {
        let mut vector = vec![false; questions.len()];
        for ((index, _), value) in wild.iter().zip(signature) {
            set(&mut vector, *index, value);
        }
        vector
    });
    distinct(concrete.chain(others))
}

/// One character of a pattern.
#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Char(char),
    One { colon: bool },
    Star { colon: bool },
}

/// Which of the patterns one text can match together: the product of their automata, explored to the end.
fn together(patterns: &[&Pattern]) -> Option<BTreeSet<Vec<bool>>> {
    if patterns.is_empty() {
        return Some(BTreeSet::from([Vec::new()]));
    }
    let mut alphabet = BTreeSet::from([':']);
    let mut automata = Vec::new();
    for pattern in patterns {
        let mut cells = Vec::new();
        for token in pattern.tokens() {
            match token {
                Token::Text(text) => {
                    alphabet.extend(text.chars());
                    cells.extend(text.chars().map(Cell::Char));
                }
                Token::One => cells.push(Cell::One { colon: true }),
                Token::OneInside => cells.push(Cell::One { colon: false }),
                Token::Any => cells.push(Cell::Star { colon: true }),
                Token::AnyInside => cells.push(Cell::Star { colon: false }),
                Token::Variable(_) => return None,
            }
        }
        automata.push(cells);
    }
    // One character stands for all that no pattern spells.
    alphabet.insert(('\u{e000}'..).find(|c| !alphabet.contains(c))?);
    let start: Vec<BTreeSet<usize>> = automata.iter().map(|cells| reach(cells, [0])).collect();
    let mut seen = BTreeSet::from([start.clone()]);
    let mut work = vec![start];
    let mut signatures = BTreeSet::new();
    let mut steps = 0;
    while let Some(state) = work.pop() {
        signatures.insert(state.iter().zip(&automata).map(|(places, cells)| places.contains(&cells.len())).collect());
        for c in &alphabet {
            steps += automata.len();
            let next: Vec<BTreeSet<usize>> =
                state.iter().zip(&automata).map(|(places, cells)| reach(cells, advance(cells, places, *c))).collect();
            if seen.insert(next.clone()) {
                work.push(next);
            }
        }
        if steps > MAX_STEPS {
            return None;
        }
    }
    Some(signatures)
}

fn advance(cells: &[Cell], places: &BTreeSet<usize>, c: char) -> Vec<usize> {
    let step = |place: &usize| match cells.get(*place)? {
        Cell::Char(wanted) => (*wanted == c).then_some(place + 1),
        Cell::One { colon } => (*colon || c != ':').then_some(place + 1),
        Cell::Star { colon } => (*colon || c != ':').then_some(*place),
    };
    places.iter().filter_map(step).collect()
}

/// The places that can be reached without a character.
fn reach(cells: &[Cell], places: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    for mut place in places {
        all.insert(place);
        while let Some(Cell::Star { .. }) = cells.get(place) {
            place += 1;
            all.insert(place);
        }
    }
    all
}
