//! libFuzzer around [`palisade_fuzz::walk`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| palisade_fuzz::walk(data));
