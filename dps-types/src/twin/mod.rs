//! Device twins: the rules that apply to every section of a twin and every writer.

pub mod limits;
