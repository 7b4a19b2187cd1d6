# The HTTP server of a trained model. `--build-arg DEVICE=cuda` installs the CUDA build of torch.
#     docker build -t semanticmac . && docker run -p 8000:8000 -v ./run:/model:ro semanticmac
FROM python:3.11-slim
ARG DEVICE=cpu
WORKDIR /app
COPY . .
# The lines of constraints.txt that pin CPU builds do not fit a CUDA machine.
RUN if [ "$DEVICE" = cuda ]; then sed -i '/^torch==/d;/^torchcodec==/d' constraints.txt; fi \
    && pip install --no-cache-dir -c constraints.txt '.[serve,analysis]' \
    && useradd --create-home --uid 1000 server
# By number, so that a cluster can see that it is not root.
USER 1000
ENV HOME=/home/server HF_HUB_DISABLE_TELEMETRY=1
EXPOSE 8000
HEALTHCHECK --start-period=120s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["semanticmac", "serve", "--host", "0.0.0.0", "--port", "8000", "--model"]
CMD ["/model"]
