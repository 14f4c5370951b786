//! What is never judged, said once for the webhook, the controller and the command line.

/// The namespace of the control plane's own pods.
const KUBE_SYSTEM: &str = "kube-system";

/// Whether the pods and workloads of a namespace are left alone: those of the control plane, and of the operator itself,
/// whose namespace is `own` (RES-1). Nothing that goes wrong here may keep either from coming back.
#[must_use]
pub fn is_left_alone(namespace: &str, own: Option<&str>) -> bool {
    namespace == KUBE_SYSTEM || own == Some(namespace)
}
