//! The daemon on real packets between network namespaces; needs root. See the crate's library for the harness.
