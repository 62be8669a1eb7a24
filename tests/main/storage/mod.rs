//! A store, which holds a kloset.

mod create;
mod kloset;
mod leaving;
mod objects;
mod put;
mod summary;
