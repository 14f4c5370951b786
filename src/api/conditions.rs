//! Condition types and reasons of `status.conditions`, and reasons of Events. `docs/status.md` tells what each is for.
//!
//! Both are part of the API: people wait for them (`kubectl wait --for=condition=Ready eap/NAME`) and alert on them, so
//! they are named once, here. Kubernetes asks for CamelCase words ("API Conventions", Typical status properties).

/// Is the policy understood and in force?
///
/// `True`: pods are judged by it. `False`: the object cannot be used, see the reason; verdicts of the pods that it
/// selects are `Unknown`.
pub const READY: &str = "Ready";

/// Can every IAM policy that the object names be read?
///
/// `False`: some layer is `Unknown`, the message names the entries. The policy stays in force with what is readable.
pub const POLICIES_RESOLVED: &str = "PoliciesResolved";

/// Does another policy of the same rank select the same service account?
///
/// Only a tie that is broken by age alone is a conflict: the older one wins, and both are marked.
pub const CONFLICTED: &str = "Conflicted";

/// Does it take somebody to change the object before anything can get better? There only while [`READY`] is `False`.
///
/// `True`: tools that wait for an object (kstatus, in Flux and in `helm --wait`) give up at once instead of when their time
/// is up ("CRD Status Convention").
pub const STALLED: &str = "Stalled";

/// [`READY`] is `True`: the object is in force.
pub const REASON_READY: &str = "Ready";

/// [`READY`] is `False`, [`STALLED`] is `True`: the object does not decode or has a field that this binary does not know.
///
/// Usually the CRDs are newer than the operator. The message names the field.
pub const REASON_UNSUPPORTED_SPEC: &str = "UnsupportedSpec";

/// [`READY`] or [`POLICIES_RESOLVED`] is `False`, [`STALLED`] is `True`: a policy document is no IAM policy. The message has its JSON path.
pub const REASON_INVALID_DOCUMENT: &str = "InvalidDocument";

/// [`POLICIES_RESOLVED`] is `False`: a managed policy is not one of those built into this binary.
pub const REASON_POLICY_NOT_FOUND: &str = "PolicyNotFound";

/// [`POLICIES_RESOLVED`] is `False`: a ConfigMap with a policy document is not there, or not with its label, or lacks the
/// key. It comes before [`REASON_POLICY_NOT_FOUND`] where both hold.
pub const REASON_CONFIG_MAP_NOT_FOUND: &str = "ConfigMapNotFound";

/// [`POLICIES_RESOLVED`] is `True`: every document and managed policy was read.
pub const REASON_RESOLVED: &str = "Resolved";

/// [`CONFLICTED`] is `False`: nothing of the same rank selects the same service accounts.
pub const REASON_NO_CONFLICT: &str = "NoConflict";

/// [`CONFLICTED`] is `True`: another policy of the same rank selects the same service account; the older one wins.
pub const REASON_SAME_RANK: &str = "SameRank";

/// Will verdicts change by themselves within a day, because of a condition on the date?
///
/// `True`, or not there. The message tells when, what, and what turns into what; `status.nextTransition` has the instant.
pub const CHANGE_AHEAD: &str = "ChangeAhead";

/// [`CHANGE_AHEAD`] is `True`; the Event is a warning where something turns to Deny.
pub const REASON_VERDICT_WILL_CHANGE: &str = "VerdictWillChange";

/// Are there service accounts without a role, for which the node pulls, whatever `serviceAccount.identity` says?
///
/// `True`, or not there. The message counts them and names the first.
pub const IDENTITY_WITHOUT_ROLE: &str = "IdentityWithoutRole";

/// [`IDENTITY_WITHOUT_ROLE`] is `True`: neither annotation nor `defaultRoleArn` gives them a role, and no `fallbackNodes` are
/// declared.
pub const REASON_NODE_PULLS: &str = "NodePulls";

/// Is what is said of this policy up to date? There only while it may not be.
///
/// `False`: a watch of the API server has failed for a minute. The last state is used on.
pub const JUDGING: &str = "Judging";

/// [`JUDGING`] is `False`: what verdicts rest on is not watched.
pub const REASON_WATCH_FAILING: &str = "WatchFailing";

/// [`JUDGING`] is `False`: pods or workloads are not watched, so that what is counted in the status may be out of date. What
/// is judged is not.
pub const REASON_COUNTS_OUT_OF_DATE: &str = "CountsOutOfDate";

/// Reason of an Event alone: the first denial of a service account, repository and cause.
pub const REASON_PULL_WOULD_FAIL: &str = "PullWouldFail";
