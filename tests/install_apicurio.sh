#!/bin/sh
# Get Apicurio Registry, a schema registry that speaks Confluent's protocol (Apache-2.0), from Maven Central, into a cache outside the tree.
# It keeps its schemas in memory. Needs Maven and Java 17 or newer, which tests/install_kafka.sh installs. Less than a minute, once; 110 MB.
#   sh tests/install_apicurio.sh          get it if it is missing, print the folder
#   sh tests/install_apicurio.sh --where  print the folder only
set -eu
version=3.0.9 # the newest that runs on Java 17
folder="${XDG_CACHE_HOME:-$HOME/.cache}/vedette/apicurio-$version"
[ "${1:-}" != --where ] || { echo "$folder"; exit 0; }
skipped="the tests that need a real schema registry are skipped; a registry in the tests stands in"
if ! command -v java >/dev/null 2>&1 || ! command -v mvn >/dev/null 2>&1; then
  echo "apicurio: no Java or no Maven; $skipped" >&2
  exit 0
fi
if [ ! -f "$folder/apicurio-registry-app-$version-runner.jar" ]; then
  mkdir -p "$(dirname "$folder")"
  draft=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$draft"' EXIT
  if ! mvn -q -B dependency:get "-Dartifact=io.apicurio:apicurio-registry-app:$version:tar.gz:all" -Dtransitive=false >"$draft.log" 2>&1 ||
    ! mvn -q -B dependency:copy "-Dartifact=io.apicurio:apicurio-registry-app:$version:tar.gz:all" "-DoutputDirectory=$draft" >>"$draft.log" 2>&1; then
    grep -m 3 ERROR "$draft.log" >&2 || true
    rm -f "$draft.log"
    echo "apicurio: Maven could not get it, see above; $skipped" >&2
    exit 0
  fi
  rm -f "$draft.log"
  tar xzf "$draft"/*.tar.gz -C "$draft"
  rm -f "$draft"/*.tar.gz
  chmod 755 "$draft"
  rm -rf "$folder"
  mv "$draft" "$folder"
  trap - EXIT
fi
echo "$folder"
