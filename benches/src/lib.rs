//! What one registration, one allocation and one token cost.
