// Distances of photoelectrons that stand close become those in the middle of what is likely. Twin: src/extract/template_fit/pair_separation.rs, which explains it and
// has the constants.

fn shorten() {
    let near = NEIGHBOURS * scale;
    let squares = plans[plan].squares;
    let of_slope = squares / (scale * scale);
    let left = max(plans[plan].squares_of_curvature - of_slope * of_slope / squares, 0.0);
    let by_noise = sqrt(left) / (2.0 * sqrt(noise2));
    for (var light = lane; light < n_light; light += WIDTH) {
        sh_before[light] = vec2<f32>(sh_at[light], sh_charge[light]);
    }
    workgroupBarrier();
    for (var light = lane; light < n_light; light += WIDTH) {
        let own = sh_before[light];
        if light > 0u {
            let other = sh_before[light - 1u];
            let closer = towards(other, own, near, by_noise);
            sh_at[light] -= closer.x * other.y / (other.y + own.y);
            sh_at_sigma[light] *= closer.y;
        }
        if light + 1u < n_light {
            let other = sh_before[light + 1u];
            let closer = towards(own, other, near, by_noise);
            sh_at[light] += closer.x * other.y / (other.y + own.y);
            sh_at_sigma[light] *= closer.y;
        }
    }
    workgroupBarrier();
}

// By how much two of these times and charges come closer, in samples, and how their distance changes with what the fit found.
fn towards(first: vec2<f32>, second: vec2<f32>, near: f32, by_noise: f32) -> vec2<f32> {
    let distance = second.x - first.x;
    let together = first.y + second.y;
    let two = clamp((MORE_THAN_TWO_PE - together) / (MORE_THAN_TWO_PE - TWO_PE), 0.0, 1.0);
    let company = two * company_of(distance, near);
    let charge = first.y * second.y / together;
    let m = distance * sqrt(by_noise * charge);
    let z = (m - SHORTER_AT) / SHORTER_WITHIN;
    let q = max(1.0 - z * z, 0.0);
    let part = company * SHORTER * q * q * q;
    let slope = company * 6.0 * SHORTER * z * q * q * m / SHORTER_WITHIN;
    return vec2<f32>(distance * part, 1.0 - part + slope);
}
