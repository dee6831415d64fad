{{/* One probe: `list "startup" "/startup" .Values.probes.startup`. */}}
{{- define "chat.probe" -}}
{{ index . 0 }}Probe:
  httpGet:
    path: {{ index . 1 }}
    port: operations
  {{- toYaml (index . 2) | nindent 2 }}
{{- end -}}

{{- define "chat.affinity" -}}
{{- if .Values.affinity -}}
{{- toYaml .Values.affinity -}}
{{- else if eq .Values.antiAffinity "soft" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "chat.selectorLabels" . | nindent 12 }}
{{- else if eq .Values.antiAffinity "hard" -}}
podAntiAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- include "chat.selectorLabels" . | nindent 10 }}
{{- end -}}
{{- end -}}

{{- define "chat.topologySpread" -}}
{{- if kindIs "string" .Values.topologySpreadConstraints -}}
{{- $root := . -}}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "chat.selectorLabels" $root | nindent 6 }}
{{- end }}
{{- else if .Values.topologySpreadConstraints -}}
{{- toYaml .Values.topologySpreadConstraints -}}
{{- end -}}
{{- end -}}

{{- define "chat.podAnnotations" -}}
checksum/config: {{ include "chat.config" . | sha256sum }}
{{- if .Values.metrics.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: "9100"
prometheus.io/path: /metrics
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "chat.nodeContainer" -}}
name: node
image: {{ include "chat.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: NODE_ID
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: XMLRPC_ADDRESS
    value: http://$(NODE_ID).{{ include "chat.headless" . }}.{{ .Release.Namespace }}.svc:9090
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
envFrom:
  - configMapRef:
      name: {{ include "chat.fullname" . }}-config
  {{- with .Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: client
    containerPort: 8080
  - name: peer
    containerPort: 9090
  - name: operations
    containerPort: 9100
{{ include "chat.probe" (list "startup" "/startup" .Values.probes.startup) }}
{{ include "chat.probe" (list "readiness" "/ready" .Values.probes.readiness) }}
{{ include "chat.probe" (list "liveness" "/live" .Values.probes.liveness) }}
{{- if .Values.drain.endpointDelaySeconds }}
lifecycle:
  preStop:
    sleep:
      seconds: {{ .Values.drain.endpointDelaySeconds }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $asks := eq .Values.discovery "kubernetes" }}
{{- if or .Values.persistence.enabled .Values.peerKey.enabled $asks .Values.extraVolumeMounts }}
volumeMounts:
  {{- if .Values.persistence.enabled }}
  - name: data
    mountPath: /data
  {{- end }}
  {{- if .Values.peerKey.enabled }}
  # The directory: a file of it alone would never change.
  - name: peer-key
    mountPath: /etc/chat/peer-key
    readOnly: true
  {{- end }}
  {{- if $asks }}
  - name: token
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/*
What the kubelet would mount by itself, for this container alone: a token that expires, the certificate of the API server, and
the namespace.
*/}}
{{- define "chat.tokenVolume" -}}
name: token
projected:
  sources:
    - serviceAccountToken:
        path: token
        expirationSeconds: 3607
    - configMap:
        name: kube-root-ca.crt
        items:
          - key: ca.crt
            path: ca.crt
    - downwardAPI:
        items:
          - path: namespace
            fieldRef:
              fieldPath: metadata.namespace
{{- end -}}
