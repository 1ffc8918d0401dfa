"""What Fleet makes of this folder for one store: which bundles match, with which values, rendered by Helm.

Only the part of Fleet that is used here, as its source has it: customizations in order, values merged key by key with lists
replaced, `global.fleet.clusterLabels.X` and `${ }` in values. `ci/check` compares it with golden files, and those were compared
with what a real Fleet did.
"""

import copy
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

FLEET = Path(__file__).resolve().parent.parent
ROOT = FLEET.parent
LABEL_VALUE = "global.fleet.clusterLabels."
SECRET_VALUES = "made once, in the store"


class Problem(Exception):
    """Something in the folder that has to be put right."""


def load(path):
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Problem(f"{relative(path)}: {error}") from error


def relative(path):
    try:
        return str(Path(path).resolve().relative_to(ROOT))
    except ValueError:
        return str(path)


class Bundle:
    """One directory of resources with its fleet.yaml, as a GitRepo lists it."""

    def __init__(self, base, options):
        self.base = (ROOT / base).resolve()
        self.file = (self.base / options).resolve()
        self.name = self.file.parent.name
        for path in (self.base, self.file):
            if not path.exists():
                raise Problem(f"{base} with {options}: there is no {relative(path)}")
        self.spec = load(self.file)

    @property
    def part(self):
        return self.spec.get("labels", {}).get("part")

    @property
    def is_chart(self):
        return (self.base / "Chart.yaml").exists()


def bundles(gitrepo):
    """The bundles a GitRepo lists."""
    return [Bundle(entry["base"], entry["options"]) for entry in gitrepo["spec"].get("bundles", [])]


def gitrepos():
    return {path: load(path) for path in sorted((FLEET / "gitops").glob("gitrepo-*.yaml"))}


class Store:
    """A Cluster object."""

    def __init__(self, cluster):
        self.name = cluster["metadata"]["name"]
        self.namespace = cluster["metadata"].get("namespace", "")
        self.labels = cluster["metadata"].get("labels") or {}
        self.annotations = cluster["metadata"].get("annotations") or {}
        self.values = cluster.get("spec", {}).get("templateValues") or {}
        for key, value in self.labels.items():
            if not isinstance(value, str):
                raise Problem(f"Cluster {self.name}: label {key}: {value!r} is no text: quote it")


def selects(selector, labels):
    """Whether a label selector takes a cluster; an absent one takes all."""
    if selector is None:
        return True
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
        there = key in labels
        met = {
            "In": there and labels.get(key) in values,
            "NotIn": labels.get(key) not in values if there else True,
            "Exists": there,
            "DoesNotExist": not there,
        }[operator]
        if not met:
            return False
    return True


def merge(below, above):
    """Maps key by key, everything else replaced."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return copy.deepcopy(above)
    merged = dict(below)
    for key, value in above.items():
        merged[key] = merge(merged[key], value) if key in merged else copy.deepcopy(value)
    return merged


def options(bundle, store):
    """The bundle's options for a store, or None where it is not deployed."""
    spec = bundle.spec
    chosen = [
        target
        for target in spec.get("targetCustomizations") or []
        if selects(target.get("clusterSelector"), store.labels) and target.get("clusterName", store.name) == store.name
    ]
    if spec.get("targetCustomizationMode", "FirstMatch") == "FirstMatch":
        chosen = chosen[:1]
    if any(target.get("doNotDeploy") for target in chosen):
        return None
    values = (spec.get("helm") or {}).get("values") or {}
    for target in chosen:
        values = merge(values, (target.get("helm") or {}).get("values") or {})
    return {"namespace": spec.get("defaultNamespace", "default"), "values": values}


def label_values(value, store):
    if isinstance(value, dict):
        return {key: label_values(inner, store) for key, inner in value.items()}
    if isinstance(value, list):
        return [label_values(inner, store) for inner in value]
    if isinstance(value, str) and value.startswith(LABEL_VALUE):
        return store.labels.get(value[len(LABEL_VALUE) :], "")
    return value


class Helm:
    """The Helm program: it renders charts, and, as it has Fleet's template functions, values too."""

    def __init__(self):
        self.program = os.environ.get("HELM") or shutil.which("helm")

    def run(self, *arguments):
        # Without a cluster: whatever a kubeconfig names is not asked.
        environment = {**os.environ, "KUBECONFIG": "/dev/null"}
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, env=environment)
        if done.returncode != 0:
            raise Problem(f"helm {' '.join(arguments[:3])}: {done.stderr.strip()}")
        return done.stdout

    def values(self, wanted, store):
        """Renders `${ }` in values of several bundles at once, as text, and reads them again."""
        if not store.labels:
            return wanted
        context = {
            "ClusterName": store.name,
            "ClusterNamespace": store.namespace,
            "ClusterLabels": store.labels,
            "ClusterAnnotations": store.annotations,
            "ClusterValues": store.values or None,
        }
        with tempfile.TemporaryDirectory() as directory:
            chart = Path(directory)
            (chart / "templates").mkdir()
            (chart / "Chart.yaml").write_text("apiVersion: v2\nname: values\nversion: 0.0.1\n")
            (chart / "values.yaml").write_text(json.dumps({"context": context}))
            for name, values in wanted.items():
                text = yaml.safe_dump(label_values(values, store), width=100000, allow_unicode=True)
                text = text.replace("{{", '{{"{{"}}')
                text = re.sub(r"\$\{(.*?)\}(?!\})", r"{{\1}}", text)
                text = "\n".join("  " + line for line in text.splitlines())
                body = "name: %s\nvalues:\n{{ with .Values.context }}\n%s\n{{ end }}\n" % (json.dumps(name), text)
                (chart / "templates" / f"{name}.yaml").write_text(body)
            rendered = self.run("template", "values", str(chart))
        if "<no value>" in rendered:
            raise Problem(f"{store.name}: a value needs a label or template value that the Cluster lacks: use get and default")
        return {document["name"]: document["values"] for document in yaml.safe_load_all(rendered) if document}

    def render(self, bundle, namespace, values):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(values, file)
            file.flush()
            release = bundle.spec["helm"]["releaseName"]
            return self.run("template", release, str(bundle.base), "--namespace", namespace, "--values", file.name)


def rendered(store, all_bundles, helm, without_secrets=False):
    """The objects of each bundle that a store gets: a map of the bundle's name to the objects."""
    wanted = {bundle.name: options(bundle, store) for bundle in all_bundles}
    found = {bundle.name: bundle for bundle in all_bundles if wanted[bundle.name] is not None}
    charts = {name: wanted[name]["values"] for name, bundle in found.items() if bundle.is_chart}
    values = helm.values(charts, store) if charts else {}
    result = {}
    for name, bundle in found.items():
        if bundle.is_chart:
            given = values[name] or {}
            if without_secrets:
                given = merge(given, {"generateBasicAuth": False, "base": {"generateSecrets": []}})
            text = helm.render(bundle, wanted[name]["namespace"], given)
        else:
            text = "\n---\n".join(path.read_text() for path in sorted(bundle.base.glob("*.yaml")))
        result[name] = [document for document in yaml.safe_load_all(text) if document]
    return result


def masked(objects):
    """The same without what is random: values of secrets."""
    objects = copy.deepcopy(objects)
    for item in objects:
        if item["kind"] == "Secret":
            for key in item.get("data") or {}:
                item["data"][key] = SECRET_VALUES
    return objects


def dump(objects):
    return yaml.safe_dump_all(objects, width=120, sort_keys=True, explicit_start=True, allow_unicode=True)


def documents(path):
    try:
        return [document for document in yaml.safe_load_all(path.read_text()) if document]
    except (OSError, yaml.YAMLError) as error:
        raise Problem(f"{relative(path)}: {error}") from error


def plain(function):
    """What a function is in both forms: topics are the store's, images the release's."""
    annotations = {key: value for key, value in (function.get("annotations") or {}).items()}
    if annotations.get("topic") != "cron-function":
        annotations.pop("topic", None)
    read_only = function.get("readOnlyRootFilesystem", function.get("readonly_root_filesystem"))
    kept = {name: function.get(name) for name in ("environment", "labels", "limits", "requests", "secrets", "constraints")}
    return {**kept, "annotations": annotations or None, "read-only root": read_only}


def unfit(pod):
    """What Pod Security `restricted`, or a store without a link, would not take of a pod."""
    security = pod.get("securityContext") or {}
    if not security.get("runAsNonRoot") or (security.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        yield "its pods are not runAsNonRoot with seccomp RuntimeDefault"
    for container in pod["containers"]:
        own = container.get("securityContext") or {}
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"container {container['name']} keeps rights"
        if not own.get("readOnlyRootFilesystem"):
            yield f"container {container['name']} may write its root file system"
        if container.get("imagePullPolicy") != "IfNotPresent" or not re.search(r":(?!latest$)[^:/]+$", container["image"]):
            yield f"container {container['name']}: image {container['image']} would be pulled at each start"
        if not (container.get("resources") or {}).get("requests"):
            yield f"container {container['name']} has no requests"
        if any("hostPort" in port for port in container.get("ports") or []):
            yield f"container {container['name']} has a host port"
