use nuwave::extract::*;
use nuwave::{detector, model::*};
fn cpu() -> f64 { let s = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap(); s.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1e-9 }
fn time(name: &str, n: usize, mut f: impl FnMut()) { let n = n * 40; for _ in 0..n / 10 { f(); } let mut all = vec![]; for _ in 0..7 { let t = cpu(); for _ in 0..n { f(); } all.push((cpu() - t) / n as f64 * 1e6); } all.sort_by(f64::total_cmp); println!("{name:30} {:.3} us (min {:.3})", all[3], all[0]); }
fn main() {
    let d = detector::load("juno").unwrap();
    let c = d.nominal_calibration().unwrap();
    let g = filter::Design::new(&c.rows()[0], Filter::Auto).unwrap();
    let mut planner = rustfft::FftPlanner::<f32>::new();
    let (f, b) = (planner.plan_fft_forward(1024), planner.plan_fft_inverse(1024));
    let mut buf = vec![rustfft::num_complex::Complex32::new(1.0, 0.5); 1024];
    let mut sc = vec![rustfft::num_complex::Complex32::ZERO; 4096];
    let h = vec![rustfft::num_complex::Complex32::new(0.99, 0.01); 1024];
    time("reference pair 1024 /2", 2000, || { f.process_with_scratch(&mut buf, &mut sc); for (x, y) in buf.iter_mut().zip(&h) { *x *= y; } b.process_with_scratch(&mut buf, &mut sc); for x in &mut buf { *x *= 1.0 / 1024.0; } });
    for n in [256usize, 384, 512] { let (f, b) = (planner.plan_fft_forward(n), planner.plan_fft_inverse(n)); time(&format!("complex {n} both"), 2000, || { f.process_with_scratch(&mut buf[..n], &mut sc); b.process_with_scratch(&mut buf[..n], &mut sc); for x in &mut buf[..n] { *x *= 1.0 / n as f32; } }); }
    let plan = deconvolve::Plan::new(&g, 768).unwrap();
    let samples: Vec<u16> = testdata();
    let mut loaded = sanity::Loaded::default();
    time("load", 4000, || { std::hint::black_box(sanity::load(SamplesRef::U16(&samples), (0.0, 16383.0), &mut loaded)); });
    let mut sorted = vec![];
    time("noise", 4000, || { std::hint::black_box(baseline::noise_adc(&loaded.block_variance, &mut sorted)); });
    time("rough", 4000, || { std::hint::black_box(baseline::rough_level_adc(&loaded.block_mean, &loaded.block_variance)); });
    let mut w = deconvolve::Work::default();
    w.trace.resize(500, 0.0);
    time("halve", 4000, || { decimate::halve(&loaded, 11000.0, -1.0, &mut w.trace); std::hint::black_box(&w.trace); });
    time("halve+plan", 4000, || { decimate::halve(&loaded, 11000.0, -1.0, &mut w.trace); plan.run(&mut w).unwrap(); });
    let tr = w.trace.clone();
    let mut fw = floor::Work::default();
    time("floor (+copy)", 4000, || { w.trace.copy_from_slice(&tr); std::hint::black_box(floor::refine(&mut w.trace, &plan, 8.0, &mut fw)); });
    let mut found = vec![];
    let s = find::Search { threshold: 0.02, valley: 0.01, reach: 3 };
    time("find", 4000, || { find::find(&w.trace, &fw.smooth, &fw.block_max, s, &mut found); std::hint::black_box(&found); });
    println!("{} hits", found.len());
    let hit = found[0];
    time("measure", 4000, || { std::hint::black_box((charge::measure(&w.trace, &plan, hit, 8.0, 0.5), time::measure_ns(&w.trace, &plan, hit, 0.005))); });
    let ex = Extractor::new(c, ReadoutFacts { sampling_ns: 1.0, polarity: Polarity::Negative, adc_bits: Some(14) }, Parameters::default()).unwrap();
    let mut batch = Batch::new_u16(0);
    for i in 0..128 { batch.push(Waveform { event_id: i, channel_id: 0, start_ns: 0.0, samples: SamplesRef::U16(&samples) }); }
    time("whole", 4000 / 128, || { std::hint::black_box(ex.extract(&batch).unwrap()); });
}
fn testdata() -> Vec<u16> {
    let d = detector::load("juno").unwrap(); let s = d.type_of(0).pulse.shape().unwrap();
    let mut x = 12345u64;
    (0..1000).map(|t| { let mut n = 0.0; for _ in 0..12 { x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); n += (x >> 40) as f64 / (1u64 << 24) as f64; } let t = t as f64; (11000.0 - 113.0 * (s.value(t - 300.3) + s.value(t - 309.0) + 0.7 * s.value(t - 420.0)) + 8.0 * (n - 6.0)) as u16 }).collect()
}
