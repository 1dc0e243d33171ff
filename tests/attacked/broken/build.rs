//! Makes the broken build: a copy of the repository, edited, and compiled beside the dependencies that are compiled already.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::edits::{EDITS, SWITCH};

/// The program under its other name: the usual one, beside it, must stay as it is.
const EXAMPLE: &str = "keybound-broken";

/// Builds it, where anything changed since the last time; the path of the program.
pub(super) fn program() -> PathBuf {
    let folder = Path::new(crate::BINARY).parent().expect("the program is in a folder of the build directory");
    let profile = folder.file_name().and_then(|name| name.to_str()).expect("which is named after the profile");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken");
    copy_and_edit(Path::new(env!("CARGO_MANIFEST_DIR")), &copy);
    let output = Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--locked", "--quiet", "--example", EXAMPLE])
        .args(["--profile", if profile == "debug" { "dev" } else { profile }])
        .current_dir(&copy)
        .env("CARGO_TARGET_DIR", folder.parent().expect("the build directory"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "the broken build does not compile:\n{}", String::from_utf8_lossy(&output.stderr));
    folder.join("examples").join(EXAMPLE)
}

/// Makes `copy` what `source` is with the edits, and touches no file that is so already: what was compiled stays good.
fn copy_and_edit(source: &Path, copy: &Path) {
    let mut wanted = BTreeSet::new();
    // All that a build of the program reads: the members of the workspace, and what they and the manifest name.
    for part in ["Cargo.toml", "Cargo.lock", "src", "proofs", "guard", "tests", "benches", "examples", "deploy"] {
        collect(&source.join(part), &mut |path| {
            let name = path.strip_prefix(source).expect("it is below the source").to_owned();
            let content = read(path);
            write(&copy.join(&name), &edited(&name, &content).unwrap_or(content));
            wanted.insert(name);
        });
    }
    for edit in EDITS {
        assert!(wanted.contains(Path::new(edit.file)), "{} is not there", edit.file);
    }
    collect(copy, &mut |path| {
        if !wanted.contains(path.strip_prefix(copy).expect("it is below the copy")) {
            fs::remove_file(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    });
}

/// Hands every file at `path` or below it to `take`.
fn collect(path: &Path, take: &mut dyn FnMut(&Path)) {
    if path.is_file() {
        return take(path);
    }
    for entry in fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
        let path = entry.expect("an entry of a folder").path();
        // What other tools left is no source; cargo marks what it leaves.
        let left =
            path.file_name().is_some_and(|name| name == "node_modules" || name == "__pycache__") || path.join("CACHEDIR.TAG").exists();
        if !left {
            collect(&path, take);
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, content: &[u8]) {
    if path.is_file() && read(path) == content {
        return;
    }
    fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// The file as it is in the broken build; `None` where it stays.
fn edited(name: &Path, content: &[u8]) -> Option<Vec<u8>> {
    let name = name.to_str()?;
    let edits: Vec<_> = EDITS.iter().filter(|edit| edit.file == name).collect();
    let addition = match name {
        "src/lib.rs" | "proofs/src/lib.rs" => SWITCH.to_owned(),
        "Cargo.toml" => format!("\n[[example]]\nname = \"{EXAMPLE}\"\npath = \"src/main.rs\"\n"),
        "Cargo.lock" => String::new(),
        _ if edits.is_empty() => return None,
        _ => String::new(),
    };
    let mut text = String::from_utf8(content.to_vec()).expect("source is text");
    if name.starts_with("Cargo.") {
        text = renumbered(&text);
    }
    for edit in edits {
        // Tests stand at the end and may say the same again.
        let code = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        let places = text[..code].matches(edit.find).count();
        assert_eq!(places, 1, "{name}: what an edit replaces must stand there once:\n{}", edit.find);
        text = text.replacen(edit.find, edit.replace, 1);
    }
    Some((text + &addition).into_bytes())
}

/// Manifest or lock file with another version for the crates of this repository. What is compiled is named after name and version, but not
/// after the place of the workspace: under its own version the copy would take the place of the original in the build directory.
fn renumbered(text: &str) -> String {
    let version = concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"");
    let other = concat!("version = \"", env!("CARGO_PKG_VERSION"), "+broken\"");
    let mut lines: Vec<&str> = text.lines().collect();
    for at in 1..lines.len() {
        let ours = lines[at - 1] == "[workspace.package]" || lines[at - 1].starts_with("name = \"keybound");
        if ours && lines[at] == version {
            lines[at] = other;
        }
    }
    lines.join("\n") + "\n"
}
