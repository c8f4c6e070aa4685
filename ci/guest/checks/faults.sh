#!/bin/bash
# The shipped schedules disturb a database's reads and writes: on the cable between two devices as on the simulated network.
# Without READs: where packets are lost or repeated, soft-RoCE completes some whose bytes never came (docs/soft-roce.md).
set -eu
program=$1 root=$2
awk -v RS= -v ORS='\n\n' '!/kind = "read"/' "$root/workloads/guest/faults.toml" > faults.toml
for schedule in lossy slow blackout flap; do
    echo "$schedule:"
    "$program" replay faults.toml --backend verbs --device "$WAVETANK_DEVICES" \
        --wire "$WAVETANK_WIRE" --faults "$root/workloads/faults/$schedule.toml" > "$schedule" ||
        { cat "$schedule"; exit 1; }
    grep -E 'fault  |toll  |verified' "$schedule"
    if grep -q 'never came' "$schedule"; then echo "a fault of $schedule.toml never came"; exit 1; fi
done
# A long blackout kills connections, here as there: otherwise nothing was cut.
grep -q 'RETRY_EXC_ERR' blackout || { echo "nothing was cut"; exit 1; }
# A cut for ever has to end the run, with a check that failed.
status=0
"$program" replay faults.toml --backend verbs --device "$WAVETANK_DEVICES" \
    --wire "$WAVETANK_WIRE" --faults "$root/ci/guest/checks/cut.toml" > cut 2> why || status=$?
[ "$status" = 1 ] || { cat why cut; echo "a cut for ever ended in status $status, wanted 1"; exit 1; }
grep -q 'cut.toml:' why || { cat why; echo "the failure does not say which fault it was"; exit 1; }
