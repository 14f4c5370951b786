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
use super::status::{IMAGE_LENGTH, MAX_DENIALS, MESSAGE_LENGTH, REPOSITORY_LENGTH};
use super::{GROUP, PolicyKind, VERSION};

/// Longest ARN of a role or managed policy: 512 characters of path, 128 of name, and what stands before.
const ARN_LENGTH: i64 = 700;
/// Longest name that is a DNS subdomain.
const NAME_LENGTH: i64 = 253;
/// Longest label or annotation key: a DNS subdomain, a slash, 63 characters.
const KEY_LENGTH: i64 = 317;
/// Longest label value.
const LABEL_LENGTH: i64 = 63;
/// Longest document as text. IAM takes 10,240 characters without white space, a repository policy may have 20,480.
const DOCUMENT_LENGTH: i64 = 65_536;

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
        .required("puller", puller())
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

fn puller() -> Node {
    object(
        "Who pulls: the IAM principal that Amazon ECR sees. Exactly one field. On a stock EKS cluster the kubelet pulls with \
         the role of the node; the roles of IRSA (eks.amazonaws.com/role-arn) and EKS Pod Identity are for the containers' own \
         calls and take no part in pulling images. Choose `serviceAccount` only where the kubelet's ECR credential \
         provider is configured to use service account tokens, else `role`.",
    )
    .rule(&rules::ONE_PULLER)
    .optional("serviceAccount", service_account_puller())
    .optional(
        "role",
        object(
            "One role pulls, whatever the service account says: a Fargate pod execution role, the one role that all nodes \
             share, or a mapping that is kept by hand.",
        )
        .required("arn", role_arn("The role's ARN. Example: `arn:aws:iam::111122223333:role/fargate-pull`."))
        .optional("identity", identity("The role's IAM policies. Left out: not known, so that every verdict is Unknown.")),
    )
}

fn service_account_puller() -> Node {
    object(
        "The role of the service account pulls: the one in its annotation, else `defaultRoleArn`. For kubelets whose ECR \
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
                .optional("identity", identity("The role's IAM policies. Left out: those of `serviceAccount.identity`.")),
        )
        .map_by("arn"),
    )
    .optional(
        "defaultRoleArn",
        role_arn(
            "The role that pulls for a service account without the annotation: what the environment variable AWS_ECR_ROLE_ARN \
             of the credential provider says. Left out: such a service account has no role. Example: \
             `arn:aws:iam::111122223333:role/default-pull`.",
        ),
    )
}

fn identity(about: &str) -> Node {
    object(about).required(
        "policies",
        list(
            "Every identity-based policy, inline and attached, since what is not listed is not granted. At least one, no \
             two of the same name.",
            30,
            policy_entry(),
        )
        .at_least_one()
        .map_by("name"),
    )
}

fn policy_entry() -> Node {
    let document = Node(JSONSchemaProps {
        description: Some(
            "The policy document: a mapping, or a string that holds its JSON text. The API server sorts the keys of a \
             mapping and drops duplicate ones; a string keeps every byte, so the checks of an exact text apply to it. \
             Example: `{Version: \"2012-10-17\", Statement: [{Effect: Allow, Action: \"ecr:*\", Resource: \"*\"}]}`."
                .to_owned(),
        ),
        // No type: a structural schema cannot say "object or string". The operator's webhook checks the document itself.
        x_kubernetes_preserve_unknown_fields: Some(true),
        max_length: Some(DOCUMENT_LENGTH),
        max_properties: Some(8),
        ..JSONSchemaProps::default()
    });
    object("One IAM policy: a name, and exactly one of `document` and `managedPolicyArn`.")
        .required(
            "name",
            string(
                "Names the policy in messages; the name it has in IAM is best. Unique in its list. Example: `app-pull`.",
                128,
            )
            .rule(&rules::POLICY_NAME),
        )
        .optional("document", document)
        .optional(
            "managedPolicyArn",
            string(
                "ARN of an AWS managed policy whose document is built in; the partition does not matter. One that is not \
                 built in leaves the verdict Unknown: give its `document`. Example: \
                 `arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly`.",
                ARN_LENGTH,
            )
            .rule(&rules::MANAGED_POLICY_ARN),
        )
        .exactly_one_of(&["document", "managedPolicyArn"])
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
    let mut labels = object("Labels that all must be there with exactly this value. Example: `{team: payments}`.");
    labels.0.max_properties = Some(32);
    labels.0.additional_properties =
        Some(JSONSchemaPropsOrBool::Schema(Box::new(label_value("The value that the label must have.").0)));
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
        .optional("observedGeneration", integer("metadata.generation of the spec that this status is about."))
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
            "denials",
            list(
                "Pods that could not pull one of their images if they had to now.",
                limit(MAX_DENIALS),
                object("A pod and its image that could not be pulled.")
                    .required("namespace", string("The pod's namespace.", LABEL_LENGTH))
                    .required("serviceAccount", string("The service account that the pod runs as.", NAME_LENGTH))
                    .required("pod", string("The pod's name.", NAME_LENGTH))
                    .required("image", string("The image as the pod names it.", limit(IMAGE_LENGTH)))
                    .optional("repository", string("ARN of the image's repository.", limit(REPOSITORY_LENGTH)))
                    .optional(
                        "action",
                        string("The first action that is not allowed. Example: `ecr:BatchGetImage`.", 128),
                    )
                    .optional(
                        "cause",
                        string("A stable code for why. Example: `RepositoryNotInResource`.", LABEL_LENGTH),
                    ),
            )
            .atomic(),
        )
        .optional("denialsOmitted", integer("How many more denials there are than are listed."))
}

fn conditions() -> Node {
    list(
        "`Ready`: pods are judged by this policy. `PoliciesResolved`: every IAM policy it names can be read. `Conflicted`: \
         another policy of the same rank selects the same service account.",
        8,
        object("One aspect of this policy's state.")
            .required("type", string("Which aspect. Example: `Ready`.", 316))
            .required("status", choice("Whether it holds.", &["True", "False", "Unknown"]))
            .required("reason", string("A stable word for why. Example: `UnsupportedSpec`.", 1024))
            .required("message", string("The same for a person.", limit(MESSAGE_LENGTH)))
            .optional("observedGeneration", integer("metadata.generation of the spec that this condition is about."))
            .required("lastTransitionTime", {
                let mut time = string("When the condition last changed.", 64);
                time.0.format = Some("date-time".to_owned());
                time
            }),
    )
    .map_by("type")
}

/// A limit that code keeps, as the schema has it.
fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn role_arn(about: &str) -> Node {
    string(about, ARN_LENGTH).rule(&rules::ROLE_ARN)
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

fn choice(about: &str, words: &[&str]) -> Node {
    let mut node = of_type("string", about);
    node.0.enum_ = Some(words.iter().map(|word| JSON(serde_json::json!(word))).collect());
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
        self.0.one_of = Some(
            names
                .iter()
                .map(|name| JSONSchemaProps { required: Some(vec![(*name).to_owned()]), ..JSONSchemaProps::default() })
                .collect(),
        );
        self
    }

    fn at_least_one(mut self) -> Node {
        self.0.min_items = Some(1);
        self
    }

    /// Entries are told apart by `key`, which is unique ("Server-Side Apply", Merge strategy).
    fn map_by(mut self, key: &str) -> Node {
        self.0.x_kubernetes_list_type = Some("map".to_owned());
        self.0.x_kubernetes_list_map_keys = Some(vec![key.to_owned()]);
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
