//! What the one who asks for a forecast decides.

use crate::ecr::needs::Need;
use crate::policy::Action;

/// What the one who asks decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// No policy does more than this.
    pub max_action: Action,
    /// The operator's own namespace, whose pods are never judged.
    pub operator_namespace: Option<String>,
    /// What is wanted of each repository beside the pull. The command line asks for it; admission never does, since
    /// pushes use other credentials than the kubelet's.
    pub requires: Vec<Need>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_action: Action::Reject, operator_namespace: None, requires: Vec::new() }
    }
}
