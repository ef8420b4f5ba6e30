#!/usr/bin/env bash
#SBATCH --job-name=nuwave
#SBATCH --output=nuwave-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
# A pass as an array of Slurm jobs, one for each shard, without Snakemake.
#
#   sbatch --array=1-N workflow/slurm-array.sh N FOLDER ARGUMENT...     arguments as for `nuwave reconstruct`; the shards
#                                                                       become FOLDER/1-of-N to FOLDER/N-of-N
#
# Then `nuwave merge FOLDER/*-of-N -o DIR` and `nuwave verify DIR`. Slurm itself requeues jobs after preemption and after the
# failure of a node. This script requeues them before their time is over and after nuwave's exit code 75; other codes fail.
# The same sbatch command again does what failed: shards that are there are left as they are.
#
# NUWAVE=FILE    the nuwave to run (default: the one in PATH)
# RESTARTS=20    requeued so often, a job fails
set -euo pipefail
parts="$1"
folder="$2"
shift 2
shard="$folder/$SLURM_ARRAY_TASK_ID-of-$parts"

child=""
stopped=""
stop() {
    stopped=yes
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true
}
trap stop TERM
"${NUWAVE:-nuwave}" reconstruct "$@" --shard "$SLURM_ARRAY_TASK_ID/$parts" --threads "${SLURM_CPUS_PER_TASK:-1}" \
    --resume -o "$shard" &
child=$!
[ -z "$stopped" ] || stop
code=0
wait "$child" || code=$?
# A signal ends `wait`, not the child.
while kill -0 "$child" 2>/dev/null; do
    code=0
    wait "$child" || code=$?
done

case $code in
    0) exit 0 ;;
    4)
        echo "parts of the inputs were lost, \`losses\` in $shard/report.json lists them"
        exit 0
        ;;
esac
if [ "$code" = 75 ] || [ "$code" -ge 128 ]; then
    if [ "${SLURM_RESTART_COUNT:-0}" -lt "${RESTARTS:-20}" ]; then
        # Incomplete: a job that was cancelled stays so.
        scontrol requeue Incomplete "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    fi
fi
exit "$code"
