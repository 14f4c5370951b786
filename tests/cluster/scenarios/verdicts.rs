//! What happens to pods.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::world::{ANNOTATION, PATIENCE, RELEASE, World, image, pod, pods, pull_document, spec};

/// "Amazon Elastic Container Registry Identity-Based Policy Examples", Accessing One Amazon ECR Repository.
const ONE_REPOSITORY: &str = r#"{
    "Version":"2012-10-17",
    "Statement":[
        {"Sid":"ListImagesInRepository", "Effect":"Allow", "Action":["ecr:ListImages"],
         "Resource":"arn:aws:ecr:us-east-1:123456789012:repository/my-repo"},
        {"Sid":"GetAuthorizationToken", "Effect":"Allow", "Action":["ecr:GetAuthorizationToken"], "Resource":"*"},
        {"Sid":"ManageRepositoryContents", "Effect":"Allow",
         "Action":["ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer",
             "ecr:GetRepositoryPolicy", "ecr:DescribeRepositories", "ecr:ListImages", "ecr:DescribeImages",
             "ecr:BatchGetImage", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload",
             "ecr:PutImage"],
         "Resource":"arn:aws:ecr:us-east-1:123456789012:repository/my-repo"}
    ]
}"#;

pub async fn one_repository_of_the_aws_page(world: &World) -> Result<()> {
    const ROLE: &str = "arn:aws:iam::123456789012:role/pull";
    let registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    let (mine, other) = (format!("{registry}/my-repo:1"), format!("{registry}/my-other-repo:1"));
    // Once as text, byte for byte, and once as the mapping that people paste into YAML.
    for (namespace, document) in
        [("aws-text", json!(ONE_REPOSITORY)), ("aws-mapping", serde_json::from_str::<Value>(ONE_REPOSITORY)?)]
    {
        world.namespace(namespace, &[]).await?;
        world.service_account(namespace, "api", json!({ANNOTATION: ROLE})).await?;
        world.policy(namespace, "pull", spec(document)).await?;
        world.until_refused(namespace, "api", &other).await?;
        world.pod(namespace, "mine", "api", &mine).await?.admitted()?;
        let refused = world.pod(namespace, "other", "api", &other).await?;
        refused.refused_with(&[
            "container app:",
            &other,
            "ecr:BatchGetImage",
            "arn:aws:ecr:us-east-1:123456789012:repository/my-other-repo",
            ROLE,
        ])?;
        ensure!(refused.body["reason"] == "Forbidden", "{refused:?}");
        ensure!(refused.body["details"]["causes"][0]["field"] == "spec.containers[0].image", "{refused:?}");
        crate::world::golden(&format!("cluster/{namespace}.txt"), &format!("{}\n", refused.message()))?;
    }
    Ok(())
}

pub async fn all_four_image_places(world: &World) -> Result<()> {
    world.namespace("places", &["api"]).await?;
    world.policy("places", "pull", spec(pull_document(&["good"]))).await?;
    let (good, bad) = (image("good"), image("bad"));
    world.until_refused("places", "api", &bad).await?;

    let with = |name: &str, patch: Value| {
        let mut pod = pod(name, "api", &good);
        patch.as_object().unwrap().iter().for_each(|(key, value)| pod["spec"][key] = value.clone());
        pod
    };
    let containers =
        |image: &str| json!({"containers": [{"name": "first", "image": good}, {"name": "app", "image": image}]});
    let init = |image: &str| json!({"initContainers": [{"name": "init", "image": image}]});
    let volume = |image: &str| json!({"volumes": [{"name": "model", "image": {"reference": image}}]});
    for (name, field, good_pod, bad_pod) in [
        ("containers", "spec.containers[1].image", containers(&good), containers(&bad)),
        ("init", "spec.initContainers[0].image", init(&good), init(&bad)),
        ("volume", "spec.volumes[0].image.reference", volume(&good), volume(&bad)),
    ] {
        world.call("POST", &pods("places"), Some(&with(name, good_pod))).await?.admitted()?;
        let refused = world.call("POST", &pods("places"), Some(&with(&format!("{name}-bad"), bad_pod))).await?;
        refused.refused_with(&[&bad])?;
        ensure!(refused.body["details"]["causes"][0]["field"] == field, "{name}: {refused:?}");
    }

    let path = format!("{}/containers/ephemeralcontainers", pods("places"));
    let debug = |image: &str| json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": image}]}});
    let refused = world.call("PATCH", &path, Some(&debug(&bad))).await?;
    refused.refused_with(&[&bad, "ephemeral container debug:"])?;
    ensure!(refused.body["details"]["causes"][0]["field"] == "spec.ephemeralContainers[0].image", "{refused:?}");
    world.call("PATCH", &path, Some(&debug(&good))).await?.admitted()
}

pub async fn update_of_an_image(world: &World) -> Result<()> {
    world.namespace("update", &["api"]).await?;
    world.policy("update", "pull", spec(pull_document(&["good", "good2"]))).await?;
    world.until_refused("update", "api", &image("bad")).await?;
    world.pod("update", "app", "api", &image("good")).await?.admitted()?;
    let path = format!("{}/app", pods("update"));
    let set = async |image: String| {
        let mut live = world.must("GET", &path, None).await?;
        live["spec"]["containers"][0]["image"] = json!(image);
        world.call("PUT", &path, Some(&live)).await
    };
    set(image("bad")).await?.refused_with(&[&image("bad")])?;
    set(image("good2")).await?.admitted()?;

    // What runs already is nobody's business: labels and other images of the pod can still change.
    world.policy("update", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("update", "api", &image("good2")).await?;
    world.call("PATCH", &path, Some(&json!({"metadata": {"labels": {"a": "b"}}}))).await?.admitted()?;
    world.call("PATCH", &path, Some(&json!({"spec": {"activeDeadlineSeconds": 3600}}))).await?.admitted()?;
    set(image("good")).await?.admitted()
}

pub async fn ephemeral_container_beside_an_image_that_cannot_be_pulled(world: &World) -> Result<()> {
    world.namespace("debug", &["api"]).await?;
    world.pod("debug", "app", "api", &image("bad")).await?.admitted()?;
    world.policy("debug", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("debug", "api", &image("bad")).await?;

    let path = format!("{}/app/ephemeralcontainers", pods("debug"));
    let debug = |images: &[String]| {
        let containers: Vec<Value> = images
            .iter()
            .enumerate()
            .map(|(index, image)| json!({"name": format!("debug-{index}"), "image": image}))
            .collect();
        json!({"spec": {"ephemeralContainers": containers}})
    };
    let busybox = "docker.io/library/busybox:1".to_owned();
    world.call("PATCH", &path, Some(&debug(std::slice::from_ref(&busybox)))).await?.admitted()?;
    world.call("PATCH", &path, Some(&debug(&[busybox.clone(), image("good")]))).await?.admitted()?;
    let refused = world.call("PATCH", &path, Some(&debug(&[busybox, image("good"), image("other")]))).await?;
    refused.refused_with(&[&image("other")])?;
    ensure!(!refused.message().contains("/bad"), "only the new image is judged: {refused:?}");
    Ok(())
}

pub async fn what_is_not_known_is_a_warning(world: &World) -> Result<()> {
    world.namespace("unknown", &["api"]).await?;
    let mut document = pull_document(&["good", "conditional"]);
    document["Statement"][1]["Resource"] = json!("arn:aws:ecr:us-east-1:111122223333:repository/good");
    document["Statement"].as_array_mut().unwrap().push(json!({
        "Sid": "FromOurNetwork", "Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "Resource": "arn:aws:ecr:us-east-1:111122223333:repository/conditional",
        "Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
    }));
    world.policy("unknown", "pull", spec(document)).await?;
    world.until_refused("unknown", "api", &image("bad")).await?;
    // Only where it matters.
    world.pod("unknown", "good", "api", &image("good")).await?.admitted()?;
    let warned = world.pod("unknown", "conditional", "api", &image("conditional")).await?;
    warned.warned_with(&[&image("conditional")])?;
    ensure!(warned.warnings.iter().all(|warning| !warning.contains('\n')), "{warned:?}");

    // A pull secret is tried first, and may well work.
    let mut secret = pod("secret", "api", &image("bad"));
    secret["spec"]["imagePullSecrets"] = json!([{"name": "registry"}]);
    world.call("POST", &pods("unknown"), Some(&secret)).await?.warned_with(&[&image("bad")])?;
    // Nobody selects this account.
    world.namespace("nobody", &["api"]).await?;
    world.pod("nobody", "app", "api", &image("bad")).await?.admitted()
}

pub async fn actions_on_a_verdict(world: &World) -> Result<()> {
    world.namespace("actions", &["api"]).await?;
    let with = |action: &str| {
        let mut spec = spec(pull_document(&["good"]));
        spec["onDeny"] = json!(action);
        spec
    };
    let bad = image("bad");
    world.policy("actions", "pull", with("Reject")).await?;
    world.until_refused("actions", "api", &bad).await?;
    world.policy("actions", "pull", with("Warn")).await?;
    world
        .until("actions", "api", &bad, "admitted with a warning", |answer| answer.warned_with(&[&bad]).is_ok())
        .await?;
    world.policy("actions", "pull", with("Audit")).await?;
    world.until_admitted("actions", "api", &bad).await.map(drop)
}

pub async fn a_workload_owned_pod_is_refused_at_its_replica_set(world: &World) -> Result<()> {
    world.namespace("workload", &["api"]).await?;
    world.policy("workload", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("workload", "api", &image("bad")).await?;
    let template = pod("", "api", &image("bad"))["spec"].clone();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
        "spec": {"selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": template}},
    });
    world.must("POST", "/apis/apps/v1/namespaces/workload/deployments", Some(&deployment)).await?;
    // The controller manager tells in the words of the refusal, whole.
    world
        .eventually(PATIENCE, "the Deployment reports the refusal", async || {
            let live = world.must("GET", "/apis/apps/v1/namespaces/workload/deployments/app", None).await?;
            let conditions = live["status"]["conditions"].as_array().cloned().unwrap_or_default();
            Ok(conditions.iter().any(|condition| {
                condition["type"] == "ReplicaFailure"
                    && condition["message"].as_str().is_some_and(|text| text.contains("ecr:BatchGetImage"))
            }))
        })
        .await?;
    world.must("DELETE", "/apis/apps/v1/namespaces/workload/deployments/app", None).await.map(drop)
}

pub async fn the_operators_own_namespaces_are_out_of_reach(world: &World) -> Result<()> {
    let policy = json!({
        "apiVersion": "ecraccess.dev/v1alpha1", "kind": "ClusterEcrAccessPolicy", "metadata": {"name": "everything"},
        "spec": spec(pull_document(&["good"])),
    });
    let path = "/apis/ecraccess.dev/v1alpha1/clusterecraccesspolicies";
    world.must("POST", path, Some(&policy)).await?;
    world.namespace("reached", &["api"]).await?;
    world.until_refused("reached", "api", &image("bad")).await?;
    for namespace in ["kube-system", RELEASE] {
        world.try_pod(namespace, "default", &image("bad")).await?.admitted()?;
    }
    world.must("DELETE", &format!("{path}/everything"), None).await?;
    world.until_admitted("reached", "api", &image("bad")).await.map(drop)
}
