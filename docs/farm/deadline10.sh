#!/bin/bash
# Deadline 10: prepare, frames and report as three CommandLine jobs. Not run against Deadline.
#   deadline10.sh /shots/sh010/sh010.job.json 1001-1100 10
# "Manual Job Submission" in Deadline's manual has the options.
set -euo pipefail
job=$1 frames=$2 chunk=${3:-10} threads=${VFXSWAP_THREADS:-4}
vfxswap=${VFXSWAP:-$(command -v vfxswap)}
name=$(basename "$job" .json)

submit() { # title, frames, frames a task, arguments, further options; says the id of the job
    deadlinecommand -SubmitCommandLineJob -name "vfxswap $name: $1" -executable "$vfxswap" \
        -frames "$2" -chunksize "$3" -arguments "$4" "${@:5}" | sed -n 's/^JobID=//p'
}

prepare=$(submit prepare 0 1 "prepare <QUOTE>$job<QUOTE> --threads $threads --progress plain")
rendered=$(submit frames "$frames" "$chunk" \
    "render <QUOTE>$job<QUOTE> --frames <STARTFRAME>-<ENDFRAME> --skip-existing --threads $threads --progress plain" \
    -prop "JobDependencies=$prepare")
report=$(submit report 0 1 "report <QUOTE>$job<QUOTE> --threads $threads --progress plain" \
    -prop "JobDependencies=$rendered" -prop ResumeOnFailedDependencies=true)
echo "prepare $prepare, frames $rendered, report $report"
