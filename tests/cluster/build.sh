#!/usr/bin/env bash
# Builds the pinned programs of the test control plane (etcd, kube-apiserver, kube-controller-manager, kubectl, helm)
# and prints the folder they are in. They are cached outside the clone, keyed by the Go lock files.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${ECR_ACCESS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ecr-access}
key=$(cat "$here"/{controlplane,helm}/go.{mod,sum} "${BASH_SOURCE[0]}" | sha256sum | cut -c1-16)
bin=$cache/cluster-$key
if [ ! -e "$bin/.complete" ]; then
  command -v go >/dev/null || { echo "error: \`go\` is not on the PATH; the test control plane is built from Go modules (Go 1.26 or newer)" >&2; exit 2; }
  mkdir -p "$cache"
  exec 9>"$cache/build.lock"
  flock 9
  if [ ! -e "$bin/.complete" ]; then
    tmp=$(mktemp -d "$cache/building.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    start=$SECONDS
    v=k8s.io/component-base/version
    flags="-s -w -X $v.gitVersion=v1.37.2 -X $v.gitMajor=1 -X $v.gitMinor=37"
    step() { echo "building $1 ($((SECONDS - start)) s)" >&2; }
    build() { # module, output name, package
      step "$2"
      (cd "$here/$1" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -ldflags "$flags" -o "$tmp/$2" "$3")
    }
    build controlplane etcd go.etcd.io/etcd/server/v3
    build controlplane kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
    build controlplane kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
    build controlplane kubectl k8s.io/kubernetes/cmd/kubectl
    build helm helm helm.sh/helm/v4/cmd/helm
    step "done"
    touch "$tmp/.complete"
    rm -rf "$bin"
    mv "$tmp" "$bin"
    trap - EXIT
  fi
fi
echo "$bin"
