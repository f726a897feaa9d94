//! libFuzzer around [`palisade_fuzz::vnet_header`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| palisade_fuzz::vnet_header(data));
