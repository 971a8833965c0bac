"""A container: one process in a session of its own, restarted as its restart policy says."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

from local.kube import environment, processes, sessions
from local.kube.api import UNREACHABLE, Object, now
from local.kube.backoff import Backoff
from local.kube.context import PodContext
from local.kube.errors import ApiError, CannotStart
from local.kube.launch import Launch, prepare
from local.kube.probes import Checker, Probe

LOG_TAIL_LINES = 80
LOG_TAIL_BYTES = 2048
"""Of the log, as message of a failed container with terminationMessagePolicy FallbackToLogsOnError."""
SHORTEST_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL that a container keeps when its preStop hook used up its grace period."""
POST_START_SECONDS = 60.0
PULL_ERROR_SECONDS = 1.0
"""How long ErrImagePull is shown before ImagePullBackOff."""
START_ERROR_CODE = 128


class Container:
    """A container of a pod: `spec` is its part of the pod's spec; init: it is an init container or a sidecar."""

    def __init__(self, pod: PodContext, spec: Object, init: bool = False) -> None:
        self.pod = pod
        self.spec = spec
        self.name: str = spec["name"]
        self.sidecar = init and spec.get("restartPolicy") == "Always"
        self.restart_policy = _restart_policy(pod.spec, spec, init)
        self.state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Object = {}
        self.restarts = _restarts_so_far(pod.obj, self.name, init)
        self.started = False
        self.ready = False
        self.process: asyncio.subprocess.Process | None = None
        self.exited = asyncio.Event()  # of the current run
        self.start_time = 0.0  # seconds since the epoch
        self.cpu = 0.0  # seconds, never less than before
        self.exit_code: int | None = None  # of the last run
        self.launch = Launch((), "", {}, {})  # of the current run

    @property
    def leader(self) -> int | None:
        """The pid of the main process while it runs; it is the id of the container's session, too."""
        return self.process.pid if self.process and self.process.returncode is None else None

    def log_file(self, previous: bool = False) -> Path:
        """Return the log of the current run, or of the run before it."""
        return self.pod.folder / f"{self.name}-{self.restarts - previous}.log"

    def status(self) -> Object:
        """Return the container's entry in the status of its pod."""
        status = {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": self.spec["image"] if self.process else "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last_state,
        }
        return status | ({"containerID": f"process://{self.process.pid}"} if self.process else {})

    def update(self, state: Object | None = None, *, started: bool | None = None, ready: bool | None = None) -> None:
        """Set what is given, and report it to the API."""
        self.state = self.state if state is None else state
        self.started = self.started if started is None else started
        self.ready = self.ready if ready is None else ready
        self.pod.changed()

    # --- life -------------------------------------------------------------------------------
    async def run(self) -> None:
        """Run the container, again where the restart policy says so; return when it has ended for good."""
        restarts = Backoff(at_once=True)
        pulls = Backoff()
        while not self.pod.stopping.is_set():
            try:
                self.launch = await prepare(self.pod, self.spec)
            except CannotStart as reason:
                await self._wait_to_start(reason, pulls.next())
                continue
            except (ApiError, *UNREACHABLE) as error:
                await self._wait_to_start(CannotStart("CreateContainerConfigError", str(error)), pulls.next())
                continue
            started = time.monotonic()
            self.exit_code = await self._run_once()
            if self.pod.stopping.is_set() or not self._restarts_after(self.exit_code):
                return
            self.last_state = self.state
            self.pod.changed()
            if await self._back_off(restarts.next(time.monotonic() - started)):
                return
            self.restarts += 1

    def _restarts_after(self, exit_code: int) -> bool:
        return self.restart_policy == "Always" or (self.restart_policy == "OnFailure" and exit_code != 0)

    async def _back_off(self, delay: float) -> bool:
        """Wait before a restart; return whether the pod shall end."""
        if not delay:
            return False
        message = f"back-off {delay:g}s restarting failed container={self.name}"
        self.pod.event("BackOff", message, warning=True)
        self.update({"waiting": {"reason": "CrashLoopBackOff", "message": message}})
        return await self.pod.pause(delay)

    async def _wait_to_start(self, reason: CannotStart, delay: float) -> None:
        """Report why the container cannot start, and wait before the next attempt."""
        pull = reason.reason == "ErrImagePull"
        self.pod.event("Failed" if pull else reason.reason, reason.message, warning=True)
        self.update({"waiting": {"reason": reason.reason, "message": reason.message}})
        if pull:
            await self.pod.pause(PULL_ERROR_SECONDS)
            self.update({"waiting": {"reason": "ImagePullBackOff", "message": f"Back-off: {reason.message}"}})
        await self.pod.pause(delay)

    async def _run_once(self) -> int:
        """Run the main process once, with its probes and its postStart hook; return the exit code."""
        self.exited = asyncio.Event()
        terminated: Object = {"exitCode": START_ERROR_CODE, "reason": "StartError", "startedAt": now()}
        try:
            await self._start()
        except OSError as error:
            terminated["message"] = str(error)
            self.pod.event("Failed", f"Error: {error}", warning=True)
        else:
            code = await self._wait_for_exit(terminated["startedAt"])
            terminated |= {"exitCode": code, "reason": "Error" if code else "Completed"}
            if code and (message := self._log_tail()):
                terminated["message"] = message
        terminated["finishedAt"] = now()
        if self.process:
            terminated["containerID"] = f"process://{self.process.pid}"
        self.update({"terminated": terminated}, started=False, ready=False)
        self.exited.set()
        return int(terminated["exitCode"])

    async def _start(self) -> None:
        with self.log_file().open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                *self.launch.command,
                cwd=self.launch.cwd,
                env=self.launch.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=processes.die_with_parent,
            )

    async def _wait_for_exit(self, started_at: str) -> int:
        """Report the start, probe until the main process ends, and kill the rest of its session; return its code."""
        assert self.process  # noqa: S101 - for the type checker: it has just started
        self.cpu = 0.0
        self.start_time = time.time()
        self.pod.event("Started", f"Container started: {self.name}")
        self.update({"running": {"startedAt": started_at}}, started="startupProbe" not in self.spec)
        probes = self.pod.node.tasks.spawn(self._run_checks())
        code = await self.process.wait()
        probes.cancel()
        sessions.kill(self.process.pid)
        return 128 - code if code < 0 else code

    def _log_tail(self) -> str:
        if self.spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return ""
        with self.log_file().open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            lines = stream.read().decode(errors="replace").splitlines(keepends=True)
        return "".join(lines[-LOG_TAIL_LINES:])

    def kill(self) -> None:
        """Send SIGKILL to all processes of the container."""
        if self.leader:
            sessions.kill(self.leader)

    async def stop(self, grace: float) -> None:
        """Run preStop, send SIGTERM to the main process, and SIGKILL to the session after `grace` seconds."""
        if not self.process or not self.leader:
            return
        process = self.process  # a restart replaces both
        exited = self.exited
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
        """Do a probe or a hook; return what went wrong."""
        parts = action.get("exec", {}).get("command", [])
        command = [environment.localize(part, self.launch.mounts, self.pod.address) for part in parts]
        checker = Checker(self.pod.node.http, self.pod.address, self.spec, self.launch.cwd, self.launch.env)
        return await checker.run(action, command, timeout)

    async def _run_checks(self) -> None:
        """Run the postStart hook and the probes, for as long as the main process runs."""
        hook = self.spec.get("lifecycle", {}).get("postStart")
        if hook and (error := await self.act(hook, POST_START_SECONDS)):
            self.pod.event("FailedPostStartHook", error, warning=True)
            self._stop_soon(self.pod.grace())
            return
        if await self._passes_startup():
            self.update(started=True)
            await asyncio.gather(self._watch_readiness(), self._watch_liveness())

    async def _passes_startup(self) -> bool:
        """Return True once the startup probe has passed; False when it failed, which stops the container."""
        if not (probe := self._probe("startup")):
            return True
        while True:
            passed = await probe.next()
            if passed:
                return True
            if passed is False and self._stop_failed(probe):
                return False

    async def _watch_readiness(self) -> None:
        if not (probe := self._probe("readiness")):
            self.update(ready=True)
            return
        while True:
            passed = await probe.next()
            if passed is not None and passed != self.ready:
                self.update(ready=passed)

    async def _watch_liveness(self) -> None:
        if not (probe := self._probe("liveness")):
            return
        while True:
            if await probe.next() is False and self._stop_failed(probe):
                return

    def _probe(self, kind: str) -> Probe | None:
        spec = self.spec.get(f"{kind}Probe")
        return Probe(kind, spec, self.act, self.pod.event) if spec else None

    def _stop_failed(self, probe: Probe) -> bool:
        """Stop the container after a failed probe, unless the pod ends anyway; return whether it was stopped."""
        if self.pod.stopping.is_set():
            return False
        self.pod.event("Killing", f"Container {self.name} failed {probe.kind} probe, will be restarted")
        self._stop_soon(probe.spec.get("terminationGracePeriodSeconds", self.pod.grace()))
        return True

    def _stop_soon(self, grace: float) -> None:
        """Stop in a task of its own: the end of the process cancels the task of the probes."""
        self.pod.node.tasks.spawn(self.stop(grace))


def _restart_policy(pod_spec: Object, spec: Object, init: bool) -> str:
    """Return the container's own policy, else the pod's; init containers are not restarted after a success."""
    policy: str = pod_spec.get("restartPolicy", "Always")
    return spec.get("restartPolicy") or ("OnFailure" if init and policy == "Always" else policy)


def _restarts_so_far(pod: Object, name: str, init: bool) -> int:
    """Return the restart count: one more than the reported one when an earlier agent of this node ran the container."""
    statuses = pod["status"].get("initContainerStatuses" if init else "containerStatuses", [])
    reported: Object = next((status for status in statuses if status["name"] == name), {})
    return int(reported["restartCount"]) + 1 if reported.get("containerID") else 0
