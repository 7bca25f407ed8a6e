"""The model of all members as one function of their parameters."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from sweeper.training.learner import Runtime
from sweeper.training.packed.modules import Given, Segment, dropouts_of, template_of

#: Name in the model -> of every member [K, ...].
Stacked = dict[str, Tensor]


class Program:
    """Computes the outputs of several members at once.

    Args:
        model: Of any member; what may differ in others is what
            :mod:`~sweeper.training.packed.modules` replaces.
        runtime: Of all.

    Attributes:
        template: That is called with the tensors of members.
    """

    def __init__(self, model: nn.Module, runtime: Runtime) -> None:
        self._given = Given()
        self.template = template_of(model, self._given)
        self._runtime = runtime

    def __call__(
        self,
        parameters: Stacked,
        buffers: Stacked,
        inputs: Tensor,
        masks: Sequence[Tensor] | None,
        segments: Sequence[Segment],
    ) -> Tensor:
        """Outputs float [K, B, n_outputs].

        Args:
            parameters: Of the members.
            buffers: As ``parameters``; those of batch normalisation are changed in training.
            inputs: [K, B, ...].
            masks: Of the dropouts in the order of their calls, each [K, B, ...]; None in
                evaluation.
            segments: Of all members, in their order.

        Raises:
            RuntimeError: If vmap does not take the model.
        """
        if self.template.training != (masks is not None):
            self.template.train(masks is not None)
        self._given.segments = segments
        with forward_context(self._runtime):
            found: Tensor = vmap(self._forward)(parameters, buffers, inputs, list(masks or ()))
        return found.float() if self._runtime.precision == "bf16" else found

    def _forward(
        self, parameters: Stacked, buffers: Stacked, inputs: Tensor, masks: list[Tensor]
    ) -> Tensor:
        self._given.masks = iter(masks)
        outputs: Tensor = functional_call(self.template, (parameters, buffers), (inputs,))
        return outputs


@contextmanager
def forward_context(runtime: Runtime) -> Iterator[None]:
    """How members compute what a learner alone computes."""
    with ExitStack() as stack:
        if runtime.precision == "bf16":
            stack.enter_context(torch.autocast(runtime.device.type, dtype=torch.bfloat16))
        # vmap knows none of a CPU's other kernels for attention, and has those of a GPU leave out
        # what gradients need, as no tensor of a member says that it requires one.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield


class Draws:
    """Draws for each batch the masks of a member's dropouts, as its model alone does.

    Args:
        model: Of the member.
        runtime: Of the member.
    """

    def __init__(self, model: nn.Module, runtime: Runtime) -> None:
        self._model = model
        self._runtime = runtime
        self._dropouts = dropouts_of(model)
        self._calls: dict[tuple[torch.Size, torch.dtype], list[tuple[nn.Module, Tensor]]] = {}

    def masks(self, inputs: Tensor) -> list[Tensor]:
        """From torch's default generator of the device, each scaled.

        Args:
            inputs: A batch to train on.
        """
        calls, device = self.calls(inputs), self._runtime.device
        for module in self._dropouts:
            module.train()
        return [module(torch.ones_like(on, device=device)) for module, on in calls]

    @property
    def are_needed(self) -> bool:
        """Whether the model has dropouts."""
        return bool(self._dropouts)

    def calls(self, inputs: Tensor) -> list[tuple[nn.Module, Tensor]]:
        """The dropouts in the order of their calls, and on meta what each is given."""
        if not self._dropouts:
            return []
        form = inputs.shape, inputs.dtype
        if form not in self._calls:
            self._calls[form] = self._calls_of(inputs)
        return self._calls[form]

    @torch.no_grad()
    def _calls_of(self, inputs: Tensor) -> list[tuple[nn.Module, Tensor]]:
        calls: list[tuple[nn.Module, Tensor]] = []

        def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            calls.append((module, torch.empty_like(given[0], device="meta")))

        self._model.eval()
        hooks = [module.register_forward_pre_hook(note) for module in self._dropouts]
        try:
            with forward_context(self._runtime):
                self._model(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return calls
