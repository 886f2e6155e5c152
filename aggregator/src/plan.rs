//! The plan: what to write to pods, each write with its reason. Pure; one module per idea.
//!
//! | module | idea |
//! |---|---|
//! | [`labels`] | which labels a pod is to carry, and whether they are written now, later or not at all |
//! | [`evidence`] | the numbers behind the bands, for people |
//! | [`gate`] | whether this replica may write |
//! | [`silence`] | when `unknown` is withheld because many nodes are silent |
//! | [`resize`] | which size each container of a node is to have |
//! | [`queue`] | which pods wait, for what, in which order |
//! | [`budget`] | how fast |
//! | [`back_off`] | how long what is tried again waits, per pod and per owner |

pub(crate) mod back_off;
pub(crate) mod budget;
pub(crate) mod evidence;
pub(crate) mod gate;
pub(crate) mod labels;
pub(crate) mod queue;
pub(crate) mod resize;
pub(crate) mod silence;
