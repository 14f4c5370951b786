#!/usr/bin/env bash
# The demo: a real control plane on this machine, the chart installed by Helm, and a story told in real commands.
#
#   hack/demo.sh                 tell it, and clean up; KEEP=1 leaves the cluster up
#   hack/demo.sh --record FILE   tell it into FILE as well, without what differs from run to run
#   hack/demo.sh --cluster-only  only the control plane with the operator on it, left up
#   hack/demo.sh --down          stop what was left up
#
# With KUBECONFIG set, that cluster is used; its nodes must be able to pull ECR_ACCESS_IMAGE (repository:tag).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}/debug
testcluster=$target/examples/testcluster
cluster=$PWD/.cluster
given=${KUBECONFIG:-}
keep=${KEEP:-}
helm_values=()
started=

main() {
  case ${1:-} in
    '') demo ;;
    --record)
      demo 2>&1 | tee "$cluster.recording"
      without_chance <"$cluster.recording" >"$2"
      rm "$cluster.recording"
      echo "Recorded in $2."
      ;;
    --cluster-only)
      keep=1
      build
      start
      install >/dev/null
      how_to_use
      ;;
    --down) [ -x "$testcluster" ] && exec "$testcluster" down || echo "Nothing is built, so nothing runs." ;;
    *) echo "usage: hack/demo.sh [--record FILE | --cluster-only | --down]" >&2 && exit 2 ;;
  esac
}

demo() {
  build
  start

  heading "The operator, from its Helm chart"
  install

  heading "A team with a pod that is there already. No policy: nobody is judged"
  run kubectl apply -f docs/examples/namespace.yaml -f docs/examples/legacy.yaml

  heading "Who pulls for this team, and what may that principal do?"
  run cat docs/examples/policy.yaml
  run kubectl apply -f docs/examples/policy.yaml
  run kubectl wait --for=condition=Ready eap/payments-pull -n payments --timeout=10s
  in_force

  heading "A pod that can pull its image is admitted"
  run kubectl apply -f docs/examples/api.yaml

  heading "A pod that cannot is refused, with the reason and the fix, before any kubelet tries"
  run_refused kubectl apply -f docs/examples/worker.yaml

  heading "A Deployment is never refused, but whoever applies it hears at once what becomes of its pods"
  run kubectl apply -f docs/examples/worker-deployment.yaml
  run kubectl delete -f docs/examples/worker-deployment.yaml

  heading "What cannot be known before the pull is not guessed: a warning that names the missing fact"
  run kubectl apply -f docs/examples/reports.yaml

  heading "A policy with a typing mistake does not get in; the good one stays in force"
  run_refused kubectl apply -f docs/examples/policy-malformed.yaml

  heading "Both replicas are replaced by new ones in the middle of it, and nothing slips through"
  restarted

  heading "What the operator thinks of the pods that are there: \`legacy\` will not survive its node"
  counted
  run kubectl get eap -n payments
  run "kubectl describe eap payments-pull -n payments | sed -n '/^Status:/,\$p'"

  heading "Its team hears of it where it looks: at the pod, or the Deployment of its pods"
  told
  run "kubectl describe pod legacy -n payments | sed -n '/^Events:/,\$p'"

  heading "The policy is fixed, and the pod is admitted, in one go"
  run_different diff docs/examples/policy.yaml docs/examples/policy-fixed.yaml
  run kubectl apply -f docs/examples/policy-fixed.yaml -f docs/examples/worker.yaml
  run kubectl get pods -n payments
  say "(Pending is as far as a pod gets here: this control plane has no node that would pull.)"

  if [ -n "$keep" ]; then
    how_to_use
    return
  fi
  heading "And it goes as it came"
  run helm uninstall ecr-access --namespace ecr-access
  run "kubectl get validatingwebhookconfigurations,clusterroles,clusterrolebindings -l app.kubernetes.io/instance=ecr-access"
  if [ -n "$given" ]; then
    kubectl delete namespace payments ecr-access >/dev/null
  fi
  say
  say "That was all of it, in $((SECONDS - began)) s."
}

# ---------------------------------------------------------------------------------------------- the steps

build() {
  say "Building the control plane (etcd, kube-apiserver, kube-controller-manager, kubectl, helm): minutes the first time,"
  say "nothing afterwards."
  programs=$(tests/cluster/build.sh)
  say "Building ecr-access."
  cargo build --quiet --bin ecr-access --example testcluster
  began=$SECONDS
}

start() {
  if [ -n "$given" ]; then
    say "Using the cluster of KUBECONFIG=$given."
    PATH=$programs:$PATH
    if [ -z "${ECR_ACCESS_IMAGE:-}" ]; then
      echo "error: set ECR_ACCESS_IMAGE=repository:tag, an image of ecr-access that this cluster's nodes can pull" >&2
      exit 2
    fi
    helm_values=(--set "image.repository=${ECR_ACCESS_IMAGE%:*}" --set "image.tag=${ECR_ACCESS_IMAGE##*:}")
    trap 'exit 130' INT TERM
    return
  fi
  if [ -e "$cluster/ready" ]; then
    echo "error: a cluster of an earlier run is up; \`make cluster-down\` stops it" >&2
    exit 1
  fi
  say "Starting a control plane in namespaces of its own. Nothing outside of them changes, and no root is needed."
  mkdir -p "$cluster"
  trap 'exit 130' INT TERM
  trap clean_up EXIT
  started=1
  # A session of its own: Ctrl-C is for this script, which then stops it in order.
  setsid "$testcluster" up --directory "$cluster" --binary "$target/ecr-access" >"$cluster.log" 2>&1 &
  local pid=$!
  until [ -e "$cluster/ready" ]; do
    kill -0 "$pid" 2>/dev/null || { cat "$cluster.log" >&2; exit 1; }
    sleep 0.1
  done
  PATH=$cluster:$PATH
}

clean_up() {
  local code=$?
  if [ -n "$started" ] && { [ -z "$keep" ] || [ "$code" != 0 ]; }; then
    if [ "$code" != 0 ] && [ "$code" != 130 ]; then
      echo "error: the demo did not go as told. The end of the logs:" >&2
      tail -n 5 "$cluster.log" "$cluster"/logs/ecr-access-*.log >&2 || true
    fi
    "$testcluster" down --directory "$cluster" >/dev/null
    rm -f "$cluster.log"
  fi
}

install() {
  run helm install ecr-access charts/ecr-access --namespace ecr-access --create-namespace --wait --hide-notes "${helm_values[@]}"
  run kubectl get deployment -n ecr-access
}

# An edit is in force within a second, on a machine that has one to spare.
in_force() {
  local i out
  for i in {1..50}; do
    out=$(kubectl apply --dry-run=server -f docs/examples/worker.yaml 2>&1) || true
    [[ $out == *'"pods.ecraccess.dev" denied the request'* ]] && return
    sleep 0.2
  done
  echo "error: the policy is not in force" >&2
  return 1
}

# Tries a pod that must be refused again and again, dry, until the Deployment has rolled out. Without an answer of the
# webhook it would be admitted.
restarted() {
  run kubectl rollout restart deployment/ecr-access -n ecr-access
  local rollout attempts=0 out
  kubectl rollout status deployment/ecr-access -n ecr-access --timeout=120s >/dev/null &
  rollout=$!
  while kill -0 "$rollout" 2>/dev/null || [ "$attempts" -lt 20 ]; do
    attempts=$((attempts + 1))
    if out=$(kubectl apply --dry-run=server -f docs/examples/worker.yaml 2>&1) || [[ $out != *'"pods.ecraccess.dev" denied the request'* ]]; then
      echo "error: attempt $attempts was not refused: $out" >&2
      return 1
    fi
  done
  wait "$rollout"
  run kubectl rollout status deployment/ecr-access -n ecr-access
  say "(Meanwhile, again and again: kubectl apply --dry-run=server -f docs/examples/worker.yaml. It was refused every time.)"
}

# Counts of pods are written at most every ten seconds.
counted() {
  local i
  for i in {1..150}; do
    [ "$(kubectl get eap payments-pull -n payments -o 'jsonpath={.status.pods.allowed}/{.status.pods.denied}/{.status.pods.unknown}')" = 1/1/1 ] && return
    sleep 0.2
  done
  echo "error: the pods are not counted" >&2
  return 1
}

# Once the status says of a denial, an Event tells of it.
told() {
  local i
  for i in {1..100}; do
    [ -n "$(kubectl get events -n payments -o name --field-selector involvedObject.name=legacy,reason=PullWouldFail)" ] && return
    sleep 0.2
  done
  echo "error: no Event tells of the denial" >&2
  return 1
}

how_to_use() {
  say
  say "The cluster is up, with the operator on it. Use it like this:"
  if [ -n "$given" ]; then
    say "  kubectl get eap -A"
    say "Take it away with"
    say "  helm uninstall ecr-access -n ecr-access; kubectl delete namespace payments ecr-access"
  else
    say "  export PATH=$cluster:\$PATH"
    say "  kubectl get eap -A"
    say "What the operator says is in $cluster/logs. Stop it all with"
    say "  make cluster-down"
  fi
}

# ---------------------------------------------------------------------------------------------- telling

say() { printf '%s\n' "$*"; }

heading() {
  heading_number=$((${heading_number:-0} + 1))
  if [ -t 1 ]; then
    printf '\n\033[1m%s. %s\033[0m\n\n' "$heading_number" "$*"
  else
    printf '\n%s. %s\n\n' "$heading_number" "$*"
  fi
}

# Shows a command and runs it; it has to succeed. One argument with spaces is a line for the shell.
run() {
  say "$ $*"
  if [ $# = 1 ]; then bash -c "$1" 2>&1; else "$@" 2>&1; fi
}

# Shows a command and runs it; it has to be refused.
run_refused() {
  say "$ $*"
  if "$@" 2>&1; then
    echo "error: this should have been refused" >&2
    return 1
  fi
}

# Shows a comparison that has to find a difference.
run_different() {
  say "$ $*"
  if "$@"; then return 1; fi
}

# Ages and times differ from run to run.
without_chance() {
  sed -E \
    -e '/^(Building|nothing afterwards|building |Starting a control plane)/d' \
    -e '/^LAST DEPLOYED:/d' \
    -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]+Z/2026-01-01T00:00:00Z/' \
    -e 's/ ([0-9]+m)?[0-9]+s$/ 1s/' \
    -e 's/(Warning +[A-Za-z]+ +)([0-9]+m)?[0-9]+s +/\11s    /' \
    -e 's/in [0-9]+ s\./in a few seconds./' \
    | sed -e '/./,$!d'
}

main "$@"
