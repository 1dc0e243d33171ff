//! OAuth clients that nobody here wrote, unmodified and at pinned versions, against the running service: with nonces off and required.

mod scripts;

use scripts::Language;

/// A test with `dpop.nonce = "off"` and one with `"required"` for each script.
macro_rules! clients {
    ($($name:ident: $language:ident $file:literal),+ $(,)?) => {
        mod nonce_off {
            $(#[tokio::test]
            async fn $name() {
                super::scripts::run(super::Language::$language, $file, "off").await;
            })+
        }
        mod nonce_required {
            $(#[tokio::test]
            async fn $name() {
                super::scripts::run(super::Language::$language, $file, "required").await;
            })+
        }
    };
}

clients! {
    openid_client_runs_whole_sessions: Node "openid-client.mjs",
    oauth4webapi_runs_whole_sessions_and_validates_our_tokens: Node "oauth4webapi.mjs",
    dpop_and_fetch_refresh: Node "dpop.mjs",
    requests_oauth2client_runs_whole_sessions: Python "oauth2client.py",
    pydpop_refreshes: Python "pydpop_requests.py",
}
