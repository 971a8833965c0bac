"""The image `jobs` as SageMaker runs it: /opt/ml is mounted, the request names the module; against a direct run."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from retail_mlops.common import job_requests as requests
from tests.docker.engine import ROOT, Container, docker, image
from tests.include.etl.conftest import WEEK, text  # noqa: F401 - a fixture
from tests.include.train.gold import training_base, write_gold

PYTHON = ROOT / ".venv/jobs/bin/python"
LIMITS = ("--memory", "1g", "--cpus", "1")


def digests(folder: Path) -> dict[str, str]:
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    assert found, f"{folder} is empty"
    return found


def hand_over(folder: Path) -> Path:
    """To the user of the image, as nothing but the owner of a mount can."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that the image's user reaches: pytest keeps its own to itself."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    return tmp_path


@pytest.fixture
def job(run: Callable[..., Container], jobs_image: str) -> Callable[..., Container]:
    """Runs a request's container: its entry point and arguments, its variables, paths of /opt/ml from a folder."""

    def begin(base: Path, specification: dict, *paths: str) -> Container:
        for path in paths:
            (base / path).mkdir(parents=True, exist_ok=True)
        hand_over(base)
        mounts = [word for path in paths or ("",) for word in ("--volume", f"{base / path}:/opt/ml/{path}".rstrip("/"))]
        variables = [word for key, value in requests.environment().items() for word in ("--env", f"{key}={value}")]
        program, *words = specification["ContainerEntrypoint"]
        options = (*LIMITS, "--entrypoint", program, *mounts, *variables)
        return run(jobs_image, *words, *specification["ContainerArguments"], options=("--network", "none", *options))

    return begin


def directly(base: Path, specification: dict) -> None:
    """The same request as the embedded runtime runs it: in .venv/jobs, with a base folder."""
    program, *words = specification["ContainerEntrypoint"]
    assert program == "python"
    environment = {"PATH": os.environ["PATH"], "SAGEMAKER_BASE_DIR": str(base), **requests.environment()}
    command = [PYTHON, *words, *specification["ContainerArguments"]]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)


def processing(*command: str) -> dict:
    return requests.processing(list(command), "image", {}, {}, "etl")["AppSpecification"]


def training() -> dict:
    return requests.training("image", {}, {})["AlgorithmSpecification"]


def test_a_week_has_the_same_silver_and_gold(job: Callable[..., Container], place: Path, text: str) -> None:  # noqa: F811
    bases = [place / name for name in ("contained", "direct")]
    for base in bases:
        raw = base / "processing/input/raw"
        raw.mkdir(parents=True)
        (raw / "transactions.csv").write_text(text)
    clean = processing("include.etl", "clean", "--shop-week", WEEK)
    split = processing("include.etl", "split", "--shop-week", WEEK)

    # Each input and output is a mount of its own, and so is where a job may say why it failed.
    inside = [
        ("processing/input/raw", "processing/output/silver"),
        ("processing/input/silver", "processing/output/gold"),
    ]
    mounted = [(*paths, "output") for paths in inside]

    for base in bases:
        for step in (clean, split):
            if base.name == "direct":
                directly(base, step)
            else:
                container = job(base, step, *mounted[step is split])
                assert container.wait(120) == 0, container.log
            silver = base / "processing/output/silver"
            if step is clean:
                shutil.copytree(silver, base / "processing/input/silver")

    contained, direct = (digests(base / "processing/output") for base in bases)
    assert contained == direct
    assert f"gold/_manifest/{WEEK}.json" in contained


def test_training_makes_the_same_bundle(job: Callable[..., Container], place: Path) -> None:
    gold = write_gold(place)
    contained, direct = (training_base(place / name, gold) for name in ("contained", "direct"))

    container = job(contained, training())
    directly(direct, training())

    assert container.wait(180) == 0, container.log
    assert digests(contained / "model") == digests(direct / "model")
    assert "validation:accuracy=" in container.log, "what the metric definitions look for"


def test_train_is_a_command_of_the_image(run: Callable[..., Container], jobs_image: str, place: Path) -> None:
    """As SageMaker starts a training image whose job names no entry point."""
    base = hand_over(training_base(place / "base", write_gold(place)))
    container = run(jobs_image, "train", options=(*LIMITS, "--volume", f"{base}:/opt/ml"))

    assert container.wait(180) == 0, container.log
    assert (base / "model/manifest.json").is_file()


def test_a_failing_job_says_why_where_sagemaker_looks(job: Callable[..., Container], place: Path) -> None:
    base = training_base(place / "base", write_gold(place), forests=3)
    container = job(base, training())

    assert container.wait() == 1
    assert "forests" in (base / "output/failure").read_text()


def test_sigterm_ends_a_job_at_once(job: Callable[..., Container], place: Path) -> None:
    """Process 1 of a container gets no signal that it does not ask for."""
    base = training_base(place / "base", write_gold(place), trees=1000, folds=20, iterations=200)
    container = job(base, training())
    container.until(lambda: busy_seconds(container) > 2)

    container.signal("TERM")

    assert container.wait(5) == 128 + 15
    assert not (base / "model/manifest.json").exists()


def busy_seconds(container: Container) -> float:
    """CPU time of process 1."""
    fields = container.python("print(open('/proc/1/stat').read().rpartition(')')[2])").split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_its_memory_is_limited(run: Callable[..., Container], jobs_image: str) -> None:
    options = ("--entrypoint", "python", "--memory", "96m", "--memory-swap", "96m")
    container = run(jobs_image, "-c", "x = bytearray(512 * 2**20); print('had it')", options=options)

    assert container.wait() == 137
    assert container.state["OOMKilled"]
    assert "had it" not in container.log


def test_its_cpu_is_limited(run: Callable[..., Container], jobs_image: str) -> None:
    code = (
        "import os, time; began = time.monotonic()\n"
        "while time.process_time() < 0.5: pass\n"
        "print(time.process_time() / (time.monotonic() - began))"
    )
    container = run(jobs_image, "-c", code, options=("--entrypoint", "python", "--cpus", "0.25"))

    assert container.wait() == 0
    assert float(container.log) < 0.35


def test_it_is_an_ordinary_user_who_can_write_nothing_but_tmp(run: Callable[..., Container], jobs_image: str) -> None:
    code = (
        "import os, pathlib\n"
        "print(os.getuid(), os.getgid(), os.getpid())\n"
        "pathlib.Path('/tmp/x').write_text('x')\n"
        "for folder in ('/app', '/opt', '/var/tmp'):\n"
        "    try: pathlib.Path(folder, 'x').write_text('x')\n"
        "    except OSError as error: print(folder, error.strerror)\n"
    )
    container = run(jobs_image, "-c", code, options=("--entrypoint", "python"))

    assert container.wait() == 0, container.log
    assert container.log.splitlines() == [
        "10001 10001 1",
        *(f"{f} Read-only file system" for f in ("/app", "/opt", "/var/tmp")),
    ]


def test_its_labels_say_what_it_was_made_of(jobs_image: str, builder) -> None:
    config = image(jobs_image)["Config"]

    assert config["Labels"]["mlops.runtime"] == "jobs"
    assert (
        config["Labels"]["mlops.lock"] == builder.lock("jobs") == (ROOT / ".venv/jobs/lock.sha256").read_text().strip()
    )
    assert not config["Entrypoint"], "a request names the module"
    assert (
        json.loads(docker("image", "inspect", "--format", "{{json .Config.User}}", jobs_image).stdout) == "10001:10001"
    )
