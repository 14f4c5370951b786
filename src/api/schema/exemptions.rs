//! The schema of `spec.exemptions` and of what the status tells of them.

use super::super::status::MAX_EXEMPTIONS;
use super::{LABEL_LENGTH, NAME_LENGTH, Node, PolicyKind, boolean, integer, limit, list, object, rules, string};

/// `spec.exemptions` of a kind.
pub(super) fn of_spec(kind: PolicyKind) -> Node {
    let mut entry = object("Some images, for some service accounts, until a moment.")
        .required(
            "name",
            string("Names the exemption in warnings. Unique in its list. Example: `legacy-images`.", LABEL_LENGTH)
                .rule(&rules::EXEMPTION_NAME),
        )
        .required(
            "images",
            list(
                "The images: references as pods have them, in which `*` stands for any text. One without a tag is for every \
                 tag. Example: `[\"111122223333.dkr.ecr.us-east-1.amazonaws.com/legacy/*\"]`.",
                64,
                string("A pattern of image references.", 512).rule(&rules::IMAGE_PATTERN),
            )
            .at_least_one()
            .set(),
        )
        .required(
            "reason",
            string(
                "Why, in one line, for whoever reads the warning. Example: `On the nodes' disks until the registry has moved, \
                 PLAT-1042`.",
                256,
            )
            .rule(&rules::EXEMPTION_REASON),
        )
        .required("expiresAt", {
            let mut end = string(
                "The moment from which on the exemption is gone, without an edit. Example: `2027-03-31T00:00:00Z`.",
                64,
            );
            end.0.format = Some("date-time".to_owned());
            end
        });
    let accounts = |about: &str| {
        let name =
            string("Name of a service account, without its namespace.", NAME_LENGTH).rule(&rules::SERVICE_ACCOUNT_NAME);
        list(about, 64, name).at_least_one().set()
    };
    entry = match kind {
        PolicyKind::EcrAccessPolicy => entry.optional(
            "serviceAccounts",
            accounts(
                "The service accounts by name, of those that this policy selects. Left out: all of them. Labels are not asked \
                 for on purpose, since whoever may write a service account may label it. Example: `[legacy]`.",
            ),
        ),
        PolicyKind::ClusterEcrAccessPolicy => entry
            .rule(&rules::ACCOUNTS_OF_NAMESPACES)
            .optional(
                "namespaces",
                list(
                    "The namespaces by name, of those that this policy covers. Left out: all of them. Example: `[payments]`.",
                    64,
                    string("Name of a namespace.", LABEL_LENGTH).rule(&rules::NAMESPACE_NAME),
                )
                .at_least_one()
                .set(),
            )
            .optional(
                "serviceAccounts",
                accounts(
                    "The service accounts of `namespaces` by name, of those that this policy selects. Left out: all of them. \
                     Only together with `namespaces`, since elsewhere anybody may make an account of that name. Example: \
                     `[legacy]`.",
                ),
            ),
    };
    list(
        "Images that are admitted for a while although they cannot be pulled, or may not be: a refusal becomes a warning that \
         tells of the exemption, its reason and its end. Verdict and status stay as they are. Nothing that a pod, a service \
         account or a namespace carries exempts anything: only what is written here. Example: `[{name: legacy-images, images: \
         [\"111122223333.dkr.ecr.us-east-1.amazonaws.com/legacy/*\"], reason: registry moves in March, expiresAt: \
         \"2027-03-31T00:00:00Z\"}]`.",
        limit(MAX_EXEMPTIONS),
        entry,
    )
    .map_by(&["name"])
}

/// `status.exemptions`.
pub(super) fn of_status() -> Node {
    list(
        "Every exemption of the spec, by name, and what it does now.",
        limit(MAX_EXEMPTIONS),
        object("An exemption of the spec.")
            .required("name", string("Its name in the spec.", LABEL_LENGTH))
            .required("expiresAt", string("Its end, in UTC.", 64))
            .required("active", boolean("Whether it has not ended yet."))
            .required(
                "pods",
                integer(
                    "How many pods that have not terminated have an image that could not be pulled, or may not be, \
                             and that it covers.",
                ),
            ),
    )
    .atomic()
}
