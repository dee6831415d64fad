{{/* What the schema cannot say, because it relates several values. All mistakes are reported together. */}}
{{- define "chat.validate" -}}
{{- $mistakes := list -}}
{{- $taken := concat (list "NODE_ID" "XMLRPC_ADDRESS") (include "chat.config" . | fromYaml | keys) -}}
{{- if not (regexMatch "^[a-z]" (include "chat.fullname" .)) -}}
{{- $mistakes = printf "fullnameOverride: the name of a Service begins with a letter, %q does not" (include "chat.fullname" .) | append $mistakes -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if has .name $taken -}}
{{- $mistakes = printf "extraEnv: %s is set by the chart; there is another value for it" .name | append $mistakes -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraVolumes -}}
{{- if has .name (list "data" "peer-key" "token") -}}
{{- $mistakes = printf "extraVolumes: the name %q is the chart's" .name | append $mistakes -}}
{{- end -}}
{{- end -}}
{{- range concat .Values.extraContainers .Values.extraInitContainers -}}
{{- if eq .name "node" -}}
{{- $mistakes = append $mistakes "extraContainers, extraInitContainers: the name \"node\" is the chart's" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- $mistakes = append $mistakes "ingress.hosts: an Ingress needs a host name" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- $mistakes = append $mistakes "httpRoute.parentRefs: a route needs a gateway" -}}
{{- end -}}
{{- if and .Values.service.nodePort (eq .Values.service.type "ClusterIP") -}}
{{- $mistakes = append $mistakes "service.nodePort: a Service of type ClusterIP has none" -}}
{{- end -}}
{{- if and (include "chat.rights" .) (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- $mistakes = append $mistakes "serviceAccount.name: rbac.create would give rights to the default account of the namespace" -}}
{{- end -}}
{{- if and (has .Values.service.ipFamilyPolicy (list "PreferDualStack" "RequireDualStack")) (ne .Values.listenHost "::") -}}
{{- $mistakes = append $mistakes "listenHost: dual stack needs \"::\"" -}}
{{- end -}}
{{- $alerts := list -}}
{{- range (.Files.Get "files/alerts/chat.rules.yaml" | fromYaml).groups -}}
{{- range .rules -}}
{{- $alerts = append $alerts .alert -}}
{{- end -}}
{{- end -}}
{{- range .Values.alerts.disabled -}}
{{- if not (has . $alerts) -}}
{{- $mistakes = printf "alerts.disabled: there is no alert %s" . | append $mistakes -}}
{{- end -}}
{{- end -}}
{{- if $mistakes -}}
{{- fail (printf "\n\nThese values cannot be:\n  %s\n" (join "\n  " $mistakes)) -}}
{{- end -}}
{{- end -}}
