// FFT of BINS complex points in place: natural order in, bit-reversed order out; the inverse the other way round.
//
// Radix 8, with eight points per thread in registers; the rest of the power of two is a tail of radix 4 or 2. Neither direction
// reorders: the filter takes the bins in bit-reversed order. `twiddles` holds exp(-2 pi i j / n) at n + j for every power of two n.

#import common/layout
#import common/prefix_sum
#import generated/waveforms
#import memory

const SQRT_HALF: f32 = 0.70710678118654752;

fn cmul(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// a times the conjugate of b.
fn cmul_conj(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(a.x * b.x + a.y * b.y, a.y * b.x - a.x * b.y);
}

// a times -i.
fn mul_neg_i(a: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(a.y, -a.x);
}

// a times i.
fn mul_i(a: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(-a.y, a.x);
}

fn complex_at(index: u32) -> vec2<f32> {
    return bitcast<vec2<f32>>(bin(index));
}

fn write_complex(index: u32, value: vec2<f32>) {
    write_bin(index, bitcast<vec2<u32>>(value));
}

fn fft_radix8(span: u32, thread: u32) {
    let step = span / 8u;
    let j = thread % step;
    let first = (thread / step) * span + j;
    let x0 = complex_at(first);
    let x1 = complex_at(first + step);
    let x2 = complex_at(first + 2u * step);
    let x3 = complex_at(first + 3u * step);
    let x4 = complex_at(first + 4u * step);
    let x5 = complex_at(first + 5u * step);
    let x6 = complex_at(first + 6u * step);
    let x7 = complex_at(first + 7u * step);

    let a0 = x0 + x4;
    let a1 = x1 + x5;
    let a2 = x2 + x6;
    let a3 = x3 + x7;
    let d5 = x1 - x5;
    let d7 = x3 - x7;
    let a4 = x0 - x4;
    let a5 = SQRT_HALF * vec2<f32>(d5.x + d5.y, d5.y - d5.x);
    let a6 = mul_neg_i(x2 - x6);
    let a7 = SQRT_HALF * vec2<f32>(d7.y - d7.x, -d7.x - d7.y);

    let b0 = a0 + a2;
    let b1 = a1 + a3;
    let b2 = a0 - a2;
    let b3 = mul_neg_i(a1 - a3);
    let b4 = a4 + a6;
    let b5 = a5 + a7;
    let b6 = a4 - a6;
    let b7 = mul_neg_i(a5 - a7);

    let w1 = twiddles[span + j];
    let w2 = twiddles[span / 2u + j];
    let w4 = twiddles[span / 4u + j];
    let w3 = cmul(w1, w2);
    write_complex(first, b0 + b1);
    write_complex(first + step, cmul(b0 - b1, w4));
    write_complex(first + 2u * step, cmul(b2 + b3, w2));
    write_complex(first + 3u * step, cmul(b2 - b3, cmul(w2, w4)));
    write_complex(first + 4u * step, cmul(b4 + b5, w1));
    write_complex(first + 5u * step, cmul(b4 - b5, cmul(w1, w4)));
    write_complex(first + 6u * step, cmul(b6 + b7, w3));
    write_complex(first + 7u * step, cmul(b6 - b7, cmul(w3, w4)));
}

fn ifft_radix8(span: u32, thread: u32) {
    let step = span / 8u;
    let j = thread % step;
    let first = (thread / step) * span + j;
    let w1 = twiddles[span + j];
    let w2 = twiddles[span / 2u + j];
    let w4 = twiddles[span / 4u + j];
    let w3 = cmul(w1, w2);
    let x0 = complex_at(first);
    let x1 = cmul_conj(complex_at(first + step), w4);
    let x2 = cmul_conj(complex_at(first + 2u * step), w2);
    let x3 = cmul_conj(complex_at(first + 3u * step), cmul(w2, w4));
    let x4 = cmul_conj(complex_at(first + 4u * step), w1);
    let x5 = cmul_conj(complex_at(first + 5u * step), cmul(w1, w4));
    let x6 = cmul_conj(complex_at(first + 6u * step), w3);
    let x7 = cmul_conj(complex_at(first + 7u * step), cmul(w3, w4));

    let b0 = x0 + x1;
    let b1 = x0 - x1;
    let b2 = x2 + x3;
    let b3 = mul_i(x2 - x3);
    let b4 = x4 + x5;
    let b5 = x4 - x5;
    let b6 = x6 + x7;
    let b7 = mul_i(x6 - x7);

    let a0 = b0 + b2;
    let a2 = b0 - b2;
    let a1 = b1 + b3;
    let a3 = b1 - b3;
    let a4 = b4 + b6;
    let a6 = mul_i(b4 - b6);
    let c5 = b5 + b7;
    let c7 = b5 - b7;
    let a5 = SQRT_HALF * vec2<f32>(c5.x - c5.y, c5.x + c5.y);
    let a7 = SQRT_HALF * vec2<f32>(-c7.x - c7.y, c7.x - c7.y);

    write_complex(first, a0 + a4);
    write_complex(first + step, a1 + a5);
    write_complex(first + 2u * step, a2 + a6);
    write_complex(first + 3u * step, a3 + a7);
    write_complex(first + 4u * step, a0 - a4);
    write_complex(first + 5u * step, a1 - a5);
    write_complex(first + 6u * step, a2 - a6);
    write_complex(first + 7u * step, a3 - a7);
}

// The last step forwards and the first step of the inverse, whose twiddles are 1 and -i (1 and i).
fn tail_radix4(thread: u32, inverse: bool) {
    let first = 4u * thread;
    let x0 = complex_at(first);
    let x1 = complex_at(first + 1u);
    let x2 = complex_at(first + 2u);
    let x3 = complex_at(first + 3u);
    if inverse {
        let b3 = mul_i(x2 - x3);
        write_complex(first, (x0 + x1) + (x2 + x3));
        write_complex(first + 1u, (x0 - x1) + b3);
        write_complex(first + 2u, (x0 + x1) - (x2 + x3));
        write_complex(first + 3u, (x0 - x1) - b3);
    } else {
        let a3 = mul_neg_i(x1 - x3);
        write_complex(first, (x0 + x2) + (x1 + x3));
        write_complex(first + 1u, (x0 + x2) - (x1 + x3));
        write_complex(first + 2u, (x0 - x2) + a3);
        write_complex(first + 3u, (x0 - x2) - a3);
    }
}

fn tail_radix2(thread: u32) {
    let x0 = complex_at(2u * thread);
    let x1 = complex_at(2u * thread + 1u);
    write_complex(2u * thread, x0 + x1);
    write_complex(2u * thread + 1u, x0 - x1);
}

// The step of radix 4 or 2.
fn tail(inverse: bool) {
    if LOG2_BINS % 3u == 2u {
        for (var thread = lane; thread < BINS / 4u; thread += WIDTH) {
            tail_radix4(thread, inverse);
        }
        sync();
    } else if LOG2_BINS % 3u == 1u {
        for (var thread = lane; thread < BINS / 2u; thread += WIDTH) {
            tail_radix2(thread);
        }
        sync();
    }
}

fn fft() {
    for (var span = BINS; span >= 8u; span /= 8u) {
        for (var thread = lane; thread < BINS / 8u; thread += WIDTH) {
            fft_radix8(span, thread);
        }
        sync();
    }
    tail(false);
}

fn ifft() {
    tail(true);
    for (var span = 8u << (LOG2_BINS % 3u); span <= BINS; span *= 8u) {
        for (var thread = lane; thread < BINS / 8u; thread += WIDTH) {
            ifft_radix8(span, thread);
        }
        sync();
    }
}
