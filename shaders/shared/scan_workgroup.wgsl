// Prefix sums over a workgroup through its memory, and the entry point that goes with them.
// scan_subgroup.wgsl has the same for adapters with subgroups. Sums are of whole numbers: both give the same.

// The sum of `value` over the threads before this one, and over all.
fn scan(value: u32) -> vec2<u32> {
    workgroupBarrier();
    sh_scan[lane] = value;
    workgroupBarrier();
    for (var reach = 1u; reach < WIDTH; reach *= 2u) {
        var sum = sh_scan[lane];
        if lane >= reach {
            sum += sh_scan[lane - reach];
        }
        workgroupBarrier();
        sh_scan[lane] = sum;
        workgroupBarrier();
    }
    return vec2<u32>(sh_scan[lane] - value, sh_scan[WIDTH - 1u]);
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
