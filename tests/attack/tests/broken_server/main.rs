//! A server that is correct, and breaks one rule at a time.
