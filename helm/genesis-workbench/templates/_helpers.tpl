{{- define "genesis.name" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) -}}{{- $name = printf "%s-%s" .Release.Name .Chart.Name -}}{{- end -}}
{{- /* room for what Kubernetes adds to names of pods */ -}}
{{- $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "genesis.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* What compute/kubernetes/pods.py labels a worker's pod with. */ -}}
{{- define "genesis.worker" -}}
app.kubernetes.io/name: genesis-workbench
app.kubernetes.io/component: worker
{{- end -}}

{{- /* Not empty where each person's server is a pod. */ -}}
{{- define "genesis.pods" -}}
{{- if eq .Values.servers.spawner "kubernetes" -}}yes{{- end -}}
{{- end -}}

{{- /* What spawners/kubernetes.py labels a server's pod with. */ -}}
{{- define "genesis.server" -}}
app.kubernetes.io/name: genesis-workbench-server
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "genesis.labels" -}}
{{ include "genesis.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "genesis.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "genesis.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "genesis.publicUrl" -}}
{{- .Values.site.hub.publicUrl | default (printf "http://127.0.0.1:%v" .Values.site.hub.port) -}}
{{- end -}}

{{- /* Host, with port where there is one, that the proxy knows the hub by. */ -}}
{{- define "genesis.host" -}}
{{- (urlParse (include "genesis.publicUrl" .)).host -}}
{{- end -}}

{{- define "genesis.check" -}}
{{- if and .Values.compute.enabled (not .Values.compute.image) -}}
{{- fail "compute.enabled is true, but compute.image is empty. Set the user image (images/user), best by digest: it must have the versions of the hub's image." -}}
{{- end -}}
{{- if include "genesis.pods" . -}}
{{- if not .Values.servers.image -}}
{{- fail "servers.spawner is kubernetes, but servers.image is empty. Set the user image (images/user) of the same build as the hub's, by digest: name@sha256:..." -}}
{{- end -}}
{{- if .Values.compute.enabled -}}
{{- fail "servers.spawner is kubernetes and compute.enabled is true: whoever may make pods in this namespace can mount every claim in it, others' homes too. Use one of the two." -}}
{{- end -}}
{{- if or (gt (len .Release.Name) 40) (not (regexMatch "^[a-z0-9](-?[a-z0-9])*$" .Release.Name)) -}}
{{- fail (printf "The release is called %q, by which servers are told from those of other releases. Choose at most 40 small letters, digits and single hyphens." .Release.Name) -}}
{{- end -}}
{{- end -}}
{{- $loopback := eq .Values.site.hub.address "127.0.0.1" -}}
{{- if and .Values.ingress.enabled $loopback -}}
{{- fail "ingress.enabled is true, but site.hub.address is 127.0.0.1: an Ingress would reach nothing. Set site.hub.address to 0.0.0.0 (and people.authenticator to oidc or ldap), or use kubectl port-forward." -}}
{{- end -}}
{{- if and .Values.ingress.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.from) -}}
{{- fail "ingress.enabled is true, but networkPolicy.from is empty, which lets nobody in. Name the namespace of the ingress controller there." -}}
{{- end -}}
{{- if and (not $loopback) (eq .Values.people.authenticator "people") -}}
{{- fail "site.hub.address is 0.0.0.0, but people.authenticator is people, whose passwords are for loopback. Set it to oidc or ldap." -}}
{{- end -}}
{{- if and (eq .Values.people.authenticator "people") .Values.people.settings -}}
{{- fail "people.settings are for people.authenticator oidc or ldap, and it is people." -}}
{{- end -}}
{{- range $key, $value := .Values.people.settings -}}
{{- if and (hasPrefix "/run/genesis-workbench/" (toString $value)) (not $.Values.secret) -}}
{{- fail (printf "people.settings.%s is %s, but secret is empty. Name the secret whose files lie there." $key $value) -}}
{{- end -}}
{{- end -}}
{{- if and (not $loopback) (not .Values.site.hub.publicUrl) -}}
{{- fail "site.hub.address is 0.0.0.0, but site.hub.publicUrl is empty. Set the URL that people type, such as https://workbench.example.org." -}}
{{- end -}}
{{- if and (not $loopback) (not (hasPrefix "https://" (include "genesis.publicUrl" .))) -}}
{{- fail (printf "site.hub.address is 0.0.0.0, but site.hub.publicUrl is %s: passwords and tokens would travel in clear. Let an ingress speak TLS, and name its https:// address." .Values.site.hub.publicUrl) -}}
{{- end -}}
{{- if and (not $loopback) (eq .Values.site.hub.originDomain "localhost") -}}
{{- fail "site.hub.address is 0.0.0.0, but site.hub.originDomain is localhost, which only a person's own machine answers for. Set the domain whose subdomains lead here." -}}
{{- end -}}
{{- end -}}
