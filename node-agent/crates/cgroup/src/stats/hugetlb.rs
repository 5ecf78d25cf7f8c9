//! Huge pages in use, which no [`Meter`](super::Meter) reads: few containers have any.

use crate::error::CgroupError;
use crate::tree::Inner;
use crate::{CgroupPath, Version, file};

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HugetlbStats {
    /// Their size as the kernel writes it, such as `2MB`.
    pub page_size: String,
    /// Bytes in use.
    pub usage: u64,
    /// Most bytes in use at any time; `None` where the kernel does not tell.
    pub max_usage: Option<u64>,
}

/// Reads the huge pages in use, of each size that the machine has; none without the controller.
pub(crate) fn hugetlb(tree: &Inner, path: &CgroupPath) -> Result<Vec<HugetlbStats>, CgroupError> {
    let Some(hierarchy) = tree.find("hugetlb") else {
        return Ok(Vec::new());
    };
    let (usage, max_usage) = match tree.version() {
        Version::V1 => ("usage_in_bytes", Some("max_usage_in_bytes")),
        Version::V2 => ("current", None),
    };
    let read = |size: &str, what: &str| {
        let name = format!("{}/hugetlb.{size}.{what}", path.relative());
        let number = file::if_present(file::read_number(hierarchy.root(), &name));
        number
            .map(Option::flatten)
            .map_err(|source| CgroupError::Read {
                path: path.clone(),
                file: "huge pages in use",
                source,
            })
    };
    let mut all = Vec::new();
    for size in tree.machine().page_sizes() {
        if let Some(usage) = read(size, usage)? {
            all.push(HugetlbStats {
                page_size: size.clone(),
                usage,
                max_usage: max_usage
                    .map(|what| read(size, what))
                    .transpose()?
                    .flatten(),
            });
        }
    }
    Ok(all)
}
