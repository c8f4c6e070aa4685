//! Swarm runs as a user meets them: what is drawn, what a run does, and that lies are found.

mod drawing;
mod running;
