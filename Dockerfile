# Inference with lungseg: every command but train, inspect and export. docs/how-to/run-in-docker.md
# has the commands.
FROM python:3.12-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
WORKDIR /opt/lungseg

# The packages come first, so that a change of the program builds only the last layers again.
COPY requirements-inference.txt ./
RUN pip install --disable-pip-version-check -r requirements-inference.txt

COPY pyproject.toml README.md LICENSE ./
COPY lungseg ./lungseg
RUN pip install --disable-pip-version-check --no-deps . \
    && useradd --no-create-home --uid 1000 lungseg \
    && mkdir /data /out \
    && chown lungseg /out

USER 1000
# Nothing is written but /out and, for a moment, /tmp.
VOLUME ["/data", "/out"]
WORKDIR /out
ENTRYPOINT ["lungseg"]
CMD ["--help"]
