//! Certificates.

use std::path::Path;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

/// An authority that makes certificates for one test.
pub struct Authority {
    cert: X509,
    key: PKey<Private>,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// Where OpenSSL can't make a key.
    pub fn new(name: &str) -> Self {
        let key = new_key();
        let cert = certificate(name, &key, None);
        Self { cert, key }
    }

    /// Writes `name.crt` and `name.key`, for the host `name` and a new key, into `home`.
    ///
    /// # Panics
    /// Where they can't be written.
    pub fn issue(&self, home: &Path, name: &str) {
        let key = new_key();
        let cert = certificate(name, &key, Some(self));
        std::fs::write(home.join(format!("{name}.crt")), cert.to_pem().expect("PEM")).expect("a file");
        std::fs::write(home.join(format!("{name}.key")), key.private_key_to_pem_pkcs8().expect("PEM")).expect("a file");
    }

    /// Writes the certificate of the authority itself.
    ///
    /// # Panics
    /// Where it can't be written.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.cert.to_pem().expect("PEM")).expect("a file");
    }
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn certificate(name: &str, key: &PKey<Private>, issuer: Option<&Authority>) -> X509 {
    let mut subject = X509NameBuilder::new().expect("a name");
    subject.append_entry_by_nid(Nid::COMMONNAME, name).expect("a name");
    let subject = subject.build();
    let mut builder = X509::builder().expect("a certificate");
    let mut serial = BigNum::new().expect("a number");
    serial.rand(128, openssl::bn::MsbOption::MAYBE_ZERO, false).expect("a number");
    builder.set_version(2).expect("a version");
    builder.set_serial_number(&serial.to_asn1_integer().expect("a number")).expect("a number");
    builder.set_subject_name(&subject).expect("a name");
    builder.set_issuer_name(issuer.map_or(&subject, |issuer| issuer.cert.subject_name())).expect("a name");
    builder.set_pubkey(key).expect("a key");
    builder.set_not_before(&Asn1Time::days_from_now(0).expect("a day")).expect("a day");
    builder.set_not_after(&Asn1Time::days_from_now(2).expect("a day")).expect("a day");
    match issuer {
        None => builder.append_extension(BasicConstraints::new().critical().ca().build().expect("an extension")).expect("an extension"),
        Some(issuer) => {
            let names = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(Some(&issuer.cert), None));
            builder.append_extension(names.expect("an extension")).expect("an extension");
        }
    }
    builder.sign(issuer.map_or(key, |issuer| &issuer.key), MessageDigest::sha256()).expect("a signature");
    builder.build()
}
