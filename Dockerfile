# The server, nginx before servers, and the trainer, on Debian's own Python. `docker build -t twelve .` makes the server;
# `--target edge -t twelve-edge` nginx, `--target train -t twelve-train` the trainer. `make image-check` builds the first
# and the last and asks the server; `make compose-check` runs all that ops/compose.yaml names.
#
#   docker run --rm -p 8080:8080 -p 8083:8083 twelve
#
# TORCH_INDEX: where torch comes from, beside the package registry. The default gives the CPU build; an empty value
# (--build-arg TORCH_INDEX=) the registry's own, which is built for CUDA.
# EXPORTED: the stage, or the image `serve` once it is there, that lists the bundle's tasks for nginx.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXPORTED=exported

FROM debian:bookworm-slim AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 twelve
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

FROM python AS installer
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/app/requirements/constraints.txt
COPY requirements requirements
RUN pip install setuptools wheel

# What the server needs. The library itself is a stub here, so that a change of its code installs nothing anew.
FROM installer AS packages
ARG TORCH_INDEX
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch
COPY pyproject.toml README.md LICENSE ./
COPY twelve/__init__.py twelve/__init__.py
RUN pip install --no-build-isolation '.[serve]'

FROM packages AS library
COPY twelve twelve
RUN pip install --no-build-isolation --no-deps --force-reinstall .

# The default bundle as graphs and as the directory that TorchServe serves.
FROM library AS exported
RUN pip install --no-build-isolation '.[export]'
COPY export export
COPY handlers handlers
COPY model_store/small model_store/small
RUN python3 -m export all model_store/small \
    && python3 -m handlers.task_list model_store/small build/tasks.json \
    && chmod -R a+rX .

FROM python AS serve
COPY --from=library /opt/venv /opt/venv
COPY --from=exported /app/handlers handlers
COPY --from=exported /app/export export
COPY --from=exported /app/model_store model_store
COPY --from=exported /app/build build
COPY --chmod=644 config.properties ./
COPY --chmod=644 ops/log4j2.xml ops/log4j2.xml
# Below RUN_DIR and /tmp alone is anything written. `python3 -m handlers.drain` in the container waits until nobody is answered.
ENV RUN_DIR=/var/lib/twelve HEALTH_PORT=8086
RUN install --directory --owner=twelve "$RUN_DIR"
USER twelve
EXPOSE 8080 8083 8086
HEALTHCHECK --interval=15s --timeout=15s --start-period=120s \
    CMD python3 -m handlers.probe "http://127.0.0.1:$HEALTH_PORT/readyz"
ENTRYPOINT ["python3", "-m", "handlers.serve", "--host", "0.0.0.0", "--foreground", "--no-export"]

# nginx's launcher needs little of the library, and no torch.
FROM installer AS light
COPY pyproject.toml README.md LICENSE ./
COPY twelve twelve
RUN pip install --no-build-isolation . prometheus-client psutil

# With a step of its own: of a stage without one buildah removes what it came from, were it the image `serve`.
FROM ${EXPORTED} AS tasks
WORKDIR /app

FROM python AS edge
RUN apt-get update && apt-get install -y --no-install-recommends nginx openssl && rm -rf /var/lib/apt/lists/*
COPY --from=light /opt/venv /opt/venv
COPY --from=tasks /app/handlers handlers
COPY --from=tasks /app/build/tasks.json tasks.json
COPY --chmod=644 config.properties ./
COPY ops/nginx ops/nginx
ENV RUN_DIR=/var/lib/twelve TASKS=/app/tasks.json HTTPS_PORT=8443
RUN install --directory --owner=twelve "$RUN_DIR" && chmod -R a+rX ops
USER twelve
EXPOSE 8443 8087
HEALTHCHECK --interval=15s --timeout=15s --start-period=120s \
    CMD python3 -m handlers.probe "https://127.0.0.1:$HTTPS_PORT/readyz"
ENTRYPOINT ["python3", "-m", "handlers.edge_proxy", "--host", "0.0.0.0"]

FROM library AS train
RUN pip install --no-build-isolation '.[train]'
COPY training training
RUN mkdir /data && chown twelve /data
USER twelve
WORKDIR /data
ENV PYTHONPATH=/app
ENTRYPOINT ["python3", "-m", "training"]

# The last stage is what a build without --target makes.
FROM serve
