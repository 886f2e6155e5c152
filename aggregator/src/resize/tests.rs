//! One pod through its resizes: each transition, each scenario, each takeover. The pod, its node and the API server are values of the test.

mod answers;
mod documents;
mod down;
mod harm;
mod kubelet;
mod path;
mod properties;
mod takeover;
mod world;
mod writers;
