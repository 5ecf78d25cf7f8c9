//! The gRPC contracts and the code generated from them: CRI v1 and our own `agent.v1`.
//!
//! Owns: the `.proto` files beside this crate. Does not: hold any logic.
//! Start reading at `cri/v1/api.proto` and `agent/v1/containers.proto`.
#![forbid(unsafe_code)]
#![allow(
    missing_debug_implementations,
    unreachable_pub,
    clippy::struct_excessive_bools,
    clippy::doc_markdown,
    clippy::large_enum_variant,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

/// The Kubernetes Container Runtime Interface, version 1.
pub mod cri {
    tonic::include_proto!("runtime.v1");
}

/// Our own services, for people and fleet automation.
pub mod agent {
    tonic::include_proto!("agent.v1");
}

/// Encoded `FileDescriptorSet` of every service, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
