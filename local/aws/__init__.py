"""The embedded AWS: ministack in one process, with what it lacks for this project, on one loopback port.

__main__        `python -m local.aws`: takes the state folder, ends what a killed one left, serves
serve           the life of the process: restore, listen, save, stop
home            where its state lies, and the mark its child processes carry
credentials     the bootstrap IAM user: what everybody else logs in with
root            clients of the account's root, for code of this process only
pins            the private names of ministack that the modules below replace
interrupted     what a kill cut off
persistence     saves what changed, so that a kill -9 costs seconds
cloudformation  the resource types that ministack lacks
networks        interfaces block the deletion of their subnet
planes, eks     EKS clusters as real control planes; logins, roles for service accounts
nodegroups, agents, balancers   node groups as process nodes; their instances and load balancers
ecr, scans      the registry's passwords, rights and scan findings
enforcement     root is checked like anybody, loopback counts as TLS
emf, log_filter, tagging   metrics in log events; events by stream; tags of services that ministack does not list
"""
