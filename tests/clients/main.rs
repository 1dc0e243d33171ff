//! OAuth clients that nobody here wrote, unmodified and at pinned versions, against the running service: with nonces off and required.

mod scripts;

use scripts::{Language, SignIn};

/// A test with `dpop.nonce = "off"` and one with `"required"` for each script.
macro_rules! clients {
    ($($name:ident: $language:ident $file:literal, $sign_in:ident);+ $(;)?) => {
        mod nonce_off {
            $(#[tokio::test]
            async fn $name() {
                super::scripts::run(super::Language::$language, $file, super::SignIn::$sign_in, "off").await;
            })+
        }
        mod nonce_required {
            $(#[tokio::test]
            async fn $name() {
                super::scripts::run(super::Language::$language, $file, super::SignIn::$sign_in, "required").await;
            })+
        }
    };
}

clients! {
    openid_client_runs_whole_sessions: Node "openid-client.mjs", Application;
    oauth4webapi_runs_whole_sessions_and_validates_our_tokens: Node "oauth4webapi.mjs", Application;
    dpop_and_fetch_refresh: Node "dpop.mjs", Application;
    atproto_finds_the_issuer_of_an_api_and_uses_both: Node "atproto.mjs", Application;
    requests_oauth2client_runs_whole_sessions: Python "oauth2client.py", Application;
    pydpop_refreshes: Python "pydpop_requests.py", Application;
    oidc_client_ts_runs_whole_sessions_in_chromium: Node "oidc-client-ts.mjs", Application;
    a_page_signs_in_refreshes_and_is_safe_from_replays_in_chromium: Node "spa.mjs", Builtin;
    the_example_login_application_signs_people_in: Node "login-app.mjs", Example;
}
