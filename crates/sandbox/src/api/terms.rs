//! The terms of a write: by whom, on which part of an object, and whether in earnest.

use super::kinds::Resource;
use super::patch::managers::Manager;

/// Which part of an object a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subresource {
    /// The object itself, without its status.
    #[default]
    Main,
    /// `status`.
    Status,
    /// `pods/resize`.
    Resize,
}

/// How a write is done and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The field manager.
    pub manager: String,
    /// Check everything, change nothing.
    pub dry_run: bool,
    /// For an apply: take fields from other managers.
    pub force: bool,
    /// The part of the object.
    pub subresource: Subresource,
}

impl Write {
    /// A plain write of the object itself by this field manager.
    pub fn by(manager: &str) -> Self {
        Self { manager: manager.to_owned(), dry_run: false, force: false, subresource: Subresource::Main }
    }

    /// The same write through a subresource.
    pub fn through(mut self, subresource: Subresource) -> Self {
        self.subresource = subresource;
        self
    }

    pub(super) fn manager(&self, resource: &Resource, apply: bool) -> Manager {
        let subresource = match self.subresource {
            Subresource::Main => None,
            Subresource::Status => Some("status".to_owned()),
            Subresource::Resize => Some("resize".to_owned()),
        };
        Manager { name: self.manager.clone(), apply, api_version: resource.api_version(), subresource }
    }
}

impl Default for Write {
    fn default() -> Self {
        Self::by("sandbox")
    }
}
