//! Image references, and which of them live in Amazon ECR.
//!
//! References follow the grammar of the distribution project (package `reference`), which kubelet and container
//! runtimes use: `[domain/]path[:tag][@digest]`. Hosts follow the AWS pages "Private registry authentication", "Amazon
//! ECR endpoints and quotas" and what the ECR credential provider of kubelet takes for its own.

use std::fmt;

/// Longest path of a reference, without its domain (`RepositoryNameTotalLengthMax`).
const MAX_PATH: usize = 255;
const MAX_TAG: usize = 128;

/// A parsed image reference, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageReference<'a> {
    /// Host and port as written; `docker.io` where the text names none.
    pub domain: &'a str,
    /// The path. The `library/` that Docker Hub implies is not added.
    pub path: &'a str,
    /// The tag, where one is written. With a digest beside it, the digest wins.
    pub tag: Option<&'a str>,
    /// The digest with its algorithm, where one is written.
    pub digest: Option<&'a str>,
}

/// Why a text is no image reference. The kubelet answers all of these with `InvalidImageName`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// No text at all.
    #[error("an image reference is empty")]
    Empty,
    /// The text starts with `https://` or another scheme.
    #[error("an image reference has no scheme like `https://`")]
    Scheme,
    /// The path has upper-case letters.
    #[error("a repository name is lower case")]
    UpperCase,
    /// The part before the first `/` is no host with an optional port.
    #[error("the registry host is malformed")]
    Domain,
    /// The path does not follow the grammar.
    #[error("the repository name is malformed")]
    Path,
    /// The path is longer than 255 characters.
    #[error("the repository name is longer than 255 characters")]
    PathTooLong,
    /// The repository name is shorter than ECR's two characters.
    #[error("a repository name of ECR has at least 2 characters")]
    PathTooShort,
    /// The tag does not follow the grammar or is longer than 128 characters.
    #[error("the tag is malformed")]
    Tag,
    /// The digest is malformed, or its algorithm is not `sha256`, `sha384` or `sha512`.
    #[error("the digest is malformed")]
    Digest,
    /// 64 hexadecimal digits are an image ID, which no registry serves by that name.
    #[error("64 hexadecimal digits are an image ID, not a name")]
    Identifier,
}

impl<'a> ImageReference<'a> {
    /// Parses `text` as kubelet does, without changing it: no default tag, no `library/`.
    ///
    /// # Errors
    /// When the text does not follow the grammar.
    pub fn parse(text: &'a str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if after_scheme(text).is_some() {
            return Err(ReferenceError::Scheme);
        }
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Identifier);
        }
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (text, None),
        };
        let (domain, rest) = split_domain(named);
        let (path, tag) = match rest.rsplit_once(':') {
            // A colon before the last slash belongs to no tag; the path is malformed then, and said to be so below.
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if !is_domain(domain) {
            return Err(ReferenceError::Domain);
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase);
        }
        if !path.split('/').all(is_path_component) {
            return Err(ReferenceError::Path);
        }
        if path.len() > MAX_PATH {
            return Err(ReferenceError::PathTooLong);
        }
        if !tag.is_none_or(is_tag) {
            return Err(ReferenceError::Tag);
        }
        if !digest.is_none_or(is_digest) {
            return Err(ReferenceError::Digest);
        }
        Ok(Self { domain, path, tag, digest })
    }
}

/// Where an image is pulled from, as far as this program cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// A private ECR registry: IAM decides.
    Private(EcrImage),
    /// ECR Public: anonymous pulls work ("Amazon ECR Public user guide": image pull permissions cannot be changed).
    Public,
    /// Another registry.
    Other,
    /// No image reference at all; the kubelet refuses it.
    Invalid {
        /// What is wrong with it.
        error: ReferenceError,
        /// Whether its host is a private ECR registry.
        ecr: bool,
    },
}

impl ImageKind {
    /// Says where `text` is pulled from. Never fails, never panics.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let invalid = |error| Self::Invalid { error, ecr: EcrHost::parse(host_of(text)).is_some() };
        let reference = match ImageReference::parse(text) {
            Ok(reference) => reference,
            Err(error) => return invalid(error),
        };
        let (host, port) = split_port(reference.domain);
        if is_public_host(host) {
            return Self::Public;
        }
        let Some(found) = EcrHost::parse(host) else { return Self::Other };
        if reference.path.len() < 2 {
            return invalid(ReferenceError::PathTooShort);
        }
        Self::Private(EcrImage {
            account: found.account,
            region: found.region,
            partition: found.partition,
            repository: reference.path.to_owned(),
            port: port.is_some(),
            upper_case_host: host.bytes().any(|b| b.is_ascii_uppercase()),
        })
    }
}

/// An image of a private ECR registry. Tag and digest are left out: IAM knows no permission per tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrImage {
    /// The account that owns the registry: twelve digits.
    pub account: String,
    /// The region, for example `us-east-1`.
    pub region: String,
    /// The partition of the region, for example `aws-cn`.
    pub partition: &'static str,
    /// The repository name, for example `team/app`.
    pub repository: String,
    /// The host carries a port. The credential provider drops it, kubelet's `matchImages` compares it.
    pub port: bool,
    /// The host is written with upper-case letters. DNS ignores that, kubelet's `matchImages` does not.
    pub upper_case_host: bool,
}

impl EcrImage {
    /// The ARN of the repository ("Actions, resources, and condition keys for Amazon ECR").
    #[must_use]
    pub fn arn(&self) -> RepositoryArn<'_> {
        RepositoryArn(self)
    }
}

/// Displays as `arn:PARTITION:ecr:REGION:ACCOUNT:repository/NAME`.
#[derive(Clone, Copy, Debug)]
pub struct RepositoryArn<'a>(&'a EcrImage);

impl fmt::Display for RepositoryArn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EcrImage { account, region, partition, repository, .. } = self.0;
        write!(f, "arn:{partition}:ecr:{region}:{account}:repository/{repository}")
    }
}

/// The host of an image as it is written, with its port.
#[must_use]
pub(crate) fn host_and_port(text: &str) -> &str {
    text.split('/').next().unwrap_or_default()
}

/// Whether the host of an image that is not of ECR is almost one of its hosts: an account that is none (eleven digits, a
/// placeholder), `dkr` or the repository left out, a suffix of another partition, a region that AWS does not have, a dot at
/// the end, a user before it. Such an image is a mistake far more often than a registry of that name.
#[must_use]
pub(crate) fn looks_like_ecr(text: &str) -> bool {
    let text = after_scheme(text).unwrap_or(text).to_ascii_lowercase();
    // A user, a tag or a digest is none of the host; what a template left over may have an `@` or a `:` too.
    let parts = text.split('/').next().unwrap_or_default().split('@');
    parts.map(|part| part.split(':').next().unwrap_or_default().trim_end_matches('.')).any(is_almost_host)
}

fn is_almost_host(host: &str) -> bool {
    let of_aws = || {
        let suffixes = PARTITIONS.iter().flat_map(|(_, suffixes, _)| suffixes.iter().copied());
        suffixes.chain(["ecr.aws"]).any(|suffix| host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')))
    };
    let named = |label: &str| matches!(label, "ecr" | "ecr-fips" | "dkr" | "dkr-ecr" | "dkr-ecr-fips");
    host.split('.').any(named) && of_aws()
}

/// The partition of a region. Hosts do not tell it: `us-gov-west-1` shares its suffix with `us-west-1`.
#[must_use]
pub(crate) fn partition_of(region: &str) -> &'static str {
    const BY_PREFIX: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("eusc-", "aws-eusc"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
    ];
    BY_PREFIX.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

/// The partitions: the domain suffixes under which each serves registries, and its regions as of 2026-11 (botocore,
/// `partitions.json`).
const PARTITIONS: [(&str, &[&str], &[&str]); 8] = [
    (
        "aws",
        &["amazonaws.com", "on.aws"],
        &[
            "af-south-1",
            "ap-east-1",
            "ap-east-2",
            "ap-northeast-1",
            "ap-northeast-2",
            "ap-northeast-3",
            "ap-south-1",
            "ap-south-2",
            "ap-southeast-1",
            "ap-southeast-2",
            "ap-southeast-3",
            "ap-southeast-4",
            "ap-southeast-5",
            "ap-southeast-6",
            "ap-southeast-7",
            "ca-central-1",
            "ca-west-1",
            "eu-central-1",
            "eu-central-2",
            "eu-north-1",
            "eu-south-1",
            "eu-south-2",
            "eu-west-1",
            "eu-west-2",
            "eu-west-3",
            "il-central-1",
            "me-central-1",
            "me-south-1",
            "me-west-1",
            "mx-central-1",
            "sa-east-1",
            "sa-west-1",
            "us-east-1",
            "us-east-2",
            "us-west-1",
            "us-west-2",
        ],
    ),
    ("aws-cn", &["amazonaws.com.cn", "on.amazonwebservices.com.cn"], &["cn-north-1", "cn-northwest-1"]),
    ("aws-us-gov", &["amazonaws.com", "on.aws"], &["us-gov-east-1", "us-gov-west-1"]),
    ("aws-eusc", &["amazonaws.eu"], &["eusc-de-east-1"]),
    ("aws-iso", &["c2s.ic.gov"], &["us-iso-east-1", "us-iso-west-1"]),
    ("aws-iso-b", &["sc2s.sgov.gov"], &["us-isob-east-1", "us-isob-west-1"]),
    ("aws-iso-e", &["cloud.adc-e.uk"], &["eu-isoe-west-1"]),
    ("aws-iso-f", &["csp.hci.ic.gov"], &["us-isof-east-1", "us-isof-south-1"]),
];

/// Whether a partition serves registries of a region under a domain suffix.
fn serves(partition: &str, region: &str, suffix: &str) -> bool {
    let mut found = PARTITIONS.iter().filter(|(name, ..)| *name == partition);
    found.any(|(_, suffixes, regions)| suffixes.contains(&suffix) && regions.contains(&region))
}

/// The parts of a private registry's host.
struct EcrHost {
    account: String,
    region: String,
    partition: &'static str,
}

impl EcrHost {
    /// Reads `ACCOUNT.dkr.ecr[-fips].REGION.SUFFIX` or its dual-stack form with `dkr-ecr`; none for every other host,
    /// so a suffix or a region that the partition does not have makes it a look-alike.
    ///
    /// Letter case is ignored, as DNS does: the image is in ECR however its host is spelled.
    fn parse(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        let (account, rest) = host.split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let rest = rest.strip_prefix("dkr.ecr").or_else(|| rest.strip_prefix("dkr-ecr"))?;
        let rest = rest.strip_prefix("-fips").unwrap_or(rest).strip_prefix('.')?;
        let (region, suffix) = rest.split_once('.')?;
        let partition = partition_of(region);
        serves(partition, region, suffix).then(|| Self {
            account: account.to_owned(),
            region: region.to_owned(),
            partition,
        })
    }
}

fn is_public_host(host: &str) -> bool {
    ["public.ecr.aws", "ecr-public.aws.com"].iter().any(|public| host.eq_ignore_ascii_case(public))
}

/// The host of a text that is no reference, as a person would see it.
fn host_of(text: &str) -> &str {
    let text = after_scheme(text).unwrap_or(text);
    match text.split_once('/') {
        Some((domain, _)) => split_port(domain).0,
        // Without a slash the text is a name on Docker Hub, whatever it looks like.
        None => "",
    }
}

fn after_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')).then_some(rest)
}

fn split_port(domain: &str) -> (&str, Option<&str>) {
    match domain.rsplit_once(':') {
        // The colons of `[::1]` are no port.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    }
}

/// The first component is a domain when it has a dot, a colon or an upper-case letter, or is `localhost`; otherwise the
/// image is on Docker Hub.
fn split_domain(named: &str) -> (&str, &str) {
    match named.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => ("docker.io", named),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = split_port(domain);
    if !port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    // The separator that is being read; none right after a letter or digit.
    let mut separator: Option<(u8, usize)> = None;
    let mut started = false;
    for byte in component.bytes() {
        match (byte, separator) {
            (b'a'..=b'z' | b'0'..=b'9', _) => {
                started = true;
                separator = None;
            }
            (b'.' | b'_' | b'-', None) if started => separator = Some((byte, 1)),
            (b'-', Some((b'-', n))) => separator = Some((b'-', n + 1)),
            (b'_', Some((b'_', 1))) => separator = Some((b'_', 2)),
            _ => return false,
        }
    }
    started && separator.is_none()
}

fn is_tag(tag: &str) -> bool {
    let mut bytes = tag.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first && tag.len() <= MAX_TAG && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// The algorithms that container tools know, each with its length in lower-case hexadecimal digits.
fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com";

    fn private(text: &str) -> EcrImage {
        match ImageKind::of(text) {
            ImageKind::Private(image) => image,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn parses_references() {
        let sha = format!("sha256:{}", "a".repeat(64));
        let both = format!("{HOST}/team/app:1.2@{sha}");
        type Case<'a> = (&'a str, &'a str, &'a str, Option<&'a str>, Option<&'a str>);
        let cases: &[Case<'_>] = &[
            ("nginx", "docker.io", "nginx", None, None),
            ("nginx:1.27", "docker.io", "nginx", Some("1.27"), None),
            ("library/nginx", "docker.io", "library/nginx", None, None),
            ("localhost/app", "localhost", "app", None, None),
            ("localhost:5000/app:x", "localhost:5000", "app", Some("x"), None),
            ("host:5000", "docker.io", "host", Some("5000"), None),
            ("Registry/app", "Registry", "app", None, None),
            ("[2001:db8::1]:5000/app", "[2001:db8::1]:5000", "app", None, None),
            ("[2001:db8::1]/app:1", "[2001:db8::1]", "app", Some("1"), None),
            ("quay.io/a__b/c--d/e.f:_t", "quay.io", "a__b/c--d/e.f", Some("_t"), None),
            (&both, HOST, "team/app", Some("1.2"), Some(&sha)),
        ];
        for &(text, domain, path, tag, digest) in cases {
            assert_eq!(ImageReference::parse(text), Ok(ImageReference { domain, path, tag, digest }), "{text}");
        }
    }

    #[test]
    fn refuses_what_the_grammar_does_not_have() {
        use ReferenceError as E;
        let long = "a".repeat(256);
        let tag = format!("a:{}", "t".repeat(129));
        let id = "0123456789abcdef".repeat(4);
        let short = format!("a@sha256:{}", "a".repeat(63));
        let upper = format!("a@sha256:{}", "A".repeat(64));
        let md5 = format!("a@md5:{}", "a".repeat(32));
        let twice = format!("a@sha256:{0}@sha256:{0}", "a".repeat(64));
        let cases: &[(&str, E)] = &[
            ("", E::Empty),
            ("https://nginx", E::Scheme),
            ("oci://a/b", E::Scheme),
            ("Nginx", E::UpperCase),
            ("quay.io/Team/app", E::UpperCase),
            ("-quay.io/app", E::Domain),
            ("quay..io/app", E::Domain),
            ("quay.io./app", E::Domain),
            ("quay.io:/app", E::Domain),
            ("quay.io:x/app", E::Domain),
            ("qu_ay.io/app", E::Domain),
            ("[::1/app", E::Domain),
            ("quay.io/", E::Path),
            ("quay.io//app", E::Path),
            ("a/", E::Path),
            ("a..b", E::Path),
            ("a___b", E::Path),
            ("a.-b", E::Path),
            ("-a", E::Path),
            ("a-", E::Path),
            ("a b", E::Path),
            ("a\n", E::Path),
            ("ä", E::Path),
            ("quay.io/a:b/c", E::Path),
            (&long, E::PathTooLong),
            ("a:", E::Tag),
            ("a:-t", E::Tag),
            ("a:t t", E::Tag),
            (&tag, E::Tag),
            ("a@", E::Digest),
            ("a@sha256", E::Digest),
            (&short, E::Digest),
            (&upper, E::Digest),
            (&md5, E::Digest),
            (&twice, E::Digest),
            (&id, E::Identifier),
        ];
        for (text, error) in cases {
            assert_eq!(ImageReference::parse(text), Err(*error), "{text}");
        }
        assert!(ImageReference::parse(&"a".repeat(255)).is_ok());
        assert!(ImageReference::parse(&format!("{HOST}/{}", "a".repeat(255))).is_ok());
        assert!(ImageReference::parse(&format!("a:{}", "t".repeat(128))).is_ok());
    }

    #[test]
    fn knows_every_host_form_and_its_partition() {
        let cases = [
            ("111122223333.dkr.ecr.us-east-1.amazonaws.com", "us-east-1", "aws"),
            ("111122223333.dkr.ecr.mx-central-1.amazonaws.com", "mx-central-1", "aws"),
            ("111122223333.dkr-ecr.us-east-1.on.aws", "us-east-1", "aws"),
            ("111122223333.dkr.ecr-fips.us-east-1.amazonaws.com", "us-east-1", "aws"),
            ("111122223333.dkr-ecr-fips.us-east-1.on.aws", "us-east-1", "aws"),
            ("111122223333.dkr.ecr.us-gov-west-1.amazonaws.com", "us-gov-west-1", "aws-us-gov"),
            ("111122223333.dkr-ecr.us-gov-east-1.on.aws", "us-gov-east-1", "aws-us-gov"),
            ("111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", "aws-us-gov"),
            ("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1", "aws-cn"),
            ("111122223333.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn", "cn-northwest-1", "aws-cn"),
            ("111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", "aws-eusc"),
            ("111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", "aws-iso"),
            ("111122223333.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1", "aws-iso-b"),
            ("111122223333.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1", "aws-iso-e"),
            ("111122223333.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1", "aws-iso-f"),
        ];
        for (host, region, partition) in cases {
            let image = private(&format!("{host}/team/app:1"));
            assert_eq!((image.region.as_str(), image.partition), (region, partition), "{host}");
            assert_eq!(
                image.arn().to_string(),
                format!("arn:{partition}:ecr:{region}:111122223333:repository/team/app")
            );
        }
        for host in ["public.ecr.aws", "ecr-public.aws.com", "public.ecr.aws:443", "Public.ECR.aws"] {
            assert_eq!(ImageKind::of(&format!("{host}/team/app")), ImageKind::Public, "{host}");
        }
    }

    #[test]
    fn look_alikes_are_not_ecr() {
        for host in [
            "111122223333.dkr.ecr.us-east-1.amazonaws.com.evil.io",
            "11112222333.dkr.ecr.us-east-1.amazonaws.com",
            "1111222233334.dkr.ecr.us-east-1.amazonaws.com",
            "a11122223333.dkr.ecr.us-east-1.amazonaws.com",
            "x.111122223333.dkr.ecr.us-east-1.amazonaws.com",
            "111122223333-dkr.ecr.us-east-1.amazonaws.com",
            "111122223333.dkr.ecr.us-east-1.amazonaws.com.cn",
            "111122223333.dkr.ecr.cn-north-1.amazonaws.com",
            "111122223333.dkr.ecr.us-gov-west-1.amazonaws.com.cn",
            "111122223333.dkr.ecr.eusc-de-east-1.amazonaws.com",
            "111122223333.dkr.ecr.us-east-1.amazonaws.eu",
            "111122223333.dkr.ecr.us-iso-east-1.amazonaws.com",
            "111122223333.dkr.ecr.us-isob-east-1.c2s.ic.gov",
            "111122223333.dkr.ecr.us-east-1.on.aws.evil.io",
            "111122223333.dkr.ecr.us-east-1.evilamazonaws.com",
            "111122223333.dkr.ecr.amazonaws.com",
            "111122223333.dkr.ecr..amazonaws.com",
            "111122223333.dkr.ecrx.us-east-1.amazonaws.com",
            "111122223333.dkr.s3.us-east-1.amazonaws.com",
            "api.ecr.us-east-1.amazonaws.com",
            "public.ecr.aws.evil.io",
            "xpublic.ecr.aws",
        ] {
            let kind = ImageKind::of(&format!("{host}/team/app"));
            assert!(
                matches!(kind, ImageKind::Other | ImageKind::Invalid { ecr: false, error: ReferenceError::Domain }),
                "{host}: {kind:?}"
            );
        }
        assert_eq!(ImageKind::of(&format!("evil.io/{HOST}/team/app")), ImageKind::Other);
        // Without a slash this is a name on Docker Hub.
        assert_eq!(ImageKind::of(HOST), ImageKind::Other);
    }

    #[test]
    fn what_is_almost_a_host_of_ecr_looks_like_one() {
        let host = |host: &str| format!("{host}/team/app:1");
        for text in [
            host("111122223333.ecr.us-east-1.amazonaws.com"),
            host("11112222333.dkr.ecr.us-east-1.amazonaws.com"),
            host("1111222233334.dkr.ecr.us-east-1.amazonaws.com"),
            host("ACCOUNT.dkr.ecr.us-east-1.amazonaws.com"),
            host("${AWS_ACCOUNT_ID}.dkr.ecr.${AWS_REGION}.amazonaws.com"),
            host("$(AWS_ACCOUNT_ID).dkr.ecr.eu-west-1.amazonaws.com"),
            host("<account>.dkr.ecr.eu-west-1.amazonaws.com"),
            host("{{ .Values.account }}.dkr.ecr.eu-west-1.amazonaws.com"),
            host("111122223333.dkr.ecr.us-east-1.amazonaws.com.cn"),
            host("111122223333.dkr.ecr.cn-north-1.amazonaws.com"),
            host("111122223333.dkr.ecr.eu-west1.amazonaws.com"),
            host("111122223333.dkr.ecr.eu-west-9.amazonaws.com"),
            host("111122223333.dkr.ecr.amazonaws.com"),
            host("111122223333.dkr.us-east-1.amazonaws.com"),
            host("111122223333.dkr.ecr.us-east-1.amazonaws.com."),
            host("AWS@111122223333.dkr.ecr.us-east-1.amazonaws.com"),
            host("https://11112222333.dkr.ecr.us-east-1.amazonaws.com"),
            host("api.ecr.us-east-1.amazonaws.com"),
            host("gallery.ecr.aws"),
            host("111122223333.dkr-ecr.us-east-1.on.aws."),
            "111122223333.dkr.ecr.us-east-1.amazonaws.com".to_owned(),
            "111122223333.dkr.ecr.us-east-1.amazonaws.com:1.4".to_owned(),
        ] {
            let kind = ImageKind::of(&text);
            assert!(matches!(kind, ImageKind::Other | ImageKind::Invalid { ecr: false, .. }), "{text}: {kind:?}");
            assert!(looks_like_ecr(&text), "{text}");
        }
        for text in [
            "nginx",
            "ecr/app:1",
            "ghcr.io/team/111122223333.dkr.ecr.us-east-1.amazonaws.com:1",
            "ecr.example.com/team/app:1",
            "dkr.example.com/team/app:1",
            "registry.ecr.example.com:5000/app",
            "s3.us-east-1.amazonaws.com/app",
            "myecr.us-east-1.amazonaws.com/app",
            "amazonaws.com/dkr.ecr/app",
            "quay.io/team/app@sha256:dkr.ecr.",
            "ecr.aws/app",
            "111122223333.dkr.ecr.us-east-1.amazonaws.com.example.com/team/app",
            "public.ecr.aws.example.org/app",
        ] {
            assert!(!looks_like_ecr(text), "{text}");
        }
    }

    #[test]
    fn a_private_registry_may_have_a_path_that_looks_public() {
        assert_eq!(private(&format!("{HOST}/public.ecr.aws/foo")).repository, "public.ecr.aws/foo");
    }

    #[test]
    fn port_and_letter_case_are_told() {
        let image = private("111122223333.DKR.ecr.US-east-1.amazonaws.com:443/team/app");
        assert!(image.port && image.upper_case_host);
        assert_eq!(image.region, "us-east-1");
        let image = private(&format!("{HOST}/team/app"));
        assert!(!image.port && !image.upper_case_host);
    }

    #[test]
    fn an_invalid_reference_still_tells_its_host() {
        use ReferenceError as E;
        for (text, error, ecr) in [
            (format!("{HOST}/Team/app"), E::UpperCase, true),
            (format!("{HOST}:443/Team/app"), E::UpperCase, true),
            (format!("https://{HOST}/team/app"), E::Scheme, true),
            (format!("https://{HOST}:443/team/app"), E::Scheme, true),
            (format!("{HOST}/team/app:"), E::Tag, true),
            (format!("{HOST}/"), E::Path, true),
            (format!("{HOST}/a"), E::PathTooShort, true),
            (format!("https://evil.io/{HOST}/team/app"), E::Scheme, false),
            ("https://nginx".to_owned(), E::Scheme, false),
            ("quay.io/Team/app".to_owned(), E::UpperCase, false),
            ("public.ecr.aws/Team/app".to_owned(), E::UpperCase, false),
        ] {
            assert_eq!(ImageKind::of(&text), ImageKind::Invalid { error, ecr }, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_ecr_implies_the_webhook_filter(text in "\\PC{0,80}|[a-z0-9.:/@_-]{0,60}|(https://)?[0-9]{11,13}[.]dkr[.-]ecr(-fips)?[.][a-z]{2}-[a-z]{3,5}-[0-9][.](amazonaws[.]com([.]cn)?|on[.]aws)(:[0-9]{0,3})?/[A-Za-z0-9/._:@-]{0,20}") {
            let kind = ImageKind::of(&text);
            if matches!(kind, ImageKind::Private(_) | ImageKind::Invalid { ecr: true, .. }) {
                let lower = text.to_ascii_lowercase();
                prop_assert!(lower.contains(".dkr.ecr") || lower.contains(".dkr-ecr"));
            }
        }

        #[test]
        fn what_it_parses_is_what_was_put_together(
            path in "[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,3}(/[a-z0-9]{1,5}){1,3}",
            tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
            digest in proptest::option::of("sha256:[a-f0-9]{64}"),
        ) {
            let mut text = format!("{HOST}/{path}");
            if let Some(tag) = &tag { text.push(':'); text.push_str(tag); }
            if let Some(digest) = &digest { text.push('@'); text.push_str(digest); }
            let parsed = ImageReference::parse(&text).unwrap();
            prop_assert_eq!(parsed, ImageReference { domain: HOST, path: &path, tag: tag.as_deref(), digest: digest.as_deref() });
        }
    }
}
