// Corrects the bias of the separations of close pulses. Twin: src/extract/template_fit/pair_separation.rs, which has the derivation.

#import common/layout
#import common/prefix_sum
#import generated/template_fit
#import generated/waveforms
#import template_fit/priors
#import template_fit/state

fn correct_separations() {
    let near = NEIGHBOUR_DISTANCE * scale;
    let squares = plans[plan].squares;
    let slope_squares = squares / (scale * scale);
    let unexplained = max(plans[plan].squares_of_curvature - slope_squares * slope_squares / squares, 0.0);
    let m_per_sample = sqrt(unexplained) / (2.0 * sqrt(noise2));
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        sh_previous[pulse] = vec2<f32>(sh_time[pulse], sh_charge[pulse]);
    }
    workgroupBarrier();
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        let own = sh_previous[pulse];
        if pulse > 0u {
            let other = sh_previous[pulse - 1u];
            let correction = separation_correction(other, own, near, m_per_sample);
            sh_time[pulse] -= correction.x * other.y / (other.y + own.y);
            sh_time_sigma[pulse] *= correction.y;
        }
        if pulse + 1u < n_pulses {
            let other = sh_previous[pulse + 1u];
            let correction = separation_correction(own, other, near, m_per_sample);
            sh_time[pulse] += correction.x * other.y / (other.y + own.y);
            sh_time_sigma[pulse] *= correction.y;
        }
    }
    workgroupBarrier();
}

// How much closer two pulses (time, charge) move, in samples, and the derivative of the corrected distance.
fn separation_correction(first: vec2<f32>, second: vec2<f32>, near: f32, m_per_sample: f32) -> vec2<f32> {
    let distance = second.x - first.x;
    let total_pe = first.y + second.y;
    let is_pair = clamp((MIN_SEVERAL_PE - total_pe) / (MIN_SEVERAL_PE - MAX_PAIR_PE), 0.0, 1.0);
    let weight = is_pair * neighbour_weight(distance, near);
    let charge_pe = first.y * second.y / total_pe;
    // separation_bias of the twin.
    let m = distance * sqrt(m_per_sample * charge_pe);
    let z = (m - SEPARATION_BIAS_CENTRE) / SEPARATION_BIAS_WIDTH;
    let q = max(1.0 - z * z, 0.0);
    let part = weight * SEPARATION_BIAS * q * q * q;
    let slope = weight * 6.0 * SEPARATION_BIAS * z * q * q * m / SEPARATION_BIAS_WIDTH;
    return vec2<f32>(distance * part, 1.0 - part + slope);
}
