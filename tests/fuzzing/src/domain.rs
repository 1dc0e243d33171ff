//! Targets of the service.

use std::time::Duration;

use keybound::config::BaseUrl;
use keybound::domain::guarded::RequestUrl;
use keybound::domain::{Advance, Advanced, AuthorizationDetails, ClientId, FamilyId, FamilyState, Generation, Scope, redirect_uri};
use keybound::http::form;
use keybound::http::params::Params;
use keybound::store::record;
use keybound_proofs::{Jkt, UnixTime};

const ID: FamilyId = FamilyId::from_bytes([1; FamilyId::LEN]);

/// A record that is read is written as a record that is read as the same family.
pub(crate) fn record(bytes: &[u8]) {
    if let Ok(family) = record::decode(ID, bytes) {
        let again = record::decode(ID, &record::encode(&family)).expect("what was read is written as a record");
        assert_eq!(again, family);
    }
}

/// Whatever a record holds and whatever is presented: the generation never goes back, and a family that is over gives nothing. The bytes
/// are 4 of the generation, 8 of the time, 1 of flags, and the record.
pub(crate) fn family(bytes: &[u8]) {
    let Some((head, rest)) = bytes.split_first_chunk::<13>() else { return };
    let Ok(before) = record::decode(ID, rest) else { return };
    let [a, b, c, d, time @ .., flags] = *head;
    let key = Jkt::from_bytes([flags; Jkt::LEN]);
    let now = UnixTime::from_millis(i64::from_be_bytes(time));
    let request = Advance {
        family: ID,
        presented: Generation(u32::from_be_bytes([a, b, c, d])),
        client_id: before.client_id.clone(),
        authenticated: flags & 1 != 0,
        jkt: (flags & 2 != 0).then_some(key),
        rebind_to: (flags & 4 != 0).then_some(key),
        rotate: flags & 8 != 0,
        now,
        idle: Duration::from_secs(1000),
    };
    match before.clone().decide(&request) {
        Advanced::Rotated(after)
        | Advanced::Repeated(after)
        | Advanced::RolledForward(after)
        | Advanced::Kept(after)
        | Advanced::Rebound(after) => {
            assert!(before.state == FamilyState::Live && !before.is_expired(now));
            assert!(after.generation >= before.generation && after.generation >= request.presented);
            assert!(after.absolute_expiry == before.absolute_expiry && after.grant == before.grant && after.state == FamilyState::Live);
        }
        Advanced::Reused(after) | Advanced::CloneSuspected(after) => assert_eq!(after, before),
        Advanced::Refused(_) => {}
    }
}

/// A scope is written as it reads; a client identifier too.
pub(crate) fn scope(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(scope) = Scope::parse(text) {
        assert_eq!(Scope::parse(&scope.to_string()).ok(), Some(scope));
    }
    if let Ok(id) = ClientId::new(text) {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(id) = text.parse::<FamilyId>() {
        assert_eq!(id.to_string(), text);
    }
}

/// Details read the same after they were written.
pub(crate) fn details(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(details) = AuthorizationDetails::parse(text) {
        let written = serde_json::to_string(details.as_slice()).expect("JSON is written");
        assert_eq!(AuthorizationDetails::parse(&written).ok().map(AuthorizationDetails::into_inner), Some(details.into_inner()));
    }
}

/// A redirect URI with parameters keeps its origin; a registered one is its own.
pub(crate) fn redirect(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (one, other) = text.split_once('\n').unwrap_or((text, text));
    assert!(redirect_uri::is_registered([one], one));
    if redirect_uri::is_registered([one], other) && one != other {
        assert!(one.starts_with("http://") && other.starts_with("http://"), "only the port of a loopback URI is free");
    }
    let with = redirect_uri::with_parameters(one, &[("code", other)]);
    assert!(with.starts_with(one));
}

/// A form is read without a panic, and what is decoded is what was encoded.
pub(crate) fn form(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(form::decode(&encoded).as_deref(), Some(text));
    let _ = form::decode(text);
    let _ = Params::from_query(text);
}

/// What a gateway says was called.
pub(crate) fn called_url(bytes: &[u8]) {
    if let Ok(url) = RequestUrl::parse(bytes) {
        let _ = url.holds_token();
    }
    let (host, target) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()));
    if let Ok(url) = RequestUrl::at_host(host, target.strip_prefix(b"\n").unwrap_or(target)) {
        let _ = url.holds_token();
    }
}

/// The issuer and other URLs of the configuration.
pub(crate) fn base_url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if BaseUrl::parse(text).is_ok() {
        assert!(!text.ends_with('/') && !text.contains(['?', '#']));
    }
}
