//! What a policy grants beyond what is pulled, and the least that would do ("Security best practices in IAM", apply
//! least-privilege permissions; "Amazon Elastic Container Registry Identity-Based Policy Examples").

use std::collections::BTreeSet;

use iam_verdict::{Account, Context, Decision, Environment, Fact, NamedPolicy, Principal, Request, evaluate};
use serde::Serialize;
use serde_json::{Value, json};

use crate::diagnose::edit::Statement;
use crate::ecr::image::EcrImage;
use crate::ecr::needs;
use crate::facts::declared::{Declared, Presence};

/// What changes a repository or what is in it. No pull needs any of these.
const WRITES: [&str; 6] = [
    "ecr:PutImage",
    "ecr:BatchDeleteImage",
    "ecr:DeleteRepository",
    "ecr:SetRepositoryPolicy",
    "ecr:CreateRepository",
    "ecr:TagResource",
];

/// What a policy grants beyond the pulls that are made with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excess {
    /// Actions that change repositories or images.
    pub writes: Vec<&'static str>,
    /// It lets images of other repositories be pulled: of the same registry, or of every account.
    pub elsewhere: Option<Elsewhere>,
}

/// How far beyond the repositories in use a policy reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// To other repositories of a registry.
    Registry,
    /// To registries of any account.
    EveryAccount,
}

impl Excess {
    /// Whether it grants no more than what is needed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.writes.is_empty() && self.elsewhere.is_none()
    }
}

/// What `policy` certainly grants beyond pulls of `images`. A grant under a condition that may not hold does not count.
#[must_use]
pub(crate) fn excess(policy: &NamedPolicy, images: &[&EcrImage]) -> Excess {
    let environment = Environment {
        identity: vec![policy.clone()],
        resource_account: Account::SameAsResource,
        ..Environment::default()
    };
    let allows = |action: &str, resource: &str| {
        let request = Request {
            principal: Principal { account: Account::SameAsResource, ..Principal::default() },
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: Context::new().with_unlisted(Fact::Unknown),
        };
        evaluate(&environment, &request).decision == Decision::Allowed
    };
    let used: BTreeSet<String> = images.iter().map(|image| image.arn().to_string()).collect();
    let imports = |action: &str| action == needs::CREATE;
    let writes = WRITES
        .into_iter()
        .filter(|action| !imports(action) || used.iter().all(|arn| !allows(needs::IMPORT, arn)))
        .filter(|action| used.iter().any(|arn| allows(action, arn)));
    // A name that nobody gives a repository, beside one that is in use.
    let probe = |image: &&EcrImage, account: &str| {
        format!("arn:{}:ecr:{}:{account}:repository/zz-no-such/zz-repository", image.partition, image.region)
    };
    let elsewhere = if images.iter().any(|image| allows(needs::PULL[0], &probe(image, "000000000000"))) {
        Some(Elsewhere::EveryAccount)
    } else if images.iter().any(|image| allows(needs::PULL[0], &probe(image, &image.account))) {
        Some(Elsewhere::Registry)
    } else {
        None
    };
    Excess { writes: writes.collect(), elsewhere }
}

/// A policy document that is ready to paste.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    version: &'static str,
    statement: Vec<Statement>,
}

/// The policy that lets these images be pulled, and nothing else.
#[must_use]
pub(crate) fn minimal(images: &[&EcrImage], declared: &Declared) -> Document {
    let cached = |image: &&&EcrImage| {
        let registry = declared.registry(&image.account, &image.region);
        let covered = registry.is_some_and(|registry| registry.pull_through(&image.repository).is_some());
        let present = declared.repository(image).and_then(|entry| entry.presence) == Some(Presence::Present);
        covered && !present
    };
    let arns = |images: &mut dyn Iterator<Item = &&EcrImage>| {
        let all: BTreeSet<String> = images.map(|image| image.arn().to_string()).collect();
        all.into_iter().collect::<Vec<_>>()
    };
    let one_or_more = |mut texts: Vec<String>| match texts.len() {
        1 => Value::from(texts.remove(0)),
        _ => Value::from(texts),
    };
    let mut statements = vec![
        json!({"Effect": "Allow", "Action": needs::LOGIN, "Resource": "*"}),
        json!({"Effect": "Allow", "Action": needs::PULL, "Resource": one_or_more(arns(&mut images.iter()))}),
    ];
    let imported = arns(&mut images.iter().filter(cached));
    if !imported.is_empty() {
        statements.push(json!({"Effect": "Allow", "Action": [needs::IMPORT, needs::CREATE],
            "Resource": one_or_more(imported)}));
    }
    Document { version: "2012-10-17", statement: statements.into_iter().map(Statement::of).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecr::image::ImageKind;
    use crate::facts::declared::{RegistryEntry, RegistryPolicyScope};
    use iam_verdict::Policy;

    fn image(repository: &str) -> EcrImage {
        match ImageKind::of(&format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/{repository}")) {
            ImageKind::Private(image) => image,
            other => panic!("{other:?}"),
        }
    }

    fn value(document: &Document) -> Value {
        serde_json::to_value(document).unwrap()
    }

    #[test]
    fn what_goes_beyond_a_pull() {
        let (one, two) = (image("team/one"), image("team/two"));
        let of = |statement: Value| {
            let policy = Policy::from_value(&json!({"Statement": statement})).unwrap();
            excess(&NamedPolicy::known("p", policy), &[&one, &two])
        };
        let allow =
            |action: &str, resource: &str| of(json!({"Effect": "Allow", "Action": action, "Resource": resource}));
        let team = "arn:aws:ecr:us-east-1:111122223333:repository/team/*";
        let registry = "arn:aws:ecr:us-east-1:111122223333:repository/*";
        assert!(of(value(&minimal(&[&one, &two], &Declared::default()))["Statement"].clone()).is_none());
        assert!(allow("ecr:BatchGetImage", team).is_none());
        assert!(allow("ecr:Get*", "*").is_none(), "a login, and no image without its manifest");
        assert_eq!(allow("ecr:BatchGetImage", registry).elsewhere, Some(Elsewhere::Registry));
        assert_eq!(allow("ecr:BatchGetImage", "*").elsewhere, Some(Elsewhere::EveryAccount));
        assert_eq!(allow("ecr:PutImage", team), Excess { writes: vec!["ecr:PutImage"], elsewhere: None });
        assert!(
            allow("ecr:PutImage", registry.replace("*", "else").as_str()).is_none(),
            "a repository that is not in use"
        );
        assert_eq!(allow("*", team).writes.len(), WRITES.len() - 1);
        let conditional = of(json!({"Effect": "Allow", "Action": "*", "Resource": "*",
            "Condition": {"StringEquals": {"aws:ResourceTag/team": "x"}}}));
        assert!(conditional.is_none());
    }

    #[test]
    fn the_least_that_does() {
        let (one, two) = (image("team/one"), image("hub/two"));
        let arn = |name: &str| format!("arn:aws:ecr:us-east-1:111122223333:repository/{name}");
        let policy = value(&minimal(&[&two, &one, &one], &Declared::default()));
        assert_eq!(policy["Statement"][1]["Resource"], json!([arn("hub/two"), arn("team/one")]));
        assert_eq!(policy["Statement"].as_array().unwrap().len(), 2);
        let single = value(&minimal(&[&one], &Declared::default()));
        assert_eq!(single["Statement"][1]["Resource"], json!(arn("team/one")));
        let text = serde_json::to_string(&minimal(&[&one], &Declared::default())).unwrap();
        assert!(text.starts_with(r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"#), "{text}");
        let declared = Declared {
            registries: vec![RegistryEntry {
                account: "111122223333".into(),
                region: "*".into(),
                policy: None,
                scope: RegistryPolicyScope::V2,
                pull_through_prefixes: vec!["hub".into()],
            }],
            ..Declared::default()
        };
        let policy = value(&minimal(&[&one, &two], &declared));
        assert_eq!(
            policy["Statement"][2],
            json!({"Effect": "Allow", "Action": [needs::IMPORT, needs::CREATE], "Resource": arn("hub/two")})
        );
    }
}
