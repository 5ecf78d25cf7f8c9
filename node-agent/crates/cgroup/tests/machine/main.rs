//! Cgroups on the kernel under test. Needs root; everything lies below a parent of the test's own,
//! which is removed at the end, also when an assertion fails.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod both;
mod claim;
mod own;
mod unified;
