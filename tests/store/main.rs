//! The stores, through their public faces.

mod crash;
mod embedded;
mod redis;
mod replay_window;
mod restart;
mod seeded_bugs;
