//! The simulation: whole deployments on a virtual clock, the people in them, and fuzz targets as
//! plain functions of bytes. Development only; what is asked of the product stands in `tests`.

pub mod data_plane;
pub mod deployment;
pub mod factory;
pub mod faults;
pub mod faulty_store;
pub mod fuzz;
pub mod gate;
pub mod handset;
pub mod model;
pub mod network;
pub mod peer;
pub mod person;
pub mod phone;
pub mod simulation;
pub mod sockets;
pub mod versions;
pub mod voice;
