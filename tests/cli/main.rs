//! The command line as a person or a script uses it: the real program, its exit codes, its output, and what it leaves on disk.

mod compose;
mod config;
mod demo;
mod documents;
mod proof;
mod retries;
mod scaling;
mod service;
mod support;
