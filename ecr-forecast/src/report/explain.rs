//! What is said about an image.

use iam_verdict::{Decision, Layer, NearMiss};

use crate::cluster::{ImageUse, Subject};
use crate::diagnose::{Fix, close, first_denied, refusing_layer};
use crate::ecr::managed;
use crate::facts::CauseCode;
use crate::facts::missing::MissingFact;
use crate::judge::{PullJudgement, RequestDecision, Verdict};
use crate::policy::compiled::{CompiledSpec, PolicyKey};
use crate::puller::Puller;
use crate::report::message::{self, MAX_LINE, Piece, clean, fits, line, middle};
use crate::report::texts::Texts;
use crate::report::types::Candidate;

/// A detail is worth this many bytes at most.
const MAX_DETAIL: usize = 240;
/// At most so many further actions are named.
const MAX_ALSO: usize = 3;

/// The candidate that speaks for all, and what is known of its case beside the judgement.
pub(crate) struct WorstCandidate<'a> {
    pub(crate) pull: &'a PullJudgement,
    pub(crate) puller: &'a Puller,
    /// The code of the page that explains more.
    pub(crate) cause: Option<CauseCode>,
    /// The statement that came closest to allowing the first request that is denied.
    pub(crate) miss: Option<&'a NearMiss>,
    /// What is almost right in the statement that came closest.
    pub(crate) hint: Option<&'a str>,
    /// There are other candidates beside it.
    pub(crate) several: bool,
    /// What else there is to say: who could pull instead, what was perhaps meant.
    pub(crate) remark: Option<&'a str>,
}

/// An image that cannot be pulled.
///
/// `object` is the policy object that declares the puller's policies.
pub(crate) fn denied(
    subject: &Subject,
    used: &ImageUse,
    worst: &WorstCandidate<'_>,
    fixes: &[Fix],
    object: Option<&PolicyKey>,
) -> Texts {
    refused(of_image(subject, used, "cannot pull ", ": "), worst, fixes, object)
}

/// An image whose puller is denied, with a pull secret that may help.
pub(crate) fn pull_secret(
    subject: &Subject,
    used: &ImageUse,
    worst: &WorstCandidate<'_>,
    fixes: &[Fix],
    object: Option<&PolicyKey>,
) -> Texts {
    let pieces = of_image(subject, used, "only an image pull secret can pull ", ", and none is read here: ");
    refused(pieces, worst, fixes, object)
}

/// What is said of a refusal after `pieces`. Where the line would be too long, the statement that came closest is told
/// of in the detail alone, before any ARN or name is shortened.
fn refused(mut pieces: Vec<Piece>, worst: &WorstCandidate<'_>, fixes: &[Fix], object: Option<&PolicyKey>) -> Texts {
    let Refusal { said, closest } = refusal(worst, fixes);
    pieces.extend(said);
    let code: Vec<Piece> = code(worst.cause).into_iter().collect();
    let whole = [pieces.as_slice(), &closest, &code].concat();
    let told = fits(&whole, MAX_LINE);
    let text = if told { line(&whole, MAX_LINE) } else { line(&[pieces, code].concat(), MAX_LINE) };
    let (detail, fix) = (detail(worst, told), fix(fixes, object, worst.several));
    Texts { line: text, detail, fix, ..Texts::default() }
}

/// An image of a repository, named by its ARN, that is not there.
pub(crate) fn not_found(
    subject: &Subject,
    used: &ImageUse,
    repository: &str,
    fixes: &[Fix],
    object: Option<&PolicyKey>,
) -> Texts {
    let mut pieces = place(subject, used);
    pieces.extend([
        Piece::words("cannot pull "),
        Piece::long(&used.image),
        Piece::words(": there is no "),
        Piece::long(repository),
        Piece::words(", and no pull-through cache rule makes it"),
    ]);
    pieces.extend(code(Some(CauseCode::RepositoryNotFound)));
    Texts { line: line(&pieces, MAX_LINE), fix: fix(fixes, object, true), ..Texts::default() }
}

/// An image that some nodes can pull and others cannot, or may not.
pub(crate) fn depends_on_node(
    subject: &Subject,
    used: &ImageUse,
    candidates: &[Candidate],
    fixes: &[Fix],
    object: Option<&PolicyKey>,
) -> Texts {
    let mut pieces = place(subject, used);
    pieces.extend([
        Piece::words("whether "),
        Piece::long(&used.image),
        Piece::words(" can be pulled depends on the node"),
    ]);
    let told = [(Verdict::Allow, " can pull it"), (Verdict::Deny, " cannot"), (Verdict::Unknown, " may or may not")];
    let mut before = ": ";
    for (verdict, words) in told {
        let mut of = candidates.iter().filter(|candidate| candidate.verdict == verdict);
        let Some(first) = of.next() else { continue };
        pieces.extend([Piece::words(before), Piece::long(&first.principal)]);
        let more = of.count();
        if more > 0 {
            pieces.push(Piece::Words(format!(" (+{more} more)")));
        }
        pieces.push(Piece::words(words));
        before = ", ";
    }
    pieces.extend(code(Some(CauseCode::CandidatesDiffer)));
    Texts { line: line(&pieces, MAX_LINE), fix: fix(fixes, object, true), ..Texts::default() }
}

/// An image of which it is not known whether it can be pulled.
pub(crate) fn open(
    subject: &Subject,
    used: &ImageUse,
    worst: &WorstCandidate<'_>,
    (missing, spec): (&[MissingFact], Option<&CompiledSpec>),
    (fixes, object): (&[Fix], Option<&PolicyKey>),
) -> Texts {
    let mut pieces = place(subject, used);
    pieces.extend([Piece::words("not known whether "), Piece::long(&used.image), Piece::words(" can be pulled by ")]);
    pieces.extend(puller(worst.puller));
    let missing: Vec<String> = missing
        .iter()
        .map(|fact| {
            let unread = spec.and_then(|spec| spec.unread(fact)?.why_unread());
            unread.unwrap_or_else(|| in_words(fact, worst.puller))
        })
        .collect();
    pieces.push(Piece::words(": "));
    pieces.push(Piece::long(&missing.join("; ")));
    pieces.extend(code(worst.cause));
    Texts { line: line(&pieces, MAX_LINE), fix: fix(fixes, object, worst.several), ..Texts::default() }
}

/// An image whose puller is not known, or that nobody pulls with credentials.
pub(crate) fn no_puller(
    subject: &Subject,
    used: &ImageUse,
    (verdict, why): (Verdict, &str),
    cause: CauseCode,
    fixes: &[Fix],
) -> Texts {
    let (before, after) = match (verdict, cause) {
        (Verdict::Deny, _) => ("cannot pull ", ": "),
        (_, CauseCode::PullSecret) => ("only an image pull secret can pull ", ", and none is read here: "),
        _ => ("not known whether ", " can be pulled: "),
    };
    let mut pieces = of_image(subject, used, before, after);
    pieces.push(Piece::long(why));
    pieces.extend(code(Some(cause)));
    Texts { line: line(&pieces, MAX_LINE), fix: fix(fixes, None, false), ..Texts::default() }
}

/// An image whose host no credential provider of a stock node matches.
pub(crate) fn host_not_matched(subject: &Subject, used: &ImageUse, host: &str, fixes: &[Fix]) -> Texts {
    let mut pieces = of_image(subject, used, "not known whether ", " can be pulled: the kubelet compares ");
    pieces.extend([
        Piece::long(host),
        Piece::words(" by bytes and port, so that no pattern of a stock node matches it and no credentials are sent"),
    ]);
    pieces.extend(code(Some(CauseCode::HostNotMatchedByProvider)));
    Texts { line: line(&pieces, MAX_LINE), fix: fix(fixes, None, false), ..Texts::default() }
}

/// A text of an ECR host that names no image.
pub(crate) fn invalid(subject: &Subject, used: &ImageUse, why: &str) -> Texts {
    let mut pieces = place(subject, used);
    pieces.extend([Piece::words("cannot pull "), Piece::long(&used.image), Piece::words(": "), Piece::words(why)]);
    pieces.extend(code(Some(CauseCode::InvalidImage)));
    let fix = Some("correct the image reference".to_owned());
    Texts { line: line(&pieces, MAX_LINE), fix, ..Texts::default() }
}

/// An image that can be pulled.
pub(crate) fn allowed(used: &ImageUse, worst: &WorstCandidate<'_>) -> Texts {
    let mut pieces = vec![Piece::long(&used.image), Piece::words(" can be pulled by ")];
    pieces.extend(puller(worst.puller));
    Texts { line: line(&pieces, MAX_LINE), ..Texts::default() }
}

/// `Pod payments/api-0, container app: `
fn place(subject: &Subject, used: &ImageUse) -> Vec<Piece> {
    let mut pieces = message::object(&subject.kind, &subject.namespace, &subject.name);
    pieces.extend([
        Piece::words(", "),
        Piece::words(used.kind.as_str()),
        Piece::words(" "),
        Piece::name(&used.container),
        Piece::words(": "),
    ]);
    pieces
}

/// The same, and words before and after the image.
fn of_image(subject: &Subject, used: &ImageUse, before: &str, after: &str) -> Vec<Piece> {
    let mut pieces = place(subject, used);
    pieces.extend([Piece::words(before), Piece::long(&used.image), Piece::words(after)]);
    pieces
}

/// The same as text, with nothing shortened.
pub(crate) fn place_text(subject: &Subject, used: &ImageUse) -> String {
    line(&place(subject, used), usize::MAX)
}

/// `arn:… (annotation eks.amazonaws.com/ecr-role-arn)`
fn puller(puller: &Puller) -> [Piece; 4] {
    [Piece::long(&puller.principal.to_string()), Piece::words(" ("), Piece::name(&puller.found_by), Piece::words(")")]
}

/// A missing fact as a sentence.
fn in_words(fact: &MissingFact, puller: &Puller) -> String {
    match fact {
        MissingFact::Role(arn) => {
            let fact = puller.fact.as_ref().filter(|_| puller.principal.arn == *arn);
            match fact.and_then(|fact| Some((fact.source(), fact.unread()?))) {
                Some((source, unread)) => {
                    format!("what {source} says of IAM role {arn} cannot be read: {}", unread.why)
                }
                None => format!("IAM role {arn} is not in the inventory, and no identity is declared beside it"),
            }
        }
        MissingFact::Document(name) => match puller.identity.as_deref().and_then(|identity| identity.problem(name)) {
            Some(problem) => format!("policy {name} is malformed: {problem}"),
            None => format!("policy {name} is malformed"),
        },
        MissingFact::DocumentTooDeep(name) => {
            match puller.identity.as_deref().and_then(|identity| identity.problem(name)) {
                Some(problem) => format!("policy {name} is not read: {problem}"),
                None => format!("policy {name} is not read: its document nests too deeply"),
            }
        }
        MissingFact::ManagedPolicy(arn) => format!("managed policy {arn} is not built in{}", managed::hint(arn)),
        MissingFact::Presence(arn) => {
            format!("this works only for what is already cached, and whether {arn} is cached is not known")
        }
        MissingFact::RepositoryDocument(place) | MissingFact::RegistryDocument(place) => {
            format!("policy {place} is malformed")
        }
        MissingFact::RegistryPolicy { account, region } => {
            format!("what the registry policy of {account}/{region} does is not known (spec.registries can tell)")
        }
        MissingFact::RepositoryPolicy(arn) => {
            format!("the repository policy of {arn} is not known (spec.repositories can tell)")
        }
        MissingFact::Principal => {
            "the ARN of the puller, or the name of its session, is not known, and a policy goes by it".to_owned()
        }
        MissingFact::ConditionKey(key) => format!("{key} is not known at admission{}", who_can_tell(key)),
        // Of the puller itself, which is told otherwise than by a missing fact.
        MissingFact::ServiceAccount { .. }
        | MissingFact::Namespace(_)
        | MissingFact::Spec(_)
        | MissingFact::Node
        | MissingFact::HostMatch(_)
        | MissingFact::ImagePullSecret
        | MissingFact::ConfigMap(_) => format!("{fact} is not known at admission"),
    }
}

/// The field in which the value of a condition key can be declared.
fn who_can_tell(key: &str) -> &'static str {
    let key = key.to_ascii_lowercase();
    match key.split_once(':') {
        Some(("aws", name)) if name.starts_with("principaltag/") => " (tags of the identity can tell)",
        Some(("aws" | "ecr", name)) if name.starts_with("resourcetag/") => " (tags in spec.repositories can tell)",
        Some(("aws", _)) => " (spec.context can tell)",
        _ => "",
    }
}

/// ` [RepositoryNotInResource]`: the name of the page that says more.
fn code(cause: Option<CauseCode>) -> Option<Piece> {
    cause.map(|cause| Piece::Words(format!(" [{cause}]")))
}

/// Why a request is refused, in pieces.
struct Refusal {
    /// Who lacks what, and what decided it.
    said: Vec<Piece>,
    /// `, closest is statement Pull of policy app-pull`, where a statement came close.
    closest: Vec<Piece>,
}

fn refusal(worst: &WorstCandidate<'_>, fixes: &[Fix]) -> Refusal {
    let mut pieces = puller(worst.puller).to_vec();
    let Some(answer) = first_denied(worst.pull) else { return Refusal { said: pieces, closest: Vec::new() } };
    let explicit = answer.outcome.decision == Decision::ExplicitlyDenied;
    pieces.push(Piece::words(if explicit { " is denied " } else { " is not allowed to call " }));
    pieces.push(Piece::words(answer.request.action));
    pieces.push(Piece::words(" on "));
    pieces.push(Piece::long(&answer.request.resource));
    if worst.cause == Some(CauseCode::PullerOfOtherPartition) {
        pieces.push(Piece::words(": no policy reaches into another partition"));
        return Refusal { said: pieces, closest: Vec::new() };
    }
    if explicit {
        pieces.extend(denial(answer));
        return Refusal { said: pieces, closest: Vec::new() };
    }
    let gap = gap(answer, worst, fixes);
    pieces.extend(gap.said);
    Refusal { said: pieces, closest: gap.closest }
}

/// ` by statement NoPulls of identity policy app-pull`
fn denial(answer: &RequestDecision) -> Vec<Piece> {
    let layer = answer.outcome.layer.unwrap_or(Layer::Identity);
    let mut pieces = vec![Piece::words(" by ")];
    if let Some(statement) = &answer.outcome.statement {
        pieces.extend([Piece::words("statement "), Piece::name(statement), Piece::words(" of ")]);
    }
    pieces.push(Piece::words(kind_of_policy(layer)));
    if let Some(policy) = &answer.outcome.policy {
        pieces.extend([Piece::words(" "), Piece::name(policy)]);
    }
    pieces
}

/// `: no identity policy allows it, closest is statement Pull of policy app-pull`
fn gap(answer: &RequestDecision, worst: &WorstCandidate<'_>, fixes: &[Fix]) -> Refusal {
    let layer = refusing_layer(&answer.request, &answer.outcome).unwrap_or(Layer::Identity);
    let closest = close(worst.miss).filter(|miss| miss.layer == layer || layer == Layer::Identity);
    let (words, name) = match (layer, closest) {
        (Layer::Resource | Layer::Registry, Some(miss)) => (kind_of_policy(layer), miss.policy.as_str()),
        (Layer::Resource, None) => ("the repository policy", ""),
        (Layer::Registry, None) => ("the registry policy", ""),
        (Layer::Boundary, _) => {
            let boundary = worst.puller.identity.as_ref().and_then(|identity| identity.boundary());
            match boundary.map_or("", |boundary| &*boundary.policy.name) {
                // A document has no name of its own.
                "" | "permissionsBoundary" => ("the permissions boundary", ""),
                name => (kind_of_policy(layer), name),
            }
        }
        (Layer::Scp, _) => {
            let level = fixes.iter().find(|fix| fix.attach_to == Some(layer.as_str()));
            ("no service control policy at level", level.and_then(|fix| fix.target.as_deref()).unwrap_or("?"))
        }
        (layer, _) => (kind_of_policy(layer), ""),
    };
    let plain = matches!(layer, Layer::Identity | Layer::Session | Layer::Rcp | Layer::Endpoint);
    let mut pieces = vec![Piece::words(if plain { ": no " } else { ": " }), Piece::words(words)];
    if !name.is_empty() {
        pieces.extend([Piece::words(" "), Piece::name(name)]);
    }
    pieces.push(Piece::words(if plain || layer == Layer::Scp { " allows it" } else { " does not allow it" }));
    let mut told = Vec::new();
    if let Some(miss) = closest {
        told.extend([Piece::words(", closest is statement "), Piece::name(&miss.statement)]);
        if miss.policy != name {
            let kind = if miss.layer == layer { "policy" } else { kind_of_policy(miss.layer) };
            told.extend([Piece::words(" of "), Piece::words(kind), Piece::words(" "), Piece::name(&miss.policy)]);
        }
    }
    Refusal { said: pieces, closest: told }
}

const fn kind_of_policy(layer: Layer) -> &'static str {
    match layer {
        Layer::Identity => "identity policy",
        Layer::Resource => "repository policy",
        Layer::Registry => "registry policy",
        Layer::Boundary => "permissions boundary",
        Layer::Session => "session policy",
        Layer::Scp => "service control policy",
        Layer::Rcp => "resource control policy",
        Layer::Endpoint => "endpoint policy",
        _ => "policy",
    }
}

/// What the closest statement lacks, what else there is to say, and which further actions are denied. `told` says that
/// the line has named the statement's policy.
fn detail(worst: &WorstCandidate<'_>, told: bool) -> Option<String> {
    let first = first_denied(worst.pull)?;
    let mut parts: Vec<String> = Vec::new();
    parts.extend(worst.remark.map(clean));
    if let Some(miss) = close(worst.miss) {
        let hint = worst.hint.map(|hint| format!(" ({})", clean(hint))).unwrap_or_default();
        let of = if told { String::new() } else { format!(" of policy {}", clean(&miss.policy)) };
        parts.push(format!("statement {}{of}: {}{hint}", clean(&miss.statement), clean(&miss.what)));
    }
    let also: Vec<&str> = worst
        .pull
        .answers
        .iter()
        .filter(|answer| answer.is_denied() && answer.request != first.request)
        .map(|answer| answer.request.action)
        .collect();
    match also.get(..MAX_ALSO) {
        _ if also.is_empty() => {}
        Some(first) if also.len() > MAX_ALSO => {
            parts.push(format!("also denied: {}, +{} more", first.join(", "), also.len() - MAX_ALSO));
        }
        _ => parts.push(format!("also denied: {}", also.join(", "))),
    }
    // Shorter parts leave their share to longer ones.
    let mut left = MAX_DETAIL.saturating_sub(2 * parts.len().saturating_sub(1));
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|index| parts.get(*index).map_or(0, String::len));
    let count = parts.len();
    for (done, index) in order.into_iter().enumerate() {
        if let Some(part) = parts.get_mut(index) {
            *part = middle(part, left / (count - done).max(1));
            left -= part.len();
        }
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The fixes in one line, ready to paste; none where there are none. What goes to the same place is told together.
///
/// `whose` tells that there are several candidates, so that policies are told with their principals.
fn fix(fixes: &[Fix], object: Option<&PolicyKey>, whose: bool) -> Option<String> {
    let object = object.map(ToString::to_string);
    let mut parts: Vec<(String, Vec<String>)> = Vec::new();
    for fix in fixes {
        let instruction = clean(&fix.instruction(object.as_deref(), whose));
        let document = fix.document.as_ref().and_then(|document| serde_json::to_string(document).ok());
        match parts.last_mut() {
            Some((known, documents)) if *known == instruction => documents.extend(document),
            _ => parts.push((instruction, document.into_iter().collect())),
        }
    }
    let part = |(instruction, documents): &(String, Vec<String>)| match documents.as_slice() {
        [] => instruction.clone(),
        documents => format!("{instruction}: {}", documents.join(", ")),
    };
    let parts: Vec<String> = parts.iter().map(part).collect();
    (!parts.is_empty()).then(|| parts.join("; then "))
}
