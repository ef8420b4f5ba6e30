//! Every shader is parsed and validated, and asked for the layout of what it shares with the host.

use wgpu::naga;
use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};

use super::layout;
use super::shaders::{Fit, Memory, Variant, compact_source};
use super::stage_by_stage::places;
use crate::extract::{Method, Stage};

fn parse(text: &str, name: &str) -> naga::Module {
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP);
    if let Err(error) = validator.validate(&module) {
        panic!("{name}: {}", error.emit_to_string(text));
    }
    module
}

fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for method in [
        Method::Deconvolution,
        Method::Sparse,
        Method::Auto,
        Method::Integral,
        Method::Coti,
    ] {
        for memory in [Memory::Workgroup, Memory::Device] {
            for subgroups in [false, true] {
                all.push(Variant {
                    memory,
                    subgroups,
                    ..Variant::new(method, 1000, 2, 1024)
                });
            }
        }
    }
    for stage in Stage::ALL {
        all.push(Variant {
            memory: Memory::Device,
            stages: (stage, stage),
            ..Variant::new(Method::Deconvolution, 1000, 2, 1024)
        });
    }
    all
}

#[test]
fn every_shader_is_valid() {
    for variant in variants() {
        parse(&variant.source(), &variant.to_string());
    }
    parse(&Fit::of(1000).source(), "fit");
    parse(&compact_source(), "compact");
}

/// The name, offset and size of every member of a shader's struct.
fn members(module: &naga::Module, name: &str) -> (Vec<(String, usize)>, usize) {
    let (_, kind) = module
        .types
        .iter()
        .find(|(_, kind)| kind.name.as_deref() == Some(name))
        .unwrap_or_else(|| panic!("no struct `{name}` in the shader"));
    match &kind.inner {
        naga::TypeInner::Struct { members, span } => (
            members
                .iter()
                .map(|member| {
                    (
                        member.name.clone().unwrap_or_default(),
                        member.offset as usize,
                    )
                })
                .collect(),
            *span as usize,
        ),
        other => panic!("`{name}` is {other:?}"),
    }
}

#[test]
fn host_and_shaders_agree_on_every_struct() {
    let module = parse(
        &Variant::new(Method::Deconvolution, 1000, 2, 1024).source(),
        "extract",
    );
    let fit = parse(&Fit::of(1000).source(), "fit");
    let compact = parse(&compact_source(), "compact");
    macro_rules! fields {
        ($kind:ty: $($field:ident)*) => {(
            vec![$((stringify!($field).to_owned(), std::mem::offset_of!($kind, $field))),*],
            size_of::<$kind>(),
        )};
    }
    assert_eq!(
        members(&module, "Waveform"),
        fields!(layout::Waveform: first_word length plan index)
    );
    assert_eq!(
        members(&module, "Run"),
        fields!(layout::Run: first count rail_low rail_high threshold_sigma split_sigma sign capacity
            least_noise_adc unused)
    );
    assert_eq!(
        members(&module, "Plan"),
        fields!(layout::Plan: spectrum_at response_at n_response block_response_at n_block_response shares_at n_shares
            charge_noise_at n_charge_noise kernel_integral_at n_kernel_integral lead_ramp_at n_lead_ramp tail_ramp_at
            n_tail_ramp decimation smoothing margin reach edge_reach step_ns kernel_sigma_ns noise_gain noise_adc
            kernel_lead_ns kernel_per_ns gain covered edge_ns before behind coefficients_at n_coefficients
            correlation_at sum_at share_at slope_share_at main_pulse_at main_samples seen scale squares squares_of_curvature main_area peak_adc
            charge_sigma_pe)
    );
    assert_eq!(
        members(&compact, "Count"),
        fields!(layout::Count: n_waveforms capacity n_tiles unused)
    );
    for module in [&module, &fit, &compact] {
        assert_eq!(
            members(module, "Summary"),
            fields!(layout::Summary: n_hits first_hit flags baseline_adc baseline_sigma_adc noise_adc
                n_seeds used_noise_adc chi2_ndf)
        );
        assert_eq!(
            members(module, "Hit"),
            fields!(layout::Hit: time_ns charge_pe charge_sigma_pe time_sigma_ns flags)
        );
    }
}

/// A variant's module with its override constants filled in.
fn filled(variant: Variant, width: u32) -> naga::Module {
    let module = parse(&variant.source(), &variant.to_string());
    with_constants(&module, variant.constants(width))
}

fn with_constants(module: &naga::Module, constants: Vec<(&str, f64)>) -> naga::Module {
    let info = Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP)
        .validate(module)
        .expect("valid");
    let constants = constants
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let entry = Some((naga::ShaderStage::Compute, "main"));
    let (module, _) =
        naga::back::pipeline_constants::process_overrides(module, &info, entry, &constants)
            .expect("known constants");
    module.into_owned()
}

#[test]
fn the_memory_a_kernel_takes_is_what_the_host_reckons_with() {
    for width in [8, 64, 256] {
        for (n_samples, decimation, n_fft) in [(32, 1, 64), (1000, 2, 1024), (4096, 1, 8192)] {
            for method in [Method::Deconvolution, Method::Integral] {
                let variant = Variant::new(method, n_samples, decimation, n_fft);
                let module = filled(variant, width);
                let bytes = workgroup_bytes(&module);
                let reckoned = variant.workgroup_bytes(width);
                assert!(bytes <= reckoned, "{variant}: {bytes}, not {reckoned}");
                assert!(
                    reckoned < bytes + 1024,
                    "{variant}: {bytes}, not {reckoned}"
                );
                assert_eq!(module.entry_points[0].workgroup_size, [width, 1, 1]);
            }
        }
    }
}

/// Bytes of workgroup memory of a module.
fn workgroup_bytes(module: &naga::Module) -> u32 {
    module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
        .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
        .sum()
}

#[test]
fn the_memory_a_fit_takes_is_what_the_host_reckons_with() {
    for width in [8, 64, 256] {
        for fit in [32, 1000, 4096].map(Fit::of) {
            let module = with_constants(&parse(&fit.source(), "fit"), fit.constants(width, false));
            let (bytes, reckoned) = (workgroup_bytes(&module), fit.workgroup_bytes(width));
            assert!(bytes <= reckoned, "{fit}: {bytes}, not {reckoned}");
            // What aligning may add.
            assert!(reckoned < bytes + 1280, "{fit}: {bytes}, not {reckoned}");
            assert_eq!(module.entry_points[0].workgroup_size, [width, 1, 1]);
        }
    }
    // Small memories hold something too: Vulkan guarantees 16 KiB, most have 32.
    assert!(Fit::of(1000).workgroup_bytes(64) <= 16 << 10);
    assert!(Fit::of(4096).workgroup_bytes(64) <= 32 << 10);
}

#[test]
fn the_state_in_device_memory_is_laid_out_as_the_host_has_it() {
    for (n_samples, decimation, n_fft) in [(32, 1, 64), (1000, 2, 1024), (4096, 1, 8192)] {
        let variant = Variant {
            memory: Memory::Device,
            ..Variant::new(Method::Deconvolution, n_samples, decimation, n_fft)
        };
        let module = filled(variant, 64);
        let value = |name: &str| {
            let (_, constant) = module
                .constants
                .iter()
                .find(|(_, constant)| constant.name.as_deref() == Some(name))
                .unwrap_or_else(|| panic!("no constant {name}"));
            match module.global_expressions[constant.init] {
                naga::Expression::Literal(naga::Literal::U32(value)) => value,
                ref other => panic!("{name} is {other:?}"),
            }
        };
        assert_eq!(value("STATE_WORDS"), variant.state_words(), "{variant}");
        let [words, bins, smooth, blocks] = places(variant).map(|place| place as u32);
        assert_eq!(value("WORDS_AT"), words, "{variant}");
        assert_eq!(value("BINS_AT"), bins, "{variant}");
        assert_eq!(value("SMOOTH_AT"), smooth, "{variant}");
        assert_eq!(value("BLOCKS_AT"), blocks, "{variant}");
    }
}
