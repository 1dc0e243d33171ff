//! The browser's part of the authorization code flow.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

use super::html::first_form;
use crate::halt::{Step, inconclusive};
use crate::wire::{Request, Wire};

/// Where an authorization request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authorized {
    /// At the redirect URI, with these parameters: `code`, or `error`.
    Redirected(BTreeMap<String, String>),
    /// At a page of the server's with this status, which is no form.
    Page(u16),
    /// At another place than the redirect URI of the request.
    Elsewhere(String),
}

impl Authorized {
    /// The code, where there is one.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Redirected(answer) => answer.get("code").map(String::as_str),
            Self::Page(_) | Self::Elsewhere(_) => None,
        }
    }
}

/// A browser.
#[derive(Clone)]
pub(crate) enum Browser {
    /// One that the suite plays: follows redirects, keeps cookies, and fills in the first form of every page under this name.
    Played(Wire, String),
    /// That of a person: the URL is printed, and the answer awaited at the redirect URI.
    Person,
}

impl Browser {
    /// Opens an authorization request and follows it to its end.
    pub(crate) async fn open(&self, url: &Url, redirect_uri: &str) -> Step<Authorized> {
        match self {
            Self::Played(wire, user) => play(wire, user, url, redirect_uri).await,
            Self::Person => ask_person(url, redirect_uri).await,
        }
    }
}

async fn play(wire: &Wire, user: &str, url: &Url, redirect_uri: &str) -> Step<Authorized> {
    let mut cookies: BTreeMap<String, String> = BTreeMap::new();
    // Some servers show pages to whoever asks for one only.
    let page = |url: &Url| Request::new("GET", url).header("Accept", "text/html");
    let mut request = page(url);
    for _ in 0..MAX_STEPS {
        if !cookies.is_empty() {
            let cookies: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("Cookie", cookies.join("; "));
        }
        let at = request.url.clone();
        let answer = wire.send(&request).await?;
        for line in answer.all("Set-Cookie") {
            if let Some((name, value)) = line.split(';').next().unwrap_or_default().split_once('=') {
                cookies.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        if let Some(location) = answer.header("Location").filter(|_| (300..400).contains(&answer.status)) {
            let Ok(next) = at.join(location) else { return Ok(Authorized::Elsewhere("a Location that is no URL".to_owned())) };
            if location.starts_with(redirect_uri) {
                return Ok(Authorized::Redirected(next.query_pairs().into_owned().collect()));
            }
            if next.origin() != url.origin() {
                return Ok(Authorized::Elsewhere(next.origin().ascii_serialization()));
            }
            request = page(&next);
        } else if let Some(form) = first_form(&answer.text(), user).filter(|_| answer.status == 200) {
            let Ok(next) = at.join(&form.action) else { return inconclusive("a form of the sign-in page goes to no URL") };
            let mut origin = at.clone();
            origin.set_path("");
            origin.set_query(None);
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.fields).finish();
            request = Request::new("POST", &next)
                .header("Accept", "text/html")
                .header("Origin", origin.as_str().trim_end_matches('/'))
                .body("application/x-www-form-urlencoded", body);
        } else {
            return Ok(Authorized::Page(answer.status));
        }
    }
    inconclusive("the sign-in does not end")
}

async fn ask_person(url: &Url, redirect_uri: &str) -> Step<Authorized> {
    let there = Url::parse(redirect_uri).ok();
    let address = there.as_ref().and_then(|uri| uri.socket_addrs(|| None).ok()?.first().copied());
    let Some(address) = address.filter(|address| address.ip().is_loopback()) else {
        return inconclusive("a browser needs a redirect URI on a loopback address, with a port");
    };
    let Ok(listener) = TcpListener::bind(address).await else { return inconclusive(format!("{address} can't be listened on")) };
    eprintln!("\nOpen this in a browser and sign in; the suite waits for {} minutes:\n\n  {url}\n", PATIENCE.as_secs() / 60);
    let wait = async {
        loop {
            let (mut stream, _) = listener.accept().await.ok()?;
            let mut bytes = vec![0; 16 * 1024];
            let length = stream.read(&mut bytes).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let target = text.split(' ').nth(1).and_then(|target| Url::parse("http://127.0.0.1").ok()?.join(target).ok());
            let answer: BTreeMap<String, String> = target.map(|target| target.query_pairs().into_owned().collect()).unwrap_or_default();
            let page = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 31\r\nConnection: close\r\n\r\nDone. You can close this page.\n";
            // The person may have closed the page already.
            let _written = stream.write_all(page.as_bytes()).await;
            if answer.contains_key("code") || answer.contains_key("error") {
                return Some(Authorized::Redirected(answer));
            }
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(Some(answer)) => Ok(answer),
        _ => inconclusive("nobody signed in"),
    }
}

const MAX_STEPS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(180);
