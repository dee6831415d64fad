//! The two machines alone, each step by its exact acts; and both together, in every order in which things can go wrong.

mod coordinating;
mod matrix;
mod participating;
mod world;
