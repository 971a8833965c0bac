"""Tasks of `train`: from gold to a model package that a person approved or rejected."""

import datetime as dt
import hashlib
import json
from dataclasses import asdict, dataclass
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
from retail_mlops.common.task_log import say, skip
from retail_mlops.hooks.ecr import ImageHook
from retail_mlops.hooks.model_registry import APPROVED, REJECTED, ModelPackage, RegistryHook, registration
from retail_mlops.hooks.s3_lake import LakeHook
from retail_mlops.operators.approval import Answer
from retail_mlops.release import releases
from retail_mlops.training.approval_text import markdown

CHANNELS: Final = (*lake.SPLITS, "products", "manifest")


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


# --- pure ---
def chosen_weeks(there: list[str], wanted: list[str] | None) -> list[str]:
    """The weeks to train on: those asked for, or all that have gold; RetailError for weeks without gold."""
    if not there:
        raise RetailError("no week has gold yet: run etl, or backfill it, first")
    if missing := sorted(set(wanted or []) - set(there)):
        raise RetailError(f"no gold for {', '.join(missing)}: backfill etl for them, or leave them out of `weeks`")
    return sorted(set(wanted or there))


def digest_of(manifests: dict[str, bytes]) -> str:
    """One digest for the gold of several weeks: {week: content of its manifest}."""
    lines = (f"{week} {hashlib.sha256(content).hexdigest()}\n" for week, content in sorted(manifests.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def channel_keys(weeks: list[str]) -> dict[str, list[str]]:
    """The objects of each channel, as keys of the lake."""
    keys = {name: [lake.gold(name, week) for week in weeks] for name in lake.SPLITS}
    keys["products"] = [lake.gold_products(week) for week in weeks]
    keys["manifest"] = [lake.gold_manifest(week) for week in weeks]
    return keys


def hyperparameter_digest(hyperparameters: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(hyperparameters, sort_keys=True).encode()).hexdigest()[:16]


def nothing_new(newest: ModelPackage | None, gold_digest: str, hyperparameters: dict[str, Any]) -> bool:
    """Whether the newest package, whatever was decided on it, was trained on this gold with these hyperparameters."""
    if newest is None:
        return False
    same = newest.metadata.get("hyperparameters") == hyperparameter_digest(hyperparameters)
    return same and newest.metadata.get("gold_digest") == gold_digest


def description(answer: Answer, minutes: int, evidence_digest: str) -> str:
    """What the registry keeps of a decision: who, when, why, on which evidence."""
    who = f"{answer.choice}d" if answer.approved else f"{answer.choice}ed"
    who += f" by {answer.by}" if answer.by else f" because nobody answered within {minutes} minutes"
    reason = f": {answer.reason.strip()}" if answer.reason.strip() else ""
    return f"{who} at {answer.at}{reason} (evidence SHA-256 {evidence_digest})"


# --- tasks ---
def plan(params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Chooses the weeks and lists their objects; skips the run when the last training had the same gold."""
    ti, hook, registry = get_current_context()["ti"], LakeHook(), RegistryHook()
    there = [key.removeprefix(lake.GOLD_MANIFESTS).removesuffix(".json") for key in hook.keys(lake.GOLD_MANIFESTS)]
    weeks = chosen_weeks(there, params["weeks"])
    gold_digest = digest_of({week: hook.content(lake.gold_manifest(week)) for week in weeks})
    if not params["force"] and nothing_new(registry.newest(), gold_digest, params["hyperparameters"]):
        skip(
            f"gold of {weeks[0]} to {weeks[-1]} is what the last model was trained on: nothing new to learn "
            "(train with `force` to do it all the same)"
        )
    staging = lake.staging(f"mlops-retail-train-{run_digest(ti.dag_id, ti.run_id)}")
    channels = {}
    for name, keys in channel_keys(weeks).items():
        channels[name] = f"{staging}{name}.manifest"
        below = lake.GOLD_MANIFESTS if name == "manifest" else "gold/"
        hook.put(channels[name], manifest_file(keys, below=below))
    champion = registry.newest(APPROVED)
    digest = champion.metadata.get("bundle_digest", "") if champion else ""
    copies = releases.copies(hook.documents(lake.DEPLOYMENTS), digest)
    say(f"training on {len(weeks)} weeks, {weeks[0]} to {weeks[-1]}; champion: {champion and champion.arn}")
    return asdict(
        Plan(
            weeks=weeks,
            gold_digest=gold_digest,
            image=ImageHook().newest(JOBS_REPOSITORY),
            channels=channels,
            champion=champion and champion.arn,
            champion_url=url(copies[0].model_key) if copies else champion and champion.model_url,
        )
    )


def _plan(context: Context) -> Plan:
    return Plan(**context["ti"].xcom_pull(task_ids="plan"))


def fit_request(context: Context, jinja_env: Any = None) -> dict[str, Any]:
    ours = _plan(context)
    channels = {name: Source(url(ours.channels[name]), manifest=True) for name in ("train", "validation", "manifest")}
    return training(ours.image, channels, context["params"]["hyperparameters"])


def evaluate_request(context: Context, jinja_env: Any = None) -> dict[str, Any]:
    ti, ours = context["ti"], _plan(context)
    inputs = {"model": Source(url(lake.model(ti.xcom_pull(task_ids="fit"))))}
    inputs |= {name: Source(url(ours.channels[name]), manifest=True) for name in CHANNELS}
    if ours.champion_url:
        inputs["champion"] = Source(ours.champion_url)
    return processing(
        ["include.train", "evaluate"],
        image=ours.image,
        inputs=inputs,
        outputs={"evaluation": url(lake.evaluation(job_name(ti)))},
        component="evaluation",
    )


def _evidence(job: str) -> tuple[Evaluation, bytes]:
    """The evaluation of a job, and its very bytes; RetailError when it is of another gold than the run's plan."""
    key = lake.evaluation(job, "evaluation.json")
    content, ours = LakeHook().content(key), _plan(get_current_context())
    if content is None:
        raise RetailError(f"{url(key)} is gone: clear the task `evaluate` of this run")
    found = Evaluation.model_validate_json(content)
    if found.gold_digest != ours.gold_digest:
        raise RetailError(f"{url(key)} judges gold {found.gold_digest}, this run is about {ours.gold_digest}")
    return found, content


def gate(job: str) -> dict[str, Any]:
    """Judges the evidence itself, whatever the evaluation job says of it; a failed gate registers nothing."""
    result = judge(_evidence(job)[0], Thresholds.model_validate(settings()))
    for rule in result.rules:
        say(f"{'passed' if rule.passed else 'FAILED'}  {rule.rule}: {rule.detail}")
    if not result.passed:
        raise RetailError(f"the gate refuses the model: {'; '.join(result.failures)}. Nothing was registered")
    return {rule.rule: rule.detail for rule in result.rules}


def register(fit_job: str, evaluate_job: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Registers the bundle with its evidence, waiting for a decision. Returns the package as a dict."""
    ours, evidence_url = _plan(get_current_context()), url(lake.evaluation(evaluate_job, "evaluation.json"))
    evaluation, content = _evidence(evaluate_job)
    metadata = {
        "bundle_digest": evaluation.bundle_digest,
        "evidence": evidence_url,
        "evidence_digest": hashlib.sha256(content).hexdigest(),
        "gold_digest": ours.gold_digest,
        "training_job": fit_job,
        "accuracy": f"{evaluation.accuracy:.6f}",
        "macro_f1": f"{evaluation.macro_f1:.6f}",
        "hyperparameters": hyperparameter_digest(params["hyperparameters"]),
    }
    token = hashlib.sha256(fit_job.encode()).hexdigest()[:36]
    package = RegistryHook().register(
        registration(url(lake.model(fit_job)), ours.image, metadata, evidence_url=evidence_url, token=token)
    )
    say(f"registered {package.arn}")
    return asdict(package)


def evidence(package: dict[str, Any], evaluate_job: str) -> str:
    """What the person who decides gets to read, as Markdown."""
    return markdown(ModelPackage(**package), _evidence(evaluate_job)[0], _plan(get_current_context()).champion)


def set_status(package: dict[str, Any], answer: dict[str, Any], params: dict[str, Any] | None = None) -> bool:
    """Writes the decision into the registry, for both answers. Returns whether the model is approved."""
    registered, decided = ModelPackage(**package), Answer(**answer)
    key = registered.metadata["evidence"].removeprefix(url(""))
    if hashlib.sha256(LakeHook().content(key) or b"").hexdigest() != registered.metadata["evidence_digest"]:
        raise RetailError(
            f"{registered.metadata['evidence']} was changed after {registered.arn} was registered: not decided"
        )
    text = description(decided, params["approval_timeout"], registered.metadata["evidence_digest"])
    RegistryHook().decide(registered.arn, APPROVED if decided.approved else REJECTED, text)
    say(text)
    return decided.approved


def announce(package: dict[str, Any]) -> None:
    """Says to `deploy` which model was approved."""
    event = get_current_context()["outlet_events"][APPROVED_MODEL]
    event.extra = {"model_package_arn": package["arn"], "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
