//! Stories: one file each, all runnable offline.
