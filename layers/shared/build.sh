# Builds the layer with our own package for `sam build`: the package, and bytecode as in ../dependencies/build.sh.
#
#     sh build.sh FOLDER [host PYTHON]

set -eu
artifacts=$1
target=$artifacts/python
layer_target=${2:-}
layer_python=${3:-}

if [ "$layer_target" = host ]; then
    version=$("$layer_python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    set -- "$layer_python"
else
    version=3.13
    set -- python3.13 "$(pyenv prefix 3.13 2>/dev/null)/bin/python" python3
fi

mkdir -p "$target"
cp -R vidu_relay "$target/"
find "$target" -type d -name __pycache__ -prune -exec rm -rf {} +

for python in "$@"; do
    "$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$version" 2>/dev/null || continue
    PYTHONHASHSEED=0 "$python" -m compileall -q --invalidation-mode unchecked-hash -s "$artifacts" -p /opt "$target"
    exit
done
echo "No Python $version here: the layer goes without bytecode, which about doubles cold starts."
