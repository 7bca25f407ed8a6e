import hashlib

import numpy as np
import pytest
import torch

from sweeper.data.fingerprint import content_digest


def test_the_digest_is_over_dtype_shape_and_values_in_order() -> None:
    values = torch.tensor([[1, 2, 3]], dtype=torch.uint8), torch.tensor([4])
    content = b"torch.uint8 (1, 3)\1\2\3" + b"torch.int64 (1,)\4\0\0\0\0\0\0\0"
    assert content_digest(*values) == hashlib.sha256(content).hexdigest()
    assert content_digest(*reversed(values)) != content_digest(*values)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_an_array_counts_as_the_tensor_that_shares_its_memory(dtype: torch.dtype) -> None:
    tensor = torch.arange(24).view(2, 3, 4).to(dtype)
    array = tensor.numpy()
    assert isinstance(array, np.ndarray)
    assert content_digest(array) == content_digest(tensor)


def test_dtypes_that_numpy_does_not_know_have_a_digest() -> None:
    ones = torch.ones(3, dtype=torch.bfloat16)
    content = b"torch.bfloat16 (3,)" + b"\x80\x3f" * 3
    assert content_digest(ones) == hashlib.sha256(content).hexdigest()
