//! A client of OCI distribution registries: resolve a reference, fetch manifests and blobs.
//!
//! Owns: connections, proxies, authentication and its tokens, retries, resume by range
//! requests, and the strict reading of manifests and indexes. Does not: keep anything on disk,
//! choose a platform, check a blob's digest (whoever stores it does), or unpack.
//!
//! Everything a registry says is an attacker's word: answers have caps, documents are hashed
//! before they are read, redirects never carry credentials to another host nor leave TLS.
//!
//! Start reading at [`Client`] and [`Repository`]; `hosts` has mirrors and certificates, `session` has the way of one request, [`document`] the formats.
#![forbid(unsafe_code)]

mod auth;
mod blob;
mod challenge;
mod client;
mod config;
mod credentials;
pub mod document;
mod error;
mod helper;
mod hosts;
mod plain;
mod retry;
mod session;
mod token;
mod transport;

pub use auth::{Auth, AuthError, Secret};
pub use blob::BlobStream;
pub use client::{Client, FetchedManifest, Repository, Resolved};
pub use config::{Config, Limits, Proxies, Retries, Timeouts};
pub use error::{ConfigError, ManifestError, RedirectRefusal, RequestError, TokenError};
pub use helper::HelperError;
pub use hosts::RouteError;
pub use plain::{PlainHttp, PlainHttpError};
