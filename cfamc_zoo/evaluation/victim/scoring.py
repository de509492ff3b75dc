"""A network's logits without gradients on a CPU, through ONNX Runtime.

Its convolutions are half as fast again as torch's, and more on few images; an attack that only
asks for logits has nothing else to wait for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cfamc_zoo.zoo.onnx.exporter import INPUT, to_onnx
from cfamc_zoo.zoo.onnx.runtime import make_session

Score = Callable[[Tensor], Tensor]


@torch.no_grad()
def open_scoring(model: nn.Module, example: Tensor) -> Score | None:
    """(N, C, H, W) float32 to (N, classes) float32, the same as the model's; None where it cannot.

    Args:
        model: in evaluation mode, float32, on the CPU.
        example: at least one image, to export and compare with.
    """
    try:
        import onnxruntime as ort

        content = to_onnx(model, example[:1].expand(2, -1, -1, -1), ["logits"]).SerializeToString()
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Waiting threads would take the cores from torch, which makes the next images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = make_session(content, provider="CPUExecutionProvider", options=options)

        def score(images: Tensor) -> Tensor:
            (logits,) = session.run(None, {INPUT: images.contiguous().numpy()})
            return torch.from_numpy(logits)

        close = torch.allclose(score(example), model(example.clone()), rtol=1e-3, atol=1e-3)
    except Exception:  # anybody's model; it is attacked as it is
        return None
    return score if close else None
