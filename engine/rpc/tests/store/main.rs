//! The stores: what they promise, damage, crashes, and a model.

mod both;
mod crash;
mod damage;
mod disk;
mod folder;
mod full;
mod model;
mod overlap;
mod rig;
