//! The kinds `EcrAccessPolicy` and `ClusterEcrAccessPolicy` as the client and the CustomResourceDefinitions know them. What
//! stands in their `spec` is [`ecr_forecast::policy`].

use ecr_forecast::policy::{self, FieldError, PolicyKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::status::PolicyStatus;

/// Who pulls, for which service accounts, and what a verdict does to a pod.
///
/// The derived kind is [`EcrAccessPolicy`].
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "ecraccess.dev",
    version = "v1alpha1",
    kind = "EcrAccessPolicy",
    plural = "ecraccesspolicies",
    namespaced,
    status = "PolicyStatus",
    schema = "disabled",
    derive = "JsonSchema",
    derive = "PartialEq",
    doc = "EcrAccessPolicy says who pulls the images of this namespace's pods from Amazon ECR, and which IAM policies that \
           principal has. From these it is foretold, when a pod is created, whether its images can be pulled; a pod that \
           would end in ImagePullBackOff is rejected with the reason and the fix. It grants nothing: permissions are given \
           in AWS alone. For one service account this kind wins over ClusterEcrAccessPolicy, a policy that names the \
           service account over one that selects it by labels, and both over one that is for all; between equals the \
           oldest wins."
)]
#[serde(transparent)]
pub struct EcrAccessPolicySpec(pub policy::EcrAccessPolicySpec);

/// Who pulls, for which service accounts, and what a verdict does to a pod.
///
/// The derived kind is [`ClusterEcrAccessPolicy`].
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "ecraccess.dev",
    version = "v1alpha1",
    kind = "ClusterEcrAccessPolicy",
    plural = "clusterecraccesspolicies",
    status = "PolicyStatus",
    schema = "disabled",
    derive = "JsonSchema",
    derive = "PartialEq",
    doc = "ClusterEcrAccessPolicy says who pulls the images of pods in many namespaces from Amazon ECR, and which IAM \
           policies that principal has. From these it is foretold, when a pod is created, whether its images can be pulled; \
           a pod that would end in ImagePullBackOff is rejected with the reason and the fix. It grants nothing: permissions \
           are given in AWS alone. For one service account any EcrAccessPolicy of its namespace wins over this kind."
)]
#[serde(transparent)]
pub struct ClusterEcrAccessPolicySpec(pub policy::ClusterEcrAccessPolicySpec);

/// Everything that an API server with these CRDs would refuse in an object of `kind`; see [`policy::validate`].
pub fn validate(kind: PolicyKind, object: &Value) -> Vec<FieldError> {
    let found = policy::validate(kind, object);
    let Some(metadata) = object.get("metadata").filter(|_| found.is_empty()) else { return found };
    let error = ObjectMeta::deserialize(metadata).err();
    error.map(|error| FieldError { path: "metadata".to_owned(), message: error.to_string() }).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_that_no_object_has_is_told_after_the_spec() {
        let mut object = json!({"metadata": {"name": "a", "labels": 7}, "spec": {"puller": {"serviceAccount": {}}}});
        let paths = |object: &Value| {
            let found = validate(PolicyKind::EcrAccessPolicy, object);
            found.into_iter().map(|error| error.path).collect::<Vec<String>>()
        };
        assert_eq!(paths(&object), ["metadata"]);
        object["spec"]["puller"] = json!([]);
        assert_eq!(paths(&object), ["spec.puller"]);
        object["spec"]["puller"] = json!({"serviceAccount": {}});
        object["metadata"]["labels"] = json!({"a": "7"});
        assert!(paths(&object).is_empty());
    }
}
