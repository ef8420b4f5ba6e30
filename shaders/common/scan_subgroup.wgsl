// Prefix sums over a workgroup by subgroups, with two barriers instead of two per power of two, and the entry point.
// scan_workgroup.wgsl has the same without subgroups. Sums are of integers: both give the same result.

#import common/layout
#import common/prefix_sum
#import extract

var<private> subgroup: u32;
var<private> subgroup_lane: u32;
var<private> n_subgroups: u32;

// The sum of `value` over the threads before this one, and over all.
fn scan(value: u32) -> vec2<u32> {
    // Reconverges threads that left loops at different times (a subgroup adds only active threads), and keeps the last sums until
    // all threads have read them.
    workgroupBarrier();
    let before = subgroupExclusiveAdd(value);
    let all = subgroupAdd(value);
    if subgroup_lane == 0u {
        sh_scan[subgroup] = all;
    }
    workgroupBarrier();
    var sums = vec2<u32>(before, 0u);
    for (var other = 0u; other < n_subgroups; other++) {
        let sum = sh_scan[other];
        sums.x += select(0u, sum, other < subgroup);
        sums.y += sum;
    }
    return sums;
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_id) subgroup_id: u32,
    @builtin(num_subgroups) num_subgroups: u32,
    @builtin(subgroup_invocation_id) subgroup_invocation_id: u32,
    @builtin(subgroup_size) subgroup_size: u32,
) {
    subgroup = subgroup_id;
    subgroup_lane = subgroup_invocation_id;
    n_subgroups = num_subgroups;
    // Threads are numbered by subgroup, as the prefix sum is, which may differ from local_invocation_index.
    lane = subgroup_id * subgroup_size + subgroup_invocation_id;
    extract(group.y * groups.x + group.x);
}
