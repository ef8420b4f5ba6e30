//! `nuwave serve` as its clients see it.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod clients;
mod limits;
mod malformed_requests;
mod mutated_messages;
mod tls;
mod triton;
