//! The simulation: whole deployments on a virtual clock and the people in them. Development only;
//! what is asked of the product stands in `tests`.

pub mod deployment;
pub mod peer;
pub mod person;
