"""A container: one process in a session of its own, started again as its restart policy says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.kube import environment, sessions, volumes
from local.kube.api import UNREACHABLE, Object, now
from local.kube.backoff import Backoff
from local.kube.checks import Checker, Threshold
from local.kube.errors import ApiError, CannotStart
from local.stack import processes

if TYPE_CHECKING:
    from local.kube.pod import Pod

LAST_WORDS_LINES, LAST_WORDS_BYTES = 80, 2048
"""Of the log, as message of a failed container with terminationMessagePolicy FallbackToLogsOnError."""
SHORTEST_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL that are left to a container whose preStop hook used up its grace."""
POST_START_SECONDS = 60.0
PULL_SHOWN_SECONDS = 1.0


class Container:
    def __init__(self, pod: Pod, spec: Object, init: bool = False) -> None:
        self.pod, self.spec, self.name = pod, spec, spec["name"]
        self.sidecar = init and spec.get("restartPolicy") == "Always"
        policy = pod.spec.get("restartPolicy", "Always")
        self.policy = spec.get("restartPolicy") or ("OnFailure" if init and policy == "Always" else policy)
        self.state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self.last: Object = {}
        statuses = pod.obj["status"].get("initContainerStatuses" if init else "containerStatuses", [])
        old: Object = next((status for status in statuses if status["name"] == self.name), {})
        self.restarts = old["restartCount"] + 1 if old.get("containerID") else 0  # of a node agent before this one
        self.started = self.ready = False
        self.process: asyncio.subprocess.Process | None = None
        self.exited = asyncio.Event()  # of this run
        self.began = 0.0  # seconds since the epoch
        self.cpu = 0.0  # seconds, never less than before
        self.code: int | None = None  # exit code of the last run
        self.mounts: dict[str, str] = {}
        self.checker: Checker  # set before each run

    @property
    def leader(self) -> int | None:
        """The pid of the main process while it runs; it is the id of the container's session, too."""
        return self.process.pid if self.process and self.process.returncode is None else None

    def log_file(self, previous: bool = False) -> Path:
        return self.pod.folder / f"{self.name}-{self.restarts - previous}.log"

    def status(self) -> Object:
        status = {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": self.spec["image"] if self.process else "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last,
        }
        return status | ({"containerID": f"process://{self.process.pid}"} if self.process else {})

    def show(self, **values: Any) -> None:
        """Sets attributes that the API shall know."""
        vars(self).update(values)
        self.pod.dirty.set()

    # --- life -------------------------------------------------------------------------------
    async def run(self) -> None:
        """Runs the container, again where the restart policy says so; returns at its end."""
        restarts, pulls = Backoff(at_once=True), Backoff()
        while not self.pod.stopping.is_set():
            try:
                command = await self.resolve()
            except CannotStart as why:
                await self._wait_to_start(why, pulls.next())
                continue
            except (ApiError, *UNREACHABLE) as error:
                await self._wait_to_start(CannotStart("CreateContainerConfigError", str(error)), pulls.next())
                continue
            began = time.monotonic()
            self.code = await self.execute(command)
            if self.pod.stopping.is_set() or self.policy == "Never" or (self.policy == "OnFailure" and self.code == 0):
                return
            self.show(last=self.state)
            if delay := restarts.next(time.monotonic() - began):
                message = f"back-off {delay:g}s restarting failed container={self.name}"
                self.pod.event("BackOff", message, warning=True)
                self.show(state={"waiting": {"reason": "CrashLoopBackOff", "message": message}})
                if await self.pod.pause(delay):
                    return
            self.restarts += 1

    async def _wait_to_start(self, why: CannotStart, delay: float) -> None:
        pull = why.reason == "ErrImagePull"
        self.pod.event("Failed" if pull else why.reason, why.message, warning=True)
        self.show(state={"waiting": {"reason": why.reason, "message": why.message}})
        if pull:
            await self.pod.pause(PULL_SHOWN_SECONDS)
            self.show(state={"waiting": {"reason": "ImagePullBackOff", "message": f"Back-off: {why.message}"}})
        await self.pod.pause(delay)

    async def execute(self, command: Sequence[str]) -> int:
        """One run of the main process, with its probes and its postStart hook; returns the exit code."""
        self.exited = asyncio.Event()
        begun, code, reason = now(), 128, "StartError"
        message = ""
        try:
            with self.log_file().open("ab") as out:
                self.process = await asyncio.create_subprocess_exec(
                    *command,
                    cwd=self.checker.cwd,
                    env=self.checker.env,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                    preexec_fn=processes.die_with_parent,
                )
        except OSError as error:
            message = str(error)
            self.pod.event("Failed", f"Error: {error}", warning=True)
        else:
            self.cpu, self.began = 0.0, time.time()
            self.pod.event("Started", f"Container started: {self.name}")
            self.show(state={"running": {"startedAt": begun}}, started="startupProbe" not in self.spec)
            probes = self.pod.node.spawn(self._after_start())
            code = await self.process.wait()
            probes.cancel()
            sessions.kill(self.process.pid)
            code = 128 - code if code < 0 else code
            reason = "Error" if code else "Completed"
            message = self._last_words() if code else ""
        ended: Object = {"exitCode": code, "reason": reason, "startedAt": begun, "finishedAt": now()}
        if message:
            ended["message"] = message
        if self.process:
            ended["containerID"] = f"process://{self.process.pid}"
        self.show(state={"terminated": ended}, started=False, ready=False)
        self.exited.set()
        return code

    def _last_words(self) -> str:
        if self.spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return ""
        with self.log_file().open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
            lines = stream.read().decode(errors="replace").splitlines(keepends=True)
        return "".join(lines[-LAST_WORDS_LINES:])

    def kill(self) -> None:
        if self.leader:
            sessions.kill(self.leader)

    async def stop(self, grace: float) -> None:
        """preStop, SIGTERM to the main process, SIGKILL to the whole session when `grace` seconds are over."""
        if not self.process or not self.leader:
            return
        process, exited = self.process, self.exited  # a restart brings others
        deadline = time.monotonic() + grace
        hook = self.spec.get("lifecycle", {}).get("preStop")
        if hook and grace and (error := await self.act(hook, grace)):
            self.pod.event("FailedPreStopHook", error, warning=True)
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(exited.wait(), max(deadline - time.monotonic(), min(grace, SHORTEST_GRACE)))
        if process.returncode is None:
            sessions.kill(process.pid)
        await exited.wait()

    # --- probes and hooks -------------------------------------------------------------------
    async def act(self, action: Object, timeout: float) -> str | None:
        """Does a probe or a hook; returns what went wrong."""
        command = [self._localize(part) for part in action.get("exec", {}).get("command", [])]
        return await self.checker.run(action, command, timeout)

    async def _after_start(self) -> None:
        hook = self.spec.get("lifecycle", {}).get("postStart")
        if hook and (error := await self.act(hook, POST_START_SECONDS)):
            self.pod.event("FailedPostStartHook", error, warning=True)
            self.pod.node.spawn(self.stop(self.pod.grace()))
            return
        if await self._probe("startup"):
            self.show(started=True)
            await asyncio.gather(self._probe("readiness"), self._probe("liveness"))

    async def _probe(self, kind: str) -> bool:
        """Probes for as long as the container runs. A startup probe returns True when it passed; False: restarted."""
        probe = self.spec.get(f"{kind}Probe")
        if not probe:
            if kind == "readiness":
                self.show(ready=True)
            return True
        threshold, clock = Threshold.of(probe), asyncio.get_running_loop()
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        while True:
            due = clock.time() + probe.get("periodSeconds", 10)
            error = await self.act(probe, probe.get("timeoutSeconds", 1))
            if error:
                self.pod.event("Unhealthy", f"{kind.capitalize()} probe failed: {error}", warning=True)
            verdict = threshold.verdict(error is None)
            if kind == "readiness":
                if verdict is not None and verdict != self.ready:
                    self.show(ready=verdict)
            elif verdict and kind == "startup":
                return True
            elif verdict is False and not self.pod.stopping.is_set():
                self.pod.event("Killing", f"Container {self.name} failed {kind} probe, will be restarted")
                self.pod.node.spawn(self.stop(probe.get("terminationGracePeriodSeconds", self.pod.grace())))
                return False
            await asyncio.sleep(due - clock.time())

    # --- what it is given -------------------------------------------------------------------
    def _localize(self, text: str) -> str:
        return environment.localize(text, self.mounts, self.pod.address)

    async def resolve(self) -> list[str]:
        """Pulls the image, sets mounts and checker, and returns the command line. CannotStart says what is missing."""
        pod, spec = self.pod, self.spec
        recipe = await pod.node.pull(spec["image"])
        self.mounts = volumes.mounts(pod.volumes, spec)
        env = {"PATH": os.environ["PATH"], "HOME": str(pod.folder), "HOSTNAME": pod.name, "LANG": "C.UTF-8"}
        env |= pod.service_links() | pod.node.env
        env |= {key: environment.localize(value, {}, pod.address) for key, value in recipe.env.items()}
        env |= await self._own_env(env)
        env |= pod.node.marks
        command, args = spec.get("command"), spec.get("args")
        given = [environment.expand(self._localize(part), env) for part in (command or []) + (args or [])]
        if not command:
            built_in = recipe.command + ([] if args else recipe.args)
            given = [environment.localize(part, {}, pod.address) for part in built_in] + given
        if not given:
            raise CannotStart("CreateContainerError", f"{spec['image']} has no command, and the pod gives none")
        cwd = self._working_directory(Path(recipe.workdir), Path(recipe.root))
        self.checker = Checker(pod.node.probes, pod.address, spec, cwd, env)
        return given

    async def _own_env(self, before: dict[str, str]) -> dict[str, str]:
        """The variables of envFrom and env; `before` holds what a value may refer to, beside those before it."""
        own: dict[str, str] = {}
        for source in self.spec.get("envFrom", []):
            kind = "configmaps" if "configMapRef" in source else "secrets"
            reference = source.get("configMapRef") or source["secretRef"]
            data = await self.pod.sources.data(kind, reference["name"], reference.get("optional", False))
            own |= {source.get("prefix", "") + key: self._localize(value.decode()) for key, value in data.items()}
        for item in self.spec.get("env", []):
            value = await self._value(item, before | own)
            if value is not None:
                own[item["name"]] = value
        return own

    async def _value(self, item: Object, env: dict[str, str]) -> str | None:
        source = item.get("valueFrom")
        if not source:
            return environment.expand(self._localize(item.get("value", "")), env)
        if reference := source.get("resourceFieldRef"):
            return environment.resource(reference, self.spec, self.pod.node.capacity)
        if reference := source.get("fieldRef"):
            return environment.field(self.pod.obj, reference["fieldPath"], self.pod.address)
        kind = "configmaps" if "configMapKeyRef" in source else "secrets"
        value = await self.pod.sources.key(kind, source.get("configMapKeyRef") or source["secretKeyRef"])
        return None if value is None else self._localize(value)

    def _working_directory(self, workdir: Path, root: Path) -> str:
        """The pod's workingDir: a mount, or a directory of the image; else the image's own."""
        wanted = self.spec.get("workingDir")
        if not wanted:
            return str(workdir)
        localized = self._localize(wanted)
        return localized if localized != wanted else str(root / wanted.lstrip("/"))
