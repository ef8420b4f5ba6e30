// What is known of photoelectrons that stand close. Twin: src/extract/template_fit/priors.rs, which explains it and has the constants.

// Of each photoelectron: what is added to the diagonal and to the gradient for its charge, and the same for its time. Room for other things
// where nothing is solved for.
var<workgroup> sh_prior: array<vec4<f32>, ROOM>;

fn know() {
    for (var light = lane; light < n_light; light += WIDTH) {
        sh_prior[light] = prior(light);
    }
    workgroupBarrier();
}

fn prior(light: u32) -> vec4<f32> {
    let near = NEIGHBOURS * scale;
    let at = sh_at[light];
    let charge_pe = sh_charge[light];
    var before = near;
    var behind = near;
    if light > 0u {
        before = at - sh_at[light - 1u];
    }
    if light + 1u < n_light {
        behind = sh_at[light + 1u] - at;
    }
    let company = company_of(min(before, behind), near);
    let excess = charge_pe - 1.0;
    let sigma = plans[plan].charge_sigma_pe;
    let far = max(excess, 0.0) / (SLOPE * sigma);
    let charge = company * noise2 / (sigma * sigma * sqrt(1.0 + far * far));
    let hold = HOLD * scale;
    let held = company * noise2 / (hold * hold);
    let push_before = repulsion(before, near);
    let push_behind = repulsion(behind, near);
    let push = held * (sh_from[light] - at) + noise2 * (push_before.x - push_behind.x);
    let stiff = held + noise2 * (push_before.y + push_behind.y);
    let by = max(charge_pe, LEAST_CHARGE_PE);
    return vec4<f32>(charge, -charge * excess, stiff / (by * by), -push / by);
}

// How much two are neighbours.
fn company_of(distance: f32, near: f32) -> f32 {
    return clamp(2.0 - 2.0 * distance / near, 0.0, 1.0);
}

// How hard one `distance` away pushes, and twice how that changes with the distance.
fn repulsion(distance: f32, near: f32) -> vec2<f32> {
    if distance >= near {
        return vec2<f32>(0.0);
    }
    let least = max(distance, LEAST_DISTANCE * scale);
    return vec2<f32>(REPULSION * (1.0 / least - 1.0 / near), 2.0 * REPULSION / (least * least));
}
