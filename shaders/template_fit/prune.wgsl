// Photoelectrons that the fit gives up, and the errors by which it does. Twin: src/extract/template_fit/prune.rs, which has the constants.

// Standard deviations of charges and times, from the inverse of the normal matrix.
fn put_errors() {
    let n_columns = columns();
    for (var column = lane; column < 2u * n_light; column += WIDTH) {
        var squares = 0.0;
        for (var row = column; row < n_columns; row++) {
            let value = sh_triangle[row_at(row) + column];
            squares += value * value;
        }
        let light = column / 2u;
        let sigma = sqrt(squares * noise2);
        if column % 2u == 0u {
            sh_charge_sigma[light] = sigma;
        } else {
            sh_at_sigma[light] = sigma / max(sh_charge[light], NOTHING_PE);
        }
    }
    workgroupBarrier();
}

// How far a photoelectron is from being given up: not at all where its neighbour and it are several.
fn worth(light: u32) -> f32 {
    let near = NEIGHBOURS * scale;
    let charge = sh_charge[light];
    var neighbour = 0.0;
    if light > 0u && abs(sh_at[light - 1u] - sh_at[light]) < near {
        neighbour = max(neighbour, sh_charge[light - 1u]);
    }
    if light + 1u < n_light && abs(sh_at[light + 1u] - sh_at[light]) < near {
        neighbour = max(neighbour, sh_charge[light + 1u]);
    }
    if charge < LEAST_PE {
        return 0.0;
    }
    if neighbour > 0.0 && neighbour + charge > TOGETHER_PE {
        return 1e30;
    }
    return charge / sh_charge_sigma[light];
}

// The photoelectron that is worth least, or `n_light` where all are significant.
fn least_worth() -> u32 {
    for (var light = lane; light < n_light; light += WIDTH) {
        sh_column[light] = worth(light);
    }
    workgroupBarrier();
    var least = SIGNIFICANCE;
    var which = n_light;
    for (var light = 0u; light < n_light; light++) {
        if sh_column[light] < least {
            least = sh_column[light];
            which = light;
        }
    }
    return broadcast(which);
}

// Takes a photoelectron out and gives it to its neighbour, by one thread.
fn remove(which: u32) {
    let gone = vec2<f32>(sh_at[which], sh_charge[which]);
    for (var light = which; light + 1u < n_light; light++) {
        sh_at[light] = sh_at[light + 1u];
        sh_charge[light] = sh_charge[light + 1u];
    }
    var distance = NEIGHBOURS * scale;
    var nearest = n_light;
    if which > 0u && abs(sh_at[which - 1u] - gone.x) < distance {
        nearest = which - 1u;
        distance = abs(sh_at[nearest] - gone.x);
    }
    if which + 1u < n_light && abs(sh_at[which] - gone.x) < distance {
        nearest = which;
    }
    if nearest < n_light {
        let both = joined(vec2<f32>(sh_at[nearest], sh_charge[nearest]), gone);
        sh_at[nearest] = both.x;
        sh_charge[nearest] = both.y;
    }
}

// Two photoelectrons, each its time and charge, as one.
fn joined(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let charge = a.y + b.y;
    return vec2<f32>((a.x * a.y + b.x * b.y) / charge, charge);
}
