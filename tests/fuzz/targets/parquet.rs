#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = nuwave_fuzz::parquet(bytes);
});
