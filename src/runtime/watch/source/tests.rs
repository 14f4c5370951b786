//! The watch against a server that gives answers by a list.

use serde_json::json;

use super::super::fake::{Answer, Asked, Then, server};
use super::*;
use futures::StreamExt;

const THINGS: Kind = Kind { page_size: 4, ..Kind::namespaced("", "v1", "Thing", "things") };

/// A page with these objects, of version 5.
fn page(names: &[&str], next: &str) -> Answer {
    let items: Vec<_> = names.iter().map(|name| json!({"metadata": {"name": name, "resourceVersion": "1"}})).collect();
    let metadata = json!({"resourceVersion": "5", "continue": next});
    Answer::new(200, json!({"metadata": metadata, "items": items}).to_string())
}

fn event(kind: &str, name: &str, version: u32) -> String {
    let object = json!({"metadata": {"name": name, "resourceVersion": version.to_string()}});
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn error(code: u16) -> String {
    json!({"kind": "Status", "code": code, "message": "no"}).to_string()
}

/// What a signal says, in a few words.
fn said(signal: Signal) -> String {
    let named = |item: Item| match item {
        Item::Object(raw) => raw.name().unwrap().to_owned(),
        Item::Unreadable(object) => format!("{} (unreadable)", object.rest.name().unwrap()),
    };
    match signal {
        Signal::Event(Event::Init) => "list".to_owned(),
        Signal::Event(Event::InitApply(item)) => format!("listed {}", named(item)),
        Signal::Event(Event::InitDone) => "done".to_owned(),
        Signal::Event(Event::Apply(item)) => format!("put {}", named(item)),
        Signal::Event(Event::Delete(item)) => format!("removed {}", named(item)),
        Signal::Nameless => "nameless".to_owned(),
        Signal::Works => "works".to_owned(),
        Signal::Failed(failure) => {
            format!("{}{}", failure.kind, if failure.routine { ", routine" } else { "" })
        }
    }
}

/// The first signals of a watch of what answers like this, and what it asked for meanwhile.
async fn watched(answers: Vec<Answer>, signals: usize) -> (Vec<String>, Asked) {
    let (client, asked) = server(answers);
    let mut watch = Watch::new(client, THINGS, 60);
    watch.settled = Duration::from_millis(300);
    let signals = watch.signals().take(signals).map(said).collect::<Vec<_>>();
    (tokio::time::timeout(Duration::from_secs(20), signals).await.expect("all signals come"), asked)
}

/// The paths of what was asked, without what is always there.
fn asked(asked: &Asked) -> Vec<String> {
    let shorter = |uri: &String| {
        let (path, query) = uri.split_once('?').unwrap();
        assert_eq!(path, "/api/v1/things");
        let query = query.replace("&timeoutSeconds=60", "").replace("&allowWatchBookmarks=true", "");
        query.trim_start_matches('&').to_owned()
    };
    asked.lock().unwrap().iter().map(shorter).collect()
}

#[tokio::test]
async fn a_list_in_pages_and_what_changes_behind_it() {
    let watch = [event("ADDED", "c", 6), event("MODIFIED", "a", 7), event("DELETED", "b", 8)].concat();
    let answers = vec![page(&["a"], "next page"), page(&["b"], ""), Answer::new(200, watch).then(Then::Hang)];
    let (signals, asks) = watched(answers, 7).await;
    assert_eq!(signals, ["list", "listed a", "listed b", "done", "put c", "put a", "removed b"]);
    assert_eq!(asked(&asks), ["limit=4", "limit=4&continue=next+page", "watch=true&resourceVersion=5"]);
}

#[tokio::test]
async fn a_watch_that_ends_is_taken_up_where_it_stood() {
    let bookmark = json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}).to_string() + "\n";
    let cut = format!("{}{}", event("ADDED", "d", 10), event("ADDED", "e", 11).split_at(20).0);
    let answers = vec![
        page(&[], ""),
        Answer::new(200, event("ADDED", "c", 6)),
        Answer::new(200, bookmark),
        Answer::new(200, cut).then(Then::Break),
        Answer::new(200, event("ADDED", "e", 11)).dripping().then(Then::Hang),
    ];
    let (signals, asks) = watched(answers, 9).await;
    let told = signals.join(" ");
    assert_eq!(told, "list done put c watch, routine works watch, routine put d watch put e");
    let from = |version: u32| format!("watch=true&resourceVersion={version}");
    assert_eq!(asked(&asks)[1..], [from(5), from(6), from(9), from(10)]);
}

#[tokio::test]
async fn what_the_api_server_forgot_is_listed_again() {
    let gone =
        Answer::new(200, format!("{}\n", json!({"type": "ERROR", "object": {"code": 410, "message": "too old"}})));
    let broken =
        Answer::new(200, format!("{}\n", json!({"type": "ERROR", "object": {"code": 500, "message": "etcd"}})));
    let bare = Answer::new(200, format!("{}\n", error(504)));
    let answers = vec![
        page(&["a"], ""),
        gone,
        page(&["b"], ""),
        Answer::new(410, error(410)),
        page(&["c"], ""),
        Answer::new(504, error(504)),
        page(&["d"], ""),
        broken,
        page(&["e"], ""),
        bare,
        page(&["f"], ""),
    ];
    let (signals, _) = watched(answers, 23).await;
    let told = signals.join(" ");
    assert_eq!(
        told,
        "list listed a done watch 410, routine list listed b done watch 410, routine list listed c done watch 504 list listed d \
         done watch 500 list listed e done watch 504 list listed f done"
    );
}

#[tokio::test]
async fn a_list_that_breaks_off_begins_again() {
    let answers = vec![
        page(&["a"], "more"),
        Answer::new(503, error(503)),
        page(&["a"], "more"),
        Answer::new(410, error(410)),
        // What is no list is not taken for an empty one.
        Answer::new(200, json!({"metadata": {"resourceVersion": "5"}}).to_string()),
        Answer::new(200, json!({"items": []}).to_string()),
        Answer::new(200, "<html>"),
        page(&["a"], "").then(Then::Break),
        page(&["a"], ""),
    ];
    let (signals, _) = watched(answers, 17).await;
    let told = signals.join(" ");
    assert_eq!(
        told,
        "list listed a list 503 list listed a list 410, routine list list answer list list answer list list answer list list \
         list listed a done"
    );
}

#[tokio::test]
async fn a_right_that_comes_back_is_a_new_list() {
    let answers = vec![
        page(&["a"], ""),
        Answer::new(403, error(403)),
        Answer::new(403, error(403)),
        Answer::new(200, event("ADDED", "b", 6)),
        page(&["a", "b"], ""),
        Answer::new(200, event("ADDED", "c", 7)).then(Then::Hang),
    ];
    let (signals, asks) = watched(answers, 10).await;
    let told = signals.join(" ");
    assert_eq!(told, "list listed a done watch 403 watch 403 list listed a listed b done put c");
    assert_eq!(asked(&asks).len(), 6);
}

#[tokio::test]
async fn what_cannot_be_read_is_known_by_name_and_stops_nothing() {
    let deep = format!("{}1{}", r#"{"x":"#.repeat(200), "}".repeat(200));
    let bad = |name: &str| format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"6"}},"spec":{deep}}}"#);
    let list = format!(
        r#"{{"metadata":{{"resourceVersion":"5"}},"items":[{{"metadata":{{"name":"a"}}}},{},7,{deep}]}}"#,
        bad("b")
    );
    let event = |kind: &str, object: &str| format!(r#"{{"type":"{kind}","object":{object}}}"#) + "\n";
    let watch = [
        event("ADDED", &bad("c")),
        event("ADDED", "[]"),
        event("DELETED", &bad("b")),
        event("LATER", "{}"),
        event("MODIFIED", r#"{"metadata":{"name":"c","resourceVersion":"9"}}"#),
        "not at all\n".to_owned(),
    ];
    let answers = vec![Answer::new(200, list), Answer::new(200, watch.concat()), page(&[], "")];
    let (signals, _) = watched(answers, 12).await;
    assert_eq!(
        signals,
        [
            "list",
            "listed a",
            "listed b (unreadable)",
            "nameless",
            "nameless",
            "done",
            "put c (unreadable)",
            "nameless",
            "removed b (unreadable)",
            "put c",
            "watch answer",
            "list"
        ]
    );
}

#[tokio::test]
async fn a_watch_without_news_is_told_to_work_once_it_stands() {
    let answers = vec![page(&[], ""), Answer::new(200, "").then(Then::Hang)];
    let (signals, _) = watched(answers, 3).await;
    assert_eq!(signals, ["list", "done", "works"]);
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_none() {
    let ended = || Answer::new(200, "");
    let answers = vec![page(&[], ""), ended(), ended(), ended(), Answer::new(503, "")];
    let begin = Instant::now();
    let (signals, _) = watched(answers, 6).await;
    assert_eq!(signals, ["list", "done", "watch, routine", "watch, routine", "watch, routine", "watch 503"]);
    assert!(begin.elapsed() >= Backoff::FIRST * 7, "with pauses that double: {:?}", begin.elapsed());
}

#[tokio::test]
async fn a_connection_that_ends_after_a_while_is_no_failure() {
    let answers = vec![
        page(&[], ""),
        Answer::new(200, event("ADDED", "a", 6)).then(Then::Break),
        Answer::new(200, event("ADDED", "b", 7)),
        Answer::new(200, event("ADDED", "c", 8)).then(Then::Hang),
    ];
    let (client, asks) = server(answers);
    let watch = Watch { shortest: Duration::ZERO, ..Watch::new(client, THINGS, 60) };
    let signals = watch.signals().take(5).map(said).collect::<Vec<_>>();
    let signals = tokio::time::timeout(Duration::from_secs(20), signals).await.unwrap();
    assert_eq!(signals, ["list", "done", "put a", "put b", "put c"]);
    assert_eq!(asked(&asks)[3], "watch=true&resourceVersion=7");
}

#[tokio::test]
async fn pages_that_are_too_big_are_asked_for_again_in_smaller_ones() {
    let huge = || Answer::new(200, vec![b' '; super::super::reader::MAX_BYTES + 1]);
    let answers = vec![huge(), page(&["a"], "x"), huge(), page(&["a"], ""), huge()];
    let (signals, asks) = watched(answers, 8).await;
    assert_eq!(signals, ["list", "list", "listed a", "list", "listed a", "done", "watch answer", "list"]);
    let expected = ["limit=4", "limit=2", "limit=2&continue=x", "limit=1", "watch=true&resourceVersion=5"];
    assert_eq!(asked(&asks)[..5], expected);
}

const WIDGETS: Kind =
    Kind { optional: true, others: &["v1beta1"], ..Kind::of_cluster("example.com", "v1", "Widget", "widgets") };

/// The signals of a watch of an optional kind, and the versions that were asked for.
async fn watched_widgets(answers: Vec<Answer>, signals: usize) -> (String, String) {
    let (client, asks) = server(answers);
    let signals = Watch::new(client, WIDGETS, 60).signals().take(signals).map(said).collect::<Vec<_>>();
    let signals = tokio::time::timeout(Duration::from_secs(60), signals).await.expect("all signals come");
    let version = |uri: &String| {
        let version = uri.strip_prefix("/apis/example.com/").and_then(|rest| rest.split_once("/widgets?"));
        version.unwrap_or_else(|| panic!("{uri}")).0.to_owned()
    };
    let versions: Vec<String> = asks.lock().unwrap().iter().map(version).collect();
    (signals.join(" "), versions.join(" "))
}

#[tokio::test(start_paused = true)]
async fn an_optional_kind_comes_changes_its_version_goes_and_comes_again() {
    let absent = || Answer::new(404, error(404));
    let answers = vec![
        absent(),
        absent(),
        absent(),
        page(&["a"], ""),
        absent(),
        absent(),
        page(&["a", "b"], ""),
        absent(),
        absent(),
        absent(),
        absent(),
        absent(),
        absent(),
        absent(),
        page(&["c"], ""),
    ];
    let (signals, versions) = watched_widgets(answers, 20).await;
    assert_eq!(
        signals,
        "list done list listed a done watch 404, routine list listed a listed b done watch 404, routine \
         list list 404, routine list list 404, routine list done list listed c done"
    );
    let expected = "v1 v1beta1 v1beta1 v1 v1 v1 v1beta1 v1beta1 v1beta1 v1 v1 v1beta1 v1beta1 v1 v1";
    assert_eq!(versions, expected, "the one that is served is asked for first");
}

#[tokio::test(start_paused = true)]
async fn an_optional_kind_that_is_not_given_out_is_none_until_it_was() {
    let forbidden = || Answer::new(403, error(403));
    let begin = Instant::now();
    let answers = vec![
        forbidden(),
        forbidden(),
        page(&["a"], ""),
        forbidden(),
        Answer::new(200, event("ADDED", "b", 6)),
        forbidden(),
        page(&["a", "b"], ""),
    ];
    let (signals, _) = watched_widgets(answers, 14).await;
    assert_eq!(signals, "list done list done list listed a done watch 403 list list 403 list listed a listed b done");
    assert!(begin.elapsed() >= LOOK_FOR_ABSENT * 2, "asked for seldom: {:?}", begin.elapsed());
}
