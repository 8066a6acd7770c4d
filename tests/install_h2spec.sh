#!/bin/sh
# Build h2spec, the conformance cases of HTTP/2. The tests of the gRPC door run it where it is there.
# Needs Go and the Go module proxy; a few seconds, once: the program stays in a cache outside the tree, where the tests look. Version
# 2.2.1 is the newest that is a Go module. A newer h2spec on the PATH is taken first.
#   sh tests/install_h2spec.sh          build it if it is missing, print the program
#   sh tests/install_h2spec.sh --where  print the program only
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder="${XDG_CACHE_HOME:-$HOME/.cache}/vedette/h2spec-2.2.1"
if [ "${1:-}" != --where ] && [ ! -x "$folder/h2spec" ]; then
  if ! command -v go >/dev/null 2>&1; then
    echo "h2spec: not built, as Go is not on the PATH; its tests are skipped" >&2
    exit 0
  fi
  mkdir -p "$folder"
  draft="$folder/h2spec.$$"
  program=github.com/summerwind/h2spec/cmd/h2spec
  if ! (cd "$here/tools/h2spec" && CGO_ENABLED=0 GOWORK=off timeout 300 go build -mod=readonly -trimpath -o "$draft" $program); then
    rm -f "$draft"
    echo "h2spec: not built, see above; its tests are skipped" >&2
    exit 0
  fi
  mv "$draft" "$folder/h2spec"
fi
echo "$folder/h2spec"
