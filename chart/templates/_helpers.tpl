{{- define "crema.namespace" -}}
{{ .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{/* Of every object; the argument is a list of the root and the part's name. */}}
{{- define "crema.labels" -}}
{{- $root := index . 0 -}}
{{- include "crema.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | quote }}
{{- end }}

{{/* Of pods, and what they are selected by: nothing in it changes with a version. */}}
{{- define "crema.selector" -}}
app.kubernetes.io/name: crema
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: crema
{{- end }}

{{- define "crema.image" -}}
{{- $root := index . 0 -}}
{{- $tag := $root.Values.image.tag | default $root.Chart.AppVersion -}}
{{- if eq $tag "latest" -}}
{{- fail "image.tag is latest: Kubernetes would pull it at each start, and a store without a link could not start; name a version" -}}
{{- end -}}
{{ printf "%s/%s:%s" $root.Values.image.registry (index . 1) $tag }}
{{- end }}

{{/* What all pods of the platform have in common. */}}
{{- define "crema.pod" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- if or .Values.priorityClass.create (ne .Values.priorityClass.name "crema-platform") }}
priorityClassName: {{ .Values.priorityClass.name | quote }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A container's beginning; the argument is a list of the root, the image's name and the part's values. */}}
{{- define "crema.container" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
image: {{ include "crema.image" . }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml (index . 2).resources | nindent 2 }}
{{- end }}

{{/* A value as quoted text. To Helm every number is a float, and from a million on it would write 1e+06. */}}
{{- define "crema.text" -}}
{{ ternary . (toJson .) (kindIs "string" .) | quote }}
{{- end }}

{{/* Variables all programs read, and the part's own `env`; the same argument. */}}
{{- define "crema.env" -}}
{{- $root := index . 0 -}}
- {name: RUST_LOG, value: {{ $root.Values.log.level | quote }}}
{{- if ne $root.Values.log.format "text" }}
- {name: CREMA_LOG, value: {{ $root.Values.log.format | quote }}}
{{- end }}
{{- with $root.Values.otlpEndpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := (index . 2).env }}
- {name: {{ $name | quote }}, value: {{ include "crema.text" $value }}}
{{- end }}
{{- end }}

{{/* How whoever is beside the gateway reaches it. */}}
{{- define "crema.gatewayUrl" -}}
http://gateway.{{ include "crema.namespace" . }}:8080
{{- end }}

{{- define "crema.client" -}}
- {name: gateway_url, value: {{ include "crema.gatewayUrl" . | quote }}}
- {name: basic_auth, value: "true"}
- {name: secret_mount_path, value: /var/secrets}
- {name: CREMA_HEALTH, value: "0.0.0.0:8081"}
{{- end }}

{{- define "crema.authVolume" -}}
- name: auth
  secret: {secretName: basic-auth, defaultMode: 0440}
{{- end }}

{{- define "crema.authMount" -}}
- {name: auth, mountPath: /var/secrets, readOnly: true}
{{- end }}

{{/* What is random is made once: what is in the cluster wins. A list of root, namespace, name, key and length. */}}
{{- define "crema.kept" -}}
{{- $there := lookup "v1" "Secret" (index . 1) (index . 2) -}}
{{- $value := dig "data" (index . 3) "" ($there | default dict) -}}
{{- $value | default (randAlphaNum (index . 4) | b64enc) -}}
{{- end }}

{{/* The probes of what serves no HTTP but this, and its port. */}}
{{- define "crema.healthProbes" -}}
livenessProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /ready, port: health}
  periodSeconds: 2
  timeoutSeconds: 2
{{- end }}

{{- define "crema.scraped" -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ . | quote }}
{{- end }}

{{/* Whose functions are called; the argument is a list of names, empty for all. */}}
{{- define "crema.namespaces" -}}
{{- with . }}
- {name: CREMA_NAMESPACES, value: {{ join "," . | quote }}}
{{- end }}
{{- end }}
