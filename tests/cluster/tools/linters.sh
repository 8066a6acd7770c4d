#!/bin/sh
# Install Checkov, which judges the manifests in the tests, into a virtual environment of its own: it brings a hundred packages that nothing
# else here may depend on. Half a minute, once.
#   sh tests/cluster/tools/linters.sh   install what is missing, print the folder
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into="$(sh "$here/build.sh" --where)/checkov"
if [ ! -x "$into/bin/checkov" ]; then
  draft="$into.$$"
  python=$(command -v "${PYTHON:-python3.11}" || command -v python3) || { echo "linters: no Python; Checkov is left out" >&2; exit 0; }
  if "$python" -m venv "$draft" && "$draft/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$here/checkov/requirements.txt" >&2; then
    rm -rf "$into"
    mv "$draft" "$into"
    sed -i "1s:$draft:$into:" "$into"/bin/checkov
  else
    rm -rf "$draft"
    echo "linters: Checkov could not be installed, see above; the tests that need it are skipped" >&2
    exit 0
  fi
fi
echo "$into"
