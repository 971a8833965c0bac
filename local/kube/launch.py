"""How a container is started: command line, variables, working directory, from its image, its manifest and its pod."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.kube import environment, volumes
from local.kube.api import Object
from local.kube.context import PodContext
from local.kube.errors import CannotStart
from local.kube.spec import RunSpec


@dataclass(frozen=True)
class Launch:
    """A container's process to be started. mounts: {mountPath: directory that stands for it}."""

    command: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    mounts: Mapping[str, str]


async def prepare(pod: PodContext, spec: Object) -> Launch:
    """Pull the image of a container, and return how to start it. CannotStart names what is missing."""
    image = await pod.node.runtime.pull(spec["image"])
    return await _Preparation(pod, spec, image, volumes.mounts(pod.volumes, spec)).launch()


@dataclass(frozen=True)
class _Preparation:
    pod: PodContext
    spec: Object
    image: RunSpec
    mounts: Mapping[str, str]

    async def launch(self) -> Launch:
        env = await self._environment()
        return Launch(self._command(env), self._working_directory(), env, self.mounts)

    def _localize(self, text: str) -> str:
        return environment.localize(text, self.mounts, self.pod.address)

    def _localize_image_text(self, text: str) -> str:
        """Localize a text of the image, which has no mount paths."""
        return environment.localize(text, {}, self.pod.address)

    # --- variables ---
    async def _environment(self) -> dict[str, str]:
        """Return all variables; a later source overrides an earlier one."""
        pod = self.pod
        env = {"PATH": os.environ["PATH"], "HOME": str(pod.folder), "HOSTNAME": pod.name, "LANG": "C.UTF-8"}
        env |= pod.service_variables()
        env |= pod.node.runtime.env
        env |= {name: self._localize_image_text(value) for name, value in self.image.env.items()}
        env |= await self._manifest_variables(env)
        return env | dict(pod.node.marks)

    async def _manifest_variables(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of envFrom and env; a value may refer to inherited variables and to those before it."""
        variables: dict[str, str] = {}
        for source in self.spec.get("envFrom", []):
            kind = "configmaps" if "configMapRef" in source else "secrets"
            reference = source.get("configMapRef") or source["secretRef"]
            data = await self.pod.sources.data(kind, reference["name"], reference.get("optional", False))
            prefix = source.get("prefix", "")
            variables |= {prefix + key: self._localize(value.decode()) for key, value in data.items()}
        for item in self.spec.get("env", []):
            value = await self._value(item, dict(inherited) | variables)
            if value is not None:
                variables[item["name"]] = value
        return variables

    async def _value(self, item: Object, env: Mapping[str, str]) -> str | None:
        """Return the value of an entry of env; None for an optional reference to something that does not exist."""
        source = item.get("valueFrom")
        if not source:
            return environment.expand(self._localize(item.get("value", "")), env)
        if reference := source.get("resourceFieldRef"):
            return environment.resource(reference, self.spec, self.pod.node.spec.capacity)
        if reference := source.get("fieldRef"):
            return environment.field(self.pod.obj, reference["fieldPath"], self.pod.address)
        kind = "configmaps" if "configMapKeyRef" in source else "secrets"
        value = await self.pod.sources.key(kind, source.get("configMapKeyRef") or source["secretKeyRef"])
        return None if value is None else self._localize(value)

    # --- command line and working directory ---
    def _command(self, env: Mapping[str, str]) -> list[str]:
        command = self.spec.get("command") or []
        args = self.spec.get("args") or []
        from_manifest = [environment.expand(self._localize(part), env) for part in command + args]
        from_image: list[str] = []
        if not command:
            parts = [*self.image.command, *([] if args else self.image.args)]
            from_image = [self._localize_image_text(part) for part in parts]
        if not from_image + from_manifest:
            raise CannotStart("CreateContainerError", f"{self.spec['image']} has no command, and the pod gives none")
        return from_image + from_manifest

    def _working_directory(self) -> str:
        """Return the pod's workingDir, which is a mount or a directory of the image; else the image's own."""
        wanted = self.spec.get("workingDir")
        if not wanted:
            return str(Path(self.image.workdir))
        localized = self._localize(wanted)
        return localized if localized != wanted else str(Path(self.image.root) / wanted.lstrip("/"))
