//! Models of the emulator's protocols. A model checker visits every state that a model can reach.

pub mod take_over;
