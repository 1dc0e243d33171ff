//! `HTU`: the URI and the method of a proof.

use url::Url;

use super::Severity::{High, Info, Low, Medium};
use super::{Attack, Family, Judgement, List, run};
use crate::arena::{Arena, Stage};
use crate::halt::{Step, not_applicable};
use crate::judge::refused;

const ELSEWHERE: &str = "a proof that was made for another place works here";
const LOOSE: &str = "places that are different are taken for the same";
const CRAFTED: &str = "a URI that two readers understand differently is accepted";
const SPOOFED: &str = "who sends the request decides which place the proof has to name";

/// A forged `htu`, made of the good one.
type Forged = fn(&Url) -> String;

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Htu, Stage::Any, "TWN-001");
    uris(&mut list);
    methods(&mut list);
    spoofing(&mut list);
    list.attacks
}

fn uris(list: &mut List) {
    let elsewhere: [(u16, &str, Forged); 20] = [
        (1, "Another host", |url| url.as_str().replacen(&authority(url), "api.example.com", 1)),
        (2, "Another port", |url| with(url, |url| url.set_port(Some(4)))),
        (3, "The other scheme", |url| {
            if url.scheme() == "https" { url.as_str().replacen("https", "http", 1) } else { url.as_str().replacen("http", "https", 1) }
        }),
        (4, "Another path", |url| with_path(url, "/somewhere/else")),
        (5, "The path of the authorization endpoint", |url| with_path(url, "/oauth/authorize")),
        (6, "The path one level up", |url| with_path(url, url.path().rsplit_once('/').map_or("/", |(parent, _)| parent))),
        (7, "The origin alone", |url| url.origin().ascii_serialization()),
        (8, "The path of the server's root", |url| with_path(url, "/")),
        (9, "One segment more", |url| format!("{url}/more")),
        (10, "A longer last segment", |url| format!("{url}x")),
        (11, "A shorter last segment", |url| url.as_str()[..url.as_str().len() - 1].to_owned()),
        (12, "A host that begins like the right one", |url| url.as_str().replacen(&host(url), &format!("{}.example.com", host(url)), 1)),
        (13, "A host that ends like the right one", |url| url.as_str().replacen(&host(url), &format!("evil{}", host(url)), 1)),
        (14, "The right URI as the query of another", |url| format!("https://evil.example/?{url}")),
        (15, "The right URI as the fragment of another", |url| format!("https://evil.example/#{url}")),
        (16, "The right URI as the path of another", |url| format!("https://evil.example/{url}")),
        (17, "The right path on a wildcard host", |url| url.as_str().replacen(&host(url), "*", 1)),
        (18, "A wildcard", |_| "*".to_owned()),
        (19, "The path with its dot segment leading to another", |url| format!("{url}/../other")),
        (20, "The path with an encoded dot segment leading to another", |url| format!("{url}/%2e%2e/other")),
    ];
    for (number, title, forged) in elsewhere {
        uri(list, number, High, "4.3(9)", title, ELSEWHERE, forged);
    }
    let loose: [(u16, &str, Forged); 16] = [
        (21, "A slash at the end", |url| format!("{url}/")),
        (22, "A doubled slash", |url| with_path(url, &format!("/{}", url.path()))),
        (23, "The path in capitals", |url| with_path(url, &url.path().to_uppercase())),
        (24, "A parameter on the path", |url| format!("{url};v=1")),
        (25, "An encoded slash in place of a slash", |url| encoded_slash(url, "%2F")),
        (26, "An encoded slash in small letters", |url| encoded_slash(url, "%2f")),
        (27, "An encoded space at the end", |url| format!("{url}%20")),
        (28, "A space at the end", |url| format!("{url} ")),
        (29, "A space at the beginning", |url| format!(" {url}")),
        (30, "An encoded NUL at the end", |url| format!("{url}%00")),
        (31, "An encoded question mark before a query", |url| format!("{url}%3Fx=1")),
        (32, "An encoded hash sign before a fragment", |url| format!("{url}%23x")),
        (33, "A path that is encoded twice", |url| encoded_slash(url, "%252F")),
        (34, "A dot after the host", |url| url.as_str().replacen(&host(url), &format!("{}.", host(url)), 1)),
        (35, "A plus sign at the end", |url| format!("{url}+")),
        (36, "A file extension", |url| format!("{url}.json")),
    ];
    for (number, title, forged) in loose {
        uri(list, number, Medium, "RFC 3986 section 6.2.2", title, LOOSE, forged);
    }
    let crafted: [(u16, &str, Forged); 24] = [
        (40, "The path alone", |url| url.path().to_owned()),
        (41, "Without a scheme", |url| url.as_str().split_once(':').map_or_else(String::new, |(_, rest)| rest.to_owned())),
        (42, "The authority and path without a scheme", |url| {
            url.as_str().split_once("://").map_or_else(String::new, |(_, rest)| rest.to_owned())
        }),
        (43, "A user name before the host", |url| url.as_str().replacen("://", "://user@", 1)),
        (44, "A user name and password before the host", |url| url.as_str().replacen("://", "://user:pass@", 1)),
        (45, "The right host as a user name", |url| url.as_str().replacen("://", &format!("://{}@evil.example#", host(url)), 1)),
        (46, "Backslashes in place of slashes", |url| url.as_str().replace('/', "\\")),
        (47, "A backslash in the path", |url| format!("{url}\\")),
        (48, "A tab within the host", |url| url.as_str().replacen("://", "://\t", 1)),
        (49, "A line break within the path", |url| {
            format!("{}\n{}", &url.as_str()[..url.as_str().len() - 2], &url.as_str()[url.as_str().len() - 2..])
        }),
        (50, "A NUL at the end", |url| format!("{url}\0")),
        (51, "A letter outside ASCII in the path", |url| format!("{url}\u{e9}")),
        (52, "A full-width letter in the path", |url| url.as_str().replacen("/o", "/\u{ff4f}", 1) + "\u{200b}"),
        (53, "One slash after the scheme", |url| url.as_str().replacen("://", ":/", 1)),
        (54, "No slash after the scheme", |url| url.as_str().replacen("://", ":", 1)),
        (55, "Three slashes after the scheme", |url| url.as_str().replacen("://", ":///", 1)),
        (56, "The scheme ftp", |url| url.as_str().replacen(url.scheme(), "ftp", 1)),
        (57, "The scheme ws", |url| url.as_str().replacen("http", "ws", 1)),
        (58, "The scheme javascript", |url| format!("javascript:{url}")),
        (59, "The host as one number", |url| {
            if host(url) == "127.0.0.1" { url.as_str().replacen("127.0.0.1", "2130706433", 1) } else { format!("{url}\u{7f}") }
        }),
        (60, "The host in hexadecimal", |url| {
            if host(url) == "127.0.0.1" { url.as_str().replacen("127.0.0.1", "0x7f.1", 1) } else { format!("{url}\u{1}") }
        }),
        (61, "A broken percent triplet", |url| format!("{url}%zz")),
        (62, "A percent sign at the end", |url| format!("{url}%")),
        (63, "A port that is no number", |url| url.as_str().replacen(&authority(url), &format!("{}:port", host(url)), 1)),
    ];
    for (number, title, forged) in crafted {
        uri(list, number, Low, "RFC 3986 section 3", title, CRAFTED, forged);
    }
    uri(list, 64, Medium, "4.3(9)", "Another name of this machine", ELSEWHERE, |url| match host(url).as_str() {
        "127.0.0.1" => url.as_str().replacen("127.0.0.1", "localhost", 1),
        "localhost" => url.as_str().replacen("localhost", "127.0.0.1", 1),
        _ => url.as_str().replacen("://", "://www.", 1),
    });
    uri(list, 65, Info, "4.2", "Angle brackets around the URI", CRAFTED, |url| format!("<{url}>"));
}

fn uri(list: &mut List, number: u16, severity: super::Severity, section: &str, title: &str, breach: &str, forged: Forged) {
    let title = format!("{title} as htu");
    list.value(number, (severity, section, &title, breach), move |scene| {
        let url = Url::parse(&scene.draft.text("htu")).unwrap_or_else(|_| scene.call.url.clone());
        scene.draft.clone().claim("htu", forged(&url)).sign()
    });
}

fn authority(url: &Url) -> String {
    match url.port() {
        Some(port) => format!("{}:{port}", host(url)),
        None => host(url),
    }
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

fn with<T>(url: &Url, edit: impl FnOnce(&mut Url) -> T) -> String {
    let mut url = url.clone();
    let _edited = edit(&mut url);
    url.to_string()
}

/// By hand: the type would tidy up what is meant to be untidy.
fn with_path(url: &Url, path: &str) -> String {
    format!("{}{path}", url.origin().ascii_serialization())
}

/// The last slash of the path in another spelling; at its end where the path has one slash only.
fn encoded_slash(url: &Url, slash: &str) -> String {
    let path = url.path();
    match path.rfind('/') {
        Some(at) if at > 0 => with_path(url, &format!("{}{slash}{}", &path[..at], &path[at + 1..])),
        _ => format!("{url}{slash}"),
    }
}

fn methods(list: &mut List) {
    const METHOD: &str = "a proof for one method is good for another";
    let methods = [
        (70, High, "GET"),
        (71, High, "PUT"),
        (72, Medium, "HEAD"),
        (73, Low, "post"),
        (74, Low, "Post"),
        (75, Low, "POST "),
        (76, Medium, "*"),
        (77, Medium, "GET,POST"),
        (78, Medium, "POST\u{0}"),
    ];
    for (number, severity, method) in methods {
        let title = format!("The htm {method:?} on a POST request");
        list.draft(number, (severity, "4.3(8)", &title, METHOD), move |draft| draft.claim("htm", method));
    }
    list.script(
        79,
        (Medium, "4.3(8)", "X-HTTP-Method-Override that agrees with a wrong htm", METHOD),
        Judgement::Refused,
        "Make a proof whose htm is PUT.\nSend it with a POST request that says X-HTTP-Method-Override: PUT.",
        run!(overridden_method),
    );
}

async fn overridden_method(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Any).await?.header("X-HTTP-Method-Override", "PUT").header("X-Method-Override", "PUT");
    let answer = arena.send_draft(&call, |draft| draft.claim("htm", "PUT")).await?;
    refused(call.stage, &answer)
}

fn spoofing(list: &mut List) {
    let headers: [(u16, &str); 9] = [
        (80, "Host"),
        (81, "X-Forwarded-Host"),
        (82, "Forwarded"),
        (83, "X-Original-URL"),
        (84, "X-Rewrite-URL"),
        (85, "X-Forwarded-Prefix"),
        (86, "X-Forwarded-Proto"),
        (87, "X-Forwarded-Port"),
        (88, "X-Forwarded-Uri"),
    ];
    for (number, header) in headers {
        let title = format!("A {header} header that agrees with a wrong htu");
        list.script(
            number,
            (High, "RFC 9700 section 4.13", &title, SPOOFED),
            Judgement::Refused,
            &format!("Make a proof whose htu is another place.\nSend it here with a {header} header that names that place."),
            run!(spoofed, header),
        );
    }
}

async fn spoofed(arena: &Arena, header: &'static str) -> Step<()> {
    let call = arena.call(Stage::Any).await?;
    let url = call.url.clone();
    let other_scheme = if url.scheme() == "https" { "http" } else { "https" };
    let (value, htu) = match header {
        "Host" | "X-Forwarded-Host" => ("evil.example".to_owned(), url.as_str().replacen(&authority(&url), "evil.example", 1)),
        "Forwarded" => ("host=evil.example".to_owned(), url.as_str().replacen(&authority(&url), "evil.example", 1)),
        "X-Original-URL" | "X-Rewrite-URL" | "X-Forwarded-Uri" => ("/elsewhere".to_owned(), with_path(&url, "/elsewhere")),
        "X-Forwarded-Prefix" => ("/prefix".to_owned(), with_path(&url, &format!("/prefix{}", url.path()))),
        "X-Forwarded-Proto" => (other_scheme.to_owned(), url.as_str().replacen(url.scheme(), other_scheme, 1)),
        "X-Forwarded-Port" => ("4444".to_owned(), with(&url, |url| url.set_port(Some(4444)))),
        other => return not_applicable(format!("no attack with {other}")),
    };
    let call = if header == "Host" {
        let mut call = call;
        call.host = Some(value);
        call
    } else {
        call.header(header, value)
    };
    let answer = arena.send_draft(&call, |draft| draft.claim("htu", htu.clone())).await?;
    refused(call.stage, &answer)
}
