//! The A/V MCU in whole conferences: Focus on one side, people on the other, the data plane below.

mod calling;
mod gates;
mod joining;
mod model;
mod records;
