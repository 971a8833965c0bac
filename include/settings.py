"""The project's settings: names, region, thresholds, schedules. One frozen object, read from RETAIL_* variables.

Every variable is documented in `.env.example`. An unknown RETAIL_* variable is an error, so that a misspelt name cannot
leave a default in force unnoticed.
"""

import hashlib
import os
import re
from functools import lru_cache
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "RETAIL_"
REGION = "ap-southeast-1"
PROJECT = "RetailMLOps"
TIMEZONE = "Asia/Ho_Chi_Minh"
METRIC_NAMESPACE = "RetailMLOps"

MODEL_PACKAGE_GROUP = "retail-price-sensitivity-models"
CLUSTER_NAME = "mlops-retail-cluster"
NAMESPACE = "mlops"
API_NAME = "retail-api"
API_SERVICE_ACCOUNT = "retail-api-sa"
API_REPOSITORY = "mlops/retail-api"
JOBS_REPOSITORY = "mlops/retail-jobs"
CONTROLLER_REPOSITORY = "mlops/aws-load-balancer-controller"
MAX_BAKE_SECONDS = 6 * 60 * 60  # scale_down waits an hour for a deploy; a longer one keeps the nodes on that night
HTTPS_PORT = 443
PARALLEL_WEEKS = 4  # runs of etl at once, each with one Processing job at a time
GITHUB_ISSUER = "token.actions.githubusercontent.com"

_TIME = r"^([01]\d|2[0-3]):[0-5]\d$"
_DAY = "(mon|tue|wed|thu|fri|sat|sun)"
_WEEKDAYS = rf"^{_DAY}(-{_DAY})?(,{_DAY}(-{_DAY})?)*$"


def _supported_region(region: str) -> str:
    if region != REGION:
        raise ValueError(f"all resources are in {REGION}, not in {region}: correct RETAIL_REGION in .env")
    return region


def _tag_value(text: str) -> str:
    """Return a tag value that every AWS service accepts, without `=` and `,`, which separate tags in a load balancer's
    annotation. ValueError otherwise."""
    if not re.fullmatch(r"[\w .:/+@-]{1,256}", text):
        raise ValueError(f"{text!r} is no tag value: use 1 to 256 letters, digits, spaces and _ . : / + @ - only")
    return text


class Settings(BaseSettings):
    """What a user may change, each by a RETAIL_* variable of the same name in upper case."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    environment: str = Field(
        "dev", pattern=r"^[a-z][a-z0-9]{1,11}$", description="name of the environment, part of names and tags"
    )
    account_id: str = Field(
        "123456789012", pattern=r"^\d{12}$", description="AWS account; the AWS emulation uses the default"
    )
    region: Annotated[str, AfterValidator(_supported_region)] = REGION
    owner: Annotated[str, AfterValidator(_tag_value)] = Field("ml-team", description="tag Owner")
    cost_center: Annotated[str, AfterValidator(_tag_value)] = Field("retail", description="tag CostCenter")

    # --- data ---
    row_tolerance: float = Field(0.001, ge=0, le=0.05, description="share of a week's rows that a row rule may reject")
    split_salt: str = Field("retail-mlops", min_length=1, description="changes which customers are in which split")

    # --- gate ---
    min_accuracy: float = Field(0.80, ge=0.5, le=1, description="KPI: accuracy on the test split, 3 classes")
    min_macro_f1: float = Field(0.70, ge=0.4, le=1, description="KPI: macro F1 on the test split, 3 classes")
    control_margin: float = Field(
        0.03, gt=0, le=0.1, description="how far the shuffled-label control may lie from majority"
    )
    approval_timeout_minutes: int = Field(
        24 * 60, ge=1, le=7 * 24 * 60, description="unanswered approvals are rejected"
    )

    # --- jobs ---
    training_instance: str = "ml.m5.large"
    processing_instance: str = "ml.t3.large"
    job_max_runtime_seconds: int = Field(3600, ge=60, le=86400)
    poll_seconds: int = Field(30, ge=1, le=120, description="how often a waiting task asks AWS; the local stack uses 1")
    wait_in_task_seconds: int = Field(
        0,
        ge=0,
        le=60,
        description="how long a task waits for a job or a stack before it defers; for those that end at once",
    )

    # --- release ---
    bake_seconds: int = Field(
        300,
        ge=0,
        le=MAX_BAKE_SECONDS,
        description="how long a canary is compared with the stable pods; 0: not at all",
    )

    # --- cost schedule, in TIMEZONE ---
    scale_down_at: str = Field("22:00", pattern=_TIME, description="time of scale_down")
    scale_down_days: str = Field("mon-sun", pattern=_WEEKDAYS, description="weekdays of scale_down")
    scale_up_at: str = Field("07:00", pattern=_TIME, description="time of scale_up")
    scale_up_days: str = Field("mon-fri", pattern=_WEEKDAYS, description="weekdays of scale_up")

    # --- money and alerts ---
    monthly_budget_usd: float = Field(
        50, gt=0, le=100_000, description="budget of all resources with the project's tag; alerts at 80 and 100 %"
    )
    alert_email: str = Field(
        "",
        pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$",
        description="receives alerts once the subscription is confirmed",
    )
    backstop: bool = Field(
        False, description="half an hour after scale_down AWS terminates nodes that still run, and sends an alert"
    )
    audit: bool = Field(False, description="create a CloudTrail trail with its own bucket")

    # --- cluster ---
    kubernetes_version: str = Field("1.36", pattern=r"^1\.\d\d$")
    node_instance_types: str = Field(
        "t3.medium,t3a.medium,t2.medium",
        pattern=r"^[a-z0-9-]+\.[a-z0-9]+(,[a-z0-9-]+\.[a-z0-9]+)*$",
        description="instance types of the nodes, preferred one first; several make Spot interruptions rarer",
    )
    node_capacity: Literal["SPOT", "ON_DEMAND"] = "SPOT"
    node_count: int = Field(2, ge=1, le=10)
    cluster_cidrs: str = Field("", description="CIDRs that may reach the cluster's API, comma separated; empty: none")
    log_retention_days: Literal[7, 14, 30] = 14
    container_insights: bool = Field(False, description="send metrics of nodes and pods to CloudWatch; logs always are")
    github_repository: str = Field(
        "",
        pattern=r"^([A-Za-z0-9-]+(@\d+)?/[A-Za-z0-9._-]+(@\d+)?)?$",
        description="owner/name whose workflows may deploy, with the ids that GitHub adds to new ones: owner@1/name@2",
    )
    endpoint_kind: Literal["nlb", "alb"] = Field("nlb", description="kind of load balancer that makes the API public")
    endpoint_port: int = Field(80, ge=1, le=65535, description="port of the public endpoint")
    endpoint_certificate_arn: str = Field(
        "",
        pattern=rf"^(arn:aws:acm:{REGION}:\d{{12}}:certificate/[0-9a-f-]{{36}})?$",
        description="certificate in ACM: an alb then serves HTTPS at 443, and its HTTP port redirects there",
    )
    endpoint_host: str = Field(
        "",
        max_length=253,
        pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+)?$",
        description="host name of an alb; it answers no other",
    )
    controller_digest: str = Field(
        "",
        pattern=r"^(sha256:[0-9a-f]{64})?$",
        description="required digest of the load balancer controller's image; empty: that of the release's tag",
    )
    overlay: Literal["eks", "embedded"] = "eks"
    require_image_scan: bool = Field(True, description="deploy refuses an image without a finished and clean scan")

    @model_validator(mode="after")
    def _no_open_cluster(self) -> Self:
        if "0.0.0.0/0" in self.cluster_cidrs:
            raise ValueError("RETAIL_CLUSTER_CIDRS opens the cluster's API to the Internet: name your own addresses")
        return self

    @model_validator(mode="after")
    def _times_differ(self) -> Self:
        if self.scale_down_at == self.scale_up_at:
            raise ValueError("RETAIL_SCALE_DOWN_AT and RETAIL_SCALE_UP_AT are the same time: change one of them")
        return self

    @model_validator(mode="after")
    def _endpoint_fits(self) -> Self:
        if self.endpoint_kind == "nlb" and (self.endpoint_certificate_arn or self.endpoint_host):
            raise ValueError("RETAIL_ENDPOINT_CERTIFICATE_ARN and RETAIL_ENDPOINT_HOST need RETAIL_ENDPOINT_KIND=alb")
        if self.endpoint_kind == "alb" and self.overlay == "embedded":
            raise ValueError(
                "RETAIL_ENDPOINT_KIND=alb needs EKS: no load balancer controller runs in the embedded cluster; use nlb"
            )
        if self.endpoint_certificate_arn and self.endpoint_port == HTTPS_PORT:
            raise ValueError("RETAIL_ENDPOINT_PORT is the port that redirects to HTTPS: it cannot be 443, use 80")
        return self

    @property
    def bucket(self) -> str:
        """The name of the lake's bucket."""
        return f"mlops-retail-prediction-{self.environment}-{self.account_id}"

    @property
    def tags(self) -> dict[str, str]:
        """The tags of every resource. Whoever creates one adds `Component`."""
        return {
            "Project": PROJECT,
            "Environment": self.environment,
            "Owner": self.owner,
            "CostCenter": self.cost_center,
        }

    @property
    def prefix(self) -> str:
        """The prefix of all names that contain their environment: stacks, roles, jobs, alarms."""
        return f"mlops-retail-{self.environment}-"

    def stack(self, name: str) -> str:
        """Return the name of the CloudFormation stack of infra/<name>.yaml."""
        return f"{self.prefix}{name}"

    def role(self, name: str) -> str:
        """Return the ARN of a role of the identity or cluster stack: job, airflow, push, deploy, api, cluster, node."""
        return f"arn:aws:iam::{self.account_id}:role/{self.prefix}{name}"

    @property
    def nodegroup(self) -> str:
        """The node group's name.

        It depends on what replaces a node group: CloudFormation creates the new group before it deletes the old one.
        """
        nodes = f"{self.node_capacity} {self.node_instance_types}"
        return f"general-{hashlib.sha256(nodes.encode()).hexdigest()[:6]}"

    def repository(self, name: str) -> str:
        """Return the URI of an ECR repository."""
        return f"{self.account_id}.dkr.ecr.{self.region}.amazonaws.com/{name}"


@lru_cache
def settings() -> Settings:
    """Return the settings of this process. ValueError names the variables that are wrong or unknown."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise ValueError(
            f"unknown settings {', '.join(unknown)}: correct their names (see .env.example), or remove them"
        )
    try:
        return Settings()
    except ValidationError as error:
        wrong = (f"{PREFIX}{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors())
        raise ValueError(f"wrong settings: {'; '.join(wrong)}. Correct them in .env (see .env.example)") from error
