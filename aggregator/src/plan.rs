//! The plan: what to write, each with its reason. Pure; one module per idea.
//!
//! | module | idea |
//! |---|---|
//! | [`label`] | what a pod shall carry, and the complete set of our keys |
//! | [`verdict`] | whether that is to be written now, later or not at all |
//! | [`evidence`] | the numbers behind the bands, for a person |
//! | [`budget`] | how fast |
//! | [`breaker`] | what is too much at once to be true |
//! | [`agenda`] | which pods wait, for what, in which order |
//! | [`ledger`] | what was decided and what became of it |

pub(crate) mod agenda;
pub(crate) mod breaker;
pub(crate) mod budget;
pub(crate) mod evidence;
pub(crate) mod label;
pub(crate) mod ledger;
pub(crate) mod verdict;
