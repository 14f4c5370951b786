#!/usr/bin/env bash
# Prints the one-file bundle, deploy/ecr-access.yaml: the chart with its defaults, for people without Helm.
#
#   hack/bundle.sh            with the pinned helm of the tests
#   HELM=helm hack/bundle.sh  with another one
#
# Order: the namespace, which the chart leaves to `helm install --create-namespace`; the definitions; everything else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=ecr-access
helm=${HELM:-$(tests/cluster/build.sh)/helm}
version=$(sed -n 's/^appVersion: "\(.*\)"$/\1/p' charts/ecr-access/Chart.yaml)

render() { "$helm" template "$name" charts/ecr-access --namespace "$name" "$@"; }

cat <<END
# ecr-access $version, as charts/ecr-access renders it with its defaults. Made by \`make bundle\`: do not edit.
#
#   kubectl apply --server-side -f deploy/ecr-access.yaml
#
# The image is \`ecr-access:$version\`, which no registry has: docs/gitops.md shows how to name yours without editing this file.
apiVersion: v1
kind: Namespace
metadata:
  name: $name
  labels:
    app.kubernetes.io/name: ecr-access
    app.kubernetes.io/instance: $name
    app.kubernetes.io/component: namespace
    app.kubernetes.io/part-of: ecr-access
    # The operator's pods keep to it, and nothing else belongs here.
    pod-security.kubernetes.io/enforce: restricted
END
render --show-only templates/crds.yaml
render --set crds.enabled=false
