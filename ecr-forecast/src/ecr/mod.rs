//! Amazon ECR: image references, what a pull needs, who may do it. Pure: no I/O, no clock, no Kubernetes types.

pub mod advice;
pub mod arn;
pub mod cause_code;
pub mod config_map;
pub mod context;
pub mod declared;
pub mod image;
pub mod image_pattern;
pub mod judge;
pub mod managed;
pub mod missing;
pub mod needs;
