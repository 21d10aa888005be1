# Builds the third-party layer for `sam build`, from requirements.txt and nothing else.
#
#     sh build.sh FOLDER [host PYTHON]
#
# By default for Lambda: Python 3.13 on arm64, whatever this machine is. With `host` it is built for this machine and
# the interpreter PYTHON; the local stack asks for that. The same input gives the same bytes.

set -eu
artifacts=$1
target=$artifacts/python
layer_target=${2:-}
layer_python=${3:-}

# Trust what this machine trusts, whoever calls.
export UV_SYSTEM_CERTS=1

if ! command -v uv >/dev/null; then
    echo 'uv builds this layer: `make setup`, then put .venvs/sam/bin on the PATH.' >&2
    exit 1
fi

install() {
    uv pip install --quiet "$@" --only-binary :all: --require-hashes --target "$target" -r requirements.txt
}

if [ "$layer_target" = host ]; then
    install --python "$layer_python"
    version=$("$layer_python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    set -- "$layer_python"
else
    install --python-version 3.13 --python-platform aarch64-manylinux2014
    version=3.13
    set -- python3.13 "$(pyenv prefix 3.13 2>/dev/null)/bin/python" python3
fi

for python in "$@" python3 python3.14 python3.12 python3.11 none; do
    if [ "$python" = none ]; then
        echo 'No Python from 3.11 on here to prune the layer with.' >&2
        exit 1
    fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    "$python" -I prune.py "$target"
    break
done

# Bytecode that is not compared with its source: SAM sets all times to 1980, which would make it stale. One process
# and one hash seed, in the order of the names: what is shared between constants depends on what came before.
for python in "$@"; do
    "$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$version" 2>/dev/null || continue
    PYTHONHASHSEED=0 "$python" -m compileall -q --invalidation-mode unchecked-hash -s "$artifacts" -p /opt "$target"
    exit
done
echo "No Python $version here: the layer goes without bytecode, which about doubles cold starts."
