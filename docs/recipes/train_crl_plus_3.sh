#!/usr/bin/env bash
# The last training of crl-plus: subjects of `crl simulate`, and fresh slices in four steps of ten.
#
#     bash docs/recipes/train_crl_plus_3.sh FOLDER-OF-LABEL-MAPS WORK-FOLDER START
#
# FOLDER-OF-LABEL-MAPS holds training_seg_01.nii.gz to training_seg_15.nii.gz (see
# resources/LICENSES.md); START is the network to go on from, `crl-plus` or a file. Maps 14 and 15 are
# not opened; those of map 13 are validated on. Sequences 4 and 6 of the paper are never simulated.
set -euo pipefail
maps=$1 work=$2 start=$3
here=$(cd "$(dirname "$0")" && pwd)

all=() trained=()
for n in 01 02 03 04 05 06 07 08 09 10 11 12 13; do all+=("$maps/training_seg_$n.nii.gz"); done
for map in "${all[@]:0:12}"; do trained+=(--rehearse-on "$map"); done

paper() {  # paper OPTION NUMBER...: the option once for each of these sequences of the paper
    python -c "
import sys
from crl_core.sequence import PAPER_SEQUENCES
for n in sys.argv[2:]:
    print(sys.argv[1], ','.join(f'{v:g}' for v in PAPER_SEQUENCES[int(n)].triple))" "$@"
}

simulate() {
    # shellcheck disable=SC2046
    crl simulate "${all[@]}" -o "$work/$1" --sequences none $(paper --at 1 2 3 5 7 8 9) \
        --random 3 --slices 10 "${@:2}"
}

simulate a --thickness 6 --subjects 2 --seed 101
simulate b --thickness 5 --lesions ms --seed 102
simulate c --thickness 5 --field 1.5 --seed 103
simulate d --thickness 3 --seed 104
simulate e --thickness 6 --seed 105
# The one random sequence that came closer than 15 % to sequence 4.
rm "$work"/c/sub-06/anat/sub-06_acq-random3_T2w.*

# shellcheck disable=SC2046
torchrun --nproc-per-node=2 -m crl_core.cli train "$work"/{a,b,c,d,e} -o "$work/run" \
    --config "$here/train-crl-plus-3.json" --from "$start" --device cpu "${trained[@]}" \
    $(paper --hold-back 4 6) --validate 1/sub-25 --validate 1/sub-26 --validate 2/sub-13 \
    --validate 3/sub-13 --validate 4/sub-13 --validate 5/sub-13
