//! The `keybound` command.

use std::process::ExitCode;

use keybound::config::{Config, Flags};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, _serve, _config, file] = arguments.as_slice() else { return ExitCode::from(2) };
    keybound::telemetry::logging::start(keybound::telemetry::logging::LogFormat::Text, "info");
    let config = match Config::load(Some(std::path::Path::new(file)), std::env::vars(), &Flags::default()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let running = match keybound::app::start(config).await {
        Ok(running) => running,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals can be awaited");
    tokio::select! { _ = terminate.recv() => {}, _ = tokio::signal::ctrl_c() => {} }
    if running.stop().await.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
