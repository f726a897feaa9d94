//! libFuzzer around [`palisade_fuzz::frame`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| palisade_fuzz::frame(data));
