"""A notebook as a site has it: a pod of the user image with a home on a claim and the chart's rights, no more."""

from __future__ import annotations

import json
import select
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml

from genesis_workbench.compute.job import Job, JobSpec, Queue
from genesis_workbench.core.errors import BY_CODE

RULES = Path(__file__).parents[3] / "helm/genesis-workbench/files/compute-rules.yaml"
HOME = "/home/user"

# Runs cells that come as lines of JSON, one after the other, in one namespace.
KERNEL = """
import ast, json, sys
names = {"__name__": "__main__"}
sys.modules["__main__"].__dict__.update(names)
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    try:
        tree = ast.parse(json.loads(line))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<cell>", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None
        answer = {"value": json.loads(json.dumps(value))}
    except BaseException as error:
        answer = {"error": getattr(error, "code", type(error).__name__), "message": str(error)}
    print(json.dumps(answer), file=answers, flush=True)
"""


class CellFailed(Exception):
    """A cell raised what is no error of the workbench's own."""


class Kubectl:
    """kubectl for one namespace.

    Parameters
    ----------
    program : str
        Its path.
    namespace : str
        Where everything happens.
    """

    def __init__(self, program: str, namespace: str) -> None:
        self.namespace, self._command = namespace, [program, "--namespace", namespace]

    def __call__(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0 or not check, f"kubectl {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def apply(self, *manifests: dict[str, Any]) -> None:
        together = {"apiVersion": "v1", "kind": "List", "items": manifests}
        self("apply", "-f", "-", given=json.dumps(together))

    def items(
        self, kind: str, labels: str = "app.kubernetes.io/name=genesis-workbench"
    ) -> list[dict[str, Any]]:
        return list(json.loads(self("get", kind, "--selector", labels, "-o", "json"))["items"])

    def names(self, kind: str, labels: str = "app.kubernetes.io/name=genesis-workbench") -> list[str]:
        return sorted(each["metadata"]["name"] for each in self.items(kind, labels))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )


class Notebook:
    """The pod, and a kernel in it that runs cells.

    Parameters
    ----------
    kubectl : Kubectl
        The namespace, in which :func:`prepare` has been called.
    image : str
        The user image.
    name : str
        Of the pod.
    """

    def __init__(self, kubectl: Kubectl, image: str, name: str = "notebook") -> None:
        self.kubectl, self.image, self.name = kubectl, image, name
        self._kernel: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.kubectl.apply(_pod(self.name, self.image))
        self.kubectl("wait", "--for=condition=Ready", f"pod/{self.name}", "--timeout=120s")
        self.start_kernel()
        return self

    def __exit__(self, *_: object) -> None:
        self.end_kernel()
        self.kubectl(
            "delete", "pod", self.name, "--grace-period=0", "--force", "--ignore-not-found", check=False
        )

    def start_kernel(self) -> None:
        """Start a kernel anew: what the last one knew is gone."""
        self.end_kernel()
        self._kernel = self.kubectl.start("exec", "-i", self.name, "--", "python", "-u", "-c", KERNEL)

    def end_kernel(self) -> None:
        """End the kernel as a closed browser tab never would: its input ends."""
        if self._kernel:
            assert self._kernel.stdin
            assert self._kernel.stdout
            self._kernel.stdin.close()
            try:
                self._kernel.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._kernel.kill()
                self._kernel.wait()
            self._kernel.stdout.close()
            self._kernel = None

    def __call__(self, cell: str, timeout_s: float = 120) -> Any:
        """Run a cell and return the value of its last line; raise its error as the same error here."""
        assert self._kernel
        assert self._kernel.stdin
        assert self._kernel.stdout
        self._kernel.stdin.write(json.dumps(cell) + "\n")
        ready, _, _ = select.select([self._kernel.stdout], [], [], timeout_s)
        assert ready, f"no answer in {timeout_s} s to: {cell}"
        line = self._kernel.stdout.readline()
        if not line:
            raise CellFailed(f"the kernel ended in: {cell}")
        answer = json.loads(line)
        if "error" in answer:
            raise BY_CODE.get(answer["error"], CellFailed)(f"{answer['error']}: {answer['message']}")
        return answer["value"]

    def write(self, path: str, content: str) -> None:
        """Write a file in the pod."""
        self.kubectl(
            "exec",
            "-i",
            self.name,
            "--",
            "sh",
            "-c",
            f"mkdir -p {Path(path).parent}; cat > {path}",
            given=content,
        )

    def read(self, path: str) -> str:
        """Read a file in the pod; empty where it is not there."""
        return self.kubectl("exec", self.name, "--", "cat", path, check=False)


class RemoteScheduler:
    """The Scheduler of a notebook, asked from here: what it takes and gives crosses as JSON and as files.

    Parameters
    ----------
    notebook : Notebook
        Where it is.
    folder : str
        Of its jobs, in the notebook.
    site : str
        The ``[compute]`` section, as JSON.
    kept : Path
        Folder here for files that are brought back.
    """

    name: ClassVar[str] = "kubernetes"

    def __init__(self, notebook: Notebook, folder: str, site: str, kept: Path) -> None:
        self.notebook, self.folder, self.site, self._kept = notebook, Path(folder), site, kept
        notebook(self.cell("scheduler = make()"))

    def cell(self, code: str) -> str:
        """Return a cell that knows how the scheduler is made."""
        return (
            "import pathlib\n"
            "from genesis_workbench.compute.job import JobSpec\n"
            "from genesis_workbench.compute.schedulers.kubernetes import KubernetesScheduler\n"
            "from genesis_workbench.core.site import ComputeSection\n"
            f"make = lambda: KubernetesScheduler(pathlib.Path({str(self.folder)!r}), ComputeSection.model_validate_json({self.site!r}))\n"
            + code
        )

    def submit(self, spec: JobSpec) -> Job:
        return self.submit_all([spec])[0]

    def submit_all(self, specs: Sequence[JobSpec]) -> list[Job]:
        given = [self._staged(spec).model_dump_json() for spec in specs]
        made = f"scheduler.submit_all([JobSpec.model_validate_json(each) for each in {given!r}])"
        return [
            Job.model_validate_json(each)
            for each in self.notebook(f"[job.model_dump_json() for job in {made}]")
        ]

    def status(self, key: str) -> Job | None:
        told = self.notebook(f"job = scheduler.status({key!r})\njob and job.model_dump_json()")
        return Job.model_validate_json(told) if told else None

    def cancel(self, key: str) -> None:
        self.notebook(f"scheduler.cancel({key!r})")

    def result(self, key: str) -> Any:
        return self.notebook(f"scheduler.result({key!r})")

    def output(self, key: str, name: str) -> Path:
        content = self.notebook(f"scheduler.output({key!r}, {name!r}).read_text()")
        kept = self._kept / key / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(content)
        return kept

    def render(self, spec: JobSpec) -> str:
        return str(
            self.notebook(f"scheduler.render(JobSpec.model_validate_json({spec.model_dump_json()!r}))")
        )

    def queues(self) -> list[Queue]:
        return [
            Queue.model_validate_json(each)
            for each in self.notebook("[q.model_dump_json() for q in scheduler.queues()]")
        ]

    def _staged(self, spec: JobSpec) -> JobSpec:
        """Bring the files of `stage_in` to the notebook; one that is not here is left for it to miss."""
        there = {}
        for name, source in spec.stage_in.items():
            there[name] = f"{HOME}/given{source}"
            if Path(source).is_file():
                self.notebook.write(there[name], Path(source).read_text())
        return spec.model_copy(update={"stage_in": there})


def prepare(kubectl: Kubectl) -> None:
    """Make what a notebook needs: an account with the chart's rights, and a claim."""
    account(kubectl, "notebook", RULES)
    kubectl.apply(
        {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "home"},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
        },
    )  # fmt: skip


def account(kubectl: Kubectl, name: str, rules: Path) -> None:
    """Make a service account with the rights that the chart gives by a file of rules."""
    subject = [{"kind": "ServiceAccount", "name": name, "namespace": kubectl.namespace}]
    group = "rbac.authorization.k8s.io"
    kubectl.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {
            "apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": name},
            "rules": yaml.safe_load(rules.read_text()),
        },
        {
            "apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": name}, "subjects": subject,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        },
    )  # fmt: skip


def may_see(kubectl: Kubectl, *resources: str, who: str = "notebook") -> Callable[[], None]:
    """Let an account see nodes, or all pods, as the chart's switches do; returns what takes it back."""
    group, name = "rbac.authorization.k8s.io", f"{kubectl.namespace}-{who}-sees"
    kubectl.apply(
        {
            "apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [{"apiGroups": [""], "resources": list(resources), "verbs": ["list"]}],
        },
        {
            "apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "subjects": [{"kind": "ServiceAccount", "name": who, "namespace": kubectl.namespace}],
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        },
    )  # fmt: skip
    return lambda: kubectl("delete", "clusterrole,clusterrolebinding", name, "--ignore-not-found") and None


def until(true: Callable[[], Any], timeout_s: float = 90) -> Any:
    """Return what `true` gives as soon as it is something."""
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.3)
    return found


def _pod(name: str, image: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"role": "notebook"}},
        "spec": {
            "serviceAccountName": "notebook",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000},
            "containers": [
                {
                    "name": "notebook",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": ["sleep", "infinity"],
                    "env": [
                        {"name": "GENESIS_STATE", "value": f"{HOME}/state"},
                        {"name": "GENESIS_SITE", "value": f"{HOME}/site.toml"},
                        {"name": "JUPYTERHUB_API_TOKEN", "value": "of-the-notebook"},
                    ],
                    # No core of its own: four workers of one core fit two nodes of two.
                    "resources": {"requests": {"memory": "256Mi"}, "limits": {"memory": "2Gi"}},
                    "volumeMounts": [{"name": "home", "mountPath": HOME}],
                }
            ],
            "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "home"}}],
        },
    }
