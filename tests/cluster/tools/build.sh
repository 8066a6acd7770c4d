#!/bin/sh
# Build kube-apiserver, kube-controller-manager, kube-scheduler, etcd, KubeRay's operator and Helm. The tests of the control plane run on them where they are there.
# Needs Go 1.26 and the Go module proxy. It takes 5 to 10 minutes on two cores and 2 GB of memory, once: the programs stay in a
# cache outside the tree, where the tests look. It has the layout of envtest, so KUBEBUILDER_ASSETS may name it elsewhere.
#   sh tests/cluster/tools/build.sh          build what is missing, print the folder
#   sh tests/cluster/tools/build.sh --where  print the folder only
set -eu
here=$(cd "$(dirname "$0")" && pwd)
kubernetes=1.36.3
etcd=3.6.16
kuberay=1.6.1
assets="${XDG_CACHE_HOME:-$HOME/.cache}/vedette/cluster-tools/kubernetes-$kubernetes-etcd-$etcd"
if [ "${1:-}" = --where ]; then
  echo "$assets"
  exit 0
fi

rays="$assets/kuberay-$kuberay"
mkdir -p "$rays"

build() { # build MODULE_FOLDER PROGRAM PACKAGE [ANY OPTION OF go build]
  module=$1 program=$2 package=$3
  shift 3
  if [ -x "$assets/$program" ]; then
    return
  fi
  if ! command -v go >/dev/null 2>&1; then
    echo "cluster-tools: building $program needs Go 1.26 or newer, which is not on the PATH" >&2
    exit 1
  fi
  echo "cluster-tools: building $program; once, several minutes" >&2
  # A draft of this process's own, then a rename: neither an interrupted build nor two at once leave half a program.
  draft="$assets/$program.$$"
  if ! (cd "$here/$module" && CGO_ENABLED=0 GOWORK=off go build -mod=readonly -trimpath "$@" -o "$draft" "$package"); then
    rm -f "$draft"
    echo "cluster-tools: $program could not be built, see above; it needs Go 1.26 or newer and the Go module proxy" >&2
    exit 1
  fi
  mv "$draft" "$assets/$program"
}

component=k8s.io/component-base/version
version="-X $component.gitVersion=v$kubernetes -X $component.gitMajor=1 -X $component.gitMinor=36 -X $component.gitTreeState=clean"
build etcd etcd go.etcd.io/etcd/server/v3 -ldflags "-s -w"
build kubernetes kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver -ldflags "-s -w $version"
build kubernetes kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager -ldflags "-s -w $version"
build kubernetes kube-scheduler k8s.io/kubernetes/cmd/kube-scheduler -ldflags "-s -w $version"
chartutil=helm.sh/helm/v3/pkg/chartutil
build helm helm helm.sh/helm/v3/cmd/helm -ldflags "-s -w -X $chartutil.k8sVersionMajor=1 -X $chartutil.k8sVersionMinor=36"
rayoperator=github.com/ray-project/kuberay/ray-operator
build kuberay "kuberay-$kuberay/kuberay-operator" $rayoperator -ldflags "-s -w"
if [ ! -e "$rays/ray.io_rayservices.yaml" ]; then
  cp "$(cd "$here/kuberay" && GOWORK=off go list -m -f '{{.Dir}}' $rayoperator)"/config/crd/bases/ray.io_*.yaml "$rays"
fi
if [ ! -e "$rays/role.yaml" ]; then # what KubeRay's operator may do, as its project says
  cp "$(cd "$here/kuberay" && GOWORK=off go list -m -f '{{.Dir}}' $rayoperator)"/config/rbac/role.yaml "$rays"
fi
sh "$here/definitions.sh" >/dev/null  # of other projects, for the manifests
sh "$here/linters.sh" >/dev/null
echo "$assets"
