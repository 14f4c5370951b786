//! The report for a person.

use std::collections::BTreeSet;
use std::fmt::Write;

use ecr_forecast::diagnose::Advice;
use ecr_forecast::facts::missing::MissingFact;
use ecr_forecast::judge::{Admission, Verdict, note};
use ecr_forecast::report::{ImageReport, Report};
use ecr_forecast::text::escaped;

use super::report::{CheckReport, Summary};

/// The report as text. `objects` is how many objects of known kinds the input had.
///
/// What can be pulled takes one line; what cannot, or may not, has the message that the webhook would send, every fix
/// whole, and what is missing. Notes are explained once, at the end.
pub fn render(report: &CheckReport, objects: usize, colour: bool) -> String {
    let mut text = String::new();
    for result in &report.results {
        subject(&mut text, result, colour);
    }
    if !report.results.is_empty() {
        text.push('\n');
    }
    if !report.trials.is_empty() {
        line(&mut text, "", "On trial (onDeny: Audit; changes nothing):");
        for trial in &report.trials {
            subject(&mut text, trial, colour);
        }
        text.push('\n');
    }
    legend(&mut text, report);
    advice(&mut text, report);
    hint(&mut text, report);
    summary(&mut text, report, objects);
    text
}

/// The width of the longest verdict and the space after it.
const COLUMN: usize = 13;

fn subject(text: &mut String, report: &Report, colour: bool) {
    let Report { kind, namespace, name, .. } = report;
    let by = match (&report.policy, report.verdict) {
        (Some(policy), _) => format!(", {policy}"),
        (None, Verdict::NotSelected) if report.notes.contains(&note::NEVER_JUDGED) => ", never judged".to_owned(),
        (None, Verdict::NotSelected) => ", no policy is in force".to_owned(),
        (None, _) => String::new(),
    };
    let admission = match report.admission {
        Admission::Admitted => "admitted",
        Admission::Warned => "admitted with a warning",
        Admission::Rejected => "rejected",
    };
    let word = column(report.verdict, colour);
    line(text, &word, &format!("{kind} {namespace}/{name}: {admission}{by}"));
    let width = report.images.iter().map(|image| image.container.chars().count()).max().unwrap_or(0);
    for image in &report.images {
        image_lines(text, report, image, width, colour);
    }
    if let Some(moment) = report.next_transition {
        let ends =
            report.images.iter().filter_map(|image| image.exemption.as_ref()).any(|used| used.expires_at == moment);
        let what = if ends { "an exemption ends" } else { "the verdict changes" };
        indented(text, &format!("{what} at {moment}"));
    }
    if !report.notes.is_empty() {
        indented(text, &format!("notes: {}", report.notes.join(", ")));
    }
}

fn image_lines(text: &mut String, subject: &Report, report: &ImageReport, width: usize, colour: bool) {
    let word = format!("  {}", column(report.verdict, colour));
    let mut content = format!("{:width$}  {}", report.container, report.image);
    let told = matches!(report.verdict, Verdict::Deny | Verdict::Unknown);
    // Of an image that nobody has to pull, the message says why that is.
    if !told && !report.message.is_empty() && report.candidates.is_empty() {
        let _ = write!(content, "  ({})", report.message);
    }
    line(text, &word, &content);
    if !told {
        return;
    }
    // The line above has said which pod and which container. The fixes follow whole; in a message a long one gives way to
    // the command that prints it.
    report.said().for_each(|part| indented(text, part));
    if let Some(used) = &report.exemption {
        indented(text, &format!("exempted until {}, by {}: {}", used.expires_at, used.name, used.reason));
    }
    if !report.missing.is_empty() {
        indented(text, &format!("missing: {}", joined(&report.missing)));
    }
    for fix in &report.fix {
        indented(
            text,
            &format!(
                "fix: {}",
                fix.text(subject.policy.as_ref().map(ToString::to_string).as_deref(), report.candidates.len() > 1)
            ),
        );
    }
}

fn joined(missing: &[MissingFact]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What the notes in the report mean, each once.
fn legend(text: &mut String, report: &CheckReport) {
    let used: BTreeSet<&str> =
        report.results.iter().chain(&report.trials).flat_map(|result| &result.notes).copied().collect();
    let explained: Vec<(&str, &str)> = used.into_iter().filter_map(|name| Some((name, meaning(name)?))).collect();
    let width = explained.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, meaning) in &explained {
        line(text, "", &format!("{name:width$}  {meaning}"));
    }
    if !explained.is_empty() {
        text.push('\n');
    }
}

fn meaning(name: &str) -> Option<&'static str> {
    Some(match name {
        note::NEVER_JUDGED => "pods of kube-system, of the operator and mirror pods are left alone, whatever they pull",
        note::TRUST_NOT_KNOWN => "whether the role trusts the cluster's service accounts is not judged",
        note::ANNOTATION_IGNORED => {
            "the service account names a role for pulls, which counts where kubelets pull with service-account tokens"
        }
        note::LOOKS_LIKE_ECR => "the host is almost one of Amazon ECR; no registry has that name, and it is not judged",
        note::NO_REPOSITORY_POLICY_DECLARED => "no repository policy is declared, so none is taken to grant or deny",
        note::NO_REGISTRY_POLICY_DECLARED => "no registry policy is declared, so none is taken to grant or deny",
        note::PULLER_OF_OTHER_PARTITION => "the puller's role is of another partition than the registry",
        note::NO_IMPORT => {
            "ecr:BatchImportUpstreamImage is not allowed: what is cached can be pulled, and nothing newer"
        }
        note::SERVICE_ACCOUNT_PULL_ASSUMED => {
            "holds where kubelets pull with service-account tokens; elsewhere the node's role pulls"
        }
        note::NO_BATCH_CHECK => "ecr:BatchCheckLayerAvailability is not allowed, which no pull needs",
        note::ROLE_SOURCES_DIFFER => {
            "several sources have the role that pulls and do not say the same; the first in their order was heard"
        }
        note::MANAGED_POLICY_OF_OTHER_PARTITION => {
            "a managed policy is named in another partition; its text is the same"
        }
        note::PORT_IN_HOST => "the image's host has a port; it was judged without",
        note::UPPER_CASE_HOST => {
            "the image's host has upper-case letters, which the kubelet's matchImages may not match"
        }
        "ServiceAccountNotSeen" => "the service account is not in the input; its image pull secrets are not known",
        _ => return None,
    })
}

/// What is worth changing. The policy that would do is told once for each principal, since it is the same for all.
fn advice(text: &mut String, report: &CheckReport) {
    if report.advice.is_empty() {
        return;
    }
    line(text, "", "Advice (changes no verdict):");
    for (index, advice) in report.advice.iter().enumerate() {
        let Advice { object, target, policy, message, .. } = advice;
        line(text, "  ", &format!("policy {policy} of {target} in {object}: {message}"));
        let next = report.advice.get(index + 1);
        let last = next.is_none_or(|next| (&next.object, &next.target) != (object, target));
        let document = advice.document.as_ref().and_then(|document| serde_json::to_string(document).ok());
        if let (true, Some(document)) = (last, document) {
            line(text, "  ", &format!("  enough for what is pulled here: {document}"));
        }
    }
    text.push('\n');
}

/// Objects that a cluster would have and the input has not are the usual reason for an Unknown offline.
fn hint(text: &mut String, report: &CheckReport) {
    let images = report.results.iter().flat_map(|result| &result.images);
    if images
        .flat_map(|image| &image.missing)
        .any(|fact| matches!(fact, MissingFact::ServiceAccount { .. } | MissingFact::Namespace(_)))
    {
        let command = "kubectl get serviceaccounts,namespaces -A -o yaml | ecr-access check -f - -f …";
        line(text, "", &format!("ServiceAccounts or Namespaces are missing in the input. Of a cluster: {command}"));
        text.push('\n');
    }
}

fn summary(text: &mut String, report: &CheckReport, objects: usize) {
    let Summary { allow, deny, unknown, not_selected, out_of_scope, skipped } = report.summary;
    let problems = match report.problems.len().saturating_add(report.problems_omitted) {
        0 => String::new(),
        1 => "; 1 problem in the input".to_owned(),
        many => format!("; {many} problems in the input"),
    };
    let skipped = if skipped > 0 { format!("; {skipped} skipped") } else { String::new() };
    if report.results.is_empty() {
        let objects = match objects {
            0 => "no object of a known kind".to_owned(),
            1 => "1 object, and no pod or workload among them".to_owned(),
            many => format!("{many} objects, and no pod or workload among them"),
        };
        line(text, "", &format!("Nothing to judge: {objects}{skipped}{problems}"));
        return;
    }
    let judged = report.results.len();
    let counts = format!("{allow} allow, {deny} deny, {unknown} unknown, {not_selected} not selected");
    let without = if out_of_scope > 0 { format!(", {out_of_scope} without images of ECR") } else { String::new() };
    line(text, "", &format!("{judged} judged: {counts}{without}{skipped}{problems}"));
}

/// The verdict's word, padded before it is coloured: escape sequences have no width.
fn column(verdict: Verdict, colour: bool) -> String {
    let word = format!("{:COLUMN$}", verdict.to_string());
    let code = match verdict {
        Verdict::Allow => "32",
        Verdict::Deny => "31",
        Verdict::Unknown => "33",
        _ => "2",
    };
    if colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word }
}

fn indented(text: &mut String, content: &str) {
    line(text, &" ".repeat(COLUMN + 2), content);
}

/// One line: `before` as it is, then `content` with what is not harmless written out, since names and images are the
/// input's.
fn line(text: &mut String, before: &str, content: &str) {
    text.push_str(before);
    text.push_str(&escaped(content.trim_end()));
    text.push('\n');
}
