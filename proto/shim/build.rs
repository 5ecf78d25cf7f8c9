//! Compiles the agent-shim protocol with a compiler written in Rust: no protoc is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=shim.proto");
    let descriptors = protox::compile(["shim.proto"], ["."])?;
    // Ordered maps: a hashed one asks the kernel for randomness in every shim.
    prost_build::Config::new()
        .btree_map(["."])
        // By far the largest call.
        .boxed(".shim.v1.Request.call.create_container")
        .compile_fds(descriptors)?;
    Ok(())
}
