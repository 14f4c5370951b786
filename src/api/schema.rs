//! The CustomResourceDefinitions: structural schemas with descriptions that teach, limits on every list and string, and
//! the CEL rules of [`super::rules`].
//!
//! Written by hand over the typed schema, not derived: a derive sees no limit of a foreign type such as a label selector,
//! and without limits the API server estimates the cost of a CEL rule by the worst object that fits into a request, and
//! refuses the CRD ("Common Expression Language in Kubernetes", Resource constraints). A test holds the schema and the
//! Rust types against each other.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresourceStatus,
    CustomResourceSubresources, CustomResourceValidation, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool, ValidationRule,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::rules::{self, Rule};
use super::spec::EVERY_REGION;
use super::status::{
    ADVICE_LENGTH, ADVISED_LENGTH, IMAGE_LENGTH, MAX_ADVICE, MAX_DENIALS, MESSAGE_LENGTH, POLICY_LENGTH,
    REPOSITORY_LENGTH, TARGET_LENGTH,
};
use super::{GROUP, PolicyKind, VERSION};

mod exemptions;

/// Longest ARN of a role or managed policy: 512 characters of path, 128 of name, and what stands before.
const ARN_LENGTH: i64 = 700;
/// Longest name that is a DNS subdomain.
const NAME_LENGTH: i64 = 253;
/// Longest label or annotation key: a DNS subdomain, a slash, 63 characters.
const KEY_LENGTH: i64 = 317;
/// Longest label value.
const LABEL_LENGTH: i64 = 63;
/// Longest ARN pattern of repositories: a repository's name has at most 256 characters.
const PATTERN_LENGTH: i64 = 400;
/// Most tags of a role or repository ("IAM and AWS STS quotas", "Amazon ECR service quotas").
const MOST_TAGS: i64 = 50;
/// Longest document as text, in characters. IAM takes 10,240 characters without white space, a repository policy may have 20,480.
pub const DOCUMENT_LENGTH: i64 = 65_536;
/// Most elements of a document. The grammar knows three.
const DOCUMENT_ELEMENTS: i64 = 8;

/// Both CRDs, the namespaced kind first. The same value on every call.
pub fn crds() -> Vec<CustomResourceDefinition> {
    PolicyKind::ALL.into_iter().map(crd).collect()
}

fn crd(kind: PolicyKind) -> CustomResourceDefinition {
    let (scope, singular, short) = match kind {
        PolicyKind::EcrAccessPolicy => ("Namespaced", "ecraccesspolicy", "eap"),
        PolicyKind::ClusterEcrAccessPolicy => ("Cluster", "clusterecraccesspolicy", "ceap"),
    };
    CustomResourceDefinition {
        metadata: ObjectMeta { name: Some(format!("{}.{GROUP}", kind.plural())), ..ObjectMeta::default() },
        spec: CustomResourceDefinitionSpec {
            group: GROUP.to_owned(),
            scope: scope.to_owned(),
            names: CustomResourceDefinitionNames {
                categories: Some(vec!["ecraccess".to_owned()]),
                kind: kind.as_str().to_owned(),
                list_kind: Some(format!("{kind}List")),
                plural: kind.plural().to_owned(),
                short_names: Some(vec![short.to_owned()]),
                singular: Some(singular.to_owned()),
            },
            versions: vec![CustomResourceDefinitionVersion {
                name: VERSION.to_owned(),
                served: true,
                storage: true,
                schema: Some(CustomResourceValidation { open_api_v3_schema: Some(root(kind)) }),
                subresources: Some(CustomResourceSubresources {
                    status: Some(CustomResourceSubresourceStatus(serde_json::json!({}))),
                    scale: None,
                }),
                additional_printer_columns: Some(columns()),
                ..CustomResourceDefinitionVersion::default()
            }],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}

/// What `kubectl get` shows; priority 1 only with `-o wide`.
fn columns() -> Vec<CustomResourceColumnDefinition> {
    let column =
        |name: &str, type_: &str, json_path: &str, priority: i32, description: &str| CustomResourceColumnDefinition {
            name: name.to_owned(),
            type_: type_.to_owned(),
            json_path: json_path.to_owned(),
            priority: (priority > 0).then_some(priority),
            description: Some(description.to_owned()),
            format: None,
        };
    let ready = r#".status.conditions[?(@.type=="Ready")]"#;
    vec![
        column("Ready", "string", &format!("{ready}.status"), 0, "Whether pods are judged by this policy."),
        column("Allowed", "integer", ".status.pods.allowed", 0, "Pods that can pull all their images."),
        column("Denied", "integer", ".status.pods.denied", 0, "Pods that could not pull one of their images."),
        column("Unknown", "integer", ".status.pods.unknown", 0, "Pods for which some fact is missing."),
        column("OnDeny", "string", ".spec.onDeny", 0, "What happens to a pod that could not pull."),
        column("Age", "date", ".metadata.creationTimestamp", 0, "Time since the policy was created."),
        column("Accounts", "integer", ".status.serviceAccounts", 1, "Service accounts that this policy decides for."),
        column("Message", "string", &format!("{ready}.message"), 1, "Why the policy is, or is not, ready."),
    ]
}

fn root(kind: PolicyKind) -> JSONSchemaProps {
    let about = match kind {
        PolicyKind::EcrAccessPolicy => {
            "EcrAccessPolicy says who pulls the images of this namespace's pods from Amazon ECR, and which IAM policies \
             that principal has. From these it is foretold, when a pod is created, whether its images can be pulled; a pod \
             that would end in ImagePullBackOff is rejected with the reason and the fix. It grants nothing: permissions are \
             given in AWS alone. For one service account this kind wins over ClusterEcrAccessPolicy, a policy that names \
             the service account over one that selects it by labels, and both over one that is for all; between equals the \
             oldest wins."
        }
        PolicyKind::ClusterEcrAccessPolicy => {
            "ClusterEcrAccessPolicy says who pulls the images of pods in many namespaces from Amazon ECR, and which IAM \
             policies that principal has. From these it is foretold, when a pod is created, whether its images can be \
             pulled; a pod that would end in ImagePullBackOff is rejected with the reason and the fix. It grants nothing: \
             permissions are given in AWS alone. For one service account any EcrAccessPolicy of its namespace wins over \
             this kind."
        }
    };
    object(about)
        .required("apiVersion", string("Version of this API: `ecraccess.dev/v1alpha1`.", NAME_LENGTH))
        .required("kind", string(&format!("Kind of this object: `{kind}`."), LABEL_LENGTH))
        .optional("metadata", metadata())
        .required("spec", Node(spec(kind)))
        .optional("status", status())
        .0
}

/// The API server knows it by itself and takes nothing here, not even a description.
fn metadata() -> Node {
    Node(JSONSchemaProps { type_: Some("object".to_owned()), ..JSONSchemaProps::default() })
}

/// The schema of `spec` of a kind.
pub fn spec(kind: PolicyKind) -> JSONSchemaProps {
    let spec = object("Who pulls, for which service accounts, and what a verdict does to a pod.")
        .rule(&rules::UNKNOWN_AT_MOST_DENY)
        .optional("serviceAccounts", service_accounts(kind))
        .required("puller", puller(kind))
        .optional("repositories", repositories())
        .optional("registries", registries())
        .optional("organization", organization(kind))
        .optional("context", context_keys())
        .optional("exemptions", exemptions::of_spec(kind))
        .optional("onDeny", on_deny())
        .optional("onUnknown", on_unknown());
    match kind {
        PolicyKind::EcrAccessPolicy => spec,
        PolicyKind::ClusterEcrAccessPolicy => spec.optional(
            "namespaceSelector",
            selector(
                "The namespaces that this policy covers, by their labels. Left out: every namespace. Pods of kube-system \
                 and of the operator's own namespace are never judged. Example: `{matchLabels: {team: payments}}`. A single \
                 namespace can be chosen by the label kubernetes.io/metadata.name, which every namespace has.",
            ),
        ),
    }
    .0
}

fn service_accounts(kind: PolicyKind) -> Node {
    let left_out = match kind {
        PolicyKind::EcrAccessPolicy => "every service account of the namespace, `default` included",
        PolicyKind::ClusterEcrAccessPolicy => "every service account of the namespaces covered, `default` included",
    };
    object(&format!(
        "The service accounts that this policy is for: those named and those selected, together. A pod without \
         `serviceAccountName` runs as `default`. Left out: {left_out}. Example: `{{names: [api, worker]}}`."
    ))
    .rule(&rules::SELECTS_SOMETHING)
    .optional(
        "names",
        list(
            "Service accounts by name. They need not exist yet. A name outranks a selector where several policies meet. \
             Example: `[api, worker]`.",
            256,
            string("Name of a service account, without its namespace.", NAME_LENGTH).rule(&rules::SERVICE_ACCOUNT_NAME),
        )
        .at_least_one()
        .set(),
    )
    .optional(
        "selector",
        selector(
            "Service accounts by their own labels (not by the labels of their pods). `{}` selects all. Example: \
             `{matchLabels: {team: payments}}`.",
        ),
    )
}

fn puller(kind: PolicyKind) -> Node {
    object(
        "Who pulls: the IAM principal that Amazon ECR sees. Exactly one field. On a stock EKS cluster the kubelet pulls with \
         the role of the node, and `nodes` is right; the roles of IRSA (eks.amazonaws.com/role-arn) and EKS Pod Identity are \
         for the containers' own calls and take no part in pulling images. On Fargate it is the pod execution role: `role`. \
         Choose `serviceAccount` only where the kubelet's ECR credential provider is configured to use service account \
         tokens.",
    )
    .rule(&rules::ONE_PULLER)
    .optional("serviceAccount", service_account_puller(kind))
    .optional(
        "role",
        object(
            "One role pulls, whatever the service account says: a Fargate pod execution role, or a mapping that is kept by \
             hand.",
        )
        .required("arn", role_arn("The role's ARN. Example: `arn:aws:iam::111122223333:role/fargate-pull`."))
        .optional(
            "identity",
            identity(kind, "The role's IAM policies. Left out: not known, so that every verdict is Unknown."),
        ),
    )
    .optional(
        "nodes",
        node_roles(
            kind,
            "The role of the node pulls. Which node a pod will run on is not known when it is created, so every role listed is \
             a candidate: a pod that can pull by all of them is allowed, by none denied, by some Unknown. List the roles of \
             all node groups that these pods can run on. Example: \
             `[{arn: \"arn:aws:iam::111122223333:role/node\", identity: {policies: [{name: pull, managedPolicyArn: \
             \"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly\"}]}}]`.",
        )
        .at_least_one(),
    )
}

/// Roles of nodes, told apart by their ARN.
fn node_roles(kind: PolicyKind, about: &str) -> Node {
    list(
        about,
        50,
        object("The role of some nodes and its IAM policies.")
            .required(
                "arn",
                role_arn(
                    "ARN of the node's role, not of its instance profile. Example: `arn:aws:iam::111122223333:role/node`.",
                ),
            )
            .optional(
                "identity",
                identity(kind, "The role's IAM policies. Left out: not known, so that its verdict is Unknown."),
            ),
    )
    .map_by(&["arn"])
}

fn service_account_puller(kind: PolicyKind) -> Node {
    object(
        "The role of the service account pulls: the one in its annotation, else `defaultRoleArn`, else those of \
         `fallbackNodes`. For kubelets whose ECR \
         credential provider is configured with service account tokens (`tokenAttributes`, KEP-4412). `{}` is enough where \
         every default fits.",
    )
    .optional(
        "roleAnnotation",
        string(
            "Key of the annotation on the service account that holds the ARN of its role. Default: \
             `eks.amazonaws.com/ecr-role-arn`, which the ECR credential provider reads.",
            KEY_LENGTH,
        )
        .rule(&rules::QUALIFIED_NAME),
    )
    .optional(
        "identity",
        identity(
            kind,
            "The IAM policies mapped to these service accounts: those of every role that has none of its own under `roles`. \
             With it a service account needs no role at all: it is then judged as if a role with these policies pulled, of \
             the account that the registry belongs to.",
        ),
    )
    .optional(
        "roles",
        list(
            "IAM policies per role, where service accounts map to different roles. No two entries have the same ARN.",
            50,
            object("A role and its IAM policies.")
                .required("arn", role_arn("The role's ARN, as the annotation has it. Example: `arn:aws:iam::111122223333:role/app`."))
                .optional("identity", identity(kind, "The role's IAM policies. Left out: those of `serviceAccount.identity`.")),
        )
        .map_by(&["arn"]),
    )
    .optional(
        "defaultRoleArn",
        role_arn(
            "The role that pulls for a service account without the annotation: what the environment variable AWS_ECR_ROLE_ARN \
             of the credential provider says. Left out: then `fallbackNodes` pull. Example: \
             `arn:aws:iam::111122223333:role/default-pull`.",
        ),
    )
    .optional(
        "fallbackNodes",
        node_roles(
            kind,
            "The roles of the nodes: who pulls for a service account that has no role by annotation or `defaultRoleArn`, or \
             whose annotation is empty. Every role listed is a candidate, as in `puller.nodes`. Example: \
             `[{arn: \"arn:aws:iam::111122223333:role/node\"}]`.",
        ),
    )
}

fn identity(kind: PolicyKind, about: &str) -> Node {
    object(about)
        .required(
            "policies",
            list(
                "Every identity-based policy, inline and attached, since what is not listed is not granted. At least one, no \
                 two of the same name.",
                30,
                policy_entry(kind, &rules::POLICY_NAME, &rules::MANAGED_POLICY_ARN, MANAGED_POLICY),
            )
            .at_least_one()
            .map_by(&["name"]),
        )
        .optional(
            "permissionsBoundary",
            object(
                "The permissions boundary: the role can do at most what it allows. Exactly one of `document`, \
                 `managedPolicyArn` and `configMapKeyRef`. Left out: there is none. Example: \
                 `{managedPolicyArn: \"arn:aws:iam::aws:policy/PowerUserAccess\"}`.",
            )
            .optional("document", document(DOCUMENT))
            .optional("managedPolicyArn", managed_policy_arn(&rules::MANAGED_POLICY_ARN, MANAGED_POLICY))
            .optional("configMapKeyRef", config_map_key_ref(kind))
            .exactly_one_of(&SOURCES),
        )
        .optional(
            "tags",
            tags(
                "The role's tags: the values of aws:PrincipalTag/KEY in conditions. Left out: not known. `{}`: there are \
                 none. Example: `{team: payments}`.",
            ),
        )
}

/// What `document` is about, where it is one of IAM's policies.
const DOCUMENT: &str = "The policy document: a mapping, or a string that holds its JSON text. The API server sorts the \
    keys of a mapping and drops duplicate ones; a string keeps every byte, so the checks of an exact text apply to it. \
    Example: `{Version: \"2012-10-17\", Statement: [{Effect: Allow, Action: \"ecr:*\", Resource: \"*\"}]}`.";

/// What `managedPolicyArn` is about, where the policy is attached to a principal.
const MANAGED_POLICY: &str = "ARN of an AWS managed policy whose document is built in; the partition does not matter. One \
    that is not built in leaves the verdict Unknown: give its `document`. Example: \
    `arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly`.";

/// The fields of which a policy has exactly one.
const SOURCES: [&str; 3] = ["document", "managedPolicyArn", "configMapKeyRef"];

fn policy_entry(kind: PolicyKind, name: &Rule, arn: &Rule, about_arn: &str) -> Node {
    object("One policy: a name, and exactly one of `document`, `managedPolicyArn` and `configMapKeyRef`.")
        .required(
            "name",
            string(
                "Names the policy in messages; the name it has in AWS is best. Unique in its list. Example: `app-pull`.",
                128,
            )
            .rule(name),
        )
        .optional("document", document(DOCUMENT))
        .optional("managedPolicyArn", managed_policy_arn(arn, about_arn))
        .optional("configMapKeyRef", config_map_key_ref(kind))
        .exactly_one_of(&SOURCES)
}

/// Where a document stands in a ConfigMap. A policy of a namespace looks into its own, and `namespace` is there to be
/// refused: pruned silently, it would mean another ConfigMap than its author thinks.
fn config_map_key_ref(kind: PolicyKind) -> Node {
    let (place, example) = match kind {
        PolicyKind::EcrAccessPolicy => ("of this namespace ", "`{name: iam-policies, key: app.json}`"),
        PolicyKind::ClusterEcrAccessPolicy => ("", "`{namespace: platform, name: iam-policies, key: app.json}`"),
    };
    let node = object(&format!(
        "The policy document is the text of a key of a ConfigMap {place}that has the label ecraccess.dev/policy-document: \
         \"true\"; without the label it is not read. A change is in force within a second. One that is missing or malformed \
         leaves the verdict Unknown. Example: {example}."
    ))
    .required("name", string("Name of the ConfigMap. Example: `iam-policies`.", NAME_LENGTH).rule(&rules::CONFIG_MAP_NAME))
    .required(
        "key",
        string("Key below `data` whose value is the JSON text of the document. Example: `app.json`.", NAME_LENGTH)
            .rule(&rules::CONFIG_MAP_KEY),
    );
    let namespace = |about: &str| string(about, LABEL_LENGTH).rule(&rules::NAMESPACE_NAME);
    match kind {
        PolicyKind::EcrAccessPolicy => node
            .optional(
                "namespace",
                namespace("Refused here: the ConfigMap is looked up in the namespace of the policy."),
            )
            .rule(&rules::OWN_NAMESPACE),
        PolicyKind::ClusterEcrAccessPolicy => {
            node.required("namespace", namespace("Namespace of the ConfigMap. Example: `platform`."))
        }
    }
}

/// The schema of `configMapKeyRef` inside of a [`resource_policy`], which the API server does not look into.
pub(super) fn inner_config_map_key_ref(kind: PolicyKind) -> JSONSchemaProps {
    config_map_key_ref(kind).0
}

/// A policy document. It has no type: a structural schema cannot say "object or string". The operator's webhook checks
/// the document itself.
fn document(about: &str) -> Node {
    Node(JSONSchemaProps {
        description: Some(about.to_owned()),
        x_kubernetes_preserve_unknown_fields: Some(true),
        max_length: Some(DOCUMENT_LENGTH),
        max_properties: Some(DOCUMENT_ELEMENTS),
        ..JSONSchemaProps::default()
    })
}

fn managed_policy_arn(rule: &Rule, about: &str) -> Node {
    string(about, ARN_LENGTH).rule(rule)
}

/// A resource-based policy: `{document: …}`, `{configMapKeyRef: …}`, or the word `Unknown`.
///
/// A type cannot say it, so keywords do of which each looks at values of one type alone; of what is required one thing has
/// to be there, which any text has.
fn resource_policy(about: &str) -> Node {
    Node(JSONSchemaProps {
        description: Some(about.to_owned()),
        x_kubernetes_preserve_unknown_fields: Some(true),
        pattern: Some(format!("^{UNKNOWN}$")),
        max_length: Some(limit(UNKNOWN.len())),
        max_properties: Some(1),
        ..JSONSchemaProps::default()
    })
    .at_least_one_of(&["document", "configMapKeyRef"])
}

/// In place of a resource-based policy: nobody says what is in it.
pub(super) const UNKNOWN: &str = "Unknown";

/// The schema of `document` inside of a [`resource_policy`], which the API server does not look into.
pub(super) fn inner_document() -> JSONSchemaProps {
    document(DOCUMENT).0
}

/// Tags of a role or repository ("Tags for AWS Identity and Access Management resources", Rules for tagging).
fn tags(about: &str) -> Node {
    map(about, MOST_TAGS, string("The tag's value; may be empty.", 256)).rule(&rules::TAG_KEYS)
}

fn repositories() -> Node {
    list(
        "What is known of repositories: policy, tags, whether they exist. The first entry whose `match` fits a repository \
         counts for it, so put the narrow ones first. For a repository that no entry fits, it is taken for certain that it \
         has no repository policy, as long as the puller's `identity` is declared and in the same account. Example: \
         `[{match: \"arn:aws:ecr:us-east-1:111122223333:repository/shared/*\", presence: Present}]`.",
        200,
        object("What is known of the repositories that a pattern matches.")
            .required(
                "match",
                string(
                    "Pattern of repository ARNs, in which `*` stands for any text and `?` for one character; `*` alone is \
                     every repository. Example: `arn:aws:ecr:us-east-1:111122223333:repository/shared/*`.",
                    PATTERN_LENGTH,
                )
                .rule(&rules::REPOSITORY_PATTERN),
            )
            .optional(
                "policy",
                resource_policy(
                    "The repository policy: `{document: …}` with a mapping or a string that holds its JSON text, \
                     `{configMapKeyRef: …}` as for the policies of a role, or the word `Unknown` where there may be one that nobody here can read. Left out: this entry says nothing of it, so \
                     that there is none. Example: `{document: {Version: \"2012-10-17\", Statement: [{Effect: Allow, \
                     Principal: \"*\", Action: \"ecr:BatchGetImage\"}]}}`.",
                ),
            )
            .optional(
                "tags",
                tags(
                    "The repository's tags: the values of aws:ResourceTag/KEY and ecr:ResourceTag/KEY in conditions. Left \
                     out: not known. `{}`: there are none. Example: `{tier: gold}`.",
                ),
            )
            .optional(
                "presence",
                choice(
                    "Whether these repositories exist. `Missing`: a pull fails, unless a pull-through cache creates the \
                     repository. Left out: not known, and assumed wherever a pull-through cache does not make a difference.",
                    &["Present", "Missing"],
                ),
            ),
    )
    // The order decides, so that half a list of one author and half of another would mean something else.
    .atomic()
}

fn registries() -> Node {
    list(
        "What is known of private registries: their registry policy and pull-through cache rules. Entries are told apart by \
         `accountId` and `region`; one that names the region of an image comes before one for every region. Example: \
         `[{accountId: \"111122223333\", pullThroughCache: [{prefix: docker-hub}]}]`.",
        50,
        object("The registry of one account, in one region or in all of them.")
            .required(
                "accountId",
                string(
                    "The account that owns the registry: twelve digits in quotes, since YAML takes them for a number \
                     otherwise. Example: `\"111122223333\"`.",
                    12,
                )
                .rule(&rules::ACCOUNT_ID),
            )
            .optional(
                "region",
                string("The region, or `*` (default) for every region of the account. Example: `us-east-1`.", 32)
                    .rule(&rules::REGION)
                    .default(serde_json::json!(EVERY_REGION)),
            )
            .optional(
                "policy",
                resource_policy(
                    "The registry policy: `{document: …}` with a mapping or a string that holds its JSON text, \
                     `{configMapKeyRef: …}` as for the policies of a role, or the word `Unknown` where there may be one that nobody here can read. Left out: there is none. Example: \
                     `{document: {Version: \"2012-10-17\", Statement: [{Effect: Deny, Principal: \"*\", Action: \
                     \"ecr:*\", Resource: \"*\"}]}}`.",
                ),
            )
            .optional(
                "policyScope",
                choice(
                    "What the registry policy decides. `V2` (default): every request to ECR. `V1`, of registries that were \
                     never switched: replication, import from an upstream and creation of repositories alone. `aws ecr \
                     get-account-setting --name REGISTRY_POLICY_SCOPE` tells which.",
                    &["V1", "V2"],
                )
                .default(serde_json::json!("V2")),
            )
            .optional(
                "pullThroughCache",
                list(
                    "The registry's pull-through cache rules. Below their prefixes a repository or image that is not there \
                     yet is fetched from upstream, which needs ecr:BatchImportUpstreamImage and, for a new repository, \
                     ecr:CreateRepository. Example: `[{prefix: docker-hub}]`.",
                    50,
                    object("A pull-through cache rule.").required(
                        "prefix",
                        string(
                            "What the names of the cached repositories begin with, up to a slash; `ROOT` for every repository \
                             that no other rule covers. Example: `docker-hub`.",
                            30,
                        )
                        .rule(&rules::CACHE_PREFIX),
                    ),
                )
                .map_by(&["prefix"]),
            ),
    )
    .map_by(&["accountId", "region"])
}

fn organization(kind: PolicyKind) -> Node {
    object(
        "The policies of AWS Organizations that are in force for these pulls, level by level: for the root, for every \
         organizational unit on the way down, and for the account. Left out: none.",
    )
    .optional(
        "serviceControlPolicies",
        levels(
            kind,
            "Service control policies over the account of the puller, root first. Every level must allow a request, so list \
             FullAWSAccess where it is attached. Left out or `[]`: none apply, as in the management account. Example: `[{level: \
             root, policies: [{name: FullAWSAccess, managedPolicyArn: \
             \"arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess\"}]}]`.",
            true,
        ),
    )
    .optional(
        "resourceControlPolicies",
        levels(
            kind,
            "Resource control policies over the account of the registry, root first. RCPFullAWSAccess, which is attached \
             everywhere, may be left out. Left out or `[]`: none apply. Example: `[{level: root, policies: [{name: \
             org-only, document: {Version: \"2012-10-17\", Statement: [{Effect: Deny, Principal: \"*\", Action: \"ecr:*\", \
             Resource: \"*\"}]}}]}]`.",
            false,
        ),
    )
}

fn levels(kind: PolicyKind, about: &str, at_least_one_policy: bool) -> Node {
    let policies = list(
        "The policies attached to this level itself, not those it inherits. No two of the same name.",
        10,
        policy_entry(
            kind,
            &rules::PLAIN_NAME,
            &rules::ORGANIZATION_POLICY_ARN,
            "ARN of a policy whose document is built in: FullAWSAccess or RCPFullAWSAccess of AWS Organizations, or an AWS \
             managed policy of IAM. One that is not built in leaves the verdict Unknown: give its `document`. Example: \
             `arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess`.",
        ),
    )
    .map_by(&["name"]);
    let policies = if at_least_one_policy { policies.at_least_one() } else { policies };
    list(
        about,
        10,
        object("The root, an organizational unit or the account.")
            .required(
                "level",
                string("Names the level in messages. Unique in its list. Example: `root`, `ou-ab12-workloads`.", 128)
                    .rule(&rules::PLAIN_NAME),
            )
            .required("policies", policies),
    )
    .map_by(&["level"])
}

fn context_keys() -> Node {
    map(
        "Values of condition keys that nobody can know when a pod is created, such as the network the request comes from. \
         Several values of a key that has one are alternatives; `[]` says that the key is not in the request. A key that is \
         left out keeps a verdict that depends on it Unknown. Numbers and booleans are written in quotes. Example: \
         `{\"aws:SourceVpc\": [vpc-0abc]}`.",
        50,
        list("The values that the key may have.", 64, string("A value, as a policy document would have it.", 1024)).atomic(),
    )
    .rule(&rules::CONTEXT_KEYS)
}

fn on_deny() -> Node {
    choice(
        "What happens to a pod that could not pull one of its images. `Reject` (default): it is refused, with the reason and \
         the fix. `Warn`: it is admitted, and its author sees a warning. `Audit`: it is admitted silently, status and \
         metrics count it; such a policy takes no part in the selection between policies, so that a new one can be tried \
         beside the one in force.",
        &["Reject", "Warn", "Audit"],
    )
    .default(serde_json::json!("Reject"))
}

fn on_unknown() -> Node {
    choice(
        "What happens to a pod for which some fact is missing, so that nobody can say whether it could pull. `Warn`, `Audit` \
         or `Reject`, as for onDeny and never stricter than it. Left out: `Warn`, or `Audit` where onDeny is `Audit`.",
        &["Warn", "Audit", "Reject"],
    )
}

/// A label selector with limits.
fn selector(about: &str) -> Node {
    let label_value = |about: &str| string(about, LABEL_LENGTH).rule(&rules::LABEL_VALUE);
    let labels = map(
        "Labels that all must be there with exactly this value. Example: `{team: payments}`.",
        32,
        label_value("The value that the label must have."),
    );
    object(about)
        .optional("matchLabels", labels)
        .optional(
            "matchExpressions",
            list(
                "Requirements that all must hold, beside matchLabels.",
                16,
                object("One requirement on a label. Example: `{key: tier, operator: In, values: [web, api]}`.")
                    .rule(&rules::OPERATOR_TAKES_VALUES)
                    .required(
                        "key",
                        string("The label's key. Example: `tier`.", KEY_LENGTH).rule(&rules::QUALIFIED_NAME),
                    )
                    .required(
                        "operator",
                        choice(
                            "`In` and `NotIn` compare with values (a label that is not there is NotIn), `Exists` and \
                             `DoesNotExist` ask for the key alone.",
                            &["In", "NotIn", "Exists", "DoesNotExist"],
                        ),
                    )
                    .optional(
                        "values",
                        list("Values for In and NotIn; left out otherwise.", 64, label_value("A value of the label."))
                            .atomic(),
                    ),
            )
            .atomic(),
        )
        .atomic_map()
}

fn status() -> Node {
    object("What the operator found out. Written by the operator alone.")
        .optional("observedGeneration", {
            let about = "metadata.generation of the spec that this status is about. -1: the operator has not seen it yet.";
            let mut generation = integer(about);
            generation.0.minimum = Some(-1.0);
            generation
        })
        .optional("conditions", conditions())
        .optional("serviceAccounts", integer("How many service accounts this policy decides for."))
        .optional(
            "pods",
            object("How many pods that have not terminated have which verdict under this policy.")
                .optional("allowed", integer("Pods that can pull all their images."))
                .optional("denied", integer("Pods that could not pull one of their images if they had to now."))
                .optional("unknown", integer("Pods for which some fact is missing.")),
        )
        .optional(
            "workloads",
            object(
                "How many workloads have which verdict under this policy, by their pod templates. A ReplicaSet of a \
                 Deployment, and whatever else another object controls, is not counted, nor is a Job that has ended.",
            )
            .optional("allowed", integer("Workloads whose pods can pull all their images."))
            .optional("denied", integer("Workloads whose pods could not pull one of their images if they had to now."))
            .optional("unknown", integer("Workloads for which some fact is missing.")),
        )
        .optional(
            "denials",
            list(
                "Workloads, and pods that belong to none, that could not pull one of their images if they had to now.",
                limit(MAX_DENIALS),
                object("A workload or pod and its image that could not be pulled.")
                    .required("namespace", string("Its namespace.", LABEL_LENGTH))
                    .required("serviceAccount", string("The service account that its pods run as.", NAME_LENGTH))
                    .required("kind", string("Kind of the workload, or `Pod`. Example: `Deployment`.", LABEL_LENGTH))
                    .required("name", string("Name of the workload or pod.", NAME_LENGTH))
                    .required("pods", integer("How many such pods of it are there. 0: only its template is like that."))
                    .required("image", string("The image as the pod names it.", limit(IMAGE_LENGTH)))
                    .optional("repository", string("ARN of the image's repository.", limit(REPOSITORY_LENGTH)))
                    .optional(
                        "action",
                        string("The first action that is not allowed. Example: `ecr:BatchGetImage`.", 128),
                    )
                    .optional(
                        "cause",
                        string("A stable code for why. Example: `RepositoryNotInResource`.", LABEL_LENGTH),
                    )
                    .optional(
                        "exemption",
                        string("Name of the exemption that lets it in all the same, where there is one.", LABEL_LENGTH),
                    ),
            )
            .atomic(),
        )
        .optional("denialsOmitted", integer("How many more denials there are than are listed."))
        .optional(
            "advice",
            list(
                "What is worth changing in the IAM policies of the spec. It changes no verdict and no condition. Judged by \
                 the pods and workloads that are there now: what comes once a month may need more.",
                limit(MAX_ADVICE),
                object("One IAM policy and what is worth changing in it.")
                    .required(
                        "target",
                        string(
                            "What the IAM policy is attached to. Example: `arn:aws:iam::111122223333:role/app`.",
                            limit(TARGET_LENGTH),
                        ),
                    )
                    .required("policy", string("Name of the IAM policy, as the spec has it.", limit(POLICY_LENGTH)))
                    .required(
                        "code",
                        string(
                            "A stable code. `BroaderThanNeeded`: it grants more than the pulls need. Otherwise the id of \
                             a lint, for what has no effect or another one than it seems. Example: `needs-star-resource`.",
                            LABEL_LENGTH,
                        ),
                    )
                    .required("message", string("The same for a person, in one line.", limit(ADVICE_LENGTH)))
                    .optional(
                        "document",
                        string(
                            "For `BroaderThanNeeded`: an IAM policy, as JSON, that is enough for every image that these \
                             pods and workloads pull with this target. Left out where it would be too long for one IAM policy.",
                            limit(ADVISED_LENGTH),
                        ),
                    ),
            )
            .atomic(),
        )
        .optional("adviceOmitted", integer("How many more pieces of advice there are than are listed."))
        .optional("exemptions", exemptions::of_status())
        .optional(
            "nextTransition",
            date_time(
                "When a verdict that is counted here changes by itself, because an IAM policy has a condition on the date, \
                 or when an exemption in use ends. The counts follow at that instant. Example: `2026-12-01T00:00:00Z`.",
            ),
        )
        // Tools that wait for an object take one without any status for finished, and one whose generation was not observed
        // for unfinished (kstatus; "CRD Status Convention").
        .default(serde_json::json!({"observedGeneration": -1}))
}

fn conditions() -> Node {
    list(
        "`Ready`: pods are judged by this policy. `PoliciesResolved`: every IAM policy it names can be read. `Conflicted`: \
         another policy of the same rank selects the same service account. `Stalled`, only while `Ready` is `False`: somebody \
         has to change the policy. `ChangeAhead`, where it is there: verdicts change by themselves within a day.",
        8,
        object("One aspect of this policy's state.")
            .required("type", string("Which aspect. Example: `Ready`.", 316))
            .required("status", choice("Whether it holds.", &["True", "False", "Unknown"]))
            .required("reason", string("A stable word for why. Example: `UnsupportedSpec`.", 1024))
            .required("message", string("The same for a person.", limit(MESSAGE_LENGTH)))
            .optional("observedGeneration", integer("metadata.generation of the spec that this condition is about."))
            .required("lastTransitionTime", date_time("When the condition last changed.")),
    )
    .map_by(&["type"])
}

/// A limit that code keeps, as the schema has it.
fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn role_arn(about: &str) -> Node {
    string(about, ARN_LENGTH).rule(&rules::ROLE_ARN)
}

fn requires(name: &str) -> JSONSchemaProps {
    JSONSchemaProps { required: Some(vec![name.to_owned()]), ..JSONSchemaProps::default() }
}

/// A schema while it is put together.
struct Node(JSONSchemaProps);

fn of_type(type_: &str, about: &str) -> Node {
    Node(JSONSchemaProps {
        type_: Some(type_.to_owned()),
        description: Some(about.to_owned()),
        ..JSONSchemaProps::default()
    })
}

fn object(about: &str) -> Node {
    of_type("object", about)
}

fn string(about: &str, longest: i64) -> Node {
    let mut node = of_type("string", about);
    node.0.max_length = Some(longest);
    node
}

fn integer(about: &str) -> Node {
    let mut node = of_type("integer", about);
    node.0.format = Some("int64".to_owned());
    node.0.minimum = Some(0.0);
    node
}

fn boolean(about: &str) -> Node {
    of_type("boolean", about)
}

fn date_time(about: &str) -> Node {
    let mut node = string(about, 64);
    node.0.format = Some("date-time".to_owned());
    node
}

fn choice(about: &str, words: &[&str]) -> Node {
    let mut node = of_type("string", about);
    node.0.enum_ = Some(words.iter().map(|word| JSON(serde_json::json!(word))).collect());
    node
}

fn map(about: &str, most: i64, value: Node) -> Node {
    let mut node = object(about);
    node.0.max_properties = Some(most);
    node.0.additional_properties = Some(JSONSchemaPropsOrBool::Schema(Box::new(value.0)));
    node
}

fn list(about: &str, most: i64, item: Node) -> Node {
    let mut node = of_type("array", about);
    node.0.max_items = Some(most);
    node.0.items = Some(JSONSchemaPropsOrArray::Schema(Box::new(item.0)));
    node
}

impl Node {
    fn optional(mut self, name: &str, property: Node) -> Node {
        self.0.properties.get_or_insert_with(BTreeMap::new).insert(name.to_owned(), property.0);
        self
    }

    fn required(mut self, name: &str, property: Node) -> Node {
        self.0.required.get_or_insert_with(Vec::new).push(name.to_owned());
        self.optional(name, property)
    }

    fn rule(mut self, rule: &Rule) -> Node {
        self.0.x_kubernetes_validations.get_or_insert_with(Vec::new).push(ValidationRule {
            rule: rule.cel.to_owned(),
            message: Some(rule.message.to_owned()),
            field_path: (!rule.field.is_empty()).then(|| rule.field.to_owned()),
            ..ValidationRule::default()
        });
        self
    }

    fn default(mut self, value: serde_json::Value) -> Node {
        self.0.default = Some(JSON(value));
        self
    }

    /// CEL cannot see a property without a type, so this is said in the schema's own words.
    fn exactly_one_of(mut self, names: &[&str]) -> Node {
        self.0.one_of = Some(names.iter().copied().map(requires).collect());
        self
    }

    /// As [`Node::exactly_one_of`], and what is no object has them all.
    fn at_least_one_of(mut self, names: &[&str]) -> Node {
        self.0.any_of = Some(names.iter().copied().map(requires).collect());
        self
    }

    fn at_least_one(mut self) -> Node {
        self.0.min_items = Some(1);
        self
    }

    /// Entries are told apart by these fields, which together are unique ("Server-Side Apply", Merge strategy).
    fn map_by(mut self, keys: &[&str]) -> Node {
        self.0.x_kubernetes_list_type = Some("map".to_owned());
        self.0.x_kubernetes_list_map_keys = Some(keys.iter().map(|key| (*key).to_owned()).collect());
        self
    }

    /// No entry twice.
    fn set(mut self) -> Node {
        self.0.x_kubernetes_list_type = Some("set".to_owned());
        self
    }

    /// Replaced as a whole by whoever applies it.
    fn atomic(mut self) -> Node {
        self.0.x_kubernetes_list_type = Some("atomic".to_owned());
        self
    }

    /// As [`Node::atomic`], for an object: half a selector of one author and half of another would mean something else.
    fn atomic_map(mut self) -> Node {
        self.0.x_kubernetes_map_type = Some("atomic".to_owned());
        self
    }
}
