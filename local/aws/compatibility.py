"""The private names of ministack that local.aws reads or replaces, and the one version for which they are known.

`serve` checks them before it installs the patches. To upgrade ministack: change VERSION, run tests/local/aws, and check
whether the reason of each patch still holds (`install.patches`).
"""

import importlib
from importlib.metadata import version

VERSION = "1.5.33"

NAMES = {
    "ministack.app": "app _build_persistence_save_dict _enforce_data_plane extract_access_key_id SERVICE_HANDLERS",
    "ministack.core.iam_actions": "extract_resource_arn request_tag_context SERVICE_TO_IAM_NAMESPACE "
    "_load_botocore_model",
    "ministack.core.iam_evaluator": "resolve_principal AuthError _is_root_key _resolve_condition_key "
    "_service_principal_matches evaluate EvalContext EvalResult",
    "ministack.core.persistence": "_json_default _state_format_version",
    "ministack.core.responses": "_service_model _BOTOCORE_NAME",
    "ministack.core.router": "SERVICE_PATTERNS",
    "ministack.services.alb": "_tags",
    "ministack.services.cloudformation": "_stacks",
    "ministack.services.cloudformation.drift": "_expected_properties _json_or",
    "ministack.services.cloudformation.provisioners": "_RESOURCE_HANDLERS _STACK_TAG_PROPERTY _eks_cluster_attrs "
    "_cw_metric_alarm_record",
    "ministack.services.cloudformation.stacks": "_runs_on_worker_thread",
    "ministack.services.cloudwatch": "_resource_tags",
    "ministack.services.cloudwatch_logs": "_log_groups _put_log_events _filter_log_events "
    "_resolve_log_group_name handle_request get_state load_persisted_state",
    "ministack.services.ec2": "_tags _instances _subnets _instance_xml _network_interfaces _ACTION_MAP _p _error "
    "_parse_filters",
    "ministack.services.ecr": "handle_request handle_registry_request _find_image _manifest_blobs _repositories "
    "_registry_error _registry_id _parse_v2_path _resolve_manifest _v2_get_blob",
    "ministack.services.eks": "_clusters _nodegroups _addons _tags _create_cluster _delete_cluster _create_nodegroup "
    "_delete_nodegroup _describe_nodegroup _handle_request_sync _json_resp _error _get_docker _k3s_gateway_host "
    "_next_port _sanitize _restart_k3s _decode_aws_iam_token _EKS_TOKEN_PREFIX "
    "_reconcile_access_policy_rbac _access_policy_rbac_objects _ACCESS_POLICY_BINDING_LABEL",
    "ministack.services.eventbridge": "_parse_cron_fields _cron_next_fire",
    "ministack.services.iam": "_roles _oidc_providers",
    "ministack.services.scheduler": "_schedules",
    "ministack.services.sts": "_sessions _web_identity_principal _web_identity_trust_denied _p _error get_state "
    "load_persisted_state",
    "ministack.services.tagging": "_COLLECTORS",
}


def check() -> None:
    """Raise ImportError for another version of ministack, or when it lacks one of the names."""
    installed = version("ministack")
    if installed != VERSION:
        raise ImportError(
            f"local.aws is written for ministack {VERSION}, not {installed}: "
            f"run `make install`, or check the names in {__name__}"
        )
    for module_name, names in NAMES.items():
        module = importlib.import_module(module_name)
        missing = [name for name in names.split() if not hasattr(module, name)]
        if missing:
            raise ImportError(
                f"{module_name} of ministack {VERSION} has no {', '.join(missing)}: "
                f"correct the names in {__name__}, and the code that uses them"
            )
