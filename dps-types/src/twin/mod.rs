//! Device twins: the rules that apply to every section of a twin, whoever writes it.

pub mod limits;
