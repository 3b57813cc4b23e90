# The server and the trainer, on Debian's own Python. `docker build -t twelve .` makes the server;
# `docker build --target train -t twelve-train .` the trainer. `make image-check` builds both and asks the server.
#
#   docker run --rm -p 8080:8080 -p 8083:8083 twelve
#
# TORCH_INDEX: where torch comes from, beside the package registry. The default gives the CPU build; an empty value
# (--build-arg TORCH_INDEX=) the registry's own, which is built for CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

FROM debian:bookworm-slim AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 twelve
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

# What the server needs. The library itself is a stub here, so that a change of its code installs nothing anew.
FROM python AS packages
ARG TORCH_INDEX
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/app/requirements/constraints.txt
COPY requirements requirements
RUN pip install setuptools wheel && pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch
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
RUN python3 -m export all model_store/small && chmod -R a+rX .

FROM python AS serve
COPY --from=library /opt/venv /opt/venv
COPY --from=exported /app/handlers handlers
COPY --from=exported /app/export export
COPY --from=exported /app/model_store model_store
COPY --from=exported /app/build build
COPY --chmod=644 config.properties ./
COPY --chmod=644 ops/log4j2.xml ops/log4j2.xml
ENV RUN_DIR=/var/lib/twelve
RUN install --directory --owner=twelve "$RUN_DIR"
USER twelve
EXPOSE 8080 8083
HEALTHCHECK --interval=15s --timeout=25s --start-period=120s CMD ["python3", "-m", "handlers.healthcheck"]
ENTRYPOINT ["python3", "-m", "handlers.serve", "--host", "0.0.0.0", "--foreground", "--no-export"]

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
