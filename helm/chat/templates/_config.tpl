{{/* Everything that all nodes are told, as variables. */}}
{{- define "chat.config" -}}
WEBSOCKET_HOST: {{ .Values.listenHost | quote }}
WEBSOCKET_PORT: "8080"
XMLRPC_HOST: {{ .Values.listenHost | quote }}
XMLRPC_PORT: "9090"
OPERATIONS_HOST: {{ .Values.listenHost | quote }}
OPERATIONS_PORT: "9100"
DISCOVERY: {{ .Values.discovery }}
{{- if eq .Values.discovery "kubernetes" }}
DISCOVERY_SERVICE: {{ include "chat.headless" . }}
DISCOVERY_NAMESPACE: {{ .Release.Namespace }}
{{- else if eq .Values.discovery "dns" }}
DISCOVERY_NAME: _peer._tcp.{{ include "chat.headless" . }}.{{ .Release.Namespace }}.svc
{{- else }}
PEER_NODES: {{ include "chat.peers" . | quote }}
{{- end }}
CLUSTER_ID: {{ printf "%s/%s" .Release.Namespace .Release.Name }}
{{- if .Values.peerKey.enabled }}
PEER_AUTH: key
PEER_KEY_FILE: /etc/chat/peer-key/{{ .Values.peerKey.entry }}
{{- else }}
PEER_AUTH: none
{{- end }}
STORE: {{ ternary "local" "memory" .Values.persistence.enabled }}
DATA_DIR: /data/chat
# The pod before may have been taken for gone while its process still ends.
DATA_DIR_WAIT_MS: "15000"
LOG_LEVEL: {{ .Values.log.level | quote }}
LOG_FORMAT: {{ .Values.log.format }}
# The time in which proxies learn that the node goes has passed in the hook of the pod.
DRAIN_ACCEPT_MS: "0"
DRAIN_WINDOW_MS: {{ mul .Values.drain.windowSeconds 1000 | quote }}
GRACE_MS: {{ mul (include "chat.graceSeconds" . | int) 1000 | quote }}
{{- range $name, $value := .Values.config }}
{{ $name }}: {{ int64 $value | quote }}
{{- end }}
{{- end -}}

{{/* All nodes, for `fixed`. One list serves them all: each leaves itself out. */}}
{{- define "chat.peers" -}}
{{- $root := . -}}
{{- $peers := list -}}
{{- range until (int .Values.replicas) -}}
{{- $peers = printf "%s-%d:http://%s:9090" (include "chat.fullname" $root) . (include "chat.podHost" (list $root .)) | append $peers -}}
{{- end -}}
{{- join "," $peers -}}
{{- end -}}
