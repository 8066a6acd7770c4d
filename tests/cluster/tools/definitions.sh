#!/bin/sh
# Get the definitions (CRDs) of the projects that the manifests name: the Gateway API, KEDA, cert-manager and Prometheus' operator from their
# Go modules, Strimzi's written by its own generator (Maven, Java 17). They stay in the cache beside the API server; a project that cannot
# be had is left out, and the tests that need it say so.
#   sh tests/cluster/tools/definitions.sh          get what is missing, print the folder
#   sh tests/cluster/tools/definitions.sh --where  print the folder only
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into="$(sh "$here/build.sh" --where)/definitions"
[ "${1:-}" != --where ] || { echo "$into"; exit 0; }
mkdir -p "$into"

from_go() { # NAME MODULE VERSION SUM FOLDER [PATTERN]: the definitions in a folder of a Go module; SUM as go.sum has it
  [ ! -d "$into/$1-$3" ] || return 0
  if ! command -v go >/dev/null 2>&1; then
    echo "definitions: $1 needs Go; left out" >&2
    return 0
  fi
  said=$(cd "$into" && GOWORK=off GOFLAGS=-mod=mod go mod download -json "$2@$3" 2>/dev/null) || { echo "definitions: $2 $3 cannot be had; left out" >&2; return 0; }
  sum=$(echo "$said" | sed -n 's/^[[:space:]]*"Sum": "\(.*\)",*$/\1/p')
  folder=$(echo "$said" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
  if [ "$sum" != "$4" ]; then
    echo "definitions: $2 $3 has the sum $sum and not $4; left out" >&2
    return 0
  fi
  draft="$into/.$1.$$"
  mkdir -p "$draft"
  cp "$folder/$5"/${6:-*.yaml} "$draft"
  chmod -R u+w "$draft"
  mv "$draft" "$into/$1-$3"
}

strimzi() {
  version=$(sed -n 's:.*<strimzi.version>\(.*\)</strimzi.version>.*:\1:p' "$here/strimzi/pom.xml")
  [ ! -d "$into/strimzi-$version" ] || return 0
  if ! command -v mvn >/dev/null 2>&1 || ! command -v java >/dev/null 2>&1; then
    echo "definitions: Strimzi needs Maven and Java 17 (tests/install_kafka.sh installs both); left out" >&2
    return 0
  fi
  draft="$into/.strimzi.$$"
  mkdir -p "$draft/jars" "$draft/made"
  types=io.strimzi.api.kafka.model
  if mvn -q -B -f "$here/strimzi/pom.xml" dependency:copy-dependencies -DoutputDirectory="$draft/jars" >/dev/null 2>&1 &&
    java -cp "$draft/jars/*" io.strimzi.crdgenerator.CrdGenerator --yaml $types.kafka.Kafka="$draft/made/kafkas.yaml" \
      $types.nodepool.KafkaNodePool="$draft/made/kafkanodepools.yaml" $types.topic.KafkaTopic="$draft/made/kafkatopics.yaml" \
      $types.user.KafkaUser="$draft/made/kafkausers.yaml" >/dev/null 2>&1; then
    mv "$draft/made" "$into/strimzi-$version"
  else
    echo "definitions: Strimzi $version could not be got by Maven, or its generator failed; left out" >&2
  fi
  rm -rf "$draft"
}

from_go gateway-api sigs.k8s.io/gateway-api v1.6.1 "h1:mock6phZbI6rvZerwrVNk7hVNymQgHo+6sJ81Ia7ftY=" config/crd/standard
from_go keda github.com/kedacore/keda/v2 v2.20.2 "h1:SR60v8uIcelbveS8n/1jcl8tLdBBIbHMxmdOHw8tKqA=" config/crd/bases 'keda.sh_*.yaml'
from_go cert-manager github.com/cert-manager/cert-manager v1.21.1 "h1:0LttV37Q5c2CBNoHkjuI8sLKTXWZDC2SwQkxrBMKV9w=" deploy/crds
from_go prometheus-operator github.com/prometheus-operator/prometheus-operator v0.85.0 "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=" example/prometheus-operator-crd
strimzi
echo "$into"
