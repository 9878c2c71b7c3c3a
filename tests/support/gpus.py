"""GPUs that are not there: what the libraries say of themselves where there are some."""

import types

import ctranslate2
import onnxruntime
import torch


def pretend_gpus(monkeypatch, count):
    """Have every library see so many GPUs; whatever would compute there has to be caught by the test."""
    kind = types.SimpleNamespace(name="NVIDIA Pretend", major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: kind)
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: count)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
