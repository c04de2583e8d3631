"""How the training loop computes: plain torch, or Accelerate in one process or several.

The loop is the same for all. A back-end says which examples of an update are this process's
share, runs the backward pass, and sums over processes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.distributed import DistError
from torch.nn.utils import (
    clip_grads_with_norm_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)
from torch.optim import Optimizer

from lib.command.console import UserError, one_line
from lib.training.device import (
    DTYPES,
    allow_tf32,
    choose,
    choose_precision,
    forget_overrides,
    is_out_of_memory,
    prepare,
    set_determinism,
    warn_if_emulated,
)


class Torch(AbstractContextManager):
    """Plain torch in one process; a context manager, which leaves the group of processes.

    Attributes:
        device: where this process computes.
        precision: `fp32`, `tf32`, or `bf16` or `fp16` by autocast. That of the back-end that was
            made last decides for the whole process whether products of float32 are TF32.
        scaler: of the losses in fp16, whose gradients would vanish; else it does nothing.
        rank: number of this process; the one with 0 reports and writes.
        processes: how many share each update.
    """

    rank = 0
    processes = 1

    def __init__(self, device: torch.device, precision: str) -> None:
        self.device = device
        self.precision = precision
        self.scaler = GradScaler(device.type, enabled=precision == "fp16")
        allow_tf32(precision == "tf32")

    def autocast(self) -> AbstractContextManager:
        """The context of forward passes, which tells of an encoder that fails in the precision."""
        if self.precision in DTYPES:
            return lowered(self.device, self.precision)
        return nullcontext()

    def prepare(self, optimizer: Optimizer) -> Optimizer:
        """The optimizer as the loop calls it."""
        return optimizer

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss of this process, times the scale of fp16."""
        self.scaler.scale(loss).backward()

    def clip(
        self, optimizer: Optimizer, trained: Sequence[nn.Parameter], most: float | str
    ) -> Tensor:
        """Shorten the gradient of an update, that of all processes, to a norm of at most so much.

        The scale of fp16 is taken off before.

        Args:
            optimizer: of the weights.
            trained: the weights.
            most: the Euclidean norm; `none` leaves the gradient as it is.

        Returns:
            Its norm before, on the device.
        """
        self.scaler.unscale_(optimizer)
        norm = get_total_norm([each.grad for each in trained if each.grad is not None])
        if most != "none":
            clip_grads_with_norm_(trained, float(most), norm)
        return norm

    def step(self, optimizer: Optimizer) -> bool:
        """Update the weights, unless gradients in fp16 are not finite: then the scale is halved.

        Returns:
            Whether they were updated; to know it waits for the device, in fp16 alone.
        """
        if not self.scaler.is_enabled():
            optimizer.step()
            return True
        one = torch.ones((), device=self.device)
        before = self.scaler.scale(one)
        self.scaler.step(optimizer)
        self.scaler.update()
        after = self.scaler.scale(one)
        return bool((after >= before) & (after > 0))  # half of nothing is no less

    def reseed(self, stream: Sequence[int]) -> None:
        """Begin a stream of random numbers, for dropout; each of several processes has its own.

        Args:
            stream: numbers that name it.
        """
        sequence = np.random.SeedSequence([*stream, self.rank])
        torch.manual_seed(int(sequence.generate_state(1)[0]))

    def share(self, rows: Tensor) -> Tensor:
        """The examples of an update that this process computes; may be none of them.

        Of rows in the order of their lengths, every process gets as many long ones.
        """
        return rows[self.rank :: self.processes]

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in each of them."""
        return values

    def least(self, number: int) -> int:
        """The smallest of the numbers that the processes have."""
        return number

    def sum_gradients(self, trained: Sequence[nn.Parameter], measured: Tensor) -> Tensor:
        """Make every process's gradients the sum over all processes.

        Returns:
            The sum of what each process has `measured`.
        """
        return measured

    def __exit__(self, *_: object) -> None:
        """Leave the group of processes, if there is one."""


class Accelerate(Torch):
    """Accelerate, in as many processes as torchrun started.

    The model is not wrapped in DistributedDataParallel: that synchronises in backward passes,
    of which processes have unequal numbers, or none, in a smaller last update. Gradients are
    summed once per update instead, when all of its passes are done.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        from accelerate import Accelerator

        super().__init__(device, precision)
        if device.type == "cuda":
            avoid_missing_links()
        with blame_the_other_process():
            self.accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
        self.rank = self.accelerator.process_index
        self.processes = self.accelerator.num_processes

    def prepare(self, optimizer: Optimizer) -> Optimizer:
        """Accelerate's optimizer around the given one."""
        return self.accelerator.prepare_optimizer(optimizer, device_placement=False)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss of this process, times the scale of fp16."""
        self.accelerator.backward(self.scaler.scale(loss))

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in each of them.

        Raises:
            UserError: another process has ended.
        """
        with blame_the_other_process():
            return self.accelerator.reduce(values, reduction="sum")

    def least(self, number: int) -> int:
        """The smallest of the numbers that the processes have.

        Raises:
            UserError: another process has ended.
        """
        own = torch.tensor([number], device=self.device)
        with blame_the_other_process():
            return int(self.accelerator.gather(own).min())

    def sum_gradients(self, trained: Sequence[nn.Parameter], measured: Tensor) -> Tensor:
        """Make every process's gradients the sum over all processes, in one exchange.

        Returns:
            The sum of what each process has `measured`.
        """
        if self.processes == 1:
            return measured
        for parameter in trained:
            if parameter.grad is None:  # no example of the update fell to this process
                parameter.grad = torch.zeros_like(parameter)
        gradients = cast(list[Tensor], [parameter.grad for parameter in trained])
        total = self.sum(parameters_to_vector([*gradients, measured]))
        vector_to_parameters(total[: -len(measured)], gradients)
        return total[-len(measured) :]

    def __exit__(self, *_: object) -> None:
        """Leave the group of processes; after an error too, or the interpreter's end may abort."""
        self.accelerator.end_training()


@contextmanager
def lowered(device: torch.device, precision: str) -> Iterator[None]:
    """Autocast to a precision.

    Raises:
        UserError: a pass fails, as those of encoders whose own code mixes precisions.
    """
    try:
        with torch.autocast(device.type, dtype=DTYPES[precision]):
            yield
    except RuntimeError as error:  # others of its kinds tell of memory, compilers or devices
        if type(error) not in (RuntimeError, NotImplementedError) or is_out_of_memory(error):
            raise
        raise UserError(
            f"a pass in {precision} has failed ({one_line(error)}); set precision to fp32"
        ) from error


@contextmanager
def blame_the_other_process() -> Iterator[None]:
    """Say in one line that another process has ended, where only its silence is noticed.

    Raises:
        UserError: an exchange with other processes broke off.
    """
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, DistError) or "gloo" in str(error).lower()):
            raise
        raise UserError("another process of this training has failed, see its error") from error


def avoid_missing_links() -> None:
    """Keep NCCL from links between GPUs that some have not with an older driver, as RTX 40.

    Accelerate refuses these without both variables, which its own launcher sets.
    """
    from accelerate.utils import check_cuda_p2p_ib_support

    if not check_cuda_p2p_ib_support():
        os.environ.setdefault("NCCL_P2P_DISABLE", "1")
        os.environ.setdefault("NCCL_IB_DISABLE", "1")


BACKENDS = {"torch": Torch, "accelerate": Accelerate}


def connect(settings: Mapping[str, Any], seed: int) -> Torch:
    """The back-end that the settings ask for, with device, threads and seeds prepared.

    Raises:
        UserError: the device is not there, or lacks the precision.
    """
    forget_overrides()
    device = choose(settings["device"])
    precision = choose_precision(settings["precision"], device)
    warn_if_emulated(precision, device)
    # Before the group of processes is built: NCCL then leaves out sums whose order is not fixed.
    set_determinism(settings["deterministic"])
    backend = BACKENDS[settings["backend"]](device, precision)
    prepare(settings["threads"], seed)  # after Accelerate, which may set the threads
    return backend
