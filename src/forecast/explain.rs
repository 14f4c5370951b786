//! What is said about an image, and how it is put together.

use iam_verdict::{Decision, Layer};

use super::message::{MAX_LINE, MAX_MESSAGE, Piece, clean, fits, head, line, middle};
use super::{Candidate, ImageReport, ImageUse, Report, Subject, Texts, Verdict};
use crate::ecr::advice::{CauseCode, Fix, close, first_denied, refusing_layer};
use crate::ecr::declared::Declared;
use crate::ecr::judge::{Answer, Judgement, Puller};
use crate::ecr::missing::MissingFact;

/// A detail is worth this many bytes at most.
const MAX_DETAIL: usize = 240;
/// At most so many further actions are named.
const MAX_ALSO: usize = 3;
/// The names of further containers are worth this many bytes at most.
const MAX_FURTHER: usize = 160;

/// The candidate that speaks for all, and what is known of its case beside the judgement.
pub(super) struct Speaker<'a> {
    pub(super) judgement: &'a Judgement,
    pub(super) puller: &'a Puller,
    /// The code of the page that explains more.
    pub(super) cause: Option<CauseCode>,
    /// What is almost right in the statement that came closest.
    pub(super) hint: Option<&'a str>,
    /// There are other candidates beside it.
    pub(super) several: bool,
    /// What else there is to say: who could pull instead, what was perhaps meant.
    pub(super) remark: Option<&'a str>,
}

/// An image that cannot be pulled.
///
/// `object` is the policy object that declares the puller's policies.
pub(super) fn denied(subject: &Subject, used: &ImageUse, speaker: &Speaker<'_>, fixes: &[Fix], object: &str) -> Texts {
    let mut pieces = place(subject, used);
    pieces.extend([Piece::words("cannot pull "), Piece::long(&used.image), Piece::words(": ")]);
    refused(pieces, speaker, fixes, object)
}

/// An image whose puller is denied, with a pull secret that may help.
pub(super) fn pull_secret(
    subject: &Subject,
    used: &ImageUse,
    speaker: &Speaker<'_>,
    fixes: &[Fix],
    object: &str,
) -> Texts {
    let mut pieces = place(subject, used);
    pieces.extend([
        Piece::words("only an image pull secret can pull "),
        Piece::long(&used.image),
        Piece::words(", and none is read here: "),
    ]);
    refused(pieces, speaker, fixes, object)
}

/// What is said of a refusal after `pieces`. Where the line would be too long, the statement that came closest is told
/// of in the detail alone, before any ARN or name is shortened.
fn refused(mut pieces: Vec<Piece>, speaker: &Speaker<'_>, fixes: &[Fix], object: &str) -> Texts {
    let Refusal { said, closest } = refusal(speaker, fixes);
    pieces.extend(said);
    let code: Vec<Piece> = code(speaker.cause).into_iter().collect();
    let whole = [pieces.as_slice(), &closest, &code].concat();
    let told = fits(&whole, MAX_LINE);
    let text = if told { line(&whole, MAX_LINE) } else { line(&[pieces, code].concat(), MAX_LINE) };
    Texts { line: text, detail: detail(speaker, told), fix: fix(fixes, object, speaker.several) }
}

/// An image of a repository, named by its ARN, that is not there.
pub(super) fn not_found(subject: &Subject, used: &ImageUse, repository: &str, fixes: &[Fix], object: &str) -> Texts {
    let mut pieces = place(subject, used);
    pieces.extend([
        Piece::words("cannot pull "),
        Piece::long(&used.image),
        Piece::words(": there is no "),
        Piece::long(repository),
        Piece::words(", and no pull-through cache rule makes it"),
    ]);
    pieces.extend(code(Some(CauseCode::RepositoryNotFound)));
    Texts { line: line(&pieces, MAX_LINE), detail: None, fix: fix(fixes, object, true) }
}

/// An image that some nodes can pull and others cannot, or may not.
pub(super) fn depends_on_node(
    subject: &Subject,
    used: &ImageUse,
    candidates: &[Candidate],
    fixes: &[Fix],
    object: &str,
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
    Texts { line: line(&pieces, MAX_LINE), detail: None, fix: fix(fixes, object, true) }
}

/// An image of which it is not known whether it can be pulled.
pub(super) fn open(
    subject: &Subject,
    used: &ImageUse,
    speaker: &Speaker<'_>,
    missing: &[MissingFact],
    declared: &Declared,
    (fixes, object): (&[Fix], &str),
) -> Texts {
    let mut pieces = place(subject, used);
    pieces.extend([Piece::words("not known whether "), Piece::long(&used.image), Piece::words(" can be pulled by ")]);
    pieces.extend(puller(speaker.puller));
    let missing: Vec<String> = missing
        .iter()
        .map(|fact| match declared.unread(fact) {
            Some(unread) => unread.why.clone(),
            None => in_words(fact, speaker.puller),
        })
        .collect();
    pieces.push(Piece::words(": "));
    pieces.push(Piece::long(&missing.join("; ")));
    pieces.extend(code(speaker.cause));
    Texts { line: line(&pieces, MAX_LINE), detail: None, fix: fix(fixes, object, speaker.several) }
}

/// An image whose puller is not known.
pub(super) fn not_known(subject: &Subject, used: &ImageUse, why: &str, cause: CauseCode, fixes: &[Fix]) -> Texts {
    let mut pieces = place(subject, used);
    pieces.extend([
        Piece::words("not known whether "),
        Piece::long(&used.image),
        Piece::words(" can be pulled: "),
        Piece::long(why),
    ]);
    pieces.extend(code(Some(cause)));
    Texts { line: line(&pieces, MAX_LINE), detail: None, fix: fix(fixes, "", false) }
}

/// A text of an ECR host that names no image.
pub(super) fn invalid(subject: &Subject, used: &ImageUse, why: &str) -> Texts {
    let mut pieces = place(subject, used);
    pieces.extend([Piece::words("cannot pull "), Piece::long(&used.image), Piece::words(": "), Piece::words(why)]);
    pieces.extend(code(Some(CauseCode::InvalidImage)));
    Texts { line: line(&pieces, MAX_LINE), detail: None, fix: Some("fix: correct the image reference".to_owned()) }
}

/// An image that can be pulled.
pub(super) fn allowed(used: &ImageUse, speaker: &Speaker<'_>) -> Texts {
    let mut pieces = vec![Piece::long(&used.image), Piece::words(" can be pulled by ")];
    pieces.extend(puller(speaker.puller));
    Texts { line: line(&pieces, MAX_LINE), ..Texts::default() }
}

/// Puts a message together in at most [`MAX_MESSAGE`] bytes. The line and the fix always fit; further containers give
/// way before the detail.
pub(super) fn compose(texts: &Texts, others: &[&ImageReport], namespace: &str) -> String {
    let mut fix = texts.fix.clone();
    // Each further part takes a line break.
    let broken = |part: &str| if part.is_empty() { 0 } else { part.len() + 1 };
    let room = |used: &[&str]| {
        MAX_MESSAGE.saturating_sub(texts.line.len() + used.iter().map(|part| broken(part)).sum::<usize>())
    };
    let least = if others.is_empty() { String::new() } else { format!("+{} more", others.len()) };
    if let Some(whole) = &fix
        && broken(whole) + broken(&least) > room(&[])
    {
        fix = Some(command(namespace));
    }
    let fix_text = fix.as_deref().unwrap_or_default();
    let detail = texts.detail.as_deref().unwrap_or_default();
    let listed = further(others);
    let fits = |parts: &[&str]| parts.iter().map(|part| broken(part)).sum::<usize>() <= room(&[fix_text]);
    let (detail, further) = if fits(&[detail, &listed]) {
        (detail.to_owned(), listed)
    } else if fits(&[detail, &least]) {
        (detail.to_owned(), least)
    } else {
        // What is left of the detail, where that is still worth reading.
        let left = room(&[fix_text, &least]).saturating_sub(1);
        (if left >= 80 { middle(detail, left) } else { String::new() }, least)
    };
    let mut text = texts.line.clone();
    for part in [detail.as_str(), further.as_str(), fix_text] {
        if !part.is_empty() {
            text.push('\n');
            text.push_str(part);
        }
    }
    text
}

/// What a warning says in the end of images that have no line of their own.
pub(super) fn more_images(report: &Report, more: usize) -> String {
    let mut pieces = vec![Piece::Words(format!("and {more} more images of "))];
    pieces.extend(object(report));
    line(&pieces, MAX_LINE)
}

/// What becomes of the pods of a workload that is admitted because of these images, and the fix: whole, or the command
/// that prints it. Where the images need different ones it is that of the first, and says so.
pub(super) fn pods_refused(report: &Report, blamed: &[&ImageReport]) -> String {
    let mut pieces = object(report);
    pieces.push(Piece::words(" is admitted, but its pods will be refused"));
    let first = blamed.first().and_then(|image| Some((image, image.texts.fix.as_deref()?)));
    let Some((image, fix)) = first else { return line(&pieces, MAX_LINE) };
    let one = blamed.iter().all(|other| other.texts.fix == image.texts.fix);
    let whole = match fix.strip_prefix("fix: ") {
        Some(rest) if !one => {
            vec![Piece::words("; fix for "), Piece::name(&image.container), Piece::words(": "), Piece::words(rest)]
        }
        _ => vec![Piece::words("; "), Piece::words(fix)],
    };
    let whole = [pieces.as_slice(), &whole].concat();
    if fits(&whole, MAX_LINE) {
        return line(&whole, MAX_LINE);
    }
    pieces.extend([Piece::words("; "), Piece::Words(command(&report.namespace))]);
    line(&pieces, MAX_LINE)
}

/// What lets a pod in all the same, and until when; none where nothing does.
///
/// Of several exemptions the one that ends first is told: from then on the pod is refused.
pub(super) fn exempted(report: &Report) -> Option<String> {
    let first = report.used().min_by_key(|used| used.expires_at)?;
    let mut pieces = object(report);
    let admitted = if report.template { ": its pods are admitted until " } else { " is admitted all the same, until " };
    pieces.extend([
        Piece::words(admitted),
        Piece::Words(first.expires_at.to_string()),
        Piece::words(", by exemption "),
        Piece::name(&first.name),
    ]);
    if let Some(policy) = &report.policy {
        pieces.extend([Piece::words(" of "), Piece::name(&policy.to_string())]);
    }
    let more = report.used().count() - 1;
    if more > 0 {
        pieces.push(Piece::Words(format!(" (+{more} more)")));
    }
    pieces.extend([Piece::words(": "), Piece::long(&first.reason)]);
    Some(line(&pieces, MAX_LINE))
}

/// `Deployment payments/api`
fn object(report: &Report) -> Vec<Piece> {
    vec![
        Piece::name(&report.kind),
        Piece::words(" "),
        Piece::name(&report.namespace),
        Piece::words("/"),
        Piece::name(&report.name),
    ]
}

/// `Pod payments/api-0, container app: `
fn place(subject: &Subject, used: &ImageUse) -> Vec<Piece> {
    vec![
        Piece::name(&subject.kind),
        Piece::words(" "),
        Piece::name(&subject.namespace),
        Piece::words("/"),
        Piece::name(&subject.name),
        Piece::words(", "),
        Piece::words(used.kind.as_str()),
        Piece::words(" "),
        Piece::name(&used.container),
        Piece::words(": "),
    ]
}

/// `arn:… (annotation eks.amazonaws.com/ecr-role-arn)`
fn puller(puller: &Puller) -> [Piece; 4] {
    [Piece::long(&puller.who.to_string()), Piece::words(" ("), Piece::name(&puller.found_by), Piece::words(")")]
}

/// A missing fact as a sentence.
fn in_words(fact: &MissingFact, puller: &Puller) -> String {
    match fact {
        MissingFact::Role(arn) => {
            format!("IAM role {arn} is not in the inventory, and no identity is declared beside it")
        }
        MissingFact::Document(name) => match puller.identity.as_deref().and_then(|identity| identity.problem(name)) {
            Some(problem) => format!("policy {name} is malformed: {problem}"),
            None => format!("policy {name} is malformed"),
        },
        MissingFact::ManagedPolicy(arn) => format!("managed policy {arn} is not built in"),
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
        MissingFact::Account => "the account of the puller is not known, and a policy goes by it".to_owned(),
        MissingFact::Principal => {
            "the ARN of the puller, or the name of its session, is not known, and a policy goes by it".to_owned()
        }
        MissingFact::ConditionKey(key) => format!("{key} is not known at admission{}", who_can_tell(key)),
        // Of the puller itself, which is told otherwise than by a missing fact.
        MissingFact::ServiceAccount { .. }
        | MissingFact::Namespace(_)
        | MissingFact::Spec(_)
        | MissingFact::Node
        | MissingFact::PullerRole
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

fn refusal(speaker: &Speaker<'_>, fixes: &[Fix]) -> Refusal {
    let mut pieces = puller(speaker.puller).to_vec();
    let Some(answer) = first_denied(speaker.judgement) else { return Refusal { said: pieces, closest: Vec::new() } };
    let explicit = answer.outcome.decision == Decision::ExplicitlyDenied;
    pieces.push(Piece::words(if explicit { " is denied " } else { " is not allowed to call " }));
    pieces.push(Piece::words(answer.ask.action));
    pieces.push(Piece::words(" on "));
    pieces.push(Piece::long(&answer.ask.resource));
    if speaker.cause == Some(CauseCode::PullerOfOtherPartition) {
        pieces.push(Piece::words(": no policy reaches into another partition"));
        return Refusal { said: pieces, closest: Vec::new() };
    }
    if explicit {
        pieces.extend(denial(answer));
        return Refusal { said: pieces, closest: Vec::new() };
    }
    let gap = gap(answer, speaker, fixes);
    pieces.extend(gap.said);
    Refusal { said: pieces, closest: gap.closest }
}

/// ` by statement NoPulls of identity policy app-pull`
fn denial(answer: &Answer) -> Vec<Piece> {
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
fn gap(answer: &Answer, speaker: &Speaker<'_>, fixes: &[Fix]) -> Refusal {
    let layer = refusing_layer(answer).unwrap_or(Layer::Identity);
    let closest = close(answer).filter(|miss| miss.layer == layer || layer == Layer::Identity);
    let (words, name) = match (layer, closest) {
        (Layer::Resource | Layer::Registry, Some(miss)) => (kind_of_policy(layer), miss.policy.as_str()),
        (Layer::Resource, None) => ("the repository policy", ""),
        (Layer::Registry, None) => ("the registry policy", ""),
        (Layer::Boundary, _) => {
            let boundary = speaker.puller.identity.as_ref().and_then(|identity| identity.boundary());
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
fn detail(speaker: &Speaker<'_>, told: bool) -> Option<String> {
    let first = first_denied(speaker.judgement)?;
    let mut parts: Vec<String> = Vec::new();
    parts.extend(speaker.remark.map(clean));
    if let Some(miss) = close(first) {
        let hint = speaker.hint.map(|hint| format!(" ({})", clean(hint))).unwrap_or_default();
        let of = if told { String::new() } else { format!(" of policy {}", clean(&miss.policy)) };
        parts.push(format!("statement {}{of}: {}{hint}", clean(&miss.statement), clean(&miss.what)));
    }
    let also: Vec<&str> = speaker
        .judgement
        .answers
        .iter()
        .filter(|answer| answer.is_denied() && answer.ask != first.ask)
        .map(|answer| answer.ask.action)
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

/// `further containers: side, init, +3 more`
fn further(others: &[&ImageReport]) -> String {
    if others.is_empty() {
        return String::new();
    }
    let mut text = "further containers: ".to_owned();
    for (index, image) in others.iter().enumerate() {
        let name = middle(&clean(&image.container), 63);
        let after = others.len() - index - 1;
        let tail = if after > 0 { format!(", +{after} more") } else { String::new() };
        let comma = if index > 0 { ", " } else { "" };
        if text.len() + comma.len() + name.len() + tail.len() > MAX_FURTHER {
            return format!("{text}{comma}+{} more", after + 1);
        }
        text.push_str(comma);
        text.push_str(&name);
    }
    text
}

/// The fixes as one line, ready to paste; none where there are none. What goes to the same place is told together.
///
/// `whose` tells that there are several candidates, so that policies are told with their principals.
fn fix(fixes: &[Fix], object: &str, whose: bool) -> Option<String> {
    let object = Some(object).filter(|object| !object.is_empty());
    let mut parts: Vec<(String, Vec<String>)> = Vec::new();
    for fix in fixes {
        let instruction = clean(&fix.instruction(object, whose));
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
    (!parts.is_empty()).then(|| format!("fix: {}", parts.join("; then ")))
}

/// The command that prints the fix, for when it is too long to be shown.
fn command(namespace: &str) -> String {
    let namespace = head(&clean(namespace), 63);
    format!(
        "fix: run kubectl get ceap,cm,eap,ns,sa -n {namespace} -o yaml | ecr-access check -f - -f YOUR-MANIFEST.yaml -o json"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: usize, detail: usize, fix: usize) -> Texts {
        Texts { line: "l".repeat(line), detail: Some("d".repeat(detail)), fix: Some("f".repeat(fix)) }
    }

    /// A report of further images, as a message lists them.
    fn others(count: usize) -> Vec<ImageReport> {
        use super::super::Reason;
        let report = |n: usize| ImageReport {
            field: String::new(),
            container: format!("container-{n}"),
            image: String::new(),
            verdict: Verdict::Deny,
            reason: Reason::ActionDenied,
            missing: Vec::new(),
            message: String::new(),
            candidates: Vec::new(),
            cause: None,
            fix: Vec::new(),
            exemption: None,
            texts: Texts::default(),
        };
        (0..count).map(report).collect()
    }

    /// The first letters of the lines, `+` for counted containers and `c` for listed ones, and the length.
    fn shape(texts: &Texts, count: usize) -> (String, usize) {
        let others = others(count);
        let message = compose(texts, &others.iter().collect::<Vec<_>>(), "payments");
        let letter = |line: &str| match line {
            line if line.starts_with("further") => 'c',
            line if line.starts_with("fix: run kubectl") => 'k',
            line => line.chars().next().unwrap_or('?'),
        };
        (message.lines().map(letter).collect(), message.len())
    }

    #[test]
    fn cuts_in_order() {
        // Everything fits.
        assert_eq!(shape(&texts(300, 100, 200), 2).0, "ldcf");
        assert_eq!(shape(&texts(300, 100, 200), 0).0, "ldf");
        // Further containers are counted first.
        assert_eq!(shape(&texts(400, 240, 240), 2), ("ld+f".to_owned(), 400 + 1 + 240 + 1 + 7 + 1 + 240));
        // Then the detail is shortened, then dropped.
        let (letters, length) = shape(&texts(400, 240, 400), 2);
        assert_eq!((letters.as_str(), length), ("ld+f", 900));
        assert_eq!(shape(&texts(400, 240, 480), 2).0, "l+f");
        // The fix is whole, or the command that prints it.
        assert_eq!(shape(&texts(400, 240, 491), 2), ("l+f".to_owned(), 900));
        assert_eq!(shape(&texts(400, 240, 492), 2).0, "ldck");
        assert_eq!(shape(&texts(400, 0, 499), 0), ("lf".to_owned(), 900));
        assert_eq!(shape(&texts(400, 0, 500), 0).0, "lk");
    }

    #[test]
    fn lists_what_fits_of_further_containers() {
        let of = |count: usize| further(&others(count).iter().collect::<Vec<_>>());
        assert_eq!(of(0), "");
        assert_eq!(of(1), "further containers: container-0");
        assert_eq!(of(3), "further containers: container-0, container-1, container-2");
        let many = of(100);
        assert!(many.len() <= MAX_FURTHER && many.ends_with("more"), "{many}");
        let listed = many.matches("container-").count();
        assert!(many.ends_with(&format!("+{} more", 100 - listed)), "{many}");
    }
}
