//! One HTML page that needs nothing else.

use std::fmt::Write as _;

use super::{Finding, Outcome, Report, escaped, utc};

pub(super) fn html(report: &Report) -> String {
    let counts = report.counts();
    let held = counts.breach + counts.inconclusive == 0;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>DPoP attack report: {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escaped(&report.issuer)
    );
    let mut add = |text: String| {
        page.push_str(&text);
        page.push('\n');
    };
    add(format!(
        "<header>\n<p class=\"kind\">DPoP attack report</p>\n<h1>{}</h1>\n<p class=\"verdict {}\">{}</p>\n</header>",
        escaped(&report.issuer),
        if held { "good" } else { "bad" },
        if held {
            "Every attack that applied was refused, and every honest request was accepted.".to_owned()
        } else {
            verdict(counts.breach, counts.inconclusive)
        }
    ));
    add(format!(
        "<dl class=\"tiles\">{}{}{}{}</dl>",
        tile("refused", counts.refused, "good"),
        tile("breaches", counts.breach, if counts.breach > 0 { "bad" } else { "" }),
        tile("inconclusive", counts.inconclusive, if counts.inconclusive > 0 { "doubt" } else { "" }),
        tile("not applicable", counts.not_applicable, "")
    ));
    add(families(report));
    for (outcome, title, note) in [
        (Outcome::Breach, "Breaches", "What the server did and must not do, worst first."),
        (Outcome::Inconclusive, "Inconclusive", "Nothing can be said of these; the reason stands with each. They count as failures."),
    ] {
        let findings = report.worst(outcome);
        if !findings.is_empty() {
            add(format!("<section>\n<h2>{title}</h2>\n<p class=\"note\">{note}</p>"));
            for finding in findings {
                add(card(finding));
            }
            add("</section>".to_owned());
        }
    }
    add(twins(report));
    add(all(report));
    add(format!(
        "<footer>\n<p>Made by <code>keybound attack</code> {} on {}, in {:.1} s, with catalogue {}. No token, proof or secret is in this page: \
         values are named by the first bytes of their SHA-256.</p>\n<details><summary>Options of the run</summary><pre>{}</pre></details>\n</footer>\n</main>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>",
        escaped(report.suite_version),
        utc(report.started),
        report.seconds,
        escaped(report.catalogue_version),
        escaped(&serde_json::to_string_pretty(&report.options).unwrap_or_default())
    ));
    page
}

fn verdict(breaches: usize, doubts: usize) -> String {
    let plural = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    match (breaches, doubts) {
        (breaches, 0) => format!("{}.", plural(breaches, "attack succeeded", "attacks succeeded")),
        (0, doubts) => format!("No attack succeeded, but of {} nothing can be said.", plural(doubts, "attack", "attacks")),
        (breaches, doubts) => {
            format!(
                "{}; of {} nothing can be said.",
                plural(breaches, "attack succeeded", "attacks succeeded"),
                plural(doubts, "other", "others")
            )
        }
    }
}

fn tile(name: &str, count: usize, class: &str) -> String {
    format!("<div class=\"tile {class}\"><dt>{name}</dt><dd>{count}</dd></div>")
}

fn families(report: &Report) -> String {
    let mut text = String::from(
        "<section>\n<h2>Families</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Family</th><th scope=\"col\">refused</th><th scope=\"col\">breaches</th>\
         <th scope=\"col\">inconclusive</th><th scope=\"col\">not applicable</th></tr></thead>\n<tbody>\n",
    );
    for (family, counts) in report.families() {
        let cell = |count: usize, class: &str| {
            if count == 0 { "<td class=\"none\">–</td>".to_owned() } else { format!("<td class=\"{class}\">{count}</td>") }
        };
        // Writing to a string does not fail; nor below.
        let _written = writeln!(
            text,
            "<tr><th scope=\"row\">{} <span class=\"prefix\">{}</span></th>{}{}{}{}</tr>",
            escaped(family.title()),
            family.prefix(),
            cell(counts.refused, "good"),
            cell(counts.breach, "bad"),
            cell(counts.inconclusive, "doubt"),
            cell(counts.not_applicable, "")
        );
    }
    text.push_str("</tbody>\n</table></div>\n</section>");
    text
}

fn card(finding: &Finding) -> String {
    format!(
        "<article class=\"card {}\" id=\"{}\">\n<h3><code>{}</code> {} <span class=\"severity {}\">{}</span></h3>\n<p>{}</p>\n\
         <dl><dt>Rule</dt><dd>{}</dd><dt>It means</dt><dd>{}</dd><dt>Judged</dt><dd>{}</dd></dl>\n{}</article>",
        if finding.outcome == Outcome::Breach { "bad" } else { "doubt" },
        escaped(&finding.id),
        escaped(&finding.id),
        escaped(&finding.title),
        finding.severity.name(),
        finding.severity.name(),
        escaped(&finding.detail),
        escaped(&finding.section),
        escaped(&finding.breach),
        finding.judgement.words(),
        trail(&finding.trail)
    )
}

fn trail(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items: String = lines.iter().map(|line| format!("<li>{}</li>", escaped(line))).collect();
    format!("<details><summary>What was sent and answered</summary><ol class=\"trail\">{items}</ol></details>")
}

fn twins(report: &Report) -> String {
    let mut text = String::from(
        "<section>\n<h2>Honest requests</h2>\n<p class=\"note\">A server that refuses everything would pass every attack. These had to be accepted, before \
         the attacks and after them.</p>\n<div class=\"scroll\"><table>\n<tbody>\n",
    );
    for twin in &report.twins {
        let class = match twin.outcome {
            Outcome::Refused => "good",
            Outcome::Breach | Outcome::Inconclusive => "bad",
            Outcome::NotApplicable => "none",
        };
        let _written = writeln!(
            text,
            "<tr><td><code>{}</code></td><td class=\"text\">{}{}</td><td class=\"{class} word\">{}</td></tr>",
            twin.id,
            escaped(twin.title),
            if twin.detail.is_empty() { String::new() } else { format!("<br><small>{}</small>", escaped(&twin.detail)) },
            twin.words()
        );
    }
    text.push_str("</tbody>\n</table></div>\n</section>");
    text
}

fn all(report: &Report) -> String {
    let mut text = format!(
        "<section>\n<h2>All {} attacks</h2>\n<p class=\"filter\"><label>Show <select id=\"outcome\"><option value=\"\">all</option><option>refused</option>\
         <option>BREACH</option><option>inconclusive</option><option>not applicable</option></select></label> <label>with <input id=\"word\" type=\"search\" \
         placeholder=\"ID, title or section\"></label> <span id=\"shown\" role=\"status\"></span></p>\n<div class=\"scroll\"><table id=\"all\">\n<thead><tr>\
         <th scope=\"col\">ID</th><th scope=\"col\">Attack</th><th scope=\"col\">Severity</th><th scope=\"col\">Outcome</th></tr></thead>\n<tbody>\n",
        report.findings.len()
    );
    for finding in &report.findings {
        let class = match finding.outcome {
            Outcome::Refused => "good",
            Outcome::Breach => "bad",
            Outcome::Inconclusive => "doubt",
            Outcome::NotApplicable => "none",
        };
        let detail = if finding.detail.is_empty() { String::new() } else { format!("<br><small>{}</small>", escaped(&finding.detail)) };
        let _written = writeln!(
            text,
            "<tr data-outcome=\"{}\"><td><code>{}</code></td><td class=\"text\">{}<br><small>{}</small>{detail}</td><td><span class=\"severity {}\">{}</span></td>\
             <td class=\"{class} word\">{}</td></tr>",
            finding.outcome.words(),
            escaped(&finding.id),
            escaped(&finding.title),
            escaped(&finding.section),
            finding.severity.name(),
            finding.severity.name(),
            finding.outcome.words()
        );
    }
    text.push_str("</tbody>\n</table></div>\n</section>");
    text
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--line:#d8dee4;--paper:#fff;--tint:#f6f8fa;--good:#1a7f37;--bad:#b3261e;--doubt:#8a5a00}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--paper:#0d1117;--tint:#151b23;--good:#4ac26b;--bad:#ff8982;--doubt:#e3b341}}\
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:62rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}header{margin-bottom:1.5rem}h1{font-size:1.75rem;margin:0 0 .5rem;overflow-wrap:anywhere}\
h2{font-size:1.25rem;margin:2.5rem 0 .75rem}h3{font-size:1rem;margin:0 0 .5rem}.kind{margin:0;color:var(--soft)}.verdict{font-size:1.1rem;font-weight:600;margin:0}\
.good{color:var(--good)}.bad{color:var(--bad)}.doubt{color:var(--doubt)}.none,.note,small,footer,.prefix{color:var(--soft)}.prefix{font-weight:400}\
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:0}.tile{border:1px solid var(--line);border-radius:8px;padding:.75rem 1rem;\
background:var(--tint);display:flex;flex-direction:column-reverse}.tile dt{color:var(--soft)}.tile dd{margin:0;font-size:1.9rem;font-weight:600;line-height:1.2}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.45rem .6rem;border-bottom:1px solid var(--line);vertical-align:top;\
font-variant-numeric:tabular-nums}thead th{color:var(--soft);font-weight:500}th:first-child,td:first-child,td.text,#all th:nth-child(2),#all th:nth-child(3),\
#all td:nth-child(3),#all th:nth-child(4){text-align:left}td.word{text-align:left;white-space:nowrap}code{font:.9em ui-monospace,monospace;white-space:nowrap}\
.card{border:1px solid var(--line);border-left:4px solid currentColor;border-radius:8px;padding:1rem 1.1rem;margin:0 0 .9rem;background:var(--tint)}.card>*{color:var(--ink)}\
.card p{margin:.25rem 0 .75rem;overflow-wrap:anywhere}.card dl{display:grid;grid-template-columns:6rem 1fr;gap:.2rem .75rem;margin:0 0 .5rem}.card dt{color:var(--soft)}.card dd{margin:0}\
.severity{display:inline-block;font-size:.8rem;font-weight:600;padding:0 .5em;border-radius:1em;border:1px solid currentColor;color:var(--soft)}.severity.critical,.severity.high{color:var(--bad)}\
.severity.medium{color:var(--doubt)}.trail{font:.85rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere;padding-left:2rem}summary{cursor:pointer}\
pre{overflow-x:auto;background:var(--tint);padding:.75rem;border-radius:8px}.filter{display:flex;flex-wrap:wrap;gap:.75rem;align-items:center}select,input{font:inherit;padding:.25rem .5rem;\
color:var(--ink);background:var(--paper);border:1px solid var(--line);border-radius:6px}footer{margin-top:3rem;border-top:1px solid var(--line);padding-top:1rem}\
@media print{.filter{display:none}main{max-width:none;padding:0}}";

/// Filters the long table. Without it everything is shown.
const SCRIPT: &str = "\
(function(){var o=document.getElementById('outcome'),w=document.getElementById('word'),s=document.getElementById('shown'),rows=[].slice.call(document.querySelectorAll('#all tbody tr'));\
function show(){var n=0,t=w.value.toLowerCase();rows.forEach(function(r){var on=(!o.value||r.dataset.outcome===o.value)&&(!t||r.textContent.toLowerCase().indexOf(t)>=0);r.hidden=!on;if(on)n++});\
s.textContent=n+' of '+rows.length}o.addEventListener('change',show);w.addEventListener('input',show);show()})();";
