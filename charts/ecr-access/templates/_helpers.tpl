{{/* Name of the chart in labels. */}}
{{- define "ecr-access.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Name of every object. 50 characters leave room for the longest suffix within a Service's 63. */}}
{{- define "ecr-access.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := include "ecr-access.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "ecr-access.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "ecr-access.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The Secret of the certificate. Each mode has its own: the type of a Secret never changes. */}}
{{- define "ecr-access.certificateSecretName" -}}
{{- if eq .Values.webhook.certificate.mode "own" }}{{ include "ecr-access.fullname" . }}-certificate
{{- else if eq .Values.webhook.certificate.mode "certManager" }}{{ include "ecr-access.fullname" . }}-tls
{{- else }}{{ .Values.webhook.certificate.secretName }}
{{- end }}
{{- end }}
{{- define "ecr-access.leaseName" -}}{{ include "ecr-access.fullname" . }}-leader{{- end }}
{{- define "ecr-access.apiServersName" -}}{{ include "ecr-access.fullname" . }}-api-servers{{- end }}
{{- define "ecr-access.metricsServiceName" -}}{{ include "ecr-access.fullname" . }}-metrics{{- end }}

{{- define "ecr-access.image" -}}
{{- $image := printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- if .Values.image.digest }}{{ $image }}@{{ .Values.image.digest }}{{ else }}{{ $image }}{{ end }}
{{- end }}

{{/* The labels that select the operator's pods. A Deployment's selector never changes: keep them as they are. */}}
{{- define "ecr-access.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ecr-access.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* The labels of every object. The chart's own win over `commonLabels`. */}}
{{- define "ecr-access.labels" -}}
{{- $own := include "ecr-access.selectorLabels" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" (.Chart.AppVersion | toString) }}
{{- $_ := set $own "app.kubernetes.io/part-of" "ecr-access" }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- merge $own (.Values.commonLabels | default dict | deepCopy) | toYaml }}
{{- end }}

{{/*
The labels of the pods: without the chart's version, which would replace every pod when only a document of the chart changes.
*/}}
{{- define "ecr-access.podLabels" -}}
{{- $own := include "ecr-access.selectorLabels" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/part-of" "ecr-access" }}
{{- merge $own (.Values.podLabels | default dict | deepCopy) (.Values.commonLabels | default dict | deepCopy) | toYaml }}
{{- end }}

{{/*
The namespaces that a webhook is called for: everything but `kube-system` and the release namespace, whatever the values
say. Expressions of a selector are ANDed, so what a user adds narrows it further and cannot widen it.
Takes the list [root context, the user's selector].
*/}}
{{- define "ecr-access.namespaceSelector" -}}
{{- $root := index . 0 }}
{{- $user := index . 1 | default dict }}
{{- with $user.matchLabels }}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
      {{- list "kube-system" $root.Release.Namespace | uniq | toYaml | nindent 6 }}
  {{- with $user.matchExpressions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What all webhooks have in common. Takes the list [root context, path]. The operator applies the certificate authority itself. */}}
{{- define "ecr-access.clientConfig" -}}
{{- $root := index . 0 }}
{{- with $root.Values.webhook.certificate.caBundle }}
caBundle: {{ . }}
{{- end }}
service:
  name: {{ include "ecr-access.fullname" $root }}
  namespace: {{ $root.Release.Namespace }}
  path: {{ index . 1 }}
  port: 443
{{- end }}

{{/* Refuses what values.schema.json cannot say, or could say only without a reason. Renders nothing. */}}
{{- define "ecr-access.validate" -}}
{{- range .Values.extraArgs }}
{{- if regexMatch "^--(namespace|pod-name|webhook-address|admin-address|api-server-cidrs|certificate-secret|certificate-mode|webhook-configuration|service-name|lease|max-action|shutdown-delay|log-format|log-level)(=|$)" . }}
{{- fail (printf "extraArgs: `%s` is set by the chart itself; use the value that it has for this" .) }}
{{- end }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if has .name (list "POD_NAME" "POD_NAMESPACE") }}
{{- fail (printf "extraEnv: `%s` is set by the chart itself, from the pod" .name) }}
{{- end }}
{{- end }}
{{- $certificate := .Values.webhook.certificate }}
{{- if and (eq $certificate.mode "secret") (not $certificate.secretName) }}
{{- fail "webhook.certificate.mode is secret: webhook.certificate.secretName must name the Secret" }}
{{- end }}
{{- if and (ne $certificate.mode "secret") (or $certificate.secretName $certificate.caBundle) }}
{{- fail (printf "webhook.certificate.secretName and caBundle are for the mode secret, and the mode is %s" $certificate.mode) }}
{{- end }}
{{- if eq (int .Values.webhook.port) (int .Values.adminPort) }}
{{- fail (printf "webhook.port and adminPort are both %d: they must differ" (int .Values.adminPort)) }}
{{- end }}
{{- if lt (int .Values.terminationGracePeriodSeconds) (add (int .Values.shutdownDelaySeconds) 20 | int) }}
{{- fail (printf "terminationGracePeriodSeconds is %d: with shutdownDelaySeconds %d it must be at least %d, or pods are killed while they answer" (int .Values.terminationGracePeriodSeconds) (int .Values.shutdownDelaySeconds) (add (int .Values.shutdownDelaySeconds) 20 | int)) }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.metrics.service.enabled) }}
{{- fail "serviceMonitor.enabled needs metrics.service.enabled: a ServiceMonitor scrapes through that Service" }}
{{- end }}
{{- $budget := .Values.podDisruptionBudget }}
{{- if and $budget.enabled (gt (int .Values.replicaCount) 1) (kindIs "invalid" $budget.maxUnavailable) (not (kindIs "string" $budget.minAvailable)) }}
{{- if ge (int $budget.minAvailable) (int .Values.replicaCount) }}
{{- fail (printf "podDisruptionBudget.minAvailable is %d of %d replicas: no node with a replica could ever be drained" (int $budget.minAvailable) (int .Values.replicaCount)) }}
{{- end }}
{{- end }}
{{- end }}
