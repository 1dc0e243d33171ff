//! Just enough HTML to fill in the first form of a sign-in page.

/// A form: where it goes, and what is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Form {
    /// `action`; empty for the page itself.
    pub(super) action: String,
    /// Names and values: what the page holds, what a person would type, and the first button.
    pub(super) fields: Vec<(String, String)>,
}

/// Fills in the first form of a page: every text field with the user's name, every password with a word.
pub(super) fn first_form(page: &str, user: &str) -> Option<Form> {
    let start = page.find("<form")?;
    let rest = &page[start..];
    let body = &rest[..rest.find("</form").unwrap_or(rest.len())];
    let mut form = Form { action: attribute(tag(body)?, "action").unwrap_or_default(), fields: Vec::new() };
    let mut button = false;
    for (at, _) in body.match_indices('<') {
        let Some(tag) = tag(&body[at..]) else { continue };
        let Some(name) = attribute(tag, "name") else { continue };
        let value = attribute(tag, "value").unwrap_or_default();
        if tag.starts_with("<input") {
            match attribute(tag, "type").as_deref() {
                Some("hidden") => form.fields.push((name, value)),
                Some("checkbox") => form.fields.push((name, if value.is_empty() { "on".to_owned() } else { value })),
                Some("password") => form.fields.push((name, "correct horse battery staple".to_owned())),
                Some("submit") if button => {}
                Some("submit") => {
                    button = true;
                    form.fields.push((name, value));
                }
                _ => form.fields.push((name, user.to_owned())),
            }
        } else if tag.starts_with("<button") && !button {
            button = true;
            form.fields.push((name, value));
        }
    }
    Some(form)
}

fn tag(text: &str) -> Option<&str> {
    text.find('>').map(|end| &text[..end])
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].chars().next_back();
        let after = &rest[at + name.len()..];
        rest = after;
        if !before.is_some_and(char::is_whitespace) {
            continue;
        }
        let Some(value) = after.trim_start().strip_prefix('=') else { continue };
        let value = value.trim_start();
        let text = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split(quote).next().unwrap_or_default(),
            _ => value.split(char::is_whitespace).next().unwrap_or_default(),
        };
        return Some(unescaped(text));
    }
    None
}

fn unescaped(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_is_filled_in() {
        let page = r#"<p>Hello</p><form method="post" action="/go?a=1&amp;b=2"><input type="hidden" name="csrf" value="x&quot;y">
            <input required type='text' name='login'><input type=password name=secret>
            <button name="decision" value="allow">Yes</button><button name="decision" value="deny">No</button></form>"#;
        let form = first_form(page, "alice").expect("a form");
        assert_eq!(form.action, "/go?a=1&b=2");
        let names: Vec<&str> = form.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["csrf", "login", "secret", "decision"]);
        assert_eq!((form.fields[0].1.as_str(), form.fields[1].1.as_str(), form.fields[3].1.as_str()), ("x\"y", "alice", "allow"));
        assert!(first_form("<p>nothing</p>", "alice").is_none());
    }
}
