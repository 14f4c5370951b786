//! Keepers over an API server of a few objects.

use rustls::pki_types::CertificateDer;
use serde_json::Value;

use super::*;
use crate::runtime::fake::FakeApi;
use crate::webhook::certificates::CertificateSecret;

const NAME: &str = "ecr-access.ecr-access-system.svc";

#[test]
fn only_webhooks_that_call_our_service_are_ours() {
    let configuration: ValidatingWebhookConfiguration = serde_json::from_value(json!({
        "webhooks": [
            {"name": "pods.ecraccess.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"caBundle": "Y2E=", "service": {"name": "s", "namespace": "n"}}},
            {"name": "other", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"service": {"name": "s", "namespace": "elsewhere"}}},
            {"name": "url", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"url": "https://x"}}]}))
    .unwrap();
    let place = Place {
        mode: Mode::Own,
        replica: String::new(),
        namespace: "n".to_owned(),
        secret: String::new(),
        service: "s".to_owned(),
        configuration: String::new(),
    };
    let found: Vec<_> = ours(&place, &configuration).collect();
    assert_eq!(found, [("pods.ecraccess.dev", Some("ca".as_bytes()))]);
}

const NAMESPACE: &str = "ecr-access-system";
const CONFIGURATIONS: &str = "validatingwebhookconfigurations";

/// An installation that nobody has touched yet.
fn installed() -> Arc<FakeApi> {
    let api = FakeApi::new();
    api.put("secrets", json!({"metadata": {"name": "certificate", "namespace": NAMESPACE}}));
    api.put("services", json!({"metadata": {"name": "ecr-access", "namespace": NAMESPACE}}));
    let webhook = |name: &str| {
        json!({"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"service": {"name": "ecr-access", "namespace": NAMESPACE}}})
    };
    let webhooks = [webhook("pods.ecraccess.dev"), webhook("policies.ecraccess.dev")];
    api.put(CONFIGURATIONS, json!({"metadata": {"name": "ecr-access"}, "webhooks": webhooks}));
    api
}

fn manager(api: &Arc<FakeApi>) -> CertificateManager {
    let place = Place {
        mode: Mode::Own,
        namespace: NAMESPACE.to_owned(),
        secret: "certificate".to_owned(),
        service: "ecr-access".to_owned(),
        configuration: "ecr-access".to_owned(),
        replica: "ecr-access-0".to_owned(),
    };
    let mut manager =
        CertificateManager::new(api.client(), place, CertResolver::new(), Metrics::new(), Box::new(|| true));
    manager.settle = Duration::ZERO;
    manager
}

/// Looks until the manager has nothing left to do. Conflicts are part of the game.
async fn settle(manager: &mut CertificateManager) {
    for _ in 0..10 {
        match manager.look().await {
            Ok(Seen::Good) => return,
            Ok(_) | Err(KeeperError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the manager does not come to an end");
}

async fn is_good(manager: &mut CertificateManager) {
    let seen = manager.look().await.unwrap();
    assert!(matches!(seen, Seen::Good), "{seen:?}");
}

fn served(manager: &CertificateManager) -> Vec<CertificateDer<'static>> {
    manager.resolver.current().unwrap().cert.clone()
}

fn bundle(api: &FakeApi) -> Vec<u8> {
    let configuration: ValidatingWebhookConfiguration =
        serde_json::from_value(api.get(CONFIGURATIONS, "", "ecr-access")).unwrap();
    let bundles =
        configuration.webhooks.into_iter().flatten().map(|webhook| webhook.client_config.ca_bundle.unwrap().0);
    let mut bundles: Vec<Vec<u8>> = bundles.collect();
    bundles.dedup();
    assert_eq!(bundles.len(), 1, "both webhooks have the same");
    bundles.remove(0)
}

#[tokio::test]
async fn three_replicas_that_find_an_empty_secret_at_once_end_up_with_one_certificate() {
    let api = installed();
    let (mut a, mut b, mut c) = (manager(&api), manager(&api), manager(&api));
    api.race("secrets", 3);
    tokio::join!(settle(&mut a), settle(&mut b), settle(&mut c));
    let secrets = api.writes().iter().filter(|write| write.path.contains("/secrets/")).count();
    assert_eq!(secrets, 1, "{:?}", api.writes());
    assert!(served(&a) == served(&b) && served(&b) == served(&c));
    trusted(&bundle(&api), &a.resolver.current().unwrap(), NAME, SystemTime::now()).unwrap();
    // And then there is peace.
    let writes = api.writes().len();
    for manager in [&mut a, &mut b, &mut c] {
        is_good(manager).await;
    }
    assert_eq!(api.writes().len(), writes);
}

/// Lets `change` happen to the Secret, and lets both replicas look in turns until they are content. At every step
/// what each of them serves is trusted.
async fn exchange(change: impl Fn(&mut Value)) -> (Arc<FakeApi>, bool, usize) {
    let api = installed();
    let (mut a, mut b) = (manager(&api), manager(&api));
    settle(&mut a).await;
    settle(&mut b).await;
    let before = served(&a);
    let mut secret = api.get("secrets", NAMESPACE, "certificate");
    change(&mut secret);
    api.put("secrets", secret);
    let good = |manager: &CertificateManager| {
        trusted(&bundle(&api), &manager.resolver.current().unwrap(), NAME, SystemTime::now()).unwrap();
    };
    for manager in [&mut a, &mut b] {
        manager.settle = SETTLE;
        let seen = manager.look().await.unwrap();
        assert!(matches!(seen, Seen::Settling), "not before API servers can know its authority: {seen:?}");
        assert!(served(manager) == before);
        manager.settle = Duration::ZERO;
    }
    good(&a);
    good(&b);
    for _ in 0..3 {
        is_good(&mut a).await;
        good(&a);
        good(&b);
        is_good(&mut b).await;
        good(&a);
        good(&b);
    }
    assert!(served(&a) == served(&b));
    let authorities = String::from_utf8(bundle(&api)).unwrap().matches("BEGIN CERTIFICATE").count();
    (api, served(&a) != before, authorities)
}

fn events(api: &FakeApi) -> Vec<(String, String, String)> {
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    let told = |event: &Value| (text(event, "type"), text(event, "reason"), text(event, "note"));
    api.told()
        .iter()
        .map(|event| {
            assert_eq!(event["metadata"]["namespace"], NAMESPACE);
            assert_eq!(
                (&event["regarding"]["kind"], &event["regarding"]["name"]),
                (&json!("Secret"), &json!("certificate"))
            );
            told(event)
        })
        .collect()
}

fn condition(api: &FakeApi) -> (String, String, String) {
    let condition = api.get("services", NAMESPACE, "ecr-access")["status"]["conditions"][0].clone();
    assert_eq!(condition["type"], notice::CONDITION);
    let text = |field: &str| condition[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

#[tokio::test]
async fn a_renewed_authority_is_trusted_before_anything_is_served_by_it() {
    let (api, exchanged, authorities) = exchange(|secret| secret["data"] = json!({})).await;
    assert!(exchanged);
    assert_eq!(authorities, 2);
    let renewed = "a new certificate was made: `ca.crt` is missing, which asks for a new one";
    assert_eq!(events(&api).last().unwrap(), &("Normal".into(), "CertificateRenewed".into(), renewed.into()));
}

#[tokio::test]
async fn what_cannot_be_used_stays_out_of_service_and_is_told_once() {
    let garbage = |secret: &mut Value| secret["data"]["tls.key"] = json!(ByteString(b"garbage".to_vec()));
    let (api, exchanged, authorities) = exchange(garbage).await;
    assert!(exchanged);
    assert_eq!(authorities, 1, "the same authority signs again");
    let told: Vec<_> = events(&api).into_iter().filter(|(kind, ..)| kind == "Warning").collect();
    let [(_, reason, note)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(reason, "CertificateUnusable");
    assert!(note.contains("`tls.key` cannot be read") && note.contains("was replaced"), "{note}");
    let (status, reason, message) = condition(&api);
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Replaced"));
    assert_eq!(&message, note);
}

#[tokio::test]
async fn what_can_neither_be_used_nor_replaced_leaves_the_one_before_in_service() {
    let api = installed();
    let mut manager = manager(&api);
    settle(&mut manager).await;
    let before = served(&manager);
    let mut secret = api.get("secrets", NAMESPACE, "certificate");
    secret["data"]["tls.key"] = json!(ByteString(b"garbage".to_vec()));
    api.put("secrets", secret);
    api.answer_writes("secrets", 422);
    let mut logged = None;
    for _ in 0..5 {
        manager.step(&mut logged).await;
    }
    assert!(served(&manager) == before);
    manager.state().check().expect("ready all the same");
    assert_eq!(manager.metrics.certificate_usable.get(), 0);
    assert_eq!(manager.metrics.certificate_unusable.get(), 1);
    let told: Vec<_> = events(&api).into_iter().filter(|(kind, ..)| kind == "Warning").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].2.contains("`tls.key` cannot be read") && told[0].2.contains("it cannot be replaced"), "{told:?}");
    let (status, reason, message) = condition(&api);
    assert_eq!((status.as_str(), reason.as_str(), &message), ("False", "Unreadable", &told[0].2));

    api.answer_writes("secrets", 200);
    for _ in 0..3 {
        manager.step(&mut logged).await;
    }
    assert!(served(&manager) != before);
    assert_eq!(manager.metrics.certificate_usable.get(), 1);
    assert_eq!(condition(&api).0, "True");
}

#[tokio::test]
async fn a_given_certificate_is_served_once_it_is_trusted_and_never_written() {
    let api = installed();
    let mut manager = manager(&api);
    manager.place.mode = Mode::Given;
    let give = |api: &FakeApi, secret: &CertificateSecret| {
        let mut object = api.get("secrets", NAMESPACE, "certificate");
        let data = secret.to_secret().into_iter().filter(|(key, _)| *key != "ca.key");
        object["data"] = json!(data.collect::<std::collections::BTreeMap<_, _>>());
        api.put("secrets", object);
    };
    let inject = |api: &FakeApi, secret: &CertificateSecret| {
        let mut configuration = api.get(CONFIGURATIONS, "", "ecr-access");
        for webhook in configuration["webhooks"].as_array_mut().unwrap() {
            webhook["clientConfig"]["caBundle"] = json!(ByteString(secret.authorities.clone().into_bytes()));
        }
        api.put(CONFIGURATIONS, configuration);
    };
    let mut logged = None;
    manager.step(&mut logged).await;
    assert_eq!(manager.state().check().unwrap_err(), "`tls.crt` is missing");
    let (one, two) = (
        CertificateSecret::new(NAME, SystemTime::now(), &[]).unwrap(),
        CertificateSecret::new(NAME, SystemTime::now(), &[]).unwrap(),
    );
    give(&api, &one);
    manager.step(&mut logged).await;
    let waiting = manager.state().check().unwrap_err();
    assert!(waiting.contains("ecr-access does not trust the certificate"), "{waiting}");
    inject(&api, &one);
    manager.step(&mut logged).await;
    manager.state().check().unwrap();
    let before = served(&manager);
    // The next one comes before its authority does.
    give(&api, &two);
    manager.step(&mut logged).await;
    assert!(served(&manager) == before);
    manager.state().check().unwrap();
    inject(&api, &two);
    manager.step(&mut logged).await;
    assert!(served(&manager) != before);
    manager.state().check().unwrap();
    let status = format!("/api/v1/namespaces/{NAMESPACE}/services/ecr-access/status");
    assert!(api.writes().iter().all(|write| write.path == status), "{:?}", api.writes());
}

#[tokio::test]
async fn only_the_leader_tells_of_what_every_replica_sees() {
    let api = installed();
    let mut manager = manager(&api);
    settle(&mut manager).await;
    manager.is_leader = Box::new(|| false);
    let before = api.told().len();
    let mut secret = api.get("secrets", NAMESPACE, "certificate");
    secret["data"]["tls.crt"] = json!(ByteString(b"garbage".to_vec()));
    api.put("secrets", secret);
    api.answer_writes("secrets", 403);
    let mut logged = None;
    for _ in 0..3 {
        manager.step(&mut logged).await;
    }
    assert_eq!(api.told().len(), before);
    manager.is_leader = Box::new(|| true);
    manager.step(&mut logged).await;
    assert_eq!(api.told().len(), before + 1);
}

#[test]
fn what_may_have_lost_its_trust_is_not_ready() {
    let state = State { ready: Ok(()), looked: 1_000_000, expires: 1_000_000 + 2 * STALE };
    let state = KeeperState(Arc::new(Mutex::new(state)));
    state.check_at(1_000_000 + STALE - 1).unwrap();
    let reason = state.check_at(1_000_000 + STALE).unwrap_err();
    assert!(reason.starts_with("for 12 hours it could not be looked"), "{reason}");
    state.change(|state| state.looked += STALE);
    assert_eq!(state.check_at(1_000_000 + 2 * STALE).unwrap_err(), "the certificate in service has expired");
}

#[tokio::test]
async fn a_ca_bundle_that_somebody_removed_is_put_back() {
    let api = installed();
    let mut manager = manager(&api);
    settle(&mut manager).await;
    let mut configuration = api.get(CONFIGURATIONS, "", "ecr-access");
    configuration["webhooks"][0]["clientConfig"].as_object_mut().unwrap().remove("caBundle");
    configuration["webhooks"][1]["clientConfig"]["caBundle"] = json!("Cg==");
    api.put(CONFIGURATIONS, configuration);
    is_good(&mut manager).await;
    trusted(&bundle(&api), &manager.resolver.current().unwrap(), NAME, SystemTime::now()).unwrap();
}

#[tokio::test]
async fn without_its_objects_the_manager_says_which_one_is_missing() {
    let error = manager(&FakeApi::new()).look().await.unwrap_err().to_string();
    assert!(error.starts_with("cannot read webhook configuration ecr-access: "), "{error}");
}
