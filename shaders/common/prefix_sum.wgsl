// Prefix sums over a workgroup in workgroup memory.

// Threads of a workgroup.
override WIDTH: u32 = 64u;

var<workgroup> sh_scan: array<u32, WIDTH>;

// The sum of `value` over the threads before `thread`, and over all.
fn prefix_sum(thread: u32, value: u32) -> vec2<u32> {
    // All threads have read the last sums.
    workgroupBarrier();
    sh_scan[thread] = value;
    workgroupBarrier();
    for (var reach = 1u; reach < WIDTH; reach *= 2u) {
        var sum = sh_scan[thread];
        if thread >= reach {
            sum += sh_scan[thread - reach];
        }
        workgroupBarrier();
        sh_scan[thread] = sum;
        workgroupBarrier();
    }
    return vec2<u32>(sh_scan[thread] - value, sh_scan[WIDTH - 1u]);
}
