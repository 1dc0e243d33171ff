//! Log lines on their way to standard error, in batches: a request never waits for a terminal, a file or a collector, and pays for
//! a line with a copy of it.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Takes lines and has a thread of its own write them.
///
/// A line is written within [`Lines::GATHERED`], in the order in which lines came. Lines that nobody takes are kept up to
/// [`Lines::MAX_WAITING`] bytes; what comes after that is dropped and counted, and the count is written as soon as it can be. A process that
/// is killed loses what was gathered last.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when there is something to write while the thread rests, and when someone waits for all to be written.
    work: Condvar,
    /// Told when everything that had come was written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    dropped: u64,
    resting: bool,
    writing: bool,
    hurry: bool,
}

impl Lines {
    /// For how long lines are gathered before they are written together.
    pub(super) const GATHERED: Duration = Duration::from_millis(5);

    /// How many bytes may wait.
    pub(super) const MAX_WAITING: usize = 4 * 1024 * 1024;

    /// Starts the thread that writes to `sink`, for as long as the process lives.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let lines = Self(Arc::clone(&shared));
        std::thread::Builder::new().name("keybound-log".to_owned()).spawn(move || shared.write_to(sink))?;
        Ok(lines)
    }

    /// Waits until everything that came before has been written.
    pub(super) fn flush(&self) {
        let mut state = self.0.state.lock();
        state.hurry = true;
        self.0.work.notify_one();
        while !state.waiting.is_empty() || state.writing {
            self.0.written.wait(&mut state);
        }
        state.hurry = false;
    }

    fn take(&self, line: &[u8]) {
        let mut state = self.0.state.lock();
        if state.waiting.len() + line.len() > Self::MAX_WAITING {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        if state.resting {
            state.resting = false;
            self.0.work.notify_one();
        }
    }
}

impl Shared {
    fn write_to(&self, mut sink: impl Write) {
        let mut batch = Vec::new();
        let mut state = self.state.lock();
        loop {
            while state.waiting.is_empty() {
                state.resting = true;
                self.work.wait(&mut state);
            }
            state.resting = false;
            if !state.hurry {
                self.work.wait_for(&mut state, Lines::GATHERED);
            }
            std::mem::swap(&mut batch, &mut state.waiting);
            let dropped = std::mem::take(&mut state.dropped);
            state.writing = true;
            drop(state);
            if dropped > 0 {
                batch.extend_from_slice(format!("{dropped} log lines were dropped: nobody took them in time\n").as_bytes());
            }
            // Where the log can't be written there is no place to say so.
            let _unwritable = sink.write_all(&batch).and_then(|()| sink.flush());
            batch.clear();
            state = self.state.lock();
            state.writing = false;
            if state.waiting.is_empty() {
                self.written.notify_all();
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Where one line is written to.
pub(super) struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    /// The subscriber hands over whole lines.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that can be read, and held up while its lock is held.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(sink: &Sink) -> String {
        String::from_utf8(sink.0.lock().clone()).unwrap()
    }

    #[test]
    fn lines_of_many_threads_are_written_whole_and_each_threads_in_order() {
        let sink = Sink::default();
        let lines = Lines::start(sink.clone()).unwrap();
        std::thread::scope(|scope| {
            for name in 0..4 {
                let lines = &lines;
                scope.spawn(move || {
                    (0..500).for_each(|count| lines.make_writer().write_all(format!("{name} {count}\n").as_bytes()).unwrap())
                });
            }
        });
        lines.flush();
        let text = written(&sink);
        for name in 0..4 {
            let own: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(&format!("{name} "))).collect();
            assert_eq!(own, (0..500).map(|count| count.to_string()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_sink_that_takes_nothing_holds_up_nobody_and_what_was_dropped_is_counted() {
        let sink = Sink::default();
        let lines = Lines::start(sink.clone()).unwrap();
        let line = [b'x'; 1024];
        let held = sink.0.lock();
        // Twice as much as may wait: what the thread took before it was held up, and what waits, is less.
        for _ in 0..3 * Lines::MAX_WAITING / line.len() {
            lines.make_writer().write_all(&line).unwrap();
        }
        drop(held);
        lines.flush();
        // The count follows the lines that waited.
        lines.make_writer().write_all(b"after\n").unwrap();
        lines.flush();
        let text = written(&sink);
        assert!(text.contains(" log lines were dropped"), "{}", text.len());
        assert!(text.ends_with("after\n"));
    }

    #[test]
    fn a_flush_with_nothing_to_write_returns() {
        Lines::start(Sink::default()).unwrap().flush();
    }
}
