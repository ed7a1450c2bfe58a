# syntax=docker/dockerfile:1
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY gateway ./gateway
RUN python -m venv /opt/ocho && /opt/ocho/bin/pip install --no-cache-dir ".[all]"

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/ocho ocho \
  && install -d -o ocho /var/lib/ocho/ocho-data
COPY --from=build /opt/ocho /opt/ocho
ENV PATH=/opt/ocho/bin:$PATH PYTHONUNBUFFERED=1 OCHO_HOST=0.0.0.0
USER 10001
WORKDIR /var/lib/ocho
VOLUME ["/var/lib/ocho/ocho-data"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["ocho"]
CMD ["serve"]
