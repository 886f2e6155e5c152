//! Reading Kubernetes objects so that no object can spoil a list or a watch.
//!
//! ```text
//! response, bounded (`response`) -> kube: pages, 410, bookmarks (`watch`) -> text of one object
//!                                                                              |
//!                                              content, or why it cannot be read (`object`)
//!                                                                              |
//!                                                            only the fields that are used (`field`)
//! ```
//!
//! kube decodes a list as a whole: one value that its types do not accept, anywhere in one object, fails every object. An [`Object`]
//! accepts whatever is JSON: it holds the object's names and either its content, a type with only the fields that a program uses, or an
//! [`Unreadable`] with the field and the reason. What to do about the latter is the program's decision.
//!
//! | module | contents |
//! |---|---|
//! | `object` | one object: its names, its content or why it is unreadable |
//! | [`field`] | lenient and bounded fields of a content |
//! | `response` | the client, which refuses a response that is too large |
//! | `watch` | lists and watches, in smaller pages where objects are large |
//! | `problem` | what an error of kube means, as text for people |

pub mod field;
mod object;
mod problem;
mod response;
mod watch;

pub use object::{Checked, Content, Nothing, Object, Unreadable};
pub use problem::describe;
pub use response::{MAX_RESPONSE, client, is_too_large};
pub use watch::watch;
