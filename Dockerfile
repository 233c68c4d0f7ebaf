# One image for the worker, the front door, the exporter, the Prefect server and the one-off commands.
FROM python:3.11.11-slim-bookworm AS builder
WORKDIR /build
COPY requirements.run.lock ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes -c requirements.run.lock -r requirements.run.lock
COPY pyproject.toml README.md ./
COPY tabario ./tabario
COPY blocks ./blocks
COPY flows ./flows
COPY api ./api
COPY monitoring ./monitoring
RUN python -m pip install --no-cache-dir hatchling==1.27.0 \
    && python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/venv/bin/python -m pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.11.11-slim-bookworm
# ffmpeg and Roboto come with the Python packages; the Noto fonts serve the scripts that Roboto lacks.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends fonts-noto-cjk fonts-noto-core \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 tabario \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/tabario --create-home --shell /usr/sbin/nologin tabario \
    && install --directory --owner=10001 --group=10001 \
        /var/lib/tabario/media /var/lib/tabario/metrics /var/lib/tabario/monitoring
COPY --from=builder /opt/venv /opt/venv
# What is written at run time goes to /tmp and to the directories above, so that the root may be read-only.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PREFECT_HOME=/tmp/prefect \
    TABARIO_STATE_DIR=/tmp/tabario \
    TABARIO_MEDIA_ROOT=/var/lib/tabario/media \
    TABARIO_METRICS_DIRECTORY=/var/lib/tabario/metrics \
    DO_NOT_TRACK=1
USER 10001:10001
WORKDIR /var/lib/tabario
# Turns NAME_FILE into NAME for the programs that read no files, then becomes the command.
ENTRYPOINT ["tabario", "exec", "--"]
CMD ["python", "-m", "api"]
