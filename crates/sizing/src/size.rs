//! Requests and limits of a container, and the bounds that they are kept within.

use std::ops::{Index, IndexMut};

use plimsoll_contract::Resource;
use serde::{Deserialize, Serialize};

mod qos;
pub use qos::{QosClass, qos, qos_changes};

/// The request and the limit of one resource, in millicores or bytes. Absent: not set, and never set by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct Size {
    /// What is reserved.
    pub request: Option<u64>,
    /// What is enforced.
    pub limit: Option<u64>,
}

/// Both resources of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct Sizes {
    /// In millicores.
    pub cpu: Size,
    /// In bytes.
    pub memory: Size,
}

impl Index<Resource> for Sizes {
    type Output = Size;

    fn index(&self, resource: Resource) -> &Size {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
        }
    }
}

impl IndexMut<Resource> for Sizes {
    fn index_mut(&mut self, resource: Resource) -> &mut Size {
        match resource {
            Resource::Cpu => &mut self.cpu,
            Resource::Memory => &mut self.memory,
        }
    }
}

/// The least and the most that a request or a limit may become, in millicores or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

/// The bounds of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeBounds {
    /// Of the request.
    pub request: Bounds,
    /// Of the limit.
    pub limit: Bounds,
}
