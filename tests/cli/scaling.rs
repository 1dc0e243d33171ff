//! `docs/scaling/plan`, and what `docs/scaling.md` says that it prints.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::repository_file;

fn plan(arguments: &[&str]) -> Output {
    let program: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scaling/plan");
    Command::new("python3").arg(program).args(arguments).output().expect("python3 is installed: tests/run sees to it")
}

#[test]
fn the_plans_in_the_document_are_those_that_the_program_makes() {
    let document = repository_file("docs/scaling.md");
    let mut examples = 0;
    for block in document.split("```console\n").skip(1) {
        let (block, _) = block.split_once("\n```").expect("a block ends");
        let (command, printed) = block.split_once('\n').expect("a command and what it prints");
        let arguments = command.strip_prefix("$ docs/scaling/plan ").expect("the document runs nothing else");
        let output = plan(&arguments.split(' ').collect::<Vec<_>>());
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), printed, "{command}");
        examples += 1;
    }
    assert_eq!(examples, 3);
}

#[test]
fn a_load_that_makes_no_sense_is_refused_and_no_load_at_all_is_planned() {
    for nonsense in [["--checks", "-1"], ["--utilisation", "0"], ["--utilisation", "1.1"], ["--regions", "0"], ["--checks", "many"]] {
        assert!(!plan(&nonsense).status.success(), "{nonsense:?}");
    }
    assert!(plan(&["--checks", "0", "--sessions", "0"]).status.success());
}
