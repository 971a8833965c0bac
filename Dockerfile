# Four images, one a target: api, jobs, airflow, local. docs/docker.md says what each is, and how it was measured.
# For Docker's classic builder as well as BuildKit: no frontend line, no mounts in RUN, no heredocs.
# BASE is a tag here; who publishes an image pins it to a digest, and says so in BASE_NAME and BASE_DIGEST.
ARG BASE=python:3.11-slim-bookworm

# --- what builds: the installer of `make install`, and nothing of it in any image ----------------
# hadolint ignore=DL3006
FROM ${BASE} AS build
# checkov:skip=CKV_DOCKER_7:BASE has a tag, and a digest where an image is published
WORKDIR /app
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
COPY requirements/bootstrap.txt requirements/
RUN python -m pip install --quiet --no-cache-dir --require-hashes -r requirements/bootstrap.txt \
 && mkdir -p /empty/airflow /empty/local \
 && mkdir -m 775 /empty/airflow/state /empty/airflow/secrets /empty/local/state /empty/local/kube
COPY tools/image_environment.py tools/

FROM build AS environment-api
COPY requirements/api.txt requirements/
ARG LOCK_API=
RUN python tools/image_environment.py api --lock "${LOCK_API}"

FROM build AS environment-jobs
COPY requirements/jobs.txt requirements/
ARG LOCK_JOBS=
RUN python tools/image_environment.py jobs --lock "${LOCK_JOBS}"

FROM build AS environment-airflow
COPY requirements/airflow.txt requirements/
ARG LOCK_AIRFLOW=
RUN python tools/image_environment.py airflow --lock "${LOCK_AIRFLOW}"

FROM build AS environment-local-aws
COPY requirements/local-aws.txt requirements/
ARG LOCK_LOCAL=
RUN python tools/image_environment.py local-aws --lock "${LOCK_LOCAL}"

FROM build AS sources
COPY api api
COPY dags dags
COPY include include
COPY infra infra
COPY k8s k8s
COPY local local
COPY cli cli
COPY plugins plugins
RUN chmod 755 include/train/sagemaker_train.py && python tools/image_environment.py

# --- what all images share: a user without a name for anything, no shell in its way -------------
# hadolint ignore=DL3006
FROM ${BASE} AS runtime
RUN printf 'retail:x:10001:\n' >> /etc/group \
 && printf 'retail:x:10001:10001::/tmp:/usr/sbin/nologin\n' >> /etc/passwd \
 && touch -d @315532800 /etc/group /etc/passwd /etc
ENV HOME=/tmp USER=retail LOGNAME=retail LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app
WORKDIR /app
STOPSIGNAL SIGTERM

# --- jobs: what SageMaker runs; a job names its module, /opt/ml is mounted ------------------------
FROM runtime AS jobs
COPY --from=environment-jobs /app/.venv/jobs /app/.venv/jobs
COPY --from=sources /app/include/train/sagemaker_train.py /app/.venv/jobs/bin/train
COPY --from=sources /app/include /app/include
ENV VIRTUAL_ENV=/app/.venv/jobs PATH=/app/.venv/jobs/bin:/usr/local/bin:/usr/bin:/bin
USER 10001:10001
HEALTHCHECK NONE
CMD ["train"]
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE=
ARG BASE_NAME=python:3.11-slim-bookworm
ARG BASE_DIGEST=
ARG LOCK_JOBS=
LABEL org.opencontainers.image.title="retail-jobs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE_NAME}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      mlops.runtime="jobs" \
      mlops.lock="${LOCK_JOBS}"

# --- airflow: the four processes and the commands of docker-compose.yaml --------------------------
FROM runtime AS airflow
COPY --from=environment-airflow /app/.venv/airflow /app/.venv/airflow
# Where volumes are mounted: for the user, and for another one of the same group (docker-compose.aws.yaml).
COPY --from=build --chown=10001:10001 /empty/airflow/ /
COPY --from=sources /app/dags /app/dags
COPY --from=sources /app/include /app/include
COPY --from=sources /app/infra /app/infra
COPY --from=sources /app/k8s /app/k8s
COPY --from=sources /app/local /app/local
COPY --from=sources /app/plugins /app/plugins
ENV VIRTUAL_ENV=/app/.venv/airflow PATH=/app/.venv/airflow/bin:/usr/local/bin:/usr/bin:/bin
USER 10001:10001
ENTRYPOINT ["python", "-m", "local.stack.containers"]
HEALTHCHECK --interval=10s --timeout=20s --start-period=120s --retries=6 CMD ["python", "-S", "-m", "local.stack.containers.health"]
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE=
ARG BASE_NAME=python:3.11-slim-bookworm
ARG BASE_DIGEST=
ARG LOCK_AIRFLOW=
LABEL org.opencontainers.image.title="retail-airflow" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE_NAME}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      mlops.runtime="airflow" \
      mlops.lock="${LOCK_AIRFLOW}"

# --- local: the AWS emulation, control plane and nodes, whose pods and jobs run in the other two environments ----
FROM runtime AS local
COPY --from=environment-local-aws /app/.venv/local-aws /app/.venv/local-aws
COPY --from=environment-jobs /app/.venv/jobs /app/.venv/jobs
COPY --from=environment-api /app/.venv/api /app/.venv/api
# What builds Kubernetes, once, where no programs of it are mounted (local/kube/assets.py); the locks that SBOMs list.
COPY --from=build /usr/local/bin/uv /app/.venv/bootstrap/bin/uv
COPY requirements/go.txt requirements/api.txt requirements/jobs.txt /app/requirements/
COPY --from=build --chown=10001:10001 /empty/local/ /
COPY --from=sources /app/api /app/api
COPY --from=sources /app/cli /app/cli
COPY --from=sources /app/include /app/include
COPY --from=sources /app/local /app/local
ENV VIRTUAL_ENV=/app/.venv/local-aws PATH=/app/.venv/local-aws/bin:/usr/local/bin:/usr/bin:/bin
USER 10001:10001
ENTRYPOINT ["python", "-m", "local.stack.containers"]
CMD ["aws"]
HEALTHCHECK --interval=10s --timeout=20s --start-period=120s --retries=6 CMD ["python", "-S", "-m", "local.stack.containers.health"]
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE=
ARG BASE_NAME=python:3.11-slim-bookworm
ARG BASE_DIGEST=
ARG LOCK_LOCAL=
LABEL org.opencontainers.image.title="retail-local" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE_NAME}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      mlops.runtime="local-aws" \
      mlops.lock="${LOCK_LOCAL}"

# --- api: the service, last so that it is what `docker build .` makes ------------------------------
FROM runtime AS api
COPY --from=environment-api /app/.venv/api /app/.venv/api
COPY --from=sources /app/api /app/api
COPY --from=sources /app/include/__init__.py /app/include/
COPY --from=sources /app/include/baskets /app/include/baskets
# A pod's own address comes from its manifest; without one every interface of the container is meant.
ENV VIRTUAL_ENV=/app/.venv/api PATH=/app/.venv/api/bin:/usr/local/bin:/usr/bin:/bin HOST=0.0.0.0 PORT=8000
EXPOSE 8000
USER 10001:10001
ENTRYPOINT ["python", "-m", "api"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["python", "-S", "-c", "import http.client, os, sys; c = http.client.HTTPConnection(os.environ['HOST'], int(os.environ['PORT']), timeout=4); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE=
ARG BASE_NAME=python:3.11-slim-bookworm
ARG BASE_DIGEST=
ARG LOCK_API=
LABEL org.opencontainers.image.title="retail-api" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE_NAME}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      mlops.runtime="api" \
      mlops.lock="${LOCK_API}"
