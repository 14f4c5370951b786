//! IAM roles from a YAML file, put into an inventory: a source of facts that no part of the product knows, so that what another
//! source takes is seen. It has nothing but what `ecr-forecast` offers to everybody.
//!
//! The file is a list of roles:
//!
//! ```yaml
//! - arn: arn:aws:iam::111122223333:role/app
//!   policies:
//!     - name: app-pull
//!       document: {Version: "2012-10-17", Statement: []}
//!   managedPolicies: [arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly]
//!   permissionsBoundary: arn:aws:iam::aws:policy/PowerUserAccess   # or a document
//!   tags: {team: payments}                                        # left out: not known
//! ```

use std::collections::{BTreeMap, BTreeSet};

use ecr_forecast::ecr::arn::RoleArn;
use ecr_forecast::facts::{RoleFact, Source};
use ecr_forecast::inventory::Inventory;
use serde::Deserialize;
use serde_json::Value;

/// A file with roles, and which of them it had when it was read last.
#[derive(Debug)]
pub struct RoleFile {
    source: Source,
    roles: BTreeSet<RoleArn>,
}

/// Why a file has no roles.
#[derive(Debug, thiserror::Error)]
pub enum RoleFileError {
    /// It is no YAML.
    #[error("no YAML: {0}")]
    Yaml(String),
    /// It is no list.
    #[error("no list of roles")]
    NoList,
    /// An entry, from 0, does not say which role it is about.
    #[error("`arn` of entry {0} is not the ARN of an IAM role")]
    NoArn(usize),
}

/// An entry of the file, but for its ARN.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    #[serde(rename = "arn")]
    _arn: String,
    #[serde(default)]
    policies: Vec<Inline>,
    #[serde(default)]
    managed_policies: Vec<String>,
    permissions_boundary: Option<Value>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inline {
    name: String,
    document: Value,
}

impl RoleFile {
    /// The file called `name`, of which nothing was read so far. Among sources of one order that with the first name is heard.
    #[must_use]
    pub fn new(order: u8, name: &str) -> Self {
        Self { source: Source::new(order, format!("file {name}")), roles: BTreeSet::new() }
    }

    /// Puts what the file says now, and takes away what it does not say any more.
    ///
    /// # Errors
    /// When it is no list of roles; then it says nothing of any role.
    pub fn read(&mut self, text: &str, inventory: &mut Inventory) -> Result<(), RoleFileError> {
        let facts = match facts(text, &self.source) {
            Ok(facts) => facts,
            Err(error) => {
                self.remove(inventory);
                return Err(error);
            }
        };
        let now: BTreeSet<RoleArn> = facts.keys().cloned().collect();
        for gone in self.roles.difference(&now) {
            inventory.remove_role(gone, &self.source);
        }
        for fact in facts.into_values() {
            inventory.put_role(fact);
        }
        self.roles = now;
        Ok(())
    }

    /// The file is gone.
    pub fn remove(&mut self, inventory: &mut Inventory) {
        inventory.remove_roles_of(&self.source);
        self.roles.clear();
    }
}

fn facts(text: &str, source: &Source) -> Result<BTreeMap<RoleArn, RoleFact>, RoleFileError> {
    let file: Value = serde_saphyr::from_str(text).map_err(|error| RoleFileError::Yaml(error.to_string()))?;
    let mut facts = BTreeMap::new();
    for (index, entry) in file.as_array().ok_or(RoleFileError::NoList)?.iter().enumerate() {
        let arn = entry.get("arn").and_then(Value::as_str).and_then(RoleArn::parse);
        let arn = arn.ok_or(RoleFileError::NoArn(index))?;
        let fact = if facts.contains_key(&arn) {
            RoleFact::unreadable(arn.clone(), source.clone(), "it is listed twice")
        } else {
            fact(&arn, entry, source)
        };
        facts.insert(arn, fact);
    }
    Ok(facts)
}

/// What an entry says. One that is wrong harms no other.
fn fact(arn: &RoleArn, entry: &Value, source: &Source) -> RoleFact {
    let entry = match Entry::deserialize(entry) {
        Ok(entry) => entry,
        Err(error) => return RoleFact::unreadable(arn.clone(), source.clone(), error.to_string()),
    };
    let mut fact = RoleFact::new(arn.clone(), source.clone());
    for Inline { name, document } in &entry.policies {
        fact = fact.with_document(name, document);
    }
    for arn in &entry.managed_policies {
        fact = fact.with_managed_policy(arn);
    }
    fact = match &entry.permissions_boundary {
        Some(Value::String(arn)) if arn.starts_with("arn:") => fact.with_managed_boundary(arn),
        Some(document) => fact.with_boundary(document),
        None => fact,
    };
    match entry.tags {
        Some(tags) => fact.with_tags(tags),
        None => fact,
    }
}
