//! How the texts of images are put together into messages and warnings.

use crate::ecr::image::looks_like_ecr;
use crate::facts::missing::MissingFact;
use crate::judge::{Admission, Verdict, note, speaks_up};
use crate::policy::Action;
use crate::report::message::{self, MAX_LINE, MAX_MESSAGE, Piece, clean, fits, line, middle};
use crate::report::texts::{Parts, Texts};
use crate::report::types::{ImageReport, Report};
use crate::text::head;

/// At most so many warnings leave with one review; further images are counted in the last one. The API server cuts
/// warnings that are longer than 4096 characters together.
const MAX_WARNINGS: usize = 8;
/// The names of further containers are worth this many bytes at most.
const MAX_FURTHER: usize = 160;

impl Report {
    /// The message of a refusal: the first line complete in itself and at most [`MAX_LINE`] bytes, the whole at most
    /// [`MAX_MESSAGE`]. Empty where nothing is refused or in doubt.
    #[must_use]
    pub fn denial_message(&self) -> String {
        let blamed: Vec<&ImageReport> = self.blamed().collect();
        let Some((first, others)) = blamed.split_first() else { return String::new() };
        parts(&first.texts, others, &self.namespace).after(&first.texts.line)
    }

    /// The warnings for the author of the object: one line each, without control characters.
    ///
    /// Where a document in a ConfigMap could not be read, the way out follows in a line of its own: whoever sees a warning
    /// sees no other part of the message, and a missing label is nothing that anybody guesses.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        match self.admission {
            Admission::Warned => {}
            Admission::Admitted => return self.look_alikes().take(MAX_WARNINGS).collect(),
            Admission::Rejected => return Vec::new(),
        }
        let mut lines: Vec<String> = Vec::new();
        let mut way_out = None;
        let mut more = 0usize;
        for image in &self.images {
            let speaks = match image.verdict {
                Verdict::Deny => true,
                Verdict::Unknown => {
                    self.actions.on_unknown >= Action::Warn
                        && (!self.template || speaks_up(image.verdict, &image.missing))
                }
                _ => false,
            };
            if !speaks {
                continue;
            }
            if image.missing.iter().any(|fact| matches!(fact, MissingFact::ConfigMap(_))) {
                way_out = way_out.or(image.texts.fix.as_deref());
            }
            if lines.len() < MAX_WARNINGS {
                lines.push(image.texts.line.clone());
            } else {
                more += 1;
            }
        }
        if more > 0 {
            lines.push(more_images(self, more));
        }
        let admission_decision = self.admission_decision();
        if self.template && admission_decision.action == Some(Action::Reject) {
            // Whoever applies a workload sees that it was taken; its pods are refused out of sight.
            lines.push(pods_refused(self, &self.blamed().collect::<Vec<_>>()));
        } else {
            lines.extend(way_out.map(|fix| middle(&fix_line(fix), MAX_LINE)));
            if admission_decision.spared {
                lines.extend(exempted(self));
            }
        }
        lines.extend(self.look_alikes().take(MAX_WARNINGS.saturating_sub(lines.len())));
        lines
    }

    /// What is said of images whose hosts are almost ECR's: they are not judged, and nobody can pull them.
    fn look_alikes(&self) -> impl Iterator<Item = String> {
        let told = self.notes.contains(&note::LOOKS_LIKE_ECR);
        let images = self.images.iter().filter(|image| image.verdict == Verdict::OutOfScope);
        images.filter(move |image| told && looks_like_ecr(&image.image)).map(|image| {
            let Self { kind, namespace, name, .. } = self;
            let place = format!("{kind} {namespace}/{name}, container {}", image.container);
            middle(
                &clean(&format!("{place}: {}: {} [{}]", image.image, image.texts.line, note::LOOKS_LIKE_ECR)),
                MAX_LINE,
            )
        })
    }
}

/// What a message of at most [`MAX_MESSAGE`] bytes has beside its first line. The line and the fix always fit; further
/// containers give way before the detail.
pub(crate) fn parts(texts: &Texts, others: &[&ImageReport], namespace: &str) -> Parts {
    // Each further part takes a line break.
    let broken = |part: &str| if part.is_empty() { 0 } else { part.len() + 1 };
    let room = |used: &[&str]| {
        MAX_MESSAGE.saturating_sub(texts.line.len() + used.iter().map(|part| broken(part)).sum::<usize>())
    };
    let least = if others.is_empty() { String::new() } else { format!("+{} more", others.len()) };
    let mut fix = texts.fix.as_deref().map(fix_line).unwrap_or_default();
    if !fix.is_empty() && broken(&fix) + broken(&least) > room(&[]) {
        fix = fix_line(&command(namespace));
    }
    let detail = texts.detail.as_deref().unwrap_or_default();
    let listed = further(others);
    let fits = |parts: &[&str]| parts.iter().map(|part| broken(part)).sum::<usize>() <= room(&[&fix]);
    let (detail, further) = if fits(&[detail, &listed]) {
        (detail.to_owned(), listed)
    } else if fits(&[detail, &least]) {
        (detail.to_owned(), least)
    } else {
        // What is left of the detail, where that is still worth reading.
        let left = room(&[&fix, &least]).saturating_sub(1);
        (if left >= 80 { middle(detail, left) } else { String::new() }, least)
    };
    Parts { detail, further, fix }
}

/// What helps, as a line of its own.
pub(crate) fn fix_line(fix: &str) -> String {
    format!("fix: {fix}")
}

/// What a warning says in the end of images that have no line of their own.
pub(crate) fn more_images(report: &Report, more: usize) -> String {
    let mut pieces = vec![Piece::Words(format!("and {more} more images of "))];
    pieces.extend(object(report));
    line(&pieces, MAX_LINE)
}

/// What becomes of the pods of a workload that is admitted because of these images, and the fix: whole, or the command
/// that prints it. Where the images need different ones it is that of the first, and says so.
pub(crate) fn pods_refused(report: &Report, blamed: &[&ImageReport]) -> String {
    let mut pieces = object(report);
    pieces.push(Piece::words(" is admitted, but its pods will be refused"));
    let first = blamed.first().and_then(|image| Some((image, image.texts.fix.as_deref()?)));
    let Some((image, fix)) = first else { return line(&pieces, MAX_LINE) };
    let one = blamed.iter().all(|other| other.texts.fix == image.texts.fix);
    let whole = if one {
        vec![Piece::words("; fix: "), Piece::words(fix)]
    } else {
        vec![Piece::words("; fix for "), Piece::name(&image.container), Piece::words(": "), Piece::words(fix)]
    };
    let whole = [pieces.as_slice(), &whole].concat();
    if fits(&whole, MAX_LINE) {
        return line(&whole, MAX_LINE);
    }
    pieces.extend([Piece::words("; fix: "), Piece::Words(command(&report.namespace))]);
    line(&pieces, MAX_LINE)
}

/// What lets a pod in all the same, and until when; none where nothing does.
///
/// Of several exemptions the one that ends first is told: from then on the pod is refused.
pub(crate) fn exempted(report: &Report) -> Option<String> {
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

fn object(report: &Report) -> Vec<Piece> {
    message::object(&report.kind, &report.namespace, &report.name)
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

/// The command that prints the fix, for when it is too long to be shown.
fn command(namespace: &str) -> String {
    let namespace = head(&clean(namespace), 63).to_owned();
    format!(
        "run kubectl get ceap,cm,eap,ns,sa -n {namespace} -o yaml | ecr-access check -f - -f YOUR-MANIFEST.yaml -o json"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Reason;

    /// Texts of these lengths, the fix with the word before it.
    fn texts(line: usize, detail: usize, fix: usize) -> Texts {
        let fix = "f".repeat(fix - "fix: ".len());
        Texts { line: "l".repeat(line), place: 0, detail: Some("d".repeat(detail)), fix: Some(fix) }
    }

    /// A report of further images, as a message lists them.
    fn others(count: usize) -> Vec<ImageReport> {
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
            parts: Parts::default(),
        };
        (0..count).map(report).collect()
    }

    /// The first letters of the lines, `+` for counted containers and `c` for listed ones, and the length.
    fn shape(texts: &Texts, count: usize) -> (String, usize) {
        let others = others(count);
        let message = parts(texts, &others.iter().collect::<Vec<_>>(), "payments").after(&texts.line);
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
