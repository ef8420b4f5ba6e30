// Fourier transform of BINS complex points in place: natural order in, bit-reversed order out, and back.
//
// Three steps of two points each are done at once, eight points a thread, in registers; what is left of the power of
// two is done as four or two points. Neither direction reorders anything: the filter in between takes its bins in
// bit-reversed order. `roots` holds exp(-2 pi i j / n) at n + j for every power of two n.

const HALF_ROOT: f32 = 0.70710678118654752;

fn times(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// a times the conjugate of b.
fn times_conjugate(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(a.x * b.x + a.y * b.y, a.y * b.x - a.x * b.y);
}

// a times -i.
fn turned(a: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(a.y, -a.x);
}

// a times i.
fn turned_back(a: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(-a.y, a.x);
}

fn complex_at(index: u32) -> vec2<f32> {
    return bitcast<vec2<f32>>(bin(index));
}

fn put_complex(index: u32, value: vec2<f32>) {
    put_bin(index, bitcast<vec2<u32>>(value));
}

fn forward_8(span: u32, thread: u32) {
    let step = span / 8u;
    let j = thread % step;
    let at = (thread / step) * span + j;
    let x0 = complex_at(at);
    let x1 = complex_at(at + step);
    let x2 = complex_at(at + 2u * step);
    let x3 = complex_at(at + 3u * step);
    let x4 = complex_at(at + 4u * step);
    let x5 = complex_at(at + 5u * step);
    let x6 = complex_at(at + 6u * step);
    let x7 = complex_at(at + 7u * step);

    let a0 = x0 + x4;
    let a1 = x1 + x5;
    let a2 = x2 + x6;
    let a3 = x3 + x7;
    let d5 = x1 - x5;
    let d7 = x3 - x7;
    let a4 = x0 - x4;
    let a5 = HALF_ROOT * vec2<f32>(d5.x + d5.y, d5.y - d5.x);
    let a6 = turned(x2 - x6);
    let a7 = HALF_ROOT * vec2<f32>(d7.y - d7.x, -d7.x - d7.y);

    let b0 = a0 + a2;
    let b1 = a1 + a3;
    let b2 = a0 - a2;
    let b3 = turned(a1 - a3);
    let b4 = a4 + a6;
    let b5 = a5 + a7;
    let b6 = a4 - a6;
    let b7 = turned(a5 - a7);

    let w1 = roots[span + j];
    let w2 = roots[span / 2u + j];
    let w4 = roots[span / 4u + j];
    let w3 = times(w1, w2);
    put_complex(at, b0 + b1);
    put_complex(at + step, times(b0 - b1, w4));
    put_complex(at + 2u * step, times(b2 + b3, w2));
    put_complex(at + 3u * step, times(b2 - b3, times(w2, w4)));
    put_complex(at + 4u * step, times(b4 + b5, w1));
    put_complex(at + 5u * step, times(b4 - b5, times(w1, w4)));
    put_complex(at + 6u * step, times(b6 + b7, w3));
    put_complex(at + 7u * step, times(b6 - b7, times(w3, w4)));
}

fn backward_8(span: u32, thread: u32) {
    let step = span / 8u;
    let j = thread % step;
    let at = (thread / step) * span + j;
    let w1 = roots[span + j];
    let w2 = roots[span / 2u + j];
    let w4 = roots[span / 4u + j];
    let w3 = times(w1, w2);
    let x0 = complex_at(at);
    let x1 = times_conjugate(complex_at(at + step), w4);
    let x2 = times_conjugate(complex_at(at + 2u * step), w2);
    let x3 = times_conjugate(complex_at(at + 3u * step), times(w2, w4));
    let x4 = times_conjugate(complex_at(at + 4u * step), w1);
    let x5 = times_conjugate(complex_at(at + 5u * step), times(w1, w4));
    let x6 = times_conjugate(complex_at(at + 6u * step), w3);
    let x7 = times_conjugate(complex_at(at + 7u * step), times(w3, w4));

    let b0 = x0 + x1;
    let b1 = x0 - x1;
    let b2 = x2 + x3;
    let b3 = turned_back(x2 - x3);
    let b4 = x4 + x5;
    let b5 = x4 - x5;
    let b6 = x6 + x7;
    let b7 = turned_back(x6 - x7);

    let a0 = b0 + b2;
    let a2 = b0 - b2;
    let a1 = b1 + b3;
    let a3 = b1 - b3;
    let a4 = b4 + b6;
    let a6 = turned_back(b4 - b6);
    let c5 = b5 + b7;
    let c7 = b5 - b7;
    let a5 = HALF_ROOT * vec2<f32>(c5.x - c5.y, c5.x + c5.y);
    let a7 = HALF_ROOT * vec2<f32>(-c7.x - c7.y, c7.x - c7.y);

    put_complex(at, a0 + a4);
    put_complex(at + step, a1 + a5);
    put_complex(at + 2u * step, a2 + a6);
    put_complex(at + 3u * step, a3 + a7);
    put_complex(at + 4u * step, a0 - a4);
    put_complex(at + 5u * step, a1 - a5);
    put_complex(at + 6u * step, a2 - a6);
    put_complex(at + 7u * step, a3 - a7);
}

// The last four points forwards, the first four backwards: all their roots are 1 and -i (i backwards).
fn ends_4(thread: u32, backwards: bool) {
    let at = 4u * thread;
    let x0 = complex_at(at);
    let x1 = complex_at(at + 1u);
    let x2 = complex_at(at + 2u);
    let x3 = complex_at(at + 3u);
    if backwards {
        let b3 = turned_back(x2 - x3);
        put_complex(at, (x0 + x1) + (x2 + x3));
        put_complex(at + 1u, (x0 - x1) + b3);
        put_complex(at + 2u, (x0 + x1) - (x2 + x3));
        put_complex(at + 3u, (x0 - x1) - b3);
    } else {
        let a3 = turned(x1 - x3);
        put_complex(at, (x0 + x2) + (x1 + x3));
        put_complex(at + 1u, (x0 + x2) - (x1 + x3));
        put_complex(at + 2u, (x0 - x2) + a3);
        put_complex(at + 3u, (x0 - x2) - a3);
    }
}

fn ends_2(thread: u32) {
    let x0 = complex_at(2u * thread);
    let x1 = complex_at(2u * thread + 1u);
    put_complex(2u * thread, x0 + x1);
    put_complex(2u * thread + 1u, x0 - x1);
}

// The points that do not fill eight.
fn ends(backwards: bool) {
    if LOG2_BINS % 3u == 2u {
        for (var thread = lane; thread < BINS / 4u; thread += WIDTH) {
            ends_4(thread, backwards);
        }
        sync();
    } else if LOG2_BINS % 3u == 1u {
        for (var thread = lane; thread < BINS / 2u; thread += WIDTH) {
            ends_2(thread);
        }
        sync();
    }
}

fn transform_forward() {
    for (var span = BINS; span >= 8u; span /= 8u) {
        for (var thread = lane; thread < BINS / 8u; thread += WIDTH) {
            forward_8(span, thread);
        }
        sync();
    }
    ends(false);
}

fn transform_backward() {
    ends(true);
    for (var span = 8u << (LOG2_BINS % 3u); span <= BINS; span *= 8u) {
        for (var thread = lane; thread < BINS / 8u; thread += WIDTH) {
            backward_8(span, thread);
        }
        sync();
    }
}
