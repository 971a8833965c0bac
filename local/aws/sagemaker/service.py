"""SageMaker as a service of ministack: routed, authenticated and authorised like its own services.

CreateTrainingJob and CreateProcessingJob also need iam:PassRole on the role of the job, passed to SageMaker. Jobs
really run (`job_run`), model packages are stored as on AWS (`model_registry`), other operations are unknown.
"""

import asyncio
import contextvars
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from ministack import app
from ministack.core import iam_actions, iam_evaluator, responses, router

from local.aws import home, tagging
from local.aws.patch import Patch, Response, replace, wrap
from local.aws.sagemaker.job_run import SERVICE, Platform
from local.aws.sagemaker.jobs import Jobs
from local.aws.sagemaker.model_registry import Registry
from local.aws.sagemaker.protocol import AwsError, Call, Operation
from local.aws.sagemaker.resource_tags import Tags
from local.aws.sagemaker.store import Document, Store
from local.aws.sagemaker.validation import validate
from local.stack import config

CONTENT_TYPE: Final = "application/x-amz-json-1.1"
THREADS: Final = 8
NAMED: Final = {
    "TrainingJobName": "training-job",
    "ProcessingJobName": "processing-job",
    "ModelPackageGroupName": "model-package-group",
    "ModelPackageName": "model-package",
}
"""Member by which a request names the resource that a policy is about → its kind in the ARN."""

EMPTY_LISTS: Final[dict[str, Operation]] = {
    "ListEndpoints": lambda call: {"Endpoints": []},
    "ListEndpointConfigs": lambda call: {"EndpointConfigs": []},
    "ListModels": lambda call: {"Models": []},
}
"""Lists of what this service cannot create."""

REASON: Final = "ministack has no SageMaker"


class SageMaker:
    """The operations over one store and its jobs."""

    def __init__(self, store: Store, platform: Platform) -> None:
        self.store, self.jobs = store, Jobs(store, platform)
        registry, tags = Registry(store), Tags(store)
        self.operations: dict[str, Operation] = (
            self.jobs.operations | registry.operations | tags.operations | EMPTY_LISTS
        )

    def handle(self, call: Call) -> Document:
        """Return the answer of an operation. Raise AWS's own error as AwsError."""
        if call.operation not in self.operations:
            message = f"{call.operation} is not an operation of the SageMaker emulation"
            raise AwsError("UnknownOperationException", message)
        validate(call.operation, call.request)
        return self.operations[call.operation](call)

    def close(self) -> None:
        """End the jobs."""
        self.jobs.close()


def start(stack: config.LocalStack) -> SageMaker:
    """Return the service on the local stack's state; jobs that an earlier process left unfinished become Failed."""
    folder = home.folder(stack)
    jobs, cache = folder / "jobs", folder / "images"
    for path in (jobs, cache):
        path.mkdir(parents=True, exist_ok=True)
    marks = {config.MARK: str(stack.state), home.MARK: str(folder)}
    service = SageMaker(Store(folder / "sagemaker.db"), Platform(stack.aws_url, jobs, cache, marks))
    service.jobs.recover()
    return service


def resource_arn(request: Document, region: str, account: str) -> str:
    """Return the ARN that policies check for a request; `*` for lists."""
    for member, kind in NAMED.items():
        if name := request.get(member):
            return str(name) if name.startswith("arn:") else f"arn:aws:sagemaker:{region}:{account}:{kind}/{name}"
    return str(request.get("ModelPackageArn") or request.get("ResourceArn") or "*")


def _parse(body: bytes) -> Document:
    """Return the request. Raise SerializationException for what is not a JSON object."""
    try:
        request = json.loads(body or b"{}")
    except ValueError as error:
        raise AwsError("SerializationException", f"the request is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise AwsError("SerializationException", "the request is not a JSON object")
    return request


def _identity(headers: dict[str, str], query: Any) -> Document:
    """Return who signed the request, as IamIdentity."""
    access_key = app.extract_access_key_id(headers, query)
    principal = iam_evaluator.resolve_principal(access_key, responses.get_account_id())
    if isinstance(principal, iam_evaluator.AuthError):
        return {}
    return {"Arn": principal.arn, "PrincipalId": str(principal.keys.get("aws:userid", principal.arn))}


def _pass_role(request: Document, headers: dict[str, str], query: Any) -> Response | None:
    """Return the refusal if the caller may not pass the role to SageMaker."""
    role = request.get("RoleArn")
    if not role:
        return None
    context = {"iam:PassedToService": SERVICE}  # a string: StringEquals never matches a list
    return app._enforce_data_plane(
        "sagemaker", "iam:PassRole", headers, query, "pass-role", resource_arn=role, service_context=context
    )


def patches(service: SageMaker) -> tuple[Patch, ...]:
    """Return the patches by which ministack routes, authorises and answers SageMaker's requests."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sagemaker")
    pattern = {"target_prefixes": ["SageMaker."], "credential_scope": "sagemaker"}
    return (
        wrap(iam_actions, "extract_resource_arn", _extract_resource_arn, REASON),
        replace(iam_actions, "SERVICE_TO_IAM_NAMESPACE", "sagemaker", REASON, ("sagemaker",)),
        replace(router, "SERVICE_PATTERNS", pattern, REASON, ("sagemaker",)),
        replace(app, "SERVICE_HANDLERS", partial(_handle, service, pool), REASON, ("sagemaker",)),
        tagging.collector("sagemaker", partial(_tagged, service)),
    )


def _extract_resource_arn(
    arn_of: Callable[..., str],
    name: str,
    method: str,
    path: str,
    headers: Any,
    body: bytes,
    query: Any,
    region: str,
    account: str,
) -> str:
    if name != "sagemaker":
        return arn_of(name, method, path, headers, body, query, region, account)
    try:
        return resource_arn(_parse(body), region, account)
    except (AwsError, AttributeError):  # refused as malformed, after its authorisation
        return "*"


async def _handle(
    service: SageMaker,
    pool: ThreadPoolExecutor,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    query: Any,
) -> Response:
    """Answer a request of SageMaker's protocol, in a thread of the pool."""
    try:
        request = _parse(body)
        if denied := _pass_role(request, headers, query):
            return denied
        call = Call(
            headers.get("x-amz-target", "").rpartition(".")[2],
            request,
            responses.get_region(),
            responses.get_account_id(),
            _identity(headers, query),
        )
        work = partial(contextvars.copy_context().run, service.handle, call)
        answer = await asyncio.get_running_loop().run_in_executor(pool, work)
    except AwsError as error:
        return responses.error_response_json(error.code, str(error), 400, content_type=CONTENT_TYPE)
    return 200, {"Content-Type": CONTENT_TYPE}, json.dumps(answer).encode()


def _tagged(service: SageMaker) -> tagging.Tagged:
    return ((arn, tagging.pairs(tags)) for arn, tags in service.store.tagged().items())
