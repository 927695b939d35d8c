# A machine, or a worker of another one, in a container:
#
#   docker build --tag taskdistill .
#   docker run --init --network host --gpus all --stop-timeout 60 --volume /data:/data \
#       --volume taskdistill-store:/store --volume taskdistill-state:/state taskdistill up
#
# and for a worker on another host `--env PREFECT_API_URL --env PREFECT_API_AUTH_STRING` and `taskdistill worker --queue
# gpu`, with the same store as its volume. It uses the host's network, because the server listens to its own machine
# alone. Images must have the same path in all containers: runs name them by it. Folders that are mounted in place of
# the two volumes must be writable for user 1000. Where there is no GPU, leave `--gpus all` out; `--build-arg INDEX=...`
# names one more package index, such as that of torch for CPUs: a much smaller image.
FROM python:3.11-slim-bookworm

ARG INDEX=""
WORKDIR /src
# What changes seldom first: these layers are kept from build to build.
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN python -c "import tomllib; wanted = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        extras = wanted['optional-dependencies']; \
        print(*wanted['dependencies'], *extras['segmentation'], *extras['jpeg'], sep='\n')" > wanted.txt \
    && pip install --no-cache-dir ${INDEX:+--extra-index-url "$INDEX"} --constraint constraints.txt --requirement wanted.txt
COPY taskdistill taskdistill
COPY configs configs
COPY storage storage
COPY tasks tasks
COPY flows flows
RUN pip install --no-cache-dir --no-deps .

RUN useradd --create-home --uid 1000 taskdistill && install --directory --owner taskdistill /store \
    && install --directory --owner taskdistill --mode 0700 /state
USER taskdistill
WORKDIR /home/taskdistill
ENV TASKDISTILL_STORE=/store TASKDISTILL_HOME=/state HF_HOME=/state/huggingface DO_NOT_TRACK=1 PYTHONUNBUFFERED=1
VOLUME ["/store", "/state"]
ENTRYPOINT ["taskdistill"]
CMD ["up"]
