"""The pipeline is thin and closed: make targets only, pinned actions, no permission that a job does not use."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from include import accepted, templates
from include.settings import REGION, settings
from local.stack import config

ROOT = config.ROOT
WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github/workflows").glob("*.yaml"))}
JENKINSFILE = (ROOT / "Jenkinsfile").read_text()
MAKE = re.compile(r"make ([a-z-]+)")
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
LOGIN = "aws-actions/configure-aws-credentials"
ON_AWS = {
    ("image", "publish"): "PushRole",
    ("deploy", "short-lived"): "DeployRole",
    ("retrain", "short-lived"): "DeployRole",
}
"""The jobs that become a role -> the role."""
PAGES = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
    *("docs/architecture.md", "docs/aws.md", "docs/ci.md", "docs/docker.md", "docs/glossary.md", "docs/local-stack.md"),
    *("docs/reuse.md", "docs/scale.md", "docs/serving.md", "docs/runbooks/deploy.md", "docs/runbooks/provision.md"),
    *("docs/runbooks/public-endpoint.md", "docs/runbooks/upgrade.md"),
]
"""Those that name targets."""


@cache
def workflow(name: str) -> dict[str, Any]:
    return yaml.load(WORKFLOWS[name].read_text(), yaml.BaseLoader)  # noqa: S506 - all strings: `on` stays a word


def jobs() -> list[tuple[str, str]]:
    found = [(name, job) for name in WORKFLOWS for job in workflow(name)["jobs"]]
    assert found
    return found


def job(name: str, key: str) -> dict[str, Any]:
    return workflow(name)["jobs"][key]


def commands() -> list[str]:
    """Every shell command of the workflows and the Jenkinsfile."""
    steps = [step["run"] for name, key in jobs() for step in job(name, key)["steps"] if "run" in step]
    shells = re.findall(r"\bsh\b\s*\(?\s*(['\"].*?['\"])", JENKINSFILE)
    assert steps
    assert shells
    return [*steps, *(shell[1:-1] for shell in shells)]


def test_the_workflows_are_these():
    assert set(WORKFLOWS) == {"ci", "image", "deploy", "retrain", "teardown"}
    assert not list((ROOT / ".github/workflows").glob("*.yml"))


# --- make targets only ---
@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_is_one_make_target_that_exists(command):
    target = MAKE.fullmatch(command)
    assert target
    asked = ["make", "--dry-run", "--no-print-directory", target[1]]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_a_target_that_is_not_there_would_be_noticed():
    done = subprocess.run(["make", "--dry-run", "test-everything"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0


def test_every_shell_step_of_jenkins_is_read_here():
    """Shell with interpolation, blocks of it, or another kind of shell would go round `commands`."""
    assert len(re.findall(r"\bsh\b", JENKINSFILE)) == len(re.findall(r"\bsh '[^'$]+'", JENKINSFILE))
    assert not re.search(r"\b(bat|powershell|pwsh|script)\b", JENKINSFILE)


def test_jenkins_builds_images_of_main_or_fails():
    """`branch` is true in a multibranch job only: a stage that it skips would leave a green run without an image."""
    refusal, image = (
        re.search(rf"stage\('{stage}'\) \{{\s*when \{{ (.*) \}}\n(.*)", JENKINSFILE)
        for stage in ("Image of main alone", "Image")
    )
    assert refusal[1] == "not { branch 'main' }; expression { params.ACTION == 'image' }"
    assert refusal[2].strip().startswith("steps { error '")
    assert image[1] == "expression { params.ACTION == 'image' }"
    assert JENKINSFILE.count("branch '") == 1
    built = re.findall(r"sh 'make docker-(\w+)'", JENKINSFILE)
    assert built == ["base", "build", "push"]


def targets(name: str) -> set[str]:
    """The make targets of a workflow's steps, checkout and set-up left out."""
    steps = [step for key in workflow(name)["jobs"] for step in job(name, key)["steps"][1:]]
    return {MAKE.fullmatch(step["run"])[1] for step in steps if "run" in step}


def test_ci_runs_what_the_projects_own_ci_runs():
    ours = set(re.findall(r"^make ([a-z-]+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE))
    assert ours == {"check", "lock-check", "test-ci"}
    assert {"check", "lock-check", "test", "test-faults", "test-ui"} <= targets("ci")


def pytest_commands(target: str) -> list[str]:
    asked = ["make", "--dry-run", "--no-print-directory", target]
    shown = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [line.partition(" \\")[0].strip() for line in shown.splitlines() if "/pytest " in line]


def test_test_ci_takes_what_test_and_test_faults_take():
    tests, faults, both = (pytest_commands(target) for target in ("test", "test-faults", "test-ci"))
    (fault_tables,) = faults
    stem, marker, _ = fault_tables.rpartition(" -m faults")
    assert marker
    assert f'{stem} -m "integration and not faults"' in tests
    assert f'{stem} -m "integration or faults"' in both
    assert set(tests) - set(both) == {f'{stem} -m "integration and not faults"'}
    assert set(both) - set(tests) == {f'{stem} -m "integration or faults"'}


def test_unit_tests_are_split_without_losing_any():
    """Each folder of its own is ignored by the rest, which takes whatever folder comes to be."""
    unit = [line.split() for line in pytest_commands("test-unit")]
    named = {word for line in unit for word in line[1:] if word.startswith("tests/")}
    (rest,) = [line for line in unit if "tests" in line]
    assert named
    assert {word.removeprefix("--ignore=") for word in rest if word.startswith("--ignore=")} == named | {
        "tests/ui",
        "tests/docker",
    }
    for line in unit:
        assert line[line.index("-m") :][1:5] == ['"not', "integration", "and", "not"]


def test_pre_commit_runs_make_targets():
    configured = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = configured["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    targets = [MAKE.fullmatch(hook["entry"])[1] for hook in hooks[0]["hooks"]]
    assert {"lint", "secrets", "test-unit"} <= set(targets)
    stages = {stage for hook in hooks[0]["hooks"] for stage in hook.get("stages", ["pre-commit"])}
    assert set(configured["default_install_hook_types"]) == stages
    assert subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True).returncode == 0


@pytest.mark.parametrize("page", PAGES)
def test_what_the_pages_tell_to_make_exists(page):
    targets = sorted(set(re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text())))
    assert targets
    done = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- what others could put in ---
@pytest.mark.parametrize(("name", "key"), jobs())
def test_actions_are_pinned_to_a_commit_with_its_version(name, key):
    uses = [line.strip().removeprefix("- ") for line in WORKFLOWS[name].read_text().splitlines() if "uses:" in line]
    assert uses
    for line in uses:
        assert PINNED.fullmatch(line.removeprefix("uses: ")), line


def test_an_action_has_one_pin_in_all_workflows():
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS.values():
        for action, pin in re.findall(r"uses: ([\w./-]+)@(.+)", path.read_text()):
            pins.setdefault(action, set()).add(pin)
    assert pins
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


@pytest.mark.parametrize(("name", "key"), jobs())
def test_nothing_is_written_into_a_command(name, key):
    for step in job(name, key)["steps"]:
        assert "${{" not in step.get("run", "")
        assert "shell" not in step


@pytest.mark.parametrize(("name", "key"), jobs())
def test_a_checkout_leaves_no_credentials(name, key):
    checkouts = [step for step in job(name, key)["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == 1
    assert checkouts[0]["with"]["persist-credentials"] == "false"


# --- who may what ---
def permitted(name: str, key: str) -> dict[str, str]:
    wanted = {"contents": "read"}
    if (name, key) in ON_AWS:
        wanted["id-token"] = "write"
    if (name, key) == ("image", "publish"):
        wanted["attestations"] = "write"
    return wanted


@pytest.mark.parametrize(("name", "key"), jobs())
def test_a_job_has_the_permissions_that_it_uses_and_no_other(name, key):
    assert workflow(name)["permissions"] == {}
    assert job(name, key)["permissions"] == permitted(name, key)
    logs_in = any(step.get("uses", "").startswith(LOGIN) for step in job(name, key)["steps"])
    assert logs_in == ((name, key) in ON_AWS)


@pytest.mark.parametrize("path", [*WORKFLOWS.values(), ROOT / "Jenkinsfile"], ids=lambda path: path.name)
def test_no_secret_of_long_life_is_used(path):
    text = path.read_text()
    assert not re.search(r"secrets\s*[.\[]|withCredentials|credentials\(|AKIA|ACCESS_KEY|password", text, re.IGNORECASE)


def test_pull_requests_reach_no_job_with_a_token_of_aws():
    by_pull_request = {name for name in WORKFLOWS if "pull_request" in workflow(name)["on"]}
    assert by_pull_request == {"ci", "image"}
    assert "github.event_name != 'pull_request' && github.ref == 'refs/heads/main'" in job("image", "publish")["if"]
    assert not any("pull_request_target" in workflow(name)["on"] for name in WORKFLOWS)


# --- the roles, as infra/identity.yaml makes them ---
@cache
def role(name: str) -> dict[str, Any]:
    return templates.read((ROOT / "infra/identity.yaml").read_text())["Resources"][name]["Properties"]


def plain(value: Any) -> str:
    """The text of a string, or of a !Sub, as it stands in the template."""
    return value if isinstance(value, str) else next(iter(value.values()))


def asked(name: str, claim: str) -> list[str]:
    """What the role's trust lets a claim be."""
    condition = role(name)["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]
    found = condition[f"token.actions.githubusercontent.com:{claim}"]
    return [plain(one) for one in (found if isinstance(found, list) else [found])]


@pytest.mark.parametrize(("name", "key"), sorted(ON_AWS))
def test_jobs_become_the_role_that_the_template_makes(name, key):
    login = next(step["with"] for step in job(name, key)["steps"] if step.get("uses", "").startswith(LOGIN))
    account, _, name_of_role = login["role-to-assume"].partition(":role/")
    assert account == "arn:aws:iam::${{ vars.AWS_ACCOUNT_ID }}"
    environment = job(name, key)["env"]["RETAIL_ENVIRONMENT"]
    assert name_of_role == plain(role(ON_AWS[name, key])["RoleName"]).replace("${Environment}", environment)
    assert login["aws-region"] == REGION
    assert not {"aws-access-key-id", "aws-secret-access-key"} & login.keys()


def test_main_pushes_and_only_the_two_environments_on_main_become_airflow():
    assert asked("PushRole", "sub") == ["repo:${GitHubRepository}:ref:refs/heads/main"]
    assert asked("DeployRole", "sub") == [
        "repo:${GitHubRepository}:environment:${Environment}",
        "repo:${GitHubRepository}:environment:${Environment}-retrain",
    ]
    assert asked("DeployRole", "ref") == ["refs/heads/main"]


@pytest.mark.parametrize(("name", "key"), sorted(ON_AWS))
def test_a_job_comes_with_a_subject_that_the_trust_lets_in(name, key):
    """A job with an environment is that environment's subject, one without is its branch's."""
    ours = job(name, key)
    comes_as = f"environment:{ours['environment']}" if "environment" in ours else "ref:refs/heads/main"
    let_in = [
        one.replace("${Environment}", ours["env"]["RETAIL_ENVIRONMENT"]) for one in asked(ON_AWS[name, key], "sub")
    ]
    assert f"repo:${{GitHubRepository}}:{comes_as}" in let_in


def test_what_reaches_users_or_deletes_waits_for_a_person():
    waiting = {("deploy", "short-lived"), ("deploy", "standing"), ("teardown", "standing")}
    named = {(name, key): job(name, key)["environment"] for name, key in jobs() if "environment" in job(name, key)}
    retraining = named.pop(("retrain", "short-lived"))
    assert retraining == "${{ vars.RETAIL_ENVIRONMENT || 'dev' }}-retrain"
    assert named == dict.fromkeys(waiting, "${{ inputs.environment }}")
    for name, key in waiting:  # retraining's environment, which asks nobody, may be chosen from GitHub's list, too
        assert "!endsWith(inputs.environment, '-retrain')" in job(name, key)["if"]
    for stage in ("Deploy", "Teardown"):
        assert re.search(rf"stage\('{stage}'\) \{{.*?input \{{.*?steps", JENKINSFILE, re.DOTALL)


def test_teardown_is_confirmed_by_typing():
    assert workflow("teardown")["on"]["workflow_dispatch"]["inputs"]["confirm"]["required"] == "true"
    assert '"confirm": ${{ toJSON(inputs.confirm) }}' in job("teardown", "standing")["env"]["CONF"]
    assert "confirm: env.CONFIRM" in JENKINSFILE


# --- the DAGs' Params ---
EXPRESSION = re.compile(r"\$\{\{.*?\}\}")


@pytest.mark.parametrize(("name", "key"), [pair for pair in jobs() if pair[0] in ("deploy", "retrain", "teardown")])
def test_a_run_is_given_params_that_its_dag_has(name, key):
    ours = job(name, key)["env"]
    text = EXPRESSION.sub("null", ours["CONF"])
    source = (ROOT / f"dags/{ours['DAG']}.py").read_text()
    given = json.loads(text)
    assert given
    assert [param for param in given if f'"{param}": Param(' not in source] == []


# --- time ---
@pytest.mark.parametrize(("name", "key"), jobs())
def test_every_job_ends_by_itself(name, key):
    minutes = int(job(name, key)["timeout-minutes"])
    assert minutes <= (55 if (name, key) in ON_AWS else 180)  # the role's credentials last an hour


@pytest.mark.parametrize("name", WORKFLOWS)
def test_runs_of_a_workflow_do_not_cross(name):
    assert workflow(name)["concurrency"]["group"]


def test_the_settings_that_workflows_give_exist():
    names = {key for name, one in jobs() for key in job(name, one).get("env", {}) if key.startswith("RETAIL_")}
    assert names
    assert {name.removeprefix("RETAIL_").lower() for name in names} <= type(settings()).model_fields.keys()


def test_a_short_lived_airflow_gets_the_settings_that_are_variables():
    given = {
        pair: job(*pair)["env"].get(config.VARIABLES) for pair in jobs() if config.TARGET in job(*pair).get("env", {})
    }
    assert given == dict.fromkeys(ON_AWS.keys() - {("image", "publish")}, "${{ toJSON(vars) }}")


# --- dependencies ---
def test_grype_accepts_what_the_other_gates_accept():
    [scan] = [one for one in job("image", "build")["steps"] if one.get("uses", "").startswith("anchore/scan-action@")]
    assert ROOT / scan["env"]["GRYPE_CONFIG"] == accepted.LIST


def test_a_patched_base_is_built_on_weekly_under_a_tag_of_its_own():
    """A tag does not change in ECR: a commit's second image needs another one, the second attempt at a run the same."""
    assert [one["cron"] for one in workflow("image")["on"]["schedule"]] == ["0 19 * * 0"]
    assert workflow("image")["env"]["TAG"] == "${{ github.sha }}-${{ github.run_id }}"
    assert not any("TAG" in job("image", key)["env"] for key in workflow("image")["jobs"])
    assert 'TAG = "${env.GIT_COMMIT}-${env.BUILD_NUMBER}"' in JENKINSFILE


def test_updates_wait_before_they_are_proposed():
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "uv"}
    assert all(update["cooldown"]["default-days"] >= 7 for update in updates)


# --- the tools that know the platform ---
def tool(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / ".venv/ci/bin" / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)


def test_a_hole_in_a_workflow_is_noticed(tmp_path):
    text = WORKFLOWS["deploy"].read_text().replace("run: make run-once", "run: make run-once DAG=${{ inputs.image }}")
    (tmp_path / "deploy.yaml").write_text(text)
    done = tool("zizmor", "--offline", tmp_path / "deploy.yaml")
    assert done.returncode != 0
    assert "template-injection" in done.stdout


def test_a_workflow_that_github_would_refuse_is_noticed(tmp_path):
    (tmp_path / "deploy.yaml").write_text(WORKFLOWS["deploy"].read_text().replace("runs-on:", "run-on:"))
    done = tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", tmp_path / "deploy.yaml")
    assert done.returncode != 0
