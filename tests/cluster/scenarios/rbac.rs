//! Who may read and write policies, asked of the real authorizer as real users: see `docs/rbac.md`.

use anyhow::{Result, ensure};
use serde_json::json;

use super::release::upgrade;
use crate::world::{PATIENCE, RELEASE, World, pull_document, spec};

const NAMESPACE: &str = "tenant";

/// A user per role, bound in one namespace; the last one in the whole cluster.
const USERS: [(&str, &str); 5] = [
    ("viewer", "view"),
    ("editor", "edit"),
    ("owner", "admin"),
    ("author", "ecr-access-edit"),
    ("reader", "ecr-access-view"),
];

/// For what is in no namespace.
const EVERYWHERE: &str = "";

/// What somebody wants to do: verb, resource, subresource, namespace.
type Question = (&'static str, &'static str, &'static str, &'static str);
const POLICIES: &str = "ecraccesspolicies.ecraccess.dev";
const CLUSTER_POLICIES: &str = "clusterecraccesspolicies.ecraccess.dev";
const READ: Question = ("get", POLICIES, "", NAMESPACE);
const WRITE: Question = ("patch", POLICIES, "", NAMESPACE);
const READ_CLUSTER: Question = ("list", CLUSTER_POLICIES, "", EVERYWHERE);

pub async fn who_may_read_and_write_policies(world: &World) -> Result<()> {
    world.namespace(NAMESPACE, &["api"]).await?;
    world.policy(NAMESPACE, "pull", spec(pull_document(&["good"]))).await?;
    for (user, role) in USERS {
        let (kind, path) = match user {
            "reader" => ("ClusterRoleBinding", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".to_owned()),
            _ => ("RoleBinding", format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/rolebindings")),
        };
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        });
        world.must("POST", &path, Some(&binding)).await?;
    }

    // As installed: `view` reads, and through it `edit` and `admin`; only who was given the role for it writes.
    for (user, questions) in [
        ("viewer", &[(READ, true), (WRITE, false), (READ_CLUSTER, false)][..]),
        ("editor", &[(READ, true), (WRITE, false)]),
        ("owner", &[(READ, true), (WRITE, false)]),
        ("author", &[(READ, true), (WRITE, true), (READ_CLUSTER, false)]),
        ("reader", &[(READ, true), (WRITE, false), (READ_CLUSTER, true)]),
    ] {
        for (question, expected) in questions {
            // The authorizer learns of each binding in a moment, and of no order.
            if *expected {
                eventually(world, user, *question, true).await?;
            } else {
                ensure!(!may(world, user, *question)?, "{user}, {question:?}: should be false");
            }
        }
    }
    // Nobody of them writes the status, the cluster kind, or another namespace's policies.
    for (user, _) in USERS {
        for question in [
            ("patch", POLICIES, "status", NAMESPACE),
            ("create", CLUSTER_POLICIES, "", EVERYWHERE),
            ("create", POLICIES, "", "default"),
        ] {
            ensure!(!may(world, user, question)?, "{user} may {question:?}");
        }
    }
    // Not only in theory.
    let patch = r#"{"spec":{"onDeny":"Warn"}}"#;
    let arguments = |user: &str| {
        ["patch", "eap", "pull", "-n", NAMESPACE, "--type=merge", "-p", patch, "--as", user].map(str::to_owned)
    };
    let refused = world.cluster.kubectl_output(&arguments("editor"), None)?;
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        message.contains(
            r#"(Forbidden): ecraccesspolicies.ecraccess.dev "pull" is forbidden: User "editor" cannot patch"#
        ),
        "{message}"
    );
    world.cluster.kubectl(&arguments("author"))?;

    // What the values change. The controller manager collects the roles, in a moment.
    upgrade(world, &["--set=rbac.aggregateToEdit=true"])?;
    eventually(world, "editor", WRITE, true).await?;
    eventually(world, "owner", WRITE, true).await?;
    ensure!(!may(world, "viewer", WRITE)?, "`view` writes");
    upgrade(world, &["--set=rbac.aggregateToAdmin=true"])?;
    eventually(world, "editor", WRITE, false).await?;
    eventually(world, "owner", WRITE, true).await?;
    upgrade(world, &["--set=rbac.aggregateToView=false"])?;
    for (user, _) in &USERS[..3] {
        eventually(world, user, READ, false).await?;
    }
    ensure!(
        may(world, "author", WRITE)? && may(world, "reader", READ)?,
        "a role of its own is bound whatever the values say"
    );
    upgrade(world, &[])?;
    eventually(world, "viewer", READ, true).await?;
    world.must("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/reader", None).await?;
    world.operator_ready(2).await
}

/// What the authorizer answers `user`.
fn may(world: &World, user: &str, (verb, resource, subresource, namespace): Question) -> Result<bool> {
    let subresource = format!("--subresource={subresource}");
    let namespace = if namespace == EVERYWHERE { "--all-namespaces".to_owned() } else { format!("-n={namespace}") };
    let arguments = ["auth", "can-i", verb, resource, &subresource, &namespace, "--as", user];
    let output = world.cluster.kubectl_output(&arguments, None)?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => anyhow::bail!("{arguments:?}: {output:?}"),
    }
}

async fn eventually(world: &World, user: &str, question: Question, expected: bool) -> Result<()> {
    let what = format!("{user} of release {RELEASE}, {question:?}, is {expected}");
    world.eventually(PATIENCE, &what, async || Ok(may(world, user, question)? == expected)).await.map(drop)
}
