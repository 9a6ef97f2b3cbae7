# docker build -t mbos .
# docker run --rm -v "$PWD:/data" mbos CHECKPOINT.pth photographs --out out
FROM python:3.11-slim
# https://pypi.org/simple has the CUDA build.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV MBOS_TORCH_INDEX=$TORCH_INDEX MBOS_VENV=/opt/venv PIP_NO_CACHE_DIR=1 \
    PATH=/opt/venv/bin:$PATH
WORKDIR /opt/mbos
COPY . .
RUN bash tools/setup_env.sh
WORKDIR /data
ENTRYPOINT ["/opt/venv/bin/mbos", "predict"]
CMD ["--help"]
