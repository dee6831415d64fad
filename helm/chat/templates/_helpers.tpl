{{/* The name of the application, for labels. */}}
{{- define "chat.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/*
The name of everything. At most 52 characters: Kubernetes appends "-" and ten more to the name of a StatefulSet for a
label, which may have 63. A release may have dots in its name, a Service may not.
*/}}
{{- define "chat.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains (include "chat.name" .) .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "chat.name" .) | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The Service by whose name every pod is found, ready or not. */}}
{{- define "chat.headless" -}}
{{- include "chat.fullname" . }}-headless
{{- end -}}

{{/* Only what never changes: a StatefulSet cannot change its selector. */}}
{{- define "chat.selectorLabels" -}}
app.kubernetes.io/name: {{ include "chat.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The pod of `helm test` is no node: other labels. */}}
{{- define "chat.testLabels" -}}
app.kubernetes.io/name: {{ include "chat.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "chat.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "chat.labels" -}}
{{ include "chat.selectorLabels" . }}
{{ include "chat.chartLabels" . }}
{{- end -}}

{{- define "chat.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "chat.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the key between nodes. */}}
{{- define "chat.peerSecret" -}}
{{- default (printf "%s-peer-key" (include "chat.fullname" .)) .Values.peerKey.existingSecret -}}
{{- end -}}

{{/* Whether there is a Role. */}}
{{- define "chat.rights" -}}
{{- if and .Values.rbac.create (eq .Values.discovery "kubernetes") -}}
true
{{- end -}}
{{- end -}}

{{- define "chat.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The host of one pod, without the cluster's domain, which the resolver of the pod appends. */}}
{{- define "chat.podHost" -}}
{{- $root := index . 0 -}}
{{- printf "%s-%d.%s.%s.svc" (include "chat.fullname" $root) (int (index . 1)) (include "chat.headless" $root) $root.Release.Namespace -}}
{{- end -}}

{{/* Whether there is a ServiceMonitor. */}}
{{- define "chat.serviceMonitor" -}}
{{- $enabled := .Values.metrics.serviceMonitor.enabled | toString -}}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor")) -}}
true
{{- end -}}
{{- end -}}

{{/* Whether there is a PrometheusRule. */}}
{{- define "chat.prometheusRule" -}}
{{- $enabled := .Values.alerts.enabled | toString -}}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PrometheusRule")) -}}
true
{{- end -}}
{{- end -}}

{{/* Seconds between the signal and the moment at which the node ends by itself, finished or not. */}}
{{- define "chat.graceSeconds" -}}
{{- add .Values.drain.windowSeconds 8 -}}
{{- end -}}

{{/*
Seconds until the kubelet kills: the delay of the hook, the grace, five that the node gives its store to finish, two its traces, and two.
*/}}
{{- define "chat.terminationSeconds" -}}
{{- add .Values.drain.endpointDelaySeconds (include "chat.graceSeconds" . | int) 9 -}}
{{- end -}}
