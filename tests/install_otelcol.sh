#!/bin/sh
# Build the OpenTelemetry Collector, with OTLP in and a file of JSON lines out. The tests of tracing run it where it is there.
# Needs Go 1.26 and the Go module proxy; a few minutes, once: the program stays in a cache outside the tree, where the tests look.
#   sh tests/install_otelcol.sh          build it if it is missing, print the program
#   sh tests/install_otelcol.sh --where  print the program only
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's:.*collector/otelcol v::p' "$here/tools/otelcol/go.mod")
folder="${XDG_CACHE_HOME:-$HOME/.cache}/vedette/otelcol-$version"
if [ "${1:-}" != --where ] && [ ! -x "$folder/otelcol" ]; then
  if ! command -v go >/dev/null 2>&1; then
    echo "otelcol: not built, as Go is not on the PATH; its tests are skipped" >&2
    exit 0
  fi
  mkdir -p "$folder"
  draft="$folder/otelcol.$$"
  if ! (cd "$here/tools/otelcol" && CGO_ENABLED=0 GOWORK=off timeout 900 go build -mod=readonly -trimpath -ldflags "-s -w" -o "$draft" .); then
    rm -f "$draft"
    echo "otelcol: not built, see above; its tests are skipped" >&2
    exit 0
  fi
  mv "$draft" "$folder/otelcol"
fi
echo "$folder/otelcol"
