//! The program that libFuzzer drives, where it is built for that (`tests/fuzz`); else it runs files through a target.
#![cfg_attr(fuzzing, no_main)]

/// `keybound-fuzz TARGET FILE...`: runs each file through the target, to see a finding again.
#[cfg(not(fuzzing))]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(target) = arguments.next().as_deref().and_then(keybound_fuzz::target) else {
        eprintln!("keybound-fuzz TARGET FILE...");
        std::process::exit(2);
    };
    for file in arguments {
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        target(&bytes);
    }
}

#[cfg(fuzzing)]
mod libfuzzer {
    #![expect(unsafe_code, reason = "libFuzzer calls these by name and hands over a pointer")]

    use std::sync::OnceLock;

    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

    /// Called once: `KEYBOUND_FUZZ_TARGET` names the target.
    #[unsafe(no_mangle)]
    extern "C" fn LLVMFuzzerInitialize(_: *mut i32, _: *mut *mut *mut u8) -> i32 {
        let name = std::env::var("KEYBOUND_FUZZ_TARGET").unwrap_or_default();
        let target = keybound_fuzz::target(&name).unwrap_or_else(|| panic!("KEYBOUND_FUZZ_TARGET names no target: {name}"));
        // A panic is a finding: libFuzzer keeps the input where the process aborts.
        std::panic::set_hook(Box::new(|panic| {
            eprintln!("{panic}");
            std::process::abort();
        }));
        TARGET.set(target).expect("initialised once");
        0
    }

    /// Called for each input.
    #[unsafe(no_mangle)]
    extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, size: usize) -> i32 {
        let bytes = if size == 0 {
            &[]
        } else {
            // SAFETY: libFuzzer hands over `size` readable bytes that outlive this call.
            unsafe { std::slice::from_raw_parts(data, size) }
        };
        if let Some(target) = TARGET.get() {
            target(bytes);
        }
        0
    }
}
