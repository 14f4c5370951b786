//! Keys and certificates of a control plane, made anew for each run.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// The files that the programs are given.
pub struct Pki {
    /// Trusted by whoever calls the API server.
    pub ca_certificate: PathBuf,
    pub server_certificate: PathBuf,
    pub server_key: PathBuf,
    /// Signs service account tokens.
    pub service_account_key: PathBuf,
    /// Verifies them.
    pub service_account_public_key: PathBuf,
    /// `user` to bearer token, one each.
    pub tokens: PathBuf,
    pub admin_token: String,
    pub controller_manager_token: String,
}

impl Pki {
    /// Writes all of it into `folder`. `addresses` and `names` are those of the API server.
    pub fn generate(folder: &Path, addresses: &[&str], names: &[&str]) -> Result<Pki> {
        std::fs::create_dir_all(folder)?;
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "ecr-access test cluster");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

        let subjects: Vec<String> = addresses.iter().chain(names).map(|name| (*name).to_owned()).collect();
        let mut server = CertificateParams::new(subjects)?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let server_key = KeyPair::generate()?;
        let server = server.signed_by(&server_key, &authority)?;
        let service_account = KeyPair::generate()?;

        // Random enough for a cluster that only its own network namespace can reach, and from the one source at hand.
        let admin_token = fingerprint(&KeyPair::generate()?);
        let controller_manager_token = fingerprint(&KeyPair::generate()?);
        let tokens = format!(
            "{admin_token},admin,admin,system:masters\n\
             {controller_manager_token},system:kube-controller-manager,system:kube-controller-manager,\n"
        );

        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Pki {
            ca_certificate: write("ca.crt", &authority.pem())?,
            server_certificate: write("server.crt", &server.pem())?,
            server_key: write("server.key", &server_key.serialize_pem())?,
            service_account_key: write("service-account.key", &service_account.serialize_pem())?,
            service_account_public_key: write("service-account.pub", &service_account.public_key_pem())?,
            tokens: write("tokens.csv", &tokens)?,
            admin_token,
            controller_manager_token,
        })
    }
}

fn fingerprint(key: &KeyPair) -> String {
    key.public_key_raw().iter().skip(1).take(16).map(|byte| format!("{byte:02x}")).collect()
}
