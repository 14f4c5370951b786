//! What scenarios work with: a cluster with the operator on it, and short ways to ask it things.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ecr_forecast::text::{Unit, cut};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use crate::canary::canary;
use crate::harness::{Cluster, http};

/// The release, its namespace, and the name of every object of it.
pub const RELEASE: &str = "ecr-access";
/// The annotation that names the role which pulls for a service account.
pub const ANNOTATION: &str = "eks.amazonaws.com/ecr-role-arn";
/// The registry of the tests.
pub const REGISTRY: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com";
/// In force within this time, as promised; asked again and again until then.
pub const IN_FORCE: Duration = Duration::from_secs(1);
/// For things that are nobody's promise, such as a Deployment's rollout.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of an answer that a failure shows.
const SHOWN: usize = 1024;

/// A cluster with the operator on it.
pub struct World {
    pub cluster: Cluster,
}

/// What the API server answered.
pub struct Answer {
    pub code: u16,
    pub body: Value,
    /// The texts of the `Warning` headers.
    pub warnings: Vec<String>,
}

/// What the API server answered, as bytes.
pub struct RawAnswer {
    pub code: u16,
    pub bytes: Vec<u8>,
    pub warnings: Vec<String>,
}

impl RawAnswer {
    /// A body that is no JSON, or not for us, is the message.
    pub fn read(self) -> Answer {
        let text = || json!({"message": String::from_utf8_lossy(&self.bytes).into_owned()});
        let body = serde_json::from_slice(&self.bytes).unwrap_or_else(|_| text());
        Answer { code: self.code, body, warnings: self.warnings }
    }
}

/// A stored object may have megabytes: a failure shows how it begins.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body.to_string();
        write!(f, "{} {} {:?}", self.code, cut(&body, SHOWN, Unit::Bytes), self.warnings)
    }
}

impl Answer {
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The message of a refusal.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// Refused by the pod webhook, with `parts` in its message.
    pub fn refused_with(&self, parts: &[&str]) -> Result<()> {
        let message = self.message();
        ensure!(
            self.code == 403 && message.starts_with("admission webhook \"pods.ecraccess.dev\" denied the request: "),
            "should be refused by the webhook, but: {self:?}"
        );
        for part in parts {
            ensure!(message.contains(part), "`{part}` is not in the message: {message}");
        }
        Ok(())
    }

    /// Admitted without a warning of ours.
    pub fn admitted(&self) -> Result<()> {
        ensure!(self.ok() && self.warnings.is_empty(), "should be admitted silently, but: {self:?}");
        Ok(())
    }

    /// Admitted with one warning that has `parts`.
    pub fn warned_with(&self, parts: &[&str]) -> Result<()> {
        ensure!(self.ok(), "should be admitted, but: {self:?}");
        let all = self.warnings.join("\n");
        ensure!(!all.is_empty() && parts.iter().all(|part| all.contains(part)), "warning with {parts:?}, not: {all}");
        Ok(())
    }
}

impl World {
    /// One call of the API, as the cluster's administrator. `patch` is a merge patch.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        self.call_as(method, path, kind, body.map(serde_json::to_vec).transpose()?.unwrap_or_default()).await
    }

    /// As [`call`](Self::call), with a content type of its own: server-side apply, for one.
    pub async fn call_as(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> Result<Answer> {
        Ok(self.raw(None, method, path, kind, body).await?.read())
    }

    /// As [`call_as`](Self::call_as), as another user where one is named, and nothing is read of what comes back.
    pub async fn raw(
        &self,
        user: Option<&str>,
        method: &str,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> Result<RawAnswer> {
        let mut request = axum::http::Request::builder().method(method).uri(path).header("content-type", kind);
        if let Some(user) = user {
            request = request.header("impersonate-user", user);
        }
        let request = request.body(Body::from(body))?;
        let response = self.cluster.client.send(request).await.with_context(|| format!("{method} {path}"))?;
        let warnings = response.headers().get_all("warning").iter().filter_map(|value| warning(value.to_str().ok()?));
        let (code, warnings) = (response.status().as_u16(), warnings.collect());
        let bytes = response.into_body().collect().await?.to_bytes().to_vec();
        Ok(RawAnswer { code, bytes, warnings })
    }

    /// A call that has to succeed.
    pub async fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.call(method, path, body).await?;
        ensure!(answer.ok(), "{method} {path}: {answer:?}");
        Ok(answer.body)
    }

    /// Makes an empty namespace with its service accounts, for each of which a role of the registry's account pulls.
    pub async fn namespace(&self, name: &str, service_accounts: &[&str]) -> Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.must("POST", "/api/v1/namespaces", Some(&namespace)).await?;
        for account in service_accounts {
            self.service_account(name, account, json!({ANNOTATION: role("pull")})).await?;
        }
        // The controller manager makes the account `default`, and no pod is taken before it is there.
        self.eventually(PATIENCE, "account `default`", async || {
            Ok(self.call("GET", &format!("/api/v1/namespaces/{name}/serviceaccounts/default"), None).await?.ok())
        })
        .await
        .map(drop)
    }

    pub async fn service_account(&self, namespace: &str, name: &str, annotations: Value) -> Result<Value> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let mut annotations = annotations;
        annotations["example.com/note"] = json!(canary("annotation"));
        let metadata = json!({"name": name, "annotations": annotations, "labels": {"note": canary("label")}});
        self.must("POST", &path, Some(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})))
            .await
    }

    /// Creates or replaces a policy.
    pub async fn policy(&self, namespace: &str, name: &str, spec: Value) -> Result<Value> {
        let answer = self.try_policy(namespace, name, spec).await?;
        ensure!(answer.ok(), "policy {namespace}/{name}: {answer:?}");
        Ok(answer.body)
    }

    pub async fn try_policy(&self, namespace: &str, name: &str, spec: Value) -> Result<Answer> {
        let path = format!("{}/{name}?fieldManager=test&force=true", policies(namespace));
        let policy = json!({
            "apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        });
        self.call_as("PATCH", &path, "application/apply-patch+yaml", serde_json::to_vec(&policy)?).await
    }

    /// Creates a pod of one container.
    pub async fn pod(&self, namespace: &str, name: &str, account: &str, image: &str) -> Result<Answer> {
        self.call("POST", &pods(namespace), Some(&pod(name, account, image))).await
    }

    /// Asks what would happen to such a pod, and leaves nothing behind.
    pub async fn try_pod(&self, namespace: &str, account: &str, image: &str) -> Result<Answer> {
        self.call("POST", &dry_pods(namespace), Some(&pod("try", account, image))).await
    }

    /// Waits until such a pod is refused: the policy is in force. Returns how long it took.
    pub async fn until_refused(&self, namespace: &str, account: &str, image: &str) -> Result<Duration> {
        self.until(namespace, account, image, "refused", |answer| answer.code == 403).await
    }

    /// Waits until such a pod is admitted silently.
    pub async fn until_admitted(&self, namespace: &str, account: &str, image: &str) -> Result<Duration> {
        self.until(namespace, account, image, "admitted", |answer| answer.admitted().is_ok()).await
    }

    /// Waits until `reached` holds for the answer to such a pod, from every replica that answers.
    pub async fn until(
        &self,
        namespace: &str,
        account: &str,
        image: &str,
        what: &str,
        reached: impl Fn(&Answer) -> bool,
    ) -> Result<Duration> {
        let what = format!("pod of {namespace}/{account} with {image} is {what}");
        let took = self
            .eventually(IN_FORCE, &what, async || Ok(reached(&self.try_pod(namespace, account, image).await?)))
            .await?;
        // Which replica answered is chance, and every one of them has to. One that goes meanwhile has no say any more.
        for replica in self.replicas().await? {
            self.eventually(IN_FORCE, &format!("{what}, says replica {replica}"), async || {
                match self.ask_replica(&replica, namespace, &pod("try", account, image)).await {
                    Ok(answer) => Ok(reached(&answer)),
                    Err(_) if !self.replicas().await?.contains(&replica) => Ok(true),
                    Err(error) => Err(error),
                }
            })
            .await?;
        }
        Ok(took)
    }

    /// The names of the operator's pods that are ready.
    async fn replicas(&self) -> Result<Vec<String>> {
        let path = format!("{}?labelSelector=app.kubernetes.io/component=operator", pods(RELEASE));
        let list = self.must("GET", &path, None).await?;
        let ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            pod["metadata"]["deletionTimestamp"].is_null()
                && conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        };
        let ready = list["items"].as_array().into_iter().flatten().filter(ready);
        let names: Vec<String> = ready.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect();
        ensure!(!names.is_empty(), "no replica is ready: {list}");
        Ok(names)
    }

    /// What one replica says to the creation of a pod, past the Service: through the API server's proxy.
    async fn ask_replica(&self, replica: &str, namespace: &str, pod: &Value) -> Result<Answer> {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "asked-by-a-test", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
                "namespace": namespace, "name": pod["metadata"]["name"], "object": pod,
            },
        });
        let path = format!("{}/https:{replica}:9443/proxy/validate/pods", pods(RELEASE));
        let body = self.must("POST", &path, Some(&review)).await?;
        let response = &body["response"];
        let warnings = response["warnings"].as_array().into_iter().flatten();
        let warnings = warnings.filter_map(|text| text.as_str().map(str::to_owned)).collect();
        let code = match response["allowed"].as_bool().context("an answer")? {
            true => 201,
            false => response["status"]["code"].as_u64().and_then(|code| code.try_into().ok()).context("a code")?,
        };
        Ok(Answer { code, body: response["status"].clone(), warnings })
    }

    /// Asks until the answer is yes. Returns how long it took.
    pub async fn eventually(
        &self,
        patience: Duration,
        what: &str,
        mut ask: impl AsyncFnMut() -> Result<bool>,
    ) -> Result<Duration> {
        let begin = Instant::now();
        loop {
            if ask().await? {
                return Ok(begin.elapsed());
            }
            if begin.elapsed() > patience {
                bail!("not within {patience:?}: {what}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A policy's status, once the operator has written it for the current generation.
    pub async fn settled_status(&self, namespace: &str, name: &str) -> Result<Value> {
        let path = format!("{}/{name}", policies(namespace));
        let mut status = Value::Null;
        self.eventually(PATIENCE, &format!("status of {namespace}/{name}"), async || {
            let policy = self.must("GET", &path, None).await?;
            status = policy["status"].clone();
            Ok(status["observedGeneration"] == policy["metadata"]["generation"])
        })
        .await?;
        Ok(status)
    }

    /// Calls that the pod webhook answered, by all replicas. Only in a cluster of our own.
    pub fn reviews(&self) -> Result<u64> {
        self.reviews_of("pods.ecraccess.dev")
    }

    /// Calls that this webhook answered, by all replicas. Only in a cluster of our own.
    pub fn reviews_of(&self, webhook: &str) -> Result<u64> {
        let mut sum = 0;
        for replica in self.cluster.replicas() {
            let answer = http::get(format!("{}:8080", replica.address).parse()?, "/metrics", Duration::from_secs(2))?;
            sum += answer
                .body
                .lines()
                .filter(|line| line.starts_with("ecr_access_reviews_total{") && line.contains(webhook))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum::<f64>() as u64;
        }
        Ok(sum)
    }

    /// Waits until the operator's Deployment has `replicas` ready and endpoints to match.
    pub async fn operator_ready(&self, replicas: u64) -> Result<()> {
        let deployment = format!("/apis/apps/v1/namespaces/{RELEASE}/deployments/{RELEASE}");
        let slices = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{RELEASE}/endpointslices?labelSelector=kubernetes.io/service-name={RELEASE}"
        );
        let mut seen = Value::Null;
        let result = self
            .eventually(PATIENCE, "the operator is ready", async || {
                let body = self.must("GET", &deployment, None).await?;
                seen = body["status"].clone();
                let is = |field: &str| seen[field].as_u64().unwrap_or(0);
                let rolled_out = seen["observedGeneration"] == body["metadata"]["generation"]
                    && [is("replicas"), is("readyReplicas"), is("updatedReplicas")] == [replicas; 3];
                let list = self.must("GET", &slices, None).await?;
                let endpoints = list["items"].as_array().into_iter().flatten().flat_map(|slice| {
                    slice["endpoints"].as_array().into_iter().flatten().map(|endpoint| &endpoint["conditions"]["ready"])
                });
                Ok(rolled_out && endpoints.filter(|ready| **ready == true).count() as u64 == replicas)
            })
            .await;
        result.map(drop).with_context(|| format!("{seen}"))
    }

    /// [`operator_ready`](Self::operator_ready), and no replica of before is still on its way out: for whoever counts
    /// replicas or asks each of them. Deployments and EndpointSlices do not tell of those that are. Where they cannot be
    /// seen, in a cluster that is not ours, it is the same as `operator_ready`.
    pub async fn operator_settled(&self, replicas: u64) -> Result<()> {
        self.operator_ready(replicas).await?;
        if !self.cluster.is_own() {
            return Ok(());
        }
        let settled = async || Ok(self.cluster.replicas().len() as u64 == replicas);
        self.eventually(PATIENCE, "replicas of before are gone", settled).await.map(drop)
    }
}

/// `299 - "the text"`, with `\"` and `\\` inside.
fn warning(header: &str) -> Option<String> {
    let quoted = header.split_once('"')?.1.strip_suffix('"')?;
    Some(quoted.replace("\\\"", "\"").replace("\\\\", "\\"))
}

pub fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

pub fn dry_pods(namespace: &str) -> String {
    format!("{}?dryRun=All", pods(namespace))
}

pub fn policies(namespace: &str) -> String {
    format!("/apis/ecraccess.dev/v1alpha1/namespaces/{namespace}/ecraccesspolicies")
}

/// A pod of one container, with what people write into pods and no log may hold.
pub fn pod(name: &str, account: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": {"example.com/note": canary("annotation")}},
        "spec": {
            "serviceAccountName": account,
            "containers": [{"name": "app", "image": image, "env": [{"name": "DB_PASSWORD", "value": canary("env")}]}],
        },
    })
}

/// An image of the test registry.
pub fn image(repository: &str) -> String {
    format!("{REGISTRY}/{repository}:1")
}

/// A document that lets pull from the repositories given, and from no other.
pub fn pull_document(repositories: &[&str]) -> Value {
    let resources: Vec<String> = repositories.iter().map(|name| fixtures::repository(name)).collect();
    fixtures::document(fixtures::pulls_of(resources))
}

/// A role of the registry's account.
pub fn role(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

/// A policy for every service account of its namespace, with one declared document.
pub fn spec(document: Value) -> Value {
    spec_of(json!([{"name": "app-pull", "document": document}]))
}

/// A policy for every service account of its namespace: these IAM policies are those of whatever role its annotation names.
pub fn spec_of(policies: Value) -> Value {
    json!({"puller": {"serviceAccount": {"identity": {"policies": policies}}}})
}

pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// Compares with a reviewed file below `tests/data`.
pub fn golden(path: &str, actual: &str) -> Result<()> {
    Ok(golden::compare(data(path), actual)?)
}
