//! Pages for people: server-rendered, without script, never cached, never framed.

use std::fmt::Write as _;
use std::sync::LazyLock;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::http::error::never_cached;

/// Text as it may stand in HTML, between tags and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Marks that turn the direction of text could make a name read as another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(escaped, "[U+{:04X}]", u32::from(character));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// A page: `title` is text, `main` is HTML. Its forms may lead to this server and, over redirects, to `form_targets`: sources as a
/// Content-Security-Policy writes them.
pub fn page(mut answer: HttpResponseBuilder, title: &str, main: &str, form_targets: &str) -> HttpResponse {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action {form_targets}; base-uri 'none'; frame-ancestors 'none'",
        *STYLE_DIGEST
    );
    private(&mut answer)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{main}\n</main>\n</body>\n</html>\n",
            escape(title)
        ))
}

/// Sends the browser on with `GET`, whatever method brought it here (RFC 9700 section 4.12).
pub fn see_other(location: &str) -> HttpResponse {
    private(&mut never_cached(StatusCode::SEE_OTHER)).insert_header((header::LOCATION, location)).finish()
}

/// 400 for a person whose browser can't be sent back to the application. Never a redirect: this server is no one's redirector.
pub fn refused(status: StatusCode, code: &str, description: &str) -> HttpResponse {
    let main = format!(
        "<h1>This sign-in can not go on</h1>\n<p>Nothing was shared with the application that sent you here.</p>\n\
         <p>Go back to it and start again. If that does not help, tell its makers:</p>\n\
         <dl>\n<dt>Error</dt>\n<dd><code>{}</code></dd>\n<dt>Reason</dt>\n<dd>{}</dd>\n</dl>",
        escape(code),
        escape(description)
    );
    page(never_cached(status), "This sign-in can not go on", &main, "'none'")
}

/// Nothing of the URL of this page, which names a sign-in, is told to where it leads.
fn private(answer: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    answer.insert_header((header::REFERRER_POLICY, "no-referrer"))
}

static STYLE_DIGEST: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE.as_bytes())));

/// Contrast of text and buttons is at least 4.5 to 1 in both schemes.
const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b1f24;--quiet:#4a525c;--paper:#f4f5f7;--card:#fff;--line:#c3c9d1;--accent:#0b57b0;--on-accent:#fff;--warn:#fff4d6;--on-warn:#4d3800;--bad:#a4161a}
@media(prefers-color-scheme:dark){:root{--ink:#eceff3;--quiet:#b4bcc8;--paper:#14171b;--card:#1e2329;--line:#4b5560;--accent:#8cbcff;--on-accent:#06172d;--warn:#3a2f10;--on-warn:#ffe6a3;--bad:#ff9c9c}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--paper);color:var(--ink);font:1rem/1.55 system-ui,sans-serif}
main{width:100%;max-width:30rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem;overflow-wrap:anywhere}
h1{margin:0 0 .75rem;font-size:1.45rem;line-height:1.25}
h2{margin:1.5rem 0 .5rem;font-size:1.05rem}
p{margin:.5rem 0}
ul{margin:.5rem 0;padding-left:1.25rem}
dl{margin:.5rem 0;display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem}
dt{color:var(--quiet)}
dd{margin:0}
code{font:.95em ui-monospace,monospace}
.quiet{color:var(--quiet);margin:1.25rem 0 0}
.note{margin:1rem 0;padding:.6rem .8rem;border-radius:.5rem;background:var(--warn);color:var(--on-warn)}
.error{color:var(--bad);font-weight:600}
label{display:block;margin:1.25rem 0 .3rem;font-weight:600}
input[type=text]{width:100%;padding:.6rem .7rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--quiet);border-radius:.5rem}
.actions{display:flex;flex-wrap:wrap;gap:.75rem;margin-top:1.25rem}
button{flex:1 1 8rem;padding:.65rem 1rem;font:inherit;font-weight:600;border-radius:.5rem;border:1px solid var(--accent);background:var(--accent);color:var(--on-accent);cursor:pointer}
button.second{background:transparent;color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_direction_marks_lose_their_meaning() {
        assert_eq!(escape(r#"<a href="x" id='y'>&"#), "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;");
        assert_eq!(escape("Bank\u{202e}moc.live"), "Bank[U+202E]moc.live");
        assert_eq!(escape("Café 日本"), "Café 日本");
    }
}
