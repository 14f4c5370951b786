//! What happens to policy objects, and how fast they take effect.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::world::{World, data, golden, image, policies, pull_document, role, spec, spec_of};

/// Each object of `tests/data/refused`, with the API server's whole answer beside it.
pub async fn refused_by_the_schema(world: &World) -> Result<()> {
    let mut files: Vec<_> =
        std::fs::read_dir(data("refused"))?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    ensure!(files.len() >= 60, "only {} objects", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_stem().context("a name")?.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file)?;
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: ")).context("# expect:")?;
        let object: Value = serde_saphyr::from_str(&text).with_context(|| name.clone())?;
        let path = match object["kind"].as_str() {
            Some("ClusterEcrAccessPolicy") => "/apis/ecraccess.dev/v1alpha1/clusterecraccesspolicies".to_owned(),
            _ => policies("default"),
        };
        let answer = world.call("POST", &format!("{path}?fieldValidation=Strict"), Some(&object)).await?;
        let verdict = if answer.code < 400 {
            Err(anyhow::anyhow!("it was taken"))
        } else if !answer.message().contains(expected) {
            Err(anyhow::anyhow!("expected `{expected}`, not: {}", answer.message()))
        } else {
            golden(&format!("refused/{name}.txt"), &format!("{}\n", answer.message()))
        };
        if let Err(error) = verdict {
            wrong.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n    "));
    Ok(())
}

pub async fn malformed_documents_are_refused(world: &World) -> Result<()> {
    world.namespace("malformed", &["api"]).await?;
    world.policy("malformed", "good", spec(pull_document(&["good"]))).await?;
    for (name, document, parts) in [
        (
            "effect",
            json!({"Version": "2012-10-17", "Statement": [{"Effect": "allow", "Action": "ecr:*", "Resource": "*"}]}),
            ["policies[0].document", "$.Statement[0].Effect: `allow`"],
        ),
        ("text", json!("{\"Version\": \"2012-10-17\", \"Statement\": ["), ["policies[0].document", "$"]),
        (
            "duplicate",
            json!(
                "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Effect\": \"Deny\", \"Action\": \"ecr:*\", \"Resource\": \"*\"}]}"
            ),
            ["policies[0].document", "$.Statement[0]"],
        ),
    ] {
        let answer = world.try_policy("malformed", name, spec(document.clone())).await?;
        ensure!(
            !answer.ok()
                && answer.message().starts_with("admission webhook \"policies.ecraccess.dev\" denied the request: "),
            "{name}: {answer:?}"
        );
        ensure!(parts.iter().all(|part| answer.message().contains(part)), "{name}: {parts:?} in {}", answer.message());
        golden(&format!("cluster/malformed-{name}.txt"), &format!("{}\n", answer.message()))?;
        // The same as an edit of a good one; that stays in force.
        ensure!(!world.try_policy("malformed", "good", spec(document)).await?.ok(), "{name}: the edit was taken");
    }
    world.until_refused("malformed", "api", &image("bad")).await.map(drop)
}

/// A broken document is found wherever a policy has one.
pub async fn malformed_documents_are_refused_everywhere(world: &World) -> Result<()> {
    world.namespace("malformed-places", &[]).await?;
    let document =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "allow", "Action": "ecr:*", "Resource": "*"}]});
    let good = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]});
    let role = "arn:aws:iam::111122223333:role/app";
    let identity =
        json!({"policies": [{"name": "p", "document": good}], "permissionsBoundary": {"document": document}});
    let levels = json!([{"level": "root", "policies": [{"name": "p", "document": document}]}]);
    for (field, fields) in [
        (
            "puller.nodes[0].identity.permissionsBoundary.document",
            json!({"puller": {"nodes": [{"arn": role, "identity": identity}]}}),
        ),
        (
            "repositories[0].policy.document",
            json!({"repositories": [{"match": "*", "policy": {"document": document}}]}),
        ),
        (
            "registries[0].policy.document",
            json!({"registries": [{"accountId": "111122223333", "policy": {"document": document}}]}),
        ),
        (
            "organization.serviceControlPolicies[0].policies[0].document",
            json!({"organization": {"serviceControlPolicies": levels}}),
        ),
        (
            "organization.resourceControlPolicies[0].policies[0].document",
            json!({"organization": {"resourceControlPolicies": levels}}),
        ),
    ] {
        let mut spec = json!({"puller": {"role": {"arn": role}}});
        for (name, value) in fields.as_object().context("fields")? {
            spec[name] = value.clone();
        }
        let answer = world.try_policy("malformed-places", "bad", spec).await?;
        let expected = format!("spec.{field}: $.Statement[0].Effect: `allow`");
        ensure!(!answer.ok() && answer.message().contains(&expected), "`{expected}` is not in {answer:?}");
    }
    Ok(())
}

/// A spec that uses every field that can stand beside a role.
fn every_field() -> Value {
    let document =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]});
    let text = json!(
        "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Deny\", \"Principal\": \"*\", \"Action\": \"ecr:*\", \"Resource\": \"*\"}]}"
    );
    let full = "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess";
    json!({
        "puller": {"nodes": [{"arn": "arn:aws:iam::111122223333:role/node", "identity": {
            "policies": [{"name": "p", "document": document}],
            "permissionsBoundary": {"managedPolicyArn": "arn:aws:iam::aws:policy/PowerUserAccess"},
            "tags": {"team": "payments"}}}]},
        "repositories": [
            {"match": "arn:aws:ecr:us-east-1:111122223333:repository/shared/*", "policy": {"document": text},
             "tags": {"tier": "gold"}, "presence": "Present"},
            {"match": "arn:*:ecr:*:*:repository/team-?/a_b.c/*", "tags": {("k".repeat(128)): "", "cost center": "é"}},
            {"match": "arn:aws-cn:ecr:cn-*:11112222????:repository/docker-hub/library/nginx", "tags": {}},
            {"match": "*", "policy": "Unknown"}],
        "registries": [
            {"accountId": "111122223333", "region": "us-east-1", "policyScope": "V1", "policy": {"document": text},
             "pullThroughCache": [{"prefix": "docker-hub"}, {"prefix": "ROOT"}, {"prefix": "ab"}, {"prefix": "team-a/quay/"}]},
            {"accountId": "111122223333", "region": "us-gov-west-1", "policyScope": "V2"},
            {"accountId": "111122223333", "region": "eusc-de-east-1", "policyScope": "V2"},
            {"accountId": "111122223333", "region": "*", "policyScope": "V2", "policy": "Unknown"}],
        "organization": {
            "serviceControlPolicies": [{"level": "root", "policies": [{"name": "FullAWSAccess", "managedPolicyArn": full}]}],
            "resourceControlPolicies": [{"level": "Prod OU (é)", "policies": [
                {"name": "guard rails", "managedPolicyArn": "arn:aws:organizations::111122223333:policy/o-a1/resource_control_policy/p-1a"}]}]},
        "context": {
            "aws:SourceVpc": ["vpc-0abc"], "aws:SourceVpce": [], "aws:PrincipalTag/cost center": ["é"],
            "oidc.eks.us-east-1.amazonaws.com/id/0123:sub": ["system:serviceaccount:a:b"]},
        "exemptions": [{
            "name": "legacy-images", "serviceAccounts": ["api", "worker.v2"], "reason": "registry moves in March (é)",
            "images": ["111122223333.dkr.ecr.us-east-1.amazonaws.com/legacy/*", "*/App_1:1.*@sha256:0"],
            "expiresAt": "2099-03-31T02:00:00.5+02:00"}],
        "onDeny": "Warn", "onUnknown": "Warn",
    })
}

pub async fn every_field_is_stored_and_explained(world: &World) -> Result<()> {
    world.namespace("every-field", &[]).await?;
    let stored = world.policy("every-field", "all", every_field()).await?;
    ensure!(stored["spec"] == every_field(), "not what was applied: {}", stored["spec"]);
    let status = world.settled_status("every-field", "all").await?;
    ensure!(condition(&status, "Ready").is_some_and(|found| found["status"] == "True"), "{status}");
    for (field, part) in [
        ("spec.puller.nodes", "Which node a pod will run on is not known"),
        ("spec.puller.serviceAccount.fallbackNodes", "who pulls for a service account that has no role"),
        ("spec.puller.role.identity.policies.configMapKeyRef", "without the label it is not read"),
        ("spec.repositories.policy", "or the word `Unknown`"),
        ("spec.registries.pullThroughCache.prefix", "`ROOT`"),
        ("spec.organization.serviceControlPolicies", "Every level must allow a request"),
        ("spec.context", "Several values of a key"),
        ("spec.exemptions.expiresAt", "the exemption is gone, without an edit"),
    ] {
        let explained = world.cluster.kubectl(&["explain", &format!("ecraccesspolicy.{field}")])?;
        let words = explained.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(words.contains(part), "`{part}` is not in: {words}");
    }
    Ok(())
}

/// Two authors of one object, by server-side apply: lists that have keys are merged, those whose order decides are not.
pub async fn two_authors_share_a_policy(world: &World) -> Result<()> {
    world.namespace("two-authors", &["api"]).await?;
    let apply = async |author: &str, spec: Value| {
        let path = format!("{}/shared?fieldManager={author}", policies("two-authors"));
        let object = json!({"apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy",
                            "metadata": {"name": "shared", "namespace": "two-authors"}, "spec": spec});
        world.call_as("PATCH", &path, "application/apply-patch+yaml", serde_json::to_vec(&object)?).await
    };
    let level = |name: &str| {
        json!({"level": name, "policies": [{"name": "FullAWSAccess",
               "managedPolicyArn": "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess"}]})
    };
    let role = "arn:aws:iam::111122223333:role/node";
    let platform = json!({
        "puller": {"nodes": [{"arn": role, "identity": {"policies": [{"name": "login", "document": pull_document(&["base"])}]}}]},
        "repositories": [{"match": "arn:aws:ecr:*:111122223333:repository/base", "presence": "Present"}],
        "registries": [{"accountId": "111122223333", "pullThroughCache": [{"prefix": "quay"}]}],
        "organization": {"serviceControlPolicies": [level("root")]},
        "context": {"aws:SourceVpc": ["vpc-0abc"]},
    });
    let team = json!({
        "puller": {"nodes": [
            {"arn": role, "identity": {"policies": [{"name": "team", "document": pull_document(&["team"])}], "tags": {"team": "payments"}}}]},
        "registries": [
            {"accountId": "111122223333", "pullThroughCache": [{"prefix": "docker-hub"}]},
            {"accountId": "111122223333", "region": "eu-west-1"}],
        "organization": {"serviceControlPolicies": [level("account")]},
        "context": {"aws:SourceVpce": []},
    });
    let answer = apply("platform", platform.clone()).await?;
    ensure!(answer.ok(), "{answer:?}");
    world.until_refused("two-authors", "api", &image("team")).await?;
    let answer = apply("team", team.clone()).await?;
    ensure!(answer.ok(), "{answer:?}");
    let spec = &answer.body["spec"];
    let words = |list: &Value, field: &str| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items.map(|item| item[field].as_str().unwrap_or_default().to_owned()).collect()
    };
    let node = &spec["puller"]["nodes"][0];
    ensure!(words(&spec["puller"]["nodes"], "arn") == [role], "{spec}");
    ensure!(words(&node["identity"]["policies"], "name") == ["login", "team"], "{spec}");
    // A region that is left out is the same key as `*`.
    ensure!(words(&spec["registries"], "region") == ["*", "eu-west-1"], "{spec}");
    ensure!(words(&spec["registries"][0]["pullThroughCache"], "prefix") == ["quay", "docker-hub"], "{spec}");
    ensure!(words(&spec["organization"]["serviceControlPolicies"], "level") == ["root", "account"], "{spec}");
    ensure!(spec["context"].as_object().is_some_and(|context| context.len() == 2), "{spec}");
    // Both authors' policies count.
    world.until_admitted("two-authors", "api", &image("team")).await?;
    world.try_pod("two-authors", "api", &image("base")).await?.admitted()?;

    // The order of repositories decides, so they belong to one author; as a document does.
    for (what, field, value) in [
        ("repositories", "repositories", json!([{"match": "*", "presence": "Missing"}])),
        (
            "a document",
            "puller",
            json!({"nodes": [{"arn": role, "identity": {"policies": [{"name": "login", "document": pull_document(&["other"])}]}}]}),
        ),
    ] {
        let mut changed = team.clone();
        changed[field] = value;
        let answer = apply("team", changed).await?;
        ensure!(answer.code == 409 && answer.message().contains("platform"), "{what}: {answer:?}");
    }

    // What an author no longer applies goes, and nothing else.
    let answer = apply("team", json!({"context": {"aws:SourceVpce": []}})).await?;
    let mut expected = platform;
    expected["registries"][0]["region"] = json!("*");
    expected["registries"][0]["policyScope"] = json!("V2");
    expected["context"]["aws:SourceVpce"] = json!([]);
    expected["onDeny"] = json!("Reject");
    ensure!(answer.body["spec"] == expected, "{answer:?}");
    world.until_refused("two-authors", "api", &image("team")).await.map(drop)
}

pub async fn an_edit_flips_the_verdict(world: &World) -> Result<()> {
    world.namespace("edit", &["api"]).await?;
    for _ in 0..10 {
        world.policy("edit", "pull", spec(pull_document(&["one"]))).await?;
        world.until_refused("edit", "api", &image("two")).await?;
        world.policy("edit", "pull", spec(pull_document(&["two"]))).await?;
        // The fix is read afresh before a refusal leaves: no waiting at all.
        world.try_pod("edit", "api", &image("two")).await?.admitted()?;
        world.until_refused("edit", "api", &image("one")).await?;
    }

    // A service account's annotation decides as well.
    let mut by_role = json!({"puller": {"serviceAccount": {"roles": [
        {"arn": "arn:aws:iam::111122223333:role/one", "identity": {"policies": [{"name": "p", "document": pull_document(&["one"])}]}},
        {"arn": "arn:aws:iam::111122223333:role/two", "identity": {"policies": [{"name": "p", "document": pull_document(&["two"])}]}},
    ]}}});
    by_role["serviceAccounts"] = json!({"names": ["annotated"]});
    world.policy("edit", "by-role", by_role).await?;
    let role = |name: &str| json!({"eks.amazonaws.com/ecr-role-arn": format!("arn:aws:iam::111122223333:role/{name}")});
    world.service_account("edit", "annotated", role("one")).await?;
    world.until_refused("edit", "annotated", &image("two")).await?;
    let path = "/api/v1/namespaces/edit/serviceaccounts/annotated";
    world.must("PATCH", path, Some(&json!({"metadata": {"annotations": role("two")}}))).await?;
    world.try_pod("edit", "annotated", &image("two")).await?.admitted()?;
    world.until_refused("edit", "annotated", &image("one")).await.map(drop)
}

pub async fn deleted(world: &World) -> Result<()> {
    world.namespace("deleted", &["api"]).await?;
    world.policy("deleted", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("deleted", "api", &image("bad")).await?;
    world.must("DELETE", &format!("{}/pull", policies("deleted")), None).await?;
    // A policy that is gone refuses nobody, from the next moment on.
    world.try_pod("deleted", "api", &image("bad")).await?.admitted()?;
    world.until_admitted("deleted", "api", &image("bad")).await.map(drop)
}

pub async fn status_and_columns(world: &World) -> Result<()> {
    world.namespace("status", &["api"]).await?;
    world.pod("status", "denied", "api", &image("bad")).await?.admitted()?;
    world.pod("status", "allowed", "api", &image("good")).await?.admitted()?;
    world.pod("status", "elsewhere", "api", "docker.io/library/busybox:1").await?.admitted()?;
    world.policy("status", "pull", spec(pull_document(&["good"]))).await?;
    let mut status = world.settled_status("status", "pull").await?;
    // Conditions come within a second, counts alone at most every 10 s.
    world
        .eventually(std::time::Duration::from_secs(15), "the pods are counted", async || {
            status = world.settled_status("status", "pull").await?;
            Ok(status["pods"]["denied"] == 1)
        })
        .await
        .with_context(|| status.to_string())?;
    ensure!(status["pods"]["unknown"] == 0, "{status}");
    let ready = condition(&status, "Ready").context("condition Ready")?;
    ensure!(ready["status"] == "True" && ready["observedGeneration"] == 1, "{ready}");
    ensure!(condition(&status, "PoliciesResolved").is_some_and(|found| found["status"] == "True"), "{status}");
    ensure!(condition(&status, "Conflicted").is_some_and(|found| found["status"] == "False"), "{status}");
    let denial = &status["denials"][0];
    ensure!(
        (&denial["kind"], &denial["name"], &denial["pods"]) == (&json!("Pod"), &json!("denied"), &json!(1))
            && denial["serviceAccount"] == "api"
            && denial["action"] == "ecr:BatchGetImage",
        "{status}"
    );

    let table = world.cluster.kubectl(&["get", "eap", "-n", "status"])?;
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let head = lines.next().context("a head")?;
    ensure!(head == ["NAME", "READY", "ALLOWED", "DENIED", "UNKNOWN", "ONDENY", "AGE"], "{table}");
    let row = lines.next().context("a row")?;
    ensure!(row.get(1) == Some(&"True") && row.get(3) == Some(&"1"), "{table}");

    // A managed policy that this binary does not have: known by its name, and said.
    let foreign = spec_of(json!([{"name": "ours", "managedPolicyArn": "arn:aws:iam::111122223333:policy/ours"}]));
    world.policy("status", "pull", foreign).await?;
    let status = world.settled_status("status", "pull").await?;
    ensure!(condition(&status, "PoliciesResolved").is_some_and(|found| found["status"] == "False"), "{status}");
    ensure!(condition(&status, "Ready").is_some_and(|found| found["observedGeneration"] == 2), "{status}");
    Ok(())
}

/// The mistake of so many policies: the login, scoped to a repository. Nothing pulls with it yet, and it is told.
pub async fn advice_is_in_the_status(world: &World) -> Result<()> {
    world.namespace("advice", &["api"]).await?;
    world.pod("advice", "api-0", "api", &image("my-repo")).await?.admitted()?;
    let repository = "arn:aws:ecr:us-east-1:111122223333:repository/my-repo";
    let document = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Resource": repository, "Action": [
            "ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:PutImage"]},
    ]});
    world.policy("advice", "pull", spec(document)).await?;
    let mut status = Value::Null;
    world
        .eventually(std::time::Duration::from_secs(15), "advice", async || {
            status = world.settled_status("advice", "pull").await?;
            Ok(status["advice"].as_array().is_some_and(|advice| advice.len() == 2))
        })
        .await
        .with_context(|| status.to_string())?;
    ensure!(condition(&status, "Ready").is_some_and(|found| found["status"] == "True"), "{status}");
    let (lint, grant) = (&status["advice"][0], &status["advice"][1]);
    ensure!(
        lint["code"] == "needs-star-resource" && lint["policy"] == "app-pull" && lint["document"].is_null(),
        "{status}"
    );
    ensure!(grant["code"] == "BroaderThanNeeded" && grant["target"] == role("pull").as_str(), "{status}");
    ensure!(grant["message"] == "allows ecr:PutImage, which no pull needs", "{status}");
    ensure!(status["adviceOmitted"] == 0, "{status}");
    // What is advised does, and then there is nothing left to advise.
    let advised: Value = serde_json::from_str(grant["document"].as_str().context("a document")?)?;
    world.policy("advice", "pull", spec(advised)).await?;
    world
        .eventually(std::time::Duration::from_secs(15), "no advice", async || {
            status = world.settled_status("advice", "pull").await?;
            Ok(status["advice"] == json!([]) && status["pods"]["allowed"] == 1)
        })
        .await
        .with_context(|| status.to_string())?;
    Ok(())
}

pub async fn a_cluster_policy(world: &World) -> Result<()> {
    world.namespace("cluster-in", &["api"]).await?;
    world.namespace("cluster-out", &["api"]).await?;
    let label = json!({"metadata": {"labels": {"team": "payments"}}});
    world.must("PATCH", "/api/v1/namespaces/cluster-in", Some(&label)).await?;
    let mut policy = json!({
        "apiVersion": "ecraccess.dev/v1alpha1", "kind": "ClusterEcrAccessPolicy", "metadata": {"name": "payments"},
        "spec": {"puller": {"role": {"arn": "arn:aws:iam::111122223333:role/node", "identity": {"policies": [
            {"name": "pull-only", "managedPolicyArn": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"}]}}}},
    });
    policy["spec"]["namespaceSelector"] = json!({"matchLabels": {"team": "payments"}});
    let path = "/apis/ecraccess.dev/v1alpha1/clusterecraccesspolicies";
    world.must("POST", path, Some(&policy)).await?;
    // The managed policy may pull everything of its own account. Of a foreign one it is the registry that decides.
    let foreign = "444455556666.dkr.ecr.us-east-1.amazonaws.com/app:1";
    world.until("cluster-in", "api", foreign, "Unknown", |answer| answer.warned_with(&[foreign]).is_ok()).await?;
    world.try_pod("cluster-in", "api", &image("any")).await?.admitted()?;
    world.try_pod("cluster-out", "api", foreign).await?.admitted()?;
    // A policy of the namespace wins.
    world.policy("cluster-in", "own", spec(pull_document(&["good"]))).await?;
    world.until_refused("cluster-in", "api", &image("any")).await?;
    world.must("DELETE", &format!("{path}/payments"), None).await.map(drop)
}

pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}
