// Prefix sums over a workgroup by subgroups: two barriers instead of two for each power of two, and the entry point that
// goes with them. scan_workgroup.wgsl has the same without subgroups. Sums are of whole numbers: both give the same.

var<private> subgroup: u32;
var<private> subgroup_lane: u32;
var<private> n_subgroups: u32;

// The sum of `value` over the threads before this one, and over all.
fn scan(value: u32) -> vec2<u32> {
    // Brings threads together that loops have parted (a subgroup adds up those that are there), and keeps the last sums
    // until all have read them.
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
    // Threads are numbered by subgroups, whatever order the workgroup's own numbers have: a prefix sum has to go with them.
    lane = subgroup_id * subgroup_size + subgroup_invocation_id;
    extract(group.y * groups.x + group.x);
}
