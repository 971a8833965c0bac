"""SageMaker as a service of ministack: routed, authenticated and authorised like its own services.

CreateTrainingJob and CreateProcessingJob also need iam:PassRole on the role of the job, passed to SageMaker. Jobs
really run (job_run); model packages are kept as AWS keeps them (sagemaker_registry); other operations are unknown.
"""

import asyncio
import contextvars
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from ministack import app
from ministack.core import iam_actions, iam_evaluator, responses, router

from local.aws import home
from local.aws.sagemaker.job_run import SERVICE, Platform
from local.aws.sagemaker.jobs import Jobs
from local.aws.sagemaker.model_registry import Registry
from local.aws.sagemaker.protocol import ApiError, Call, Operation, Tags, validate
from local.aws.sagemaker.store import Document, Store
from local.stack import config

CONTENT_TYPE: Final = "application/x-amz-json-1.1"
THREADS: Final = 8
NAMED: Final = {
    "TrainingJobName": "training-job",
    "ProcessingJobName": "processing-job",
    "ModelPackageGroupName": "model-package-group",
    "ModelPackageName": "model-package",
}
"""Members by which requests name the resource that a policy is about, and its kind in the ARN."""

NONE: Final[dict[str, Operation]] = {
    "ListEndpoints": lambda call: {"Endpoints": []},
    "ListEndpointConfigs": lambda call: {"EndpointConfigs": []},
    "ListModels": lambda call: {"Models": []},
}
"""Things that this service cannot make, so that it lists none."""

Answer = tuple[int, dict[str, str], bytes]


class SageMaker:
    """store: what it remembers; jobs: what runs."""

    def __init__(self, store: Store, platform: Platform) -> None:
        self.store, self.jobs = store, Jobs(store, platform)
        registry, tags = Registry(store), Tags(store)
        self.operations: dict[str, Operation] = self.jobs.operations | registry.operations | tags.operations | NONE

    def handle(self, call: Call) -> Document:
        """The answer of an operation; ApiError as AWS's."""
        if call.operation not in self.operations:
            raise ApiError(
                "UnknownOperationException", f"{call.operation} is not an operation of the embedded SageMaker"
            )
        validate(call.operation, call.request)
        return self.operations[call.operation](call)

    def close(self) -> None:
        self.jobs.close()


def start(stack: config.LocalStack) -> SageMaker:
    """The service on the local stack's state; jobs that an earlier one left unfinished become Failed."""
    folder = home.folder(stack)
    jobs, cache = folder / "jobs", folder / "images"
    for path in (jobs, cache):
        path.mkdir(parents=True, exist_ok=True)
    marks = {config.MARK: str(stack.state), home.MARK: str(folder)}
    service = SageMaker(Store(folder / "sagemaker.db"), Platform(stack.aws_url, jobs, cache, marks))
    service.jobs.recover()
    return service


def resource_arn(request: Document, region: str, account: str) -> str:
    """The ARN that a request is about, for policies; `*` for lists."""
    for member, kind in NAMED.items():
        if name := request.get(member):
            return name if name.startswith("arn:") else f"arn:aws:sagemaker:{region}:{account}:{kind}/{name}"
    return str(request.get("ModelPackageArn") or request.get("ResourceArn") or "*")


def _parse(body: bytes) -> Document:
    """SerializationException for what is not a JSON object."""
    try:
        request = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError("SerializationException", f"the request is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise ApiError("SerializationException", "the request is not a JSON object")
    return request


def _identity(headers: dict[str, str], query: Any) -> Document:
    """Who signed the request, as IamIdentity."""
    key = app.extract_access_key_id(headers, query)
    principal = iam_evaluator.resolve_principal(key, responses.get_account_id())
    if isinstance(principal, iam_evaluator.AuthError):
        return {}
    return {"Arn": principal.arn, "PrincipalId": str(principal.keys.get("aws:userid", principal.arn))}


def _pass_role(request: Document, headers: dict[str, str], query: Any) -> Answer | None:
    """The refusal, if the caller may not give the role to SageMaker."""
    if not (role := request.get("RoleArn")):
        return None
    context = {"iam:PassedToService": SERVICE}  # a text: a list never matches StringEquals
    return app._enforce_data_plane(
        "sagemaker", "iam:PassRole", headers, query, "pass-role", resource_arn=role, service_context=context
    )


def register(service: SageMaker) -> None:
    """Makes ministack route, authorise and answer SageMaker's requests. Once in a process."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sagemaker")
    known = iam_actions.extract_resource_arn

    def extract(
        name: str, method: str, path: str, headers: Any, body: bytes, query: Any, region: str, account: str
    ) -> str:
        if name != "sagemaker":
            return known(name, method, path, headers, body, query, region, account)
        try:
            return resource_arn(_parse(body), region, account)
        except (ApiError, AttributeError):  # refused as malformed, after its authorisation
            return "*"

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> Answer:
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
            context = contextvars.copy_context()
            work = partial(context.run, service.handle, call)
            answer = await asyncio.get_running_loop().run_in_executor(pool, work)
        except ApiError as error:
            return responses.error_response_json(error.code, str(error), 400, content_type=CONTENT_TYPE)
        return 200, {"Content-Type": CONTENT_TYPE}, json.dumps(answer).encode()

    iam_actions.extract_resource_arn = extract
    iam_actions.SERVICE_TO_IAM_NAMESPACE["sagemaker"] = "sagemaker"
    router.SERVICE_PATTERNS["sagemaker"] = {"target_prefixes": ["SageMaker."], "credential_scope": "sagemaker"}
    app.SERVICE_HANDLERS["sagemaker"] = handle
