"""Tasks of `train`: from gold to a model package that a person approved or rejected."""

import datetime as dt
import hashlib
import json
import logging
from dataclasses import dataclass
from typing import Any, Final

from airflow.sdk import Context, get_current_context

from include import lake
from include.settings import JOBS_REPOSITORY, settings
from include.train.evidence import Evaluation
from include.train.gate import Thresholds, judge
from retail_mlops.common.dag_defaults import APPROVED_MODEL
from retail_mlops.common.errors import RetailError
from retail_mlops.common.job_requests import Source, manifest_file, processing, training, url
from retail_mlops.common.names import job_name, run_digest
from retail_mlops.common.releases import releases_of_bundle
from retail_mlops.common.skipping import skip_task
from retail_mlops.common.xcom import TaskOutput
from retail_mlops.hooks.ecr import ImageHook
from retail_mlops.hooks.model_registry import APPROVED, REJECTED, ModelPackage, RegistryHook, registration
from retail_mlops.hooks.s3_lake import LakeHook
from retail_mlops.operators.approval import Answer
from retail_mlops.training.approval_text import markdown

CHANNELS: Final = (*lake.SPLITS, "products", "manifest")
FIT_CHANNELS: Final = ("train", "validation", "manifest")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a training run works on."""

    weeks: list[str]
    gold_digest: str
    image: str
    channels: dict[str, str]
    """channel → key of the manifest file that lists its objects"""
    champion: str | None
    """ARN of the newest approved package"""
    champion_url: str | None


# --- what tasks hand to later ones ---
PLAN: Final = TaskOutput[Plan]("plan", Plan)
FIT_JOB: Final = TaskOutput[str]("fit", str)
PACKAGE: Final = TaskOutput[ModelPackage]("register", ModelPackage)
EVIDENCE: Final = TaskOutput[str]("evidence", str)
ANSWER: Final = TaskOutput[Answer]("approve", Answer)


# --- pure ---
def chosen_weeks(available: list[str], wanted: list[str] | None) -> list[str]:
    """Return the weeks to train on: those asked for, or all that have gold; RetailError for weeks without gold."""
    if not available:
        raise RetailError("no week has gold yet: run etl, or backfill it, first")
    if missing := sorted(set(wanted or []) - set(available)):
        raise RetailError(f"no gold for {', '.join(missing)}: backfill etl for them, or leave them out of `weeks`")
    return sorted(set(wanted or available))


def gold_digest_of(manifests: dict[str, bytes]) -> str:
    """Return one digest for the gold of several weeks: {week: content of its manifest}."""
    lines = (f"{week} {hashlib.sha256(content).hexdigest()}\n" for week, content in sorted(manifests.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def channel_keys(weeks: list[str]) -> dict[str, list[str]]:
    """Return the objects of each channel, as keys of the lake."""
    keys = {name: [lake.gold(name, week) for week in weeks] for name in lake.SPLITS}
    keys["products"] = [lake.gold_products(week) for week in weeks]
    keys["manifest"] = [lake.gold_manifest(week) for week in weeks]
    return keys


def hyperparameter_digest(hyperparameters: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(hyperparameters, sort_keys=True).encode()).hexdigest()[:16]


def nothing_new(newest: ModelPackage | None, gold_digest: str, hyperparameters: dict[str, Any]) -> bool:
    """Return whether the newest package, approved or not, was trained on this gold with these hyperparameters."""
    if newest is None:
        return False
    same = newest.metadata.get("hyperparameters") == hyperparameter_digest(hyperparameters)
    return same and newest.metadata.get("gold_digest") == gold_digest


def decision_text(answer: Answer, minutes: int, evidence_digest: str) -> str:
    """Return what the registry keeps of a decision: who, when, why, on which evidence."""
    who = f"{answer.choice}d" if answer.approved else f"{answer.choice}ed"
    who += f" by {answer.by}" if answer.by else f" because nobody answered within {minutes} minutes"
    reason = f": {answer.reason.strip()}" if answer.reason.strip() else ""
    return f"{who} at {answer.at}{reason} (evidence SHA-256 {evidence_digest})"


# --- plan ---
def plan(params: dict[str, Any]) -> dict[str, Any]:
    """Choose the weeks and list their objects; skip the run when the last training had the same gold."""
    hook, registry = LakeHook(), RegistryHook()
    manifests = hook.keys(lake.GOLD_MANIFESTS)
    available = [key.removeprefix(lake.GOLD_MANIFESTS).removesuffix(".json") for key in manifests]
    weeks = chosen_weeks(available, params["weeks"])
    gold_digest = gold_digest_of({week: hook.require_content(lake.gold_manifest(week)) for week in weeks})
    if not params["force"] and nothing_new(registry.newest(), gold_digest, params["hyperparameters"]):
        skip_task(
            f"the last model was trained on the same gold, {weeks[0]} to {weeks[-1]}: nothing new to learn "
            "(use `force` to train all the same)"
        )
    champion = registry.newest(APPROVED)
    champion_arn = champion.arn if champion else None
    log.info("Training on %d weeks, %s to %s; champion: %s", len(weeks), weeks[0], weeks[-1], champion_arn)
    chosen = Plan(
        weeks=weeks,
        gold_digest=gold_digest,
        image=ImageHook().newest(JOBS_REPOSITORY),
        channels=_write_channels(hook, weeks),
        champion=champion_arn,
        champion_url=_bundle_url(hook, champion) if champion else None,
    )
    return PLAN.dump(chosen)


def _write_channels(hook: LakeHook, weeks: list[str]) -> dict[str, str]:
    """Write the manifest file of each channel to the run's staging prefix; return their keys."""
    ti = get_current_context()["ti"]
    staging = lake.staging(f"mlops-retail-train-{run_digest(ti.dag_id, ti.run_id)}")
    channels = {}
    for name, keys in channel_keys(weeks).items():
        channels[name] = f"{staging}{name}.manifest"
        below = lake.GOLD_MANIFESTS if name == "manifest" else "gold/"
        hook.put(channels[name], manifest_file(keys, below=below))
    return channels


def _bundle_url(hook: LakeHook, package: ModelPackage) -> str:
    """Return where a package's bundle can be read: a release's copy of it, or where training left it."""
    releases = releases_of_bundle(hook.documents(lake.DEPLOYMENTS), package.metadata.get("bundle_digest", ""))
    return url(releases[0].model_key) if releases else package.model_url


# --- jobs ---
def fit_request(context: Context, jinja_env: Any = None) -> dict[str, Any]:
    plan = PLAN.pull(context)
    channels = {name: Source(url(plan.channels[name]), manifest=True) for name in FIT_CHANNELS}
    return training(plan.image, channels, context["params"]["hyperparameters"])


def evaluate_request(context: Context, jinja_env: Any = None) -> dict[str, Any]:
    plan = PLAN.pull(context)
    inputs = {"model": Source(url(lake.model(FIT_JOB.pull(context))))}
    inputs |= {name: Source(url(plan.channels[name]), manifest=True) for name in CHANNELS}
    if plan.champion_url:
        inputs["champion"] = Source(plan.champion_url)
    return processing(
        ["include.train", "evaluate"],
        image=plan.image,
        inputs=inputs,
        outputs={"evaluation": url(lake.evaluation(job_name(context["ti"])))},
        component="evaluation",
    )


# --- evidence and decision ---
def _read_evaluation(job: str) -> tuple[Evaluation, bytes]:
    """Return the evaluation of a job, and its very bytes; RetailError when it is of other gold than the run's plan."""
    key = lake.evaluation(job, "evaluation.json")
    content = LakeHook().content(key)
    if content is None:
        raise RetailError(f"{url(key)} is gone: clear the task `evaluate` of this run")
    evaluation = Evaluation.model_validate_json(content)
    gold_digest = PLAN.pull(get_current_context()).gold_digest
    if evaluation.gold_digest != gold_digest:
        raise RetailError(
            f"{url(key)} evaluates gold {evaluation.gold_digest}, but this run is about {gold_digest}: "
            "clear the task `evaluate` of this run"
        )
    return evaluation, content


def gate(job: str) -> dict[str, Any]:
    """Apply the gate to the evidence itself, whatever verdict came with it; a failed gate registers nothing."""
    result = judge(_read_evaluation(job)[0], Thresholds.model_validate(settings()))
    for rule in result.rules:
        log.info("%s  %s: %s", "passed" if rule.passed else "FAILED", rule.rule, rule.detail)
    if not result.passed:
        raise RetailError(f"the gate refuses the model: {'; '.join(result.failures)}. Nothing was registered")
    return {rule.rule: rule.detail for rule in result.rules}


def register(fit_job: str, evaluate_job: str, params: dict[str, Any]) -> dict[str, Any]:
    """Register the bundle with its evidence, waiting for a decision. Return the package."""
    evidence_url = url(lake.evaluation(evaluate_job, "evaluation.json"))
    evaluation, content = _read_evaluation(evaluate_job)
    plan = PLAN.pull(get_current_context())
    metadata = {
        "bundle_digest": evaluation.bundle_digest,
        "evidence": evidence_url,
        "evidence_digest": hashlib.sha256(content).hexdigest(),
        "gold_digest": plan.gold_digest,
        "training_job": fit_job,
        "accuracy": f"{evaluation.accuracy:.6f}",
        "macro_f1": f"{evaluation.macro_f1:.6f}",
        "hyperparameters": hyperparameter_digest(params["hyperparameters"]),
    }
    token = hashlib.sha256(fit_job.encode()).hexdigest()[:36]
    package = RegistryHook().register(
        registration(url(lake.model(fit_job)), plan.image, metadata, evidence_url=evidence_url, token=token)
    )
    log.info("Registered %s", package.arn)
    return PACKAGE.dump(package)


def evidence(package: dict[str, Any], evaluate_job: str) -> str:
    """Return what the person who decides reads, as Markdown."""
    champion = PLAN.pull(get_current_context()).champion
    return markdown(PACKAGE.load(package), _read_evaluation(evaluate_job)[0], champion)


def set_status(package: dict[str, Any], answer: dict[str, Any], params: dict[str, Any]) -> bool:
    """Write the decision into the registry, for both answers. Return whether the model is approved."""
    registered, decision = PACKAGE.load(package), ANSWER.load(answer)
    evidence_url, digest = registered.metadata["evidence"], registered.metadata["evidence_digest"]
    content = LakeHook().content(evidence_url.removeprefix(url(""))) or b""
    if hashlib.sha256(content).hexdigest() != digest:
        raise RetailError(
            f"{evidence_url} was changed after {registered.arn} was registered: nothing was decided. Run train again"
        )
    text = decision_text(decision, params["approval_timeout"], digest)
    RegistryHook().decide(registered.arn, APPROVED if decision.approved else REJECTED, text)
    log.info("%s", text)
    return decision.approved


def announce(package: dict[str, Any]) -> None:
    """Announce the approved model, which starts `deploy`."""
    event = get_current_context()["outlet_events"][APPROVED_MODEL]
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    event.extra = {"model_package_arn": PACKAGE.load(package).arn, "at": now}
