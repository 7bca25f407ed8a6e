# An agent, as `sweeper run` on a machine of its own: docker build -t sweeper .
FROM python:3.11-slim

# pip reads it: a further index, such as one with torch for CPUs alone, which is a tenth as large.
ARG PIP_EXTRA_INDEX_URL

RUN useradd --uid 1000 --create-home sweeper && install --directory --owner sweeper /work
WORKDIR /opt/sweeper

# First what changes seldom and weighs most.
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt torch torchvision

COPY pyproject.toml README.md LICENSE ./
COPY sweeper ./sweeper
RUN pip install --no-cache-dir --constraint constraints.txt '.[postgres,grpc,s3]'

# By number: Kubernetes must see that it is not root.
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["python", "-m", "sweeper"]
