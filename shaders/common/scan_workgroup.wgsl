// Prefix sums of the extraction in workgroup memory, and the entry point.
// scan_subgroup.wgsl has the same for adapters with subgroups. Sums are of integers: both give the same result.

#import common/layout
#import common/prefix_sum
#import extract

fn scan(value: u32) -> vec2<u32> {
    return prefix_sum(lane, value);
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    lane = thread;
    extract(group.y * groups.x + group.x);
}
