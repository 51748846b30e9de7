#!/usr/bin/env bash
# Every main command on small phantoms, as a check of an installation; a few minutes.
#   scripts/smoke.sh LUNGSEG FOLDER [ONNX]
# LUNGSEG is the program, FOLDER a new folder to write. With the model.onnx of a run, nothing is
# trained, and so TensorFlow is not needed. It runs from the checkout, whose config it uses.
set -euo pipefail
lungseg=$1 out=$2 onnx=${3:-}
config=configs/smoke.yaml
"$lungseg" phantom -o "$out/raw" --patients 6 --slices 3 --size 128
"$lungseg" prepare -c "$config" --images "$out/raw/images" --masks "$out/raw/masks" -o "$out/prepared"
"$lungseg" split -c "$config" --input "$out/prepared" -o "$out/dataset"
if [ -z "$onnx" ]; then
    "$lungseg" train -c "$config" --data "$out/dataset" --run "$out/run" -s train.epochs=2
    "$lungseg" evaluate -c "$config" --run "$out/run" --data "$out/dataset"
    onnx=$out/run/model.onnx
fi
"$lungseg" infer -c "$config" --model "$onnx" "$out/dataset/test/images" -o "$out/masks"
"$lungseg" evaluate -c "$config" --pred "$out/masks" --truth "$out/dataset/test/masks" -o "$out/scores"
