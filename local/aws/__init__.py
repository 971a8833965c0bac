"""The AWS emulation: ministack in one process, with what it lacks for this project, on one loopback port.

Importing a module changes nothing. `serve` checks the version of ministack (`compatibility`) and then calls
`patches.install` once, which applies the list `PATCHES` of every module that has one.

process
  __main__        `python -m local.aws`: acquires the lock on the state, ends what a killed process left, serves
  serve           restores, listens, resumes clusters, saves, stops
  home            the state folder, and the variable by which child processes are found
  credentials     logs everybody else in, as the bootstrap user
  root            clients of the account's root, for code of this process only
  persistence     saves what changed every few seconds
  recovery        gives up what a kill interrupted
changes of ministack
  compatibility   the one version, and its private names that are used here
  patch           what a patch is
  patches         all patches, applied by one call
  service_models  botocore's service models, read once and without their documentation
services
  cloudformation/ handlers: how a type is added; cluster_resources, lake_resources, registry_resources,
                  operations_resources: the types by stack; drift: its detection
  cloudwatch/     embedded_metrics, log_filter, log_limits, saved_queries
  ec2/            network_interfaces: they block the deletion of their subnet
  ecr/            registry: passwords and permissions; scans: findings
  eks/            running_planes: the control planes of this process; clusters, nodegroups, routes, updates: the API;
                  reconciler: the loop over nodes, with node_instances, agents, drain, load_balancers;
                  node_agent, node_runtime, log_shipper: the program that runs nodes, and what EKS adds to them;
                  access_policies, login_tokens, service_account_roles: who may do what;
                  stack_handlers: CloudFormation waits; control_planes, api_client: Kubernetes
  iam/            enforcement, role_sessions: roles of jobs and nodes, saved_sessions
  sagemaker/      service: its patches; protocol, validation, resource_tags; model_registry; store;
                  jobs: the API, job_checks; job_state; job_run with training_run and processing_run;
                  job_process, job_logs, job_data: its parts
  schedules       EventBridge Scheduler: calls what is due
  tagging         the tagged resources of services that ministack leaves out
"""
