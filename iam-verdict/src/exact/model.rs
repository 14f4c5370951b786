//! What a decision leaves open, as a model: the statements that may apply, the atoms they wait for, the facts these read.

use std::collections::{BTreeMap, BTreeSet};

use super::assignments::Assignments;
use super::atom::{Atom, Form};
use super::dimension::Dimension;
use super::joint::Joint;
use crate::arn;
use crate::condition::operator::Quantifier;
use crate::decision::Layer;
use crate::document::{Effect, PrincipalEntry};
use crate::environment::{Environment, PolicyState};
use crate::key;
use crate::layers::{self, Bits, Frame, bit};
use crate::principal::{Account, Principal};
use crate::request::Request;
use crate::statement;
use crate::truth::Truth;

/// Atoms that are told apart; a document with more is hostile and left to the bounds.
pub(super) const MAX_ATOMS: usize = 512;

/// The open part of a decision.
pub(crate) struct Model<'a> {
    env: &'a Environment,
    request: &'a Request,
    pub(super) frame: Frame,
    pub(super) same: Result<bool, usize>,
    pub(super) certain: Bits,
    pub(super) live: Vec<Live>,
    pub(super) atoms: Vec<Atom<'a>>,
    pub(crate) facts: Vec<OpenFact>,
    pub(super) dimensions: Vec<Dimension>,
}

impl<'a> Model<'a> {
    pub(crate) fn new(env: &'a Environment, request: &'a Request) -> Self {
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
        self.same = match statement::same_account(env, request) {
            Truth::True => Ok(true),
            Truth::False => Ok(false),
            Truth::Unknown => Err(self.atom(Atom::SameAccount)),
        };
        for (place, policy) in layers::places(env, &request.principal) {
            let document = match &policy.policy {
                PolicyState::Known(document) => document,
                PolicyState::Unreadable(name) => {
                    self.unreadable(name, layers::unreadable_grants(place));
                    continue;
                }
            };
            for statement in &document.statements {
                if statement::applies(place.layer, statement, request) == Truth::False {
                    continue;
                }
                let mut atoms = Vec::new();
                if let Some(clause) = &statement.resource
                    && statement::resource_applies(place.layer, Some(clause), request) == Truth::Unknown
                {
                    atoms.push(self.atom(Atom::Resource(clause)));
                }
                for condition in &statement.conditions {
                    if condition.evaluate(&request.context) == Truth::Unknown {
                        atoms.push(self.atom(Atom::Condition(condition)));
                    }
                }
                let forms = statement::principal_forms(place.layer, statement, env, request);
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
        self.dimensions.push(Dimension::plain(vec![fact], atoms, options));
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
            // Without this bit every world would be granted the same: it adds nothing.
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
        let mut by_keys: Vec<(Vec<usize>, usize)> = Vec::new();
        let mut by_principal: Vec<usize> = Vec::new();
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
                Atom::Condition(_) | Atom::Resource(_) => self.facts_of(&kind),
                Atom::Principal(..) | Atom::SameAccount => {
                    self.principal_facts();
                    by_principal.push(atom);
                    continue;
                }
            };
            match facts.as_slice() {
                [one] => by_key.entry(*one).or_default().push(atom),
                _ => by_keys.push((facts, atom)),
            }
        }
        self.joint_keys(&mut by_key, by_keys);
        for (fact, atoms) in by_key {
            let Some(Source::Key(name)) = self.facts.get(fact).map(|fact| fact.source.clone()) else { continue };
            let kinds = self.kinds(&atoms);
            let assignments =
                Assignments { key: &name, atoms: &kinds, request: self.request, listed: self.listed(&name) };
            let options = if self.atoms.len() <= MAX_ATOMS { assignments.combinations() } else { None };
            match options {
                Some(options) => self.dimensions.push(Dimension::plain(vec![fact], atoms, options)),
                // Too many to list: each atom on its own, which is a superset.
                None => atoms.into_iter().for_each(|atom| self.free(vec![fact], atom)),
            }
        }
        if !by_principal.is_empty() {
            self.principals(by_principal);
        }
        self.dimensions = std::mem::take(&mut self.dimensions).into_iter().map(Dimension::without_idle_facts).collect();
        // Facts of dimensions that were dropped are in play no more, and neither are those that make no difference.
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
        self.dimensions.push(Dimension::plain(facts, vec![atom], vec![vec![false], vec![true]]));
    }

    /// Whether some policy reads the key with a set operator.
    fn listed(&self, key: &str) -> bool {
        layers::places(self.env, &self.request.principal)
            .filter_map(|(_, policy)| match &policy.policy {
                PolicyState::Known(document) => Some(document),
                PolicyState::Unreadable(_) => None,
            })
            .flat_map(|document| &document.statements)
            .flat_map(|statement| &statement.conditions)
            .any(|condition| *condition.key == *key && condition.operator.quantifier != Quantifier::One)
    }

    fn kinds(&self, atoms: &[usize]) -> Vec<Atom<'a>> {
        atoms.iter().filter_map(|atom| self.atoms.get(*atom).cloned()).collect()
    }

    /// Lines that read several open keys, with all that read one of these: their keys are filled together, where that
    /// is possible.
    fn joint_keys(&mut self, by_key: &mut BTreeMap<usize, Vec<usize>>, mut joint: Vec<(Vec<usize>, usize)>) {
        while let Some((mut facts, atom)) = joint.pop() {
            let mut atoms = vec![atom];
            // All lines that share a key, and the lines that share one with these.
            while let Some(at) = joint.iter().position(|(other, _)| other.iter().any(|fact| facts.contains(fact))) {
                let (more, atom) = joint.swap_remove(at);
                facts.extend(more);
                atoms.push(atom);
            }
            facts.sort_unstable();
            facts.dedup();
            let alone: Vec<usize> = facts.iter().filter_map(|fact| by_key.get(fact)).flatten().copied().collect();
            let all: Vec<usize> = alone.into_iter().chain(atoms.iter().copied()).collect();
            let name = |fact: &usize| match self.facts.get(*fact).map(|fact| &fact.source) {
                Some(Source::Key(name)) => Some(name.clone()),
                _ => None,
            };
            let keys: Vec<String> = facts.iter().filter_map(name).collect();
            let kinds = self.kinds(&all);
            let lists = |key: &String| key::is_multivalued(key) || (!key::is_single(key) && self.listed(key));
            let few = self.atoms.len() <= MAX_ATOMS && !keys.iter().any(lists);
            let options =
                if few { Joint { keys: &keys, atoms: &kinds, request: self.request }.assignments() } else { None };
            match options {
                Some(options) => {
                    facts.iter().for_each(|fact| drop(by_key.remove(fact)));
                    self.dimensions.push(Dimension::labelled(facts, all, options));
                }
                None => {
                    for atom in atoms {
                        let Some(kind) = self.atoms.get(atom).cloned() else { continue };
                        let facts = self.facts_of(&kind);
                        self.free(facts, atom);
                    }
                }
            }
        }
    }

    /// The open keys that a condition or a resource reads.
    fn facts_of(&mut self, atom: &Atom<'a>) -> Vec<usize> {
        match atom {
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
            _ => Vec::new(),
        }
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

    /// What is open of the principal and of the owner, as facts in this order.
    fn principal_facts(&mut self) -> Vec<usize> {
        let mut facts = Vec::new();
        if self.request.principal.arns.is_empty() || self.request.principal.session_unknown {
            facts.push(self.fact("principal", Source::Principal));
        }
        let outside = self.request.principal.account == Account::Outside;
        if !outside && statement::principal_account(self.env, self.request).is_none() {
            facts.push(self.fact("account", Source::Account));
        }
        if self.same.is_err() && statement::resource_account(self.env, self.request).is_none() {
            facts.push(self.fact("resourceAccount", Source::ResourceAccount));
        }
        facts
    }

    /// Who the principal can be: whoever a clause names, and somebody whom none names.
    ///
    /// IAM-PRIN-4: an unknown principal is a user, a role or a session, so that neither services nor root users are
    /// among them.
    fn principals(&mut self, atoms: Vec<usize>) {
        let facts = self.principal_facts();
        let principal = &self.request.principal;
        let mut accounts = BTreeSet::from(["(another account)".to_owned()]);
        let owner = statement::resource_account(self.env, self.request);
        accounts.extend(owner.map(str::to_owned));
        let mut named: BTreeSet<&str> = BTreeSet::new();
        for atom in self.atoms.iter() {
            let Atom::Principal(clause, ..) = atom else { continue };
            for entry in &clause.entries {
                match entry {
                    PrincipalEntry::Account(id) => {
                        if arn::is_account_id(id) {
                            accounts.insert(id.to_string());
                        }
                    }
                    PrincipalEntry::Arn(text) => {
                        // An ARN without a proper account is nobody's.
                        if let Some(home) = arn::account(text).filter(|home| arn::is_account_id(home)) {
                            accounts.insert(home.to_owned());
                            named.insert(text);
                        }
                    }
                    PrincipalEntry::Everyone | PrincipalEntry::Other(_) => {}
                }
            }
        }
        let mut people: BTreeSet<Vec<String>> = BTreeSet::new();
        let with = |extra: String| principal.arns.iter().cloned().chain([extra]).collect::<Vec<_>>();
        if principal.arns.is_empty() || principal.session_unknown {
            people.insert(with("(nobody)".to_owned()));
            for text in &named {
                if principal.session_unknown {
                    if principal.arns.iter().any(|role| arn::session_may_be_of(text, role)) {
                        people.insert(with((*text).to_owned()));
                    }
                    continue;
                }
                people.insert(vec![(*text).to_owned()]);
                if let Some(plain) = arn::role_of_session(text) {
                    // A session has a role: the one without a path, one that a clause names, or another.
                    people.insert(vec![plain.replacen(":role/", ":role/(other)/", 1), (*text).to_owned()]);
                    let roles = named.iter().filter(|role| arn::session_may_be_of(text, role)).copied();
                    people.extend(roles.chain([plain.as_str()]).map(|role| vec![role.to_owned(), (*text).to_owned()]));
                    people.remove(&vec![(*text).to_owned()]);
                }
            }
        } else {
            people.insert(principal.arns.clone());
        }
        let known = statement::principal_account(self.env, self.request);
        let mut all: BTreeSet<(Vec<usize>, Vec<bool>)> = BTreeSet::new();
        let mut number = 0;
        for arns in people {
            let home = arns.iter().find_map(|text| arn::account(text));
            let candidates: Vec<&str> = match (known, home) {
                (Some(known), Some(home)) if known != home => continue,
                (Some(known), _) => vec![known],
                (None, Some(home)) => vec![home],
                (None, None) => accounts.iter().map(String::as_str).collect(),
            };
            for id in candidates {
                let place = accounts.iter().position(|account| account == id).unwrap_or_default();
                let request = Request {
                    principal: Principal {
                        arns: arns.clone(),
                        account: Account::Known(id.to_owned()),
                        session_unknown: false,
                        ..principal.clone()
                    },
                    ..self.request.clone()
                };
                let same: &[bool] = match statement::same_account(self.env, &request) {
                    Truth::True => &[true],
                    Truth::False => &[false],
                    Truth::Unknown => &[false, true],
                };
                for same in same {
                    let truth = |atom: &usize| match self.atoms.get(*atom) {
                        Some(Atom::Principal(clause, effect, form)) => {
                            form.of(statement::clause_forms(clause, *effect, self.env, &request)) == Truth::True
                        }
                        _ => *same,
                    };
                    let label = |fact: &usize| match self.facts.get(*fact).map(|fact| &fact.source) {
                        Some(Source::Principal) => number,
                        Some(Source::Account) => place,
                        _ => usize::from(*same),
                    };
                    all.insert((facts.iter().map(label).collect(), atoms.iter().map(truth).collect()));
                }
                number += 1;
            }
        }
        self.dimensions.push(Dimension::labelled(facts, atoms, all));
    }
}

/// A statement that applies when all its atoms hold.
pub(crate) struct Live {
    pub(super) sets: Bits,
    pub(super) atoms: Vec<usize>,
}

/// What is not known.
#[derive(PartialEq)]
pub(crate) struct OpenFact {
    pub(crate) name: String,
    source: Source,
}

#[derive(PartialEq, Clone)]
pub(crate) enum Source {
    Key(String),
    Account,
    ResourceAccount,
    Principal,
    Policy,
}
