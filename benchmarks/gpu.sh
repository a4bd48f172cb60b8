#!/usr/bin/env bash
# What rdrop does on a GPU, in one call of under ten minutes, without a network: see benchmarks/gpu.py.
#
#   bash benchmarks/gpu.sh                       # results in benchmarks/results/gpu.json
#   bash benchmarks/gpu.sh --device cpu --tiny   # a minute or two, to see that it works
#
# Packages that are missing are installed from wheels/ (or $RDROP_WHEELS), where that folder is there, into a virtual
# environment of their own; otherwise the script says which wheels to bring. $PYTHON names the Python to use.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="${PYTHON:-python3}"
wheels="${RDROP_WHEELS:-$root/wheels}"

if ! lacking="$("$python" "$root/benchmarks/gpu_setup.py")"; then
    if [ ! -d "$wheels" ]; then
        "$python" "$root/benchmarks/gpu_setup.py" --explain >&2 || exit 1
    fi
    environment="$(mktemp -d)/venv"
    echo "Installing from $wheels: ${lacking//$'\n'/, }" >&2
    "$python" -m venv --system-site-packages "$environment"
    # Where $python is itself in a virtual environment, the new one would see the system's packages and not that one's.
    "$python" -c 'import site; print(*site.getsitepackages(), sep="\n")' \
        >"$("$environment/bin/python" -c 'import site; print(site.getsitepackages()[0])')/parent.pth"
    mapfile -t requirements <<<"$lacking"
    "$environment/bin/python" -m pip install --quiet --no-index --find-links "$wheels" "${requirements[@]}"
    python="$environment/bin/python"
fi
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$python" "$root/benchmarks/gpu.py" "$@"
