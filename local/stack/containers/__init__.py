"""The local stack and Airflow as containers of docker-compose.yaml: one process per container, one network for all.

Everything listens on 127.0.0.1 as without containers, so URLs are the same inside and outside: the containers share
the network of one of them, the gateway, which forwards the published ports to that loopback address.
"""
